"""The databases of the benchmark: one for each size and kind, and clones of them to run on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import URL, Connection, Engine, text

from app import migrate
from app.database import make_engine
from app.demo import DEMO_SEED, Profile, fill
from app.embedded import Server

TABLES = ("accounts", "account_signals", "csms", "coverage", "band_history", "owner_history", "pins", "runs", "outbox")


@dataclass(frozen=True, slots=True)
class Database:
    """A database to clone, with what it was made of."""

    name: str
    accounts: int
    rows: dict[str, int]


class Databases:
    """The databases on one server."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def make(self, name: str, profile: Profile, accounts: int, as_of: datetime) -> Database:
        """A filled database exists, vacuumed and analysed."""
        self._admin(f"CREATE DATABASE {name} TEMPLATE template0")
        with self._engine(name) as engine:
            migrate.upgrade(engine)
            with engine.begin() as connection:
                rows = fill(connection, accounts=accounts, seed=DEMO_SEED, as_of=as_of, profile=profile)
        self._tidy(name)
        return Database(name, accounts, dict(rows))

    def make_uncovered(self, name: str, source: Database) -> Database:
        """A clone of `source` exists in which no account has a band yet."""
        self._clone(name, source.name)
        with self._engine(name) as engine, engine.begin() as connection:
            tables = "coverage, band_history, owner_history, deliveries, outbox, kept_moves, pins, runs"
            connection.execute(text(f"TRUNCATE {tables}"))
        self._tidy(name)
        return Database(name, source.accounts, source.rows)

    def forget(self, database: Database) -> None:
        """The database is gone."""
        self._admin(f"DROP DATABASE {database.name} WITH (FORCE)")

    @contextmanager
    def clone(self, source: Database) -> Iterator[URL]:
        """The URL of a clone of `source` that is read into the caches, and dropped after."""
        self._clone("work", source.name)
        try:
            with self._engine("work") as engine, engine.connect() as connection:
                for table in TABLES:
                    connection.execute(text(f"SELECT count(*) FROM {table}"))
            yield self.url("work")
        finally:
            self._admin("DROP DATABASE work WITH (FORCE)")

    def url(self, name: str) -> URL:
        """How to reach the database."""
        return self._server.url.set(database=name)

    def _clone(self, name: str, source: str) -> None:
        self._admin(f"CREATE DATABASE {name} TEMPLATE {source} STRATEGY FILE_COPY")

    def _tidy(self, name: str) -> None:
        with self._engine(name) as engine, engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM (FREEZE, ANALYZE)"))

    def _admin(self, statement: str) -> None:
        with self._engine("postgres") as engine, engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text(statement))

    @contextmanager
    def _engine(self, name: str) -> Iterator[Engine]:
        engine = make_engine(self.url(name))
        try:
            yield engine
        finally:
            engine.dispose()


@contextmanager
def connect(url: URL) -> Iterator[Connection]:
    """A connection of its own, closed after."""
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


Moves = frozenset[tuple[str, str | None]]
"""The accounts that move, each with the band it moves to; None is none."""


def moves_written(url: URL) -> Moves:
    """The moves in the history, those of imports left out."""
    with connect(url) as connection:
        rows = connection.execute(text("SELECT account_id, to_band FROM band_history WHERE rule <> 'import'"))
        return frozenset((row.account_id, row.to_band) for row in rows)


def rows_written(url: URL) -> int:
    """How many rows were inserted, updated or deleted in the user's tables since the database was made.

    Sessions report it when they end, so the program under test must have ended.
    """
    with connect(url) as connection:
        written = text("SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables")
        return int(connection.execute(written).scalar_one())


def settings_changed(url: URL) -> dict[str, str]:
    """The server's settings that are not the defaults, by name."""
    asked = text(
        "SELECT name, current_setting(name) AS value FROM pg_settings WHERE source = 'command line'"
        " OR source = 'configuration file' AND name IN ('shared_buffers', 'max_wal_size', 'fsync') ORDER BY name"
    )
    with connect(url) as connection:
        return {row.name: row.value for row in connection.execute(asked)}
