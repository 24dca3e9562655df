"""Asks server.py for a process, and is to its parent what that process would be: run as `python -I -S client.py`.

    client.py SOCKET -m MODULE ARGUMENTS...

Anything but a module of ours is run by the interpreter itself. It imports as little as it can.
"""

import os
import signal
import socket
import sys

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(path: str, *arguments: str) -> None:
    """The process has ended, and so do we: with its exit code, or by its signal."""
    if arguments[:1] != ("-m",) or arguments[1].partition(".")[0] != "app":
        os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - it is what was asked for
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        told = [os.getcwd(), str(len(arguments) - 1), *arguments[1:]]  # noqa: PTH109 - pathlib would be dear here
        told += [f"{name}={value}" for name, value in os.environ.items()]
        message = "\0".join(told).encode(errors="surrogateescape")
        socket.send_fds(server, [len(message).to_bytes(4, "big")], [0, 1, 2])
        server.sendall(message)
        pid = int.from_bytes(received(server), "big")
        for number in FORWARDED:
            signal.signal(number, lambda sent, _: os.kill(pid, sent))
        status = int.from_bytes(received(server), "big")
    if os.WIFSIGNALED(status):
        died_of = os.WTERMSIG(status)
        if died_of != signal.SIGKILL:
            signal.signal(died_of, signal.SIG_DFL)
        os.kill(os.getpid(), died_of)
    os._exit(os.WEXITSTATUS(status))


def received(server: socket.socket) -> bytes:
    """The next number."""
    found = b""
    while len(found) < 4:
        more = server.recv(4 - len(found))
        if not more:
            sys.exit("the server of forks has gone")
        found += more
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
