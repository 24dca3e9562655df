"""`bandshift` in a process of its own that need not import everything anew: forked from one that has.

Two thirds of what a short command costs is its imports, and the documents' stories run hundreds of commands. So where
a test is about what commands do, one after the other, they are started by `Forks.python`: a tiny client hands its
arguments, environment, folder and open files to a process that has imported bandshift (server.py), which forks. What
runs is the real entry point, in a process with its own id, files and exit code; signals sent to the client reach it,
and it dies with the client.

Where a test is about the start itself, or about processes that are killed, it starts the interpreter.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

CLIENT, SERVER = (Path(__file__).with_name(f"{name}.py") for name in ("client", "server"))
ROOT = Path(__file__).parents[2]
START_S = 120


@dataclass(frozen=True, slots=True)
class Forks:
    """Where processes are forked: a socket."""

    socket: Path

    @property
    def python(self) -> list[str]:
        """What to write in place of the interpreter."""
        return [sys.executable, "-I", "-S", str(CLIENT), str(self.socket)]


@contextmanager
def serving() -> Iterator[Forks]:
    """Processes are forked for whoever asks."""
    with TemporaryDirectory(prefix="bandshift-forks-") as folder:
        socket = Path(folder, "socket")
        command = [sys.executable, str(SERVER), str(socket)]
        # Its standard input ends with us, and with it everything.
        server = subprocess.Popen(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE)
        try:
            deadline = time.monotonic() + START_S
            while not socket.exists():
                assert server.poll() is None, "it ended before it listened"
                assert time.monotonic() < deadline, "waited in vain"
                time.sleep(0.02)
            yield Forks(socket)
        finally:
            assert server.stdin is not None
            server.stdin.close()
            server.wait(30)
