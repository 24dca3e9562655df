"""PostgreSQL 18 out of a wheel, to try bandshift out without a server, and for its tests.

The wheel (the `embedded` extra) brings the programs; this module makes a data folder, starts a server on it that
listens on a socket in that folder only, and hands its URL out. Any number of processes may use one folder at once. For
a folder `home`:

    home/postgres           the data
    home/postgres.users     everybody who uses the server holds a shared lock on it
    home/postgres.starting  held, exclusively, while a server is being started

Whoever comes takes a shared lock on the users file, then, one at a time, looks whether a server answers and starts one
if not. The server is the child of a keeper (keeper.py), which stops it when the last shared lock is gone: also when
its holder was killed. So no server outlives its users, and nobody has to count them.
"""

import fcntl
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psycopg
import structlog
from sqlalchemy import URL

from app.embedded import keeper
from app.embedded.folder import (
    Programs,
    clean_environment,
    ensure_data,
    server_owner,
    socket_folder_for,
    wheel_programs,
)
from app.errors import DatabaseUnavailable, Mistake

__all__ = ["NOT_DURABLE", "Programs", "Server", "serve", "serve_scratch", "wheel_programs"]

STOP_WAIT_S = 60
START_WAIT_S = 600
"""Long, for a server that was cut off has its log to read first."""

TUNING: Mapping[str, str] = {
    # For a weekly batch: few connections, big statements, writes in bulk.
    "jit": "off",
    "max_connections": "50",
    "shared_buffers": "256MB",
    "effective_cache_size": "2GB",
    "work_mem": "64MB",
    "maintenance_work_mem": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
NOT_DURABLE: Mapping[str, str] = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""For data that nobody will miss."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its data, the folder of its socket, and its programs."""

    data: Path
    socket_folder: Path
    programs: Programs

    @property
    def url(self) -> URL:
        """How to reach its database, as the superuser; there is no password, the folder's permissions guard it."""
        return URL.create(
            "postgresql+psycopg",
            username="postgres",
            database="postgres",
            port=5432,
            query={"host": str(self.socket_folder)},
        )


@contextmanager
def serve(
    home: Path, *, programs: Programs | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A server on the data in `home/postgres` runs; it stops after its last user.

    The folder and the data are made if they are not there. `settings` are further PostgreSQL settings, for whoever
    starts the server. `Mistake` if the folder cannot be used, `DatabaseUnavailable` if the server does not start.
    """
    with _using(home.expanduser().absolute(), programs or wheel_programs(), settings or {}) as server:
        yield server


@contextmanager
def serve_scratch(*, programs: Programs | None = None) -> Iterator[Server]:
    """A server on an empty database runs; its data is deleted after, even if this process is killed."""
    programs = programs or wheel_programs()
    home = Path(tempfile.mkdtemp(prefix="bandshift-"))
    try:
        with _using(home, programs, NOT_DURABLE, is_scratch=True) as server:
            yield server
    finally:
        # The keeper has done it, unless it never came to start.
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _using(
    home: Path, programs: Programs, settings: Mapping[str, str], *, is_scratch: bool = False
) -> Iterator[Server]:
    """We are among the users of the server in `home`, which runs."""
    with ExitStack() as leaving:
        try:
            home.mkdir(parents=True, exist_ok=True)
            users = leaving.enter_context((home / "postgres.users").open("ab"))
            # Waits while the server of those before us is being stopped.
            fcntl.flock(users, fcntl.LOCK_SH)
            with (home / "postgres.starting").open("ab") as starting:
                fcntl.flock(starting, fcntl.LOCK_EX)
                server = _running(home / "postgres", programs) or _start(
                    home, programs, settings, is_scratch=is_scratch
                )
        except OSError as error:
            raise Mistake(
                f"the embedded database's folder {home} cannot be used ({error.strerror}): set BANDSHIFT_HOME to a "
                "folder that you can write, or DATABASE_URL to a database"
            ) from error
        log.debug("embedded.entered", data=str(server.data))
        try:
            yield server
        finally:
            users.close()
            _wait_if_last(home / "postgres.users", server)


def _running(data: Path, programs: Programs) -> Server | None:
    """The server that answers for this data, if one does."""
    with suppress(OSError, IndexError):
        folder = Path((data / "postmaster.pid").read_text(encoding="utf-8").splitlines()[4])
        server = Server(data, folder, programs)
        if _answers(server):
            return server
    return None


def _answers(server: Server) -> bool:
    """Somebody listens on the server's socket."""
    with closing(socket.socket(socket.AF_UNIX)) as caller:
        try:
            caller.connect(str(server.socket_folder / ".s.PGSQL.5432"))
        except OSError:
            return False
    return True


def _start(home: Path, programs: Programs, settings: Mapping[str, str], *, is_scratch: bool) -> Server:
    """A new server runs on the data in `home`, and takes connections."""
    owner = server_owner(home, programs)
    identity = (str(owner.pw_uid), str(owner.pw_gid)) if owner else ("", "")
    data = home / "postgres"
    ensure_data(data, programs, owner)
    server = Server(data, socket_folder_for(data, owner), programs)
    options = {**TUNING, **_shared_memory(), **settings, "listen_addresses": "", "port": "5432"}
    options["unix_socket_directories"] = str(server.socket_folder)
    command = [str(programs.path("postgres")), "-D", str(data)]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    garbage = [str(home)] if is_scratch else []
    if server.socket_folder != data:
        garbage.append(str(server.socket_folder))
    arguments = [str(home / "postgres.users"), *identity, str(data / "server.log")]
    # Data that is deleted next need not be written out first.
    arguments += ["SIGQUIT" if is_scratch else "SIGINT", *garbage, "--", *command]
    with subprocess.Popen(  # noqa: S603 - our own command line
        [sys.executable, "-I", "-S", keeper.__file__, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=clean_environment(),
        cwd="/",
    ) as launcher:
        assert launcher.stdout is not None  # noqa: S101 - it is a pipe
        _wait_until_ready(server, launcher.stdout, data / "server.log")
    return server


def _wait_until_ready(server: Server, keeper_output: IO[bytes], output: Path) -> None:
    """The server takes connections; `DatabaseUnavailable`, with its last words, if it stops or takes too long."""
    deadline = time.monotonic() + START_WAIT_S
    while time.monotonic() < deadline:
        if _answers(server):
            with suppress(psycopg.OperationalError):
                psycopg.connect(host=str(server.socket_folder), port=5432, user="postgres", dbname="postgres").close()
                return
        # Readable means ended: the keeper never writes.
        if select.select([keeper_output], [], [], 0.01)[0]:
            break
    words = output.read_text(encoding="utf-8", errors="replace").splitlines() if output.exists() else []
    last = next(
        (line for line in reversed(words) if "FATAL" in line or "PANIC" in line), words[-1] if words else "no word"
    )
    raise DatabaseUnavailable(f"the embedded database in {server.data} did not start: {last} (all of it in {output})")


def _wait_if_last(users: Path, server: Server) -> None:
    """The server is down, or others use it."""
    deadline = time.monotonic() + STOP_WAIT_S
    try:
        file = users.open("rb")
    except FileNotFoundError:
        return
    with file:
        while time.monotonic() < deadline:
            if not _lock_now(file, fcntl.LOCK_EX):
                # Others use it, or the keeper has begun to stop it: then this waits until it has.
                if not _lock_now(file, fcntl.LOCK_SH):
                    fcntl.flock(file, fcntl.LOCK_SH)
                return
            if not _answers(server):
                return
            # Nobody uses it, and the keeper is about to know.
            fcntl.flock(file, fcntl.LOCK_UN)
            time.sleep(0.005)


def _lock_now(file: IO[bytes], kind: int) -> bool:
    """Whether the lock could be had at once."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _shared_memory() -> dict[str, str]:
    """Files instead of /dev/shm where that is as small as containers have it: parallel queries would fill it."""
    with suppress(OSError):
        shm = os.statvfs("/dev/shm")  # noqa: S108 - not a file of ours
        if shm.f_blocks * shm.f_frsize < 2**30:
            return {"dynamic_shared_memory_type": "mmap"}
    return {}
