"""Keeps one embedded PostgreSQL running for as long as anybody uses it. Run as a program, by app.embedded.

    python -I -S keeper.py USERS-FILE UID GID LOG-FILE STOP-SIGNAL [FOLDER...] -- POSTGRES ARGUMENTS...

Whoever uses the server holds a shared lock on the users file. The kernel drops it when the process ends, however it
ends. The keeper asks for the exclusive lock: when it gets it, nobody is left, and it stops the server with the
signal. It keeps the lock until the server is down, so that whoever comes meanwhile waits, and then starts another. At
the very end it deletes the folders.

It takes only the standard library, imports nothing of ours, and holds its standard output open for as long as it
lives: an end of file there says that it has gone.
"""

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading

PATIENCE_S = 120
"""How long a server may take to write everything out before it is stopped the hard way."""


def main(users: str, uid: str, gid: str, log: str, stop: str, *rest: str) -> None:
    """The server ran, everybody left, and it is stopped; the process that started us was let go at once."""
    folders, server = rest[: rest.index("--")], rest[rest.index("--") + 1 :]
    if os.fork():
        os._exit(0)
    os.setsid()
    # Interrupting a command at a terminal is no reason to take the server from the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with open(log, "wb") as output:  # noqa: PTH123 - pathlib would be the dearest import here
        postgres = subprocess.Popen(  # noqa: S603 - our own command line
            server,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            user=int(uid) if uid else None,
            group=int(gid) if gid else None,
            extra_groups=[] if uid else None,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - there is one thread yet
        )
    signal.signal(signal.SIGTERM, lambda *_: postgres.send_signal(signal.SIGINT))
    threading.Thread(target=_stop_when_unused, args=(postgres, users, signal.Signals[stop]), daemon=True).start()
    postgres.wait()
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _stop_when_unused(postgres: "subprocess.Popen[bytes]", users: str, stop: signal.Signals) -> None:
    """Everybody has left, and the server is told to stop; the lock is held until this process ends."""
    file = os.open(users, os.O_RDWR)
    fcntl.flock(file, fcntl.LOCK_EX)
    postgres.send_signal(stop)
    try:
        postgres.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        postgres.send_signal(signal.SIGQUIT)


def _die_with_parent() -> None:
    """Where the system can (Linux), the server stops even if the keeper is killed."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(1, signal.SIGINT)


if __name__ == "__main__":
    main(*sys.argv[1:])
