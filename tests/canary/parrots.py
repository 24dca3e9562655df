"""Servers that repeat whatever they are told, secrets and all."""

import base64
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

Server = TypeVar("Server", bound=socketserver.BaseServer)


class Parrot(ThreadingHTTPServer):
    """Answers every request with `status` and all it was told: in the body, in the headers, and in where it leads."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _ParrotHandler)
        self.status = 500
        self.heard: list[str] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _ParrotHandler(BaseHTTPRequestHandler):
    server: Parrot

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        heard = f"{self.requestline}\n{self.headers}\n{body.decode('latin-1')}"
        self.server.heard.append(heard)
        self.send_response(self.server.status, f"you asked for {self.path}")
        self.send_header("Location", f"http://{self.server.address}{self.path}")
        self.send_header("X-Heard", self.path)
        self.end_headers()
        self.wfile.write(heard.encode())

    do_GET = do_POST = do_PUT = _answer  # noqa: N815 - http.server calls them so

    def log_message(self, *_: Any) -> None:
        """Nothing: what the server writes is not ours."""


class SmtpParrot(socketserver.ThreadingTCPServer):
    """An SMTP server that refuses every log-in, with the user and password in its reply."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _SmtpHandler)
        self.heard: list[str] = []


class _SmtpHandler(socketserver.StreamRequestHandler):
    server: SmtpParrot

    def handle(self) -> None:
        self._say("220 parrot")
        for raw in self.rfile:
            line = raw.decode().strip()
            verb, _, rest = line.partition(" ")
            match verb.upper():
                case "EHLO":
                    self._say("250-parrot\r\n250 AUTH PLAIN")
                case "AUTH":
                    given = base64.b64decode(rest.partition(" ")[2]).decode().replace("\0", " ")
                    self.server.heard.append(given)
                    self._say(f"535 5.7.8 no such log-in: {given}")
                case "QUIT":
                    self._say("221 bye")
                    return
                case _:
                    self._say(f"500 what is {line}?")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class PostgresParrot(socketserver.ThreadingTCPServer):
    """A server that asks for the password in clear and refuses it by name."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _PostgresHandler)
        self.heard: list[str] = []


class _PostgresHandler(socketserver.StreamRequestHandler):
    server: PostgresParrot

    _ENCRYPTION_REQUESTS = (80877103, 80877104)

    def handle(self) -> None:
        while self._packet()[:4] in (struct.pack("!i", code) for code in self._ENCRYPTION_REQUESTS):
            self.wfile.write(b"N")
        self.wfile.write(b"R" + struct.pack("!ii", 8, 3))  # the password, please, in clear
        self.rfile.read(1)
        password = self._packet().rstrip(b"\0").decode()
        self.server.heard.append(password)
        fields = f"SFATAL\0VFATAL\0C28P01\0Mthe password {password} is wrong\0\0".encode()
        self.wfile.write(b"E" + struct.pack("!i", len(fields) + 4) + fields)

    def _packet(self) -> bytes:
        (length,) = struct.unpack("!i", self.rfile.read(4))
        return self.rfile.read(length - 4)


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """The server answers, in a thread of its own."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def closed_port() -> int:
    """A port at which nobody answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
