"""Forks bandshift for client.py: `python server.py SOCKET`, until the standard input ends.

It has one thread and opens nothing but sockets, so that what it forks is as good as new.
"""

import contextlib
import gc
import importlib
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
import time
from dataclasses import dataclass

ENTRIES = ("app.__main__", "app.recompute", "app.worker")
"""What is run as `__main__`, and must therefore not have been imported."""

OURS = 0
"""Our standard input, whose end is ours."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A process that somebody wants."""

    folder: str
    module: str
    arguments: list[str]
    environment: dict[str, str]
    files: list[int]


def preload() -> None:
    """Everything that bandshift might import is there, but for what is run."""
    app = importlib.import_module("app")
    for found in pkgutil.walk_packages(app.__path__, "app."):
        if found.name != "app.__main__":
            importlib.import_module(found.name)
    for name in ENTRIES:
        if sys.modules.pop(name, None):
            delattr(app, name.rpartition(".")[2])
    gc.collect()
    gc.freeze()  # what is there stays, and is not looked through, and so copied, in every fork


class Server:
    """Waits for clients, and for the processes that it forked for them."""

    def __init__(self, path: str) -> None:
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(path + ".new")
        self.listening.listen(64)
        os.rename(path + ".new", path)  # noqa: PTH104 - who sees it can connect
        self.woken, self.wake = socket.socketpair()
        self.wake.setblocking(False)
        signal.set_wakeup_fd(self.wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever interrupts the tests ends our standard input
        self.running: dict[int, socket.socket] = {}
        self.selector = selectors.DefaultSelector()
        for one in (OURS, self.listening, self.woken):
            self.selector.register(one, selectors.EVENT_READ)

    def serve(self) -> Asked | None:
        """What this process is to be, for it is a fork now; or None at the end."""
        while True:
            for key, _ in self.selector.select():
                if key.fileobj == OURS:
                    for pid in self.running:
                        os.kill(pid, signal.SIGKILL)
                    return None
                if key.fileobj is self.listening:
                    if asked := self.fork():
                        return asked
                elif key.fileobj is self.woken:
                    self.woken.recv(4096)
                    self.reap()
                elif key.data in self.running:  # its client has gone, for it has nothing more to say
                    os.kill(key.data, signal.SIGKILL)
                    self.selector.unregister(key.fileobj)

    def fork(self) -> Asked | None:
        """A process is there for the client who has come; in that process, what it is to be."""
        client, _ = self.listening.accept()
        asked = received(client)
        if asked is None:
            client.close()
            return None
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self.selector.close()
            for one in (client, self.listening, self.woken, self.wake, *self.running.values()):
                one.close()
            return asked
        for file in asked.files:
            os.close(file)
        client.sendall(pid.to_bytes(4, "big"))
        self.running[pid] = client
        self.selector.register(client, selectors.EVENT_READ, pid)
        return None

    def reap(self) -> None:
        """Whoever waits for a process that has ended knows how."""
        for pid in list(self.running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                client = self.running.pop(pid)
                with contextlib.suppress(KeyError):  # it has gone itself
                    self.selector.unregister(client)
                with contextlib.suppress(OSError):
                    client.sendall(status.to_bytes(4, "big"))
                client.close()


def received(client: socket.socket) -> Asked | None:
    """What a client asks for; None if it went before it had asked."""
    length, files, _, _ = socket.recv_fds(client, 4, 3)
    wanted, found = int.from_bytes(length, "big"), b""
    while len(found) < wanted and (more := client.recv(wanted - len(found))):
        found += more
    if len(files) < 3 or len(found) < wanted:
        for file in files:
            os.close(file)
        return None
    folder, count, *rest = found.decode(errors="surrogateescape").split("\0")
    module, *arguments = rest[: int(count)]
    environment = dict(item.split("=", 1) for item in rest[int(count) :])
    return Asked(folder, module, arguments, environment, files)


def become(asked: Asked) -> None:
    """This process has the folder, the environment and the files that were asked for, and runs the module."""
    for place, file in enumerate(asked.files):
        os.dup2(file, place)
        os.close(file)
    os.chdir(asked.folder)
    os.environ.clear()
    os.environ.update(asked.environment)
    time.tzset()
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as the process
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as above
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115 - as above
    sys.argv = ["", *asked.arguments]
    runpy.run_module(asked.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    preload()
    if wanted := Server(sys.argv[1]).serve():
        become(wanted)
