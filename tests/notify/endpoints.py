"""Real servers for messages to go to, which answer as they are told, and keep what they were sent."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATIENCE_S = 20.0
"""After this long a server that waits goes on, so that a test that fails does not hang."""


@dataclass(frozen=True)
class Request:
    """One request as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes


Act = Callable[["Endpoint", BaseHTTPRequestHandler], None]
"""What an endpoint does with a request that it has read."""


def answer(status: int, body: bytes = b"ok", **headers: str) -> Act:
    """It answers; header names are written with _ for -."""

    def act(_: "Endpoint", handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return act


def cut(_: "Endpoint", handler: BaseHTTPRequestHandler) -> None:
    """It reads the request and hangs up."""
    handler.connection.shutdown(socket.SHUT_RDWR)


def cut_within(_: "Endpoint", handler: BaseHTTPRequestHandler) -> None:
    """It hangs up in the middle of its answer's body."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nha")
    handler.connection.shutdown(socket.SHUT_RDWR)


def say_nothing(endpoint: "Endpoint", _: BaseHTTPRequestHandler) -> None:
    """It reads the request and is silent until the test is over."""
    endpoint.over.wait(PATIENCE_S)


def drip(endpoint: "Endpoint", handler: BaseHTTPRequestHandler) -> None:
    """It sends an answer that never ends, a byte now and then: no read of it ever times out."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    try:
        while not endpoint.over.wait(0.02):
            handler.wfile.write(b"x")
            handler.wfile.flush()
    except OSError:
        pass  # they have hung up, as they should


def babble(_: "Endpoint", handler: BaseHTTPRequestHandler) -> None:
    """It answers in another protocol."""
    handler.wfile.write(b"220 smtp.example.com ESMTP\r\n")


@dataclass
class Endpoint:
    """A server that does the acts one after the other and then the last of them for ever."""

    acts: Sequence[Act]
    requests: list[Request] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def ids(self) -> list[str]:
        """The ids of the messages that came in, in order."""
        return [request.headers["webhook-id"] for request in self.requests]

    def take(self, request: Request) -> Act:
        with self._lock:
            self.requests.append(request)
            return self.acts[min(len(self.requests), len(self.acts)) - 1]


@contextmanager
def serve(*acts: Act, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[Endpoint]:
    """An endpoint at a port of its own; without an act it answers 200."""
    endpoint = Endpoint(acts or (answer(200),))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            endpoint.take(Request(self.path, headers, body))(endpoint, self)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - it overrides
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # who sends may hang up, and should when it takes too long

    server = Server((host, 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    endpoint.url = f"{'https' if tls else 'http'}://{host}:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield endpoint
    finally:
        endpoint.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def closed_port() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
