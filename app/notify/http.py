"""Posting JSON to a URL: one request, one answer, no redirects, no proxies, no more time than allowed."""

import http.client
import re
import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import SplitResult, quote, unquote, urlsplit

from pydantic import SecretStr

from app import __version__
from app.notify.message import Undelivered
from app.notify.wire import Limit, describe, dial

_MOST_BYTES = 4096
_LONGEST_WAIT_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, the start of the body if it is a refusal, and what `Retry-After` asks for."""

    status: int
    body: bytes
    wait_s: float | None


class _Connection(http.client.HTTPConnection):
    """A connection to a checked address, which speaks TLS in the name of the host."""

    def __init__(self, url: SplitResult, host: str, limit: Limit, *, allow_private: bool) -> None:
        super().__init__(host, url.port or (443 if url.scheme == "https" else 80), timeout=limit.timeout_s)
        self._tls = ssl.create_default_context() if url.scheme == "https" else None
        self._limit, self._allow_private = limit, allow_private

    def connect(self) -> None:
        self.sock = dial(self.host, self.port, self._limit, allow_private=self._allow_private)
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)


def post(
    url: SecretStr, body: bytes, headers: Mapping[str, str], at: datetime, *, timeout_s: float, allow_private: bool
) -> None:
    """The other side has taken the body: it answered with a 2xx. Raises `Undelivered` for anything else."""
    answer = _ask(url, body, headers, at, timeout_s=timeout_s, allow_private=allow_private)
    if not _is_taken(answer.status):
        raise Undelivered(_described(answer), wait_s=answer.wait_s, is_gone=answer.status == HTTPStatus.GONE)


def _is_taken(status: int) -> bool:
    return 200 <= status < 300


def _ask(
    url: SecretStr, body: bytes, headers: Mapping[str, str], at: datetime, *, timeout_s: float, allow_private: bool
) -> Answer:
    parts = urlsplit(url.get_secret_value())
    host = _ascii(parts.hostname or "")
    with Limit(timeout_s) as limit:
        connection = _Connection(parts, host, limit, allow_private=allow_private)
        try:
            connection.request("POST", _target(parts), body, {**_headers(parts), **headers})
            response = connection.getresponse()
            if limit.has_expired:  # the headers end where the connection was shut down
                raise TimeoutError
            # Who has taken it need not say so at length.
            said = b"" if _is_taken(response.status) else response.read(_MOST_BYTES)
            return Answer(response.status, said, _wait_s(response.getheader("Retry-After"), at))
        except (OSError, http.client.HTTPException) as error:
            raise Undelivered(describe(_plain(error), limit)) from None
        finally:
            connection.close()


def _plain(error: Exception) -> Exception:
    """An answer that ends before it should is a connection that was cut."""
    cut = (http.client.IncompleteRead, http.client.RemoteDisconnected)
    return EOFError() if isinstance(error, cut) else error


def _ascii(host: str) -> str:
    try:
        return host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError:
        raise Undelivered("the host's name is not known") from None


def _target(parts: SplitResult) -> str:
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return f"{path}?{query}" if query else path


def _headers(parts: SplitResult) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"bandshift/{__version__}",
        "Connection": "close",
    }
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    return headers


def _wait_s(retry_after: str | None, at: datetime) -> float | None:
    """The seconds that `Retry-After` asks for, a number or a date, no more than a day; None without a usable one."""
    text = (retry_after or "").strip()
    if re.fullmatch(r"\d{1,9}", text):
        return min(float(text), _LONGEST_WAIT_S)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    seconds = ((until if until.tzinfo else until.replace(tzinfo=UTC)) - at).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_WAIT_S)


def _described(answer: Answer) -> str:
    """The status in the words of the standard, for those of the other side may say anything."""
    try:
        phrase = f" {HTTPStatus(answer.status).phrase}"
    except ValueError:
        phrase = ""
    told = f"HTTP {answer.status}{phrase}"
    if 300 <= answer.status < 400:
        return f"{told}: redirects are not followed; the setting's url has to be the final one"
    # Slack says in a word what is wrong: invalid_blocks, no_service, channel_is_archived.
    word = answer.body.decode("ascii", "replace").strip()
    return f"{told}: {word}" if re.fullmatch(r"[a-z]+(_[a-z]+){1,6}", word) and len(word) <= 60 else told
