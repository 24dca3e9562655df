"""A real Postgres for every test: one server for the whole session, one migrated template, one clone of it per test.

By default the server is the embedded PostgreSQL 18. TEST_POSTGRES=16 takes the other one of the wheel, another number
one that is installed on this machine (/usr/lib/postgresql/15), `container` a container; TEST_DATABASE_URL takes any
server whose user may create databases. With pytest-xdist all workers share the server: whoever needs it first sets it
up.
"""

import fcntl
import gc
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy import URL, Connection, Engine, event, text
from sqlalchemy.util import LRUCache

from app import database as program
from app import embedded, migrate
from app.database import parse_url
from app.tables import metadata
from tests import forked
from tests.kept_statements import kept_statements

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

MEMORY_BYTES = 4 * 2**30
"""What a session's server may need: its log, and the databases of the tests that run at the same time."""

LEAST_WORKERS, MOST_WORKERS = 3, 8

TEXTS = 3000
"""How many texts of statements a worker keeps."""

CYCLES_AFTER = 50_000, 20, 50
"""How much is made before it is searched for cycles: a statement is of thousands of objects, which go by themselves."""

_session = pytest.StashKey[dict[str, str]]()
_at_the_end = pytest.StashKey[ExitStack]()


def pytest_configure(config: pytest.Config) -> None:
    gc.set_threshold(*CYCLES_AFTER)
    if hasattr(config, "workerinput"):
        config.stash[_session] = config.workerinput["bandshift"]
        return
    stack = config.stash[_at_the_end] = ExitStack()
    # Not pytest's own folder: it clears those of other sessions away, running or not, when there are more than three.
    folder = stack.enter_context(
        TemporaryDirectory(prefix="bandshift-tests-", dir=_roomy_memory(), ignore_cleanup_errors=True)
    )
    session = config.stash[_session] = {"template": f"bandshift_template_{uuid4().hex}", "folder": folder}
    if os.environ.get("TEST_POSTGRES") == "container":
        session["container_url"] = stack.enter_context(_run_container())
    if url := os.environ.get("TEST_DATABASE_URL"):  # every other server goes away by itself
        for kind in ("", "_company", "_company_settled", "_stopped"):  # `made_once` clones the template further
            stack.callback(drop_database, parse_url(SecretStr(url)), f"{session['template']}{kind}")


def _roomy_memory() -> str | None:
    """A folder that is kept in memory, where there is one with room for the databases of a session."""
    memory = Path("/dev/shm")  # noqa: S108 - the folder in it is made by tempfile
    has_room = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > MEMORY_BYTES
    return str(memory) if has_room else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """How many workers `-n auto` is: one more than the machine has cores.

    A worker whose test waits for a process or for Postgres leaves its core to another. With more than a few there are
    soon more databases, and processes of their tests, than the memory of a usual machine has room for.
    """
    return min(max((os.cpu_count() or 1) + 1, LEAST_WORKERS), MOST_WORKERS)


def pytest_collection_finish() -> None:
    """What is there before the first test stays to the end, and is not looked through again and again meanwhile."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The tests that are marked as long are the first that each worker begins, so that none is left with one at last.

    `--dist worksteal` gives every worker one stretch of the list, and has it begin at the front of it.
    """
    workers: int = config.workerinput["workercount"] if hasattr(config, "workerinput") else 1
    fronts: list[list[pytest.Item]] = [[] for _ in range(workers)]
    for number, together in enumerate(_long(items)):
        fronts[number % workers] += together
    others = iter([item for item in items if item.get_closest_marker("long") is None])
    left, ordered = len(items), list[pytest.Item]()
    for place, front in enumerate(fronts):
        stretch = left // (workers - place)
        ordered += front + list(islice(others, max(stretch - len(front), 0)))
        left -= stretch
    items[:] = [*ordered, *others]


def _long(items: list[pytest.Item]) -> Iterable[list[pytest.Item]]:
    """The tests that are marked as long; those of one module that share what is long stand together."""
    found: dict[str, list[pytest.Item]] = {}
    for item in items:
        if mark := item.get_closest_marker("long"):
            shared = mark.kwargs.get("shared")
            found.setdefault(f"{item.path} {shared}" if shared else item.nodeid, []).append(item)
    return found.values()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: "WorkerController") -> None:
    node.workerinput["bandshift"] = node.config.stash[_session]


def pytest_unconfigure(config: pytest.Config) -> None:
    if stack := config.stash.get(_at_the_end, None):
        stack.close()
    _commanders.close()


@contextmanager
def _run_container() -> Iterator[str]:
    from docker.errors import DockerException  # noqa: PLC0415 - only where asked for
    from testcontainers.community.postgres import PostgresContainer  # noqa: PLC0415 - as above

    image = os.environ.get("TEST_POSTGRES_IMAGE", "postgres:18-bookworm")
    options = "postgres -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200"
    with ExitStack() as stack:
        try:
            container = PostgresContainer(image, driver=None, password="p@ss/word")  # noqa: S106 - it is thrown away
            running = stack.enter_context(container.with_command(options))
        except DockerException as error:
            # Who asked for a container does not want to be told that all is well without one.
            pytest.exit(f"TEST_POSTGRES=container, and no container could be started: {error}", returncode=2)
        yield running.get_connection_url()


@pytest.fixture(scope="session", autouse=True)
def statements(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Statements that are asked for often are not written each time; the folder in which they are kept."""
    folder = shared_folder(request.config) / "statements"
    with kept_statements(folder):
        yield folder


@pytest.fixture(scope="session")
def server_url(request: pytest.FixtureRequest) -> Iterator[URL]:
    """The URL of the session's server, as a user who may create databases."""
    with ExitStack() as stack:
        url = _find_server(request.config, shared_folder(request.config), stack)
        stack.callback(_commanding.cache_clear)
        stack.callback(_commanders.close)
        stack.enter_context(shared_texts(url))
        yield url


def shared_folder(config: pytest.Config) -> Path:
    """A folder that all workers of this session share."""
    return Path(config.stash[_session]["folder"])


def _find_server(config: pytest.Config, folder: Path, stack: ExitStack) -> URL:
    kind = os.environ.get("TEST_POSTGRES", "embedded")
    if url := os.environ.get("TEST_DATABASE_URL"):
        return parse_url(SecretStr(url))
    if kind == "container":
        return parse_url(SecretStr(config.stash[_session]["container_url"]))
    settings = {**embedded.NOT_DURABLE, "max_connections": "200"}
    return stack.enter_context(embedded.serve(folder / "home", programs=programs(kind), settings=settings)).url


def programs(kind: str) -> embedded.Programs:
    """The PostgreSQL that TEST_POSTGRES names."""
    if kind == "embedded":
        return embedded.wheel_programs()
    if kind == "16":
        return embedded.wheel_programs(16)
    folder = Path("/usr/lib/postgresql", kind, "bin")
    if not folder.is_dir():
        pytest.exit(f"TEST_POSTGRES={kind}: there is no {folder}", returncode=2)
    return embedded.Programs(folder, int(kind))


@pytest.fixture(scope="session")
def template(server_url: URL, request: pytest.FixtureRequest) -> str:
    """The name of a migrated, empty database to clone."""
    name = request.config.stash[_session]["template"]
    done = shared_folder(request.config) / "template.done"
    with done.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            create_database(server_url, name)
            with engine_on(server_url.set(database=name)) as engine:
                migrate.upgrade(engine)
            done.touch()
    return name


def made_once(server: URL, template: str, kind: str, make: Callable[[Engine], None], folder: Path) -> str:
    """The name of a clone of `template` on which `make` was done by whichever worker came first."""
    name = f"{template}_{kind}"
    done = folder / f"{name}.done"
    with done.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            create_database(server, name, template)
            with engine_on(server.set(database=name)) as engine:
                make(engine)
            done.touch()
    return name


@pytest.fixture
def database_url(server_url: URL, template: str) -> Iterator[URL]:
    """The URL of a fresh, migrated, empty database of this test's own."""
    with database_on(server_url, template) as url:
        yield url


@pytest.fixture
def database(database_url: URL) -> Iterator[Engine]:
    """An engine on this test's own migrated, empty database."""
    with engine_on(database_url) as engine:
        yield engine


@pytest.fixture(scope="session")
def shared_database(server_url: URL, template: str) -> Iterator[Engine]:
    """An engine on a migrated, empty database that stays empty."""
    with database_on(server_url, template) as url, engine_on(url) as engine:
        with engine.begin() as connection:
            # It would find no rows where much was rolled back, and plans for none are slow for those of the next test.
            for table in metadata.sorted_tables:
                connection.execute(text(f"ALTER TABLE {table.name} SET (autovacuum_enabled = off)"))
        yield engine


@pytest.fixture
def connection(shared_database: Engine) -> Iterator[Connection]:
    """A connection to an empty database, in a transaction that is never committed."""
    with shared_database.connect() as connection:
        event.listen(connection, "commit", _must_not_commit)
        yield connection
    _sweep(shared_database)


def _sweep(engine: Engine) -> None:
    """What was rolled back takes up no room any more, where it took up much: it would be in the next test's way."""
    large = text(
        "SELECT string_agg(oid::regclass::text, ', ') FROM pg_class"
        " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND pg_relation_size(oid) > 250000"
    )
    with engine.begin() as connection:
        if tables := connection.execute(large).scalar_one():
            connection.execute(text(f"TRUNCATE {tables} CASCADE"))


def _must_not_commit(_: Connection) -> None:
    pytest.fail("whoever commits needs a database of their own: the fixture `database`")


@pytest.fixture
def blank_url(server_url: URL) -> Iterator[URL]:
    """The URL of a database of this test's own with nothing in it, not even the schema."""
    with database_on(server_url, "template0") as url:
        yield url


@pytest.fixture
def blank(blank_url: URL) -> Iterator[Engine]:
    """An engine on a database with nothing in it."""
    with engine_on(blank_url) as engine:
        yield engine


@pytest.fixture(scope="session")
def forks() -> Iterator[forked.Forks]:
    """Where to get a process of bandshift that has imported everything already."""
    with forked.serving() as forks:
        yield forks


@contextmanager
def database_on(server: URL, template: str) -> Iterator[URL]:
    """A database of its own, cloned from `template`, which is dropped after."""
    name = f"bandshift_test_{uuid4().hex}"
    create_database(server, name, template)
    yield server.set(database=name)
    drop_database(server, name)


@contextmanager
def engine_on(url: URL) -> Iterator[Engine]:
    """An engine as the program makes it, disposed of after."""
    engine = program.make_engine(url)
    yield engine
    engine.dispose()


@contextmanager
def shared_texts(server: URL) -> Iterator[None]:
    """What one engine on the server has written of statements is taken by those that are made after.

    An engine keeps the text of each statement that it has sent. Here nearly every test has an engine of its own, which
    would write them all again; but they speak to one server, and so in one dialect.
    """
    make = program.make_engine
    with engine_on(server) as first, pytest.MonkeyPatch.context() as patch:
        first.connect().close()  # its dialect knows the server from now on
        texts = LRUCache[Any, Any](TEXTS)

        def make_alike(url: URL) -> Engine:
            engine = make(url)
            if (url.host, url.port, url.query) == (server.host, server.port, server.query):
                engine.dialect = engine.pool._dialect = first.dialect
                engine._compiled_cache = texts
            return engine

        patch.setattr(program, "make_engine", make_alike)
        yield


def create_database(server: URL, name: str, template: str = "template0") -> None:
    """A clone of `template`, by copying its files: cheaper than through the log, where nothing waits for a disk."""
    command = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
    _run(server, command.format(sql.Identifier(name), sql.Identifier(template)))


def drop_database(server: URL, name: str) -> None:
    _run(server, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _run(server: URL, statement: sql.Composed) -> None:
    _commanding(server.set(drivername="postgresql").render_as_string(hide_password=False)).execute(statement)


@cache
def _commanding(dsn: str) -> psycopg.Connection[Any]:
    """A connection for what is not of a test's own, one for all: a new one would have the catalog to read first."""
    connection = psycopg.connect(dsn, autocommit=True)
    _commanders.callback(connection.close)
    return connection


_commanders = ExitStack()
