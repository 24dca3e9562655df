"""Reaching a host: which of its addresses may be reached, and for how long at most.

A socket's own time-out is for one read or write; who sends a byte every few seconds never runs into it. A `Limit` is
for the whole: when its time is over the connection is shut down, whatever it waits for.
"""

import ipaddress
import socket
import ssl
import threading
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Self

from app.notify.message import Undelivered

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Limit:
    """A context that lasts no longer than `timeout_s`, if its connection was told to `watch`."""

    def __init__(self, timeout_s: float) -> None:
        self._ends = monotonic() + timeout_s
        self._timer = threading.Timer(timeout_s, self._expire)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._held: socket.socket | None = None
        self.timeout_s, self.has_expired = timeout_s, False

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            if self._held is not None:
                self._held.close()
                self._held = None

    @property
    def left_s(self) -> float:
        """How much time is left, never none at all: a time-out of zero means something else to sockets."""
        return max(self._ends - monotonic(), 0.001)

    def watch(self, connected: socket.socket) -> None:
        """The connection is shut down when the time is over."""
        with self._lock:
            # A descriptor of our own for the same connection: TLS takes the caller's away.
            self._held = connected.dup()
        if self.has_expired:
            self._expire()

    def _expire(self) -> None:
        with self._lock:
            self.has_expired = True
            if self._held is not None:
                with suppress(OSError):  # the other side was faster
                    self._held.shutdown(socket.SHUT_RDWR)


def dial(host: str, port: int, limit: Limit, *, allow_private: bool) -> socket.socket:
    """A connection to an address that was looked up once and then checked: nobody can answer otherwise in between.

    Raises `Undelivered` when the host has no address that may be reached, or none that answers.
    """
    found = _look_up(host, port)
    addresses = [address for address in found if allow_private or is_public(address)]
    if not addresses:
        refused = "a private address, which allow_private = true would allow"
        raise Undelivered(f"the host has {refused}" if len(found) == 1 else f"the host has no other than {refused}")
    for position, address in enumerate(addresses, start=1):
        try:
            connected = socket.create_connection((str(address), port), timeout=limit.left_s)
        except OSError as error:
            if position == len(addresses) or limit.has_expired:
                raise Undelivered(f"no connection: {describe(error, limit)}") from error
        else:
            connected.settimeout(limit.timeout_s)
            limit.watch(connected)
            return connected
    raise AssertionError("there was an address")


def _look_up(host: str, port: int) -> list[Address]:
    """The host's addresses in the system's order, each once."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Undelivered("the host's name is not known") from error
    return list(dict.fromkeys(ipaddress.ip_address(str(sockaddr[0]).partition("%")[0]) for *_, sockaddr in found))


def is_public(address: Address) -> bool:
    """Whether the address is on the public internet, also if it is an IPv4 address in the clothes of an IPv6 one."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
        if not all(is_public(one) for one in inner if one is not None):
            return False
        if address.ipv4_mapped is not None:
            return True
    return address.is_global and not address.is_multicast


def describe(error: Exception, limit: Limit) -> str:
    """What went wrong with a connection, in words that name no host and quote nobody."""
    if limit.has_expired or isinstance(error, TimeoutError):
        return f"no answer within {limit.timeout_s:g} s"
    match error:
        case ssl.SSLError():
            why = getattr(error, "verify_message", None) or (error.reason or "the handshake failed").replace("_", " ")
            return f"TLS: {why.lower()}"
        case ConnectionRefusedError():
            return "the connection was refused"
        case ConnectionError() | EOFError():
            return "the connection was cut"
        case OSError() if error.strerror:
            return error.strerror.lower()
        case _:
            return f"the other side does not keep to the protocol ({type(error).__name__})"
