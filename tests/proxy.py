"""A way to the database that can be cut: at any moment, or about the COMMIT of a run's effect."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from sqlalchemy import URL

EFFECT = b"INSERT INTO band_history"

Cut = Literal["never", "before", "after", "late"]
"""When the connection that carries a run's effect is cut.

`before`: its COMMIT never reaches the server. `after`: it is done, and the answer never reaches the client. `late`: the
client is cut off while its COMMIT is on its way, which the server gets when the test lets it.
"""


class Proxy:
    """Listens on a port of its own and passes on what it gets, both ways, until it is told otherwise."""

    def __init__(self, target: URL) -> None:
        self.target = target
        self.cut: Cut = "never"
        self.cuts = 0
        self.let_through = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.sockets: list[socket.socket] = []
        self.is_open = True
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> URL:
        """The database, by way of here."""
        port = self.listener.getsockname()[1]
        query = {name: value for name, value in self.target.query.items() if name not in ("host", "port")}
        return self.target.set(host="127.0.0.1", port=port, query={**query, "sslmode": "disable"})

    def close(self) -> None:
        """The database cannot be reached, and whoever had reached it is cut off."""
        self.is_open = False
        while self.sockets:
            _hang_up(self.sockets.pop())

    def open(self) -> None:
        """The database can be reached again."""
        self.is_open = True

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                if not self.is_open:
                    client.close()
                    continue
                server = self._connect()
                self.sockets += [client, server]
                muted = threading.Event()
                threading.Thread(target=self._upstream, args=(client, server, muted), daemon=True).start()
                threading.Thread(target=_downstream, args=(server, client, muted), daemon=True).start()

    def _connect(self) -> socket.socket:
        host = self.target.query.get("host", self.target.host or "127.0.0.1")
        assert isinstance(host, str)
        port = self.target.port or 5432
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _upstream(self, client: socket.socket, server: socket.socket, muted: threading.Event) -> None:
        carries_effect = False
        with suppress(OSError):
            while data := client.recv(65536):
                carries_effect = carries_effect or EFFECT in data
                if carries_effect and b"COMMIT" in data and self.cut != "never":
                    muted.set()
                    self._cut(client, server, data)
                    break
                server.sendall(data)
        _hang_up(client)
        _hang_up(server)

    def _cut(self, client: socket.socket, server: socket.socket, commit: bytes) -> None:
        how, self.cut = self.cut, "never"
        self.cuts += 1
        if how == "before":
            return
        if how == "late":
            _hang_up(client)
            assert self.let_through.wait(30)
        server.sendall(commit)
        server.shutdown(socket.SHUT_WR)
        while server.recv(65536):  # until the server, which has done what it was sent, ends the session
            pass


def _downstream(server: socket.socket, client: socket.socket, muted: threading.Event) -> None:
    with suppress(OSError):
        while data := server.recv(65536):
            if muted.is_set():
                return  # what comes now is for nobody, and the other thread reads the rest
            client.sendall(data)
    _hang_up(client)


def _hang_up(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def proxy_to(target: URL) -> Iterator[Proxy]:
    """A proxy to this database, gone after."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.let_through.set()
        proxy.close()
        _hang_up(proxy.listener)
