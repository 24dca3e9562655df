"""The database: found, reached, and of the right schema; or one line that says what to do.

A database URL is a secret. No message here quotes it: what the driver says is passed on with the password blotted out,
and a URL that cannot be read is not passed on at all, for nobody knows where its password is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

import psycopg
from psycopg import errors
from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from app import embedded, migrate
from app.errors import BandshiftError, DatabaseUnavailable, Mistake
from app.settings import Settings

CONNECT_TIMEOUT_S = 10
_SCHEMES = {"postgres", "postgresql", "postgresql+psycopg"}
_SESSION = """
    SELECT set_config('TimeZone', 'UTC', false), set_config('DateStyle', 'ISO, YMD', false),
           set_config('jit', 'off', false)
"""
_NOTICE_A_LOST_CLIENT = (
    "SELECT set_config(name, '1s', false) FROM pg_catalog.pg_settings WHERE name = 'client_connection_check_interval'"
)


def parse_url(secret: Any) -> URL:
    """The URL to connect to, through psycopg. `secret` is a `SecretStr`, so that no traceback shows what is in it.

    Takes postgres:// and postgresql://. Raises `Mistake`, which quotes nothing of it, if it is not such a URL.
    """
    text: str = secret.get_secret_value().strip()
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise Mistake(f"DATABASE_URL is not a URL: {_EXPECTED}")
    if scheme not in _SCHEMES:
        # A scheme is letters; anything else may be a part of the secret.
        named = f" {scheme}://" if scheme.replace("+", "").isalnum() and scheme.islower() else ""
        raise Mistake(f"DATABASE_URL is not a PostgreSQL URL{named}: {_EXPECTED}")
    if rest.partition("?")[0].count("@") > 1:
        raise Mistake(f"DATABASE_URL has more than one @: in a user or password it is written %40; {_EXPECTED}")
    try:
        url = make_url(f"postgresql+psycopg://{rest}")
    except (ArgumentError, ValueError):
        url = None
    if url is None:  # outside of the handler, so that its error, which may quote the URL, is not told as well
        raise Mistake(f"DATABASE_URL cannot be read: {_EXPECTED}")
    if not url.query.keys() <= _options():
        # Its name may be the end of a password with a bare ? in it.
        raise Mistake(f"DATABASE_URL has an option after its ? that PostgreSQL does not know: {_EXPECTED}")
    return url


@cache
def _options() -> frozenset[str]:
    """The options that a connection may have."""
    return frozenset(option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults())


_EXPECTED = "postgresql://user:password@host:5432/database is expected, special characters percent-encoded"


def make_engine(url: URL) -> Engine:
    """An engine whose every connection speaks UTC and ISO dates, runs READ COMMITTED, and is named bandshift.

    The server is not reached yet. Errors show no parameters, which may be names of customers.
    """
    arguments: dict[str, Any] = {
        "client_encoding": "utf8",
        "prepare_threshold": None,
    }  # poolers lose prepared statements
    defaults = {"application_name": "bandshift", "connect_timeout": CONNECT_TIMEOUT_S}
    arguments.update({name: value for name, value in defaults.items() if name not in url.query})
    engine = create_engine(
        url,
        connect_args=arguments,
        hide_parameters=True,
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
    )
    event.listen(engine, "connect", _set_up_session)
    return engine


def _set_up_session(connection: psycopg.Connection[Any], _: object) -> None:
    """The session speaks UTC and ISO, and ends soon after its client, with its locks, where the server can see that."""
    was = connection.autocommit
    connection.autocommit = True
    connection.execute(_SESSION)
    try:
        connection.execute(_NOTICE_A_LOST_CLIENT)
    except psycopg.Error:
        # The setting is there and the server's system cannot do it; its locks then last as long as the statement.
        connection.execute(_SESSION)
    connection.autocommit = was


@contextmanager
def open_engine(settings: Settings) -> Iterator[Engine]:
    """An engine on a database whose schema is this version's.

    Without a `database_url` that is the embedded one in `settings.home`: started, migrated, and stopped after.
    Otherwise it is the user's, which is never migrated unasked: `Mistake` says which command to run.
    `DatabaseUnavailable` if the server cannot be reached, or is lost while the caller is at work.
    """
    if settings.database_url is None:
        with embedded.serve(settings.home) as server, _engine(server.url) as engine:
            migrate.upgrade(engine)
            yield engine
    else:
        with open_unchecked(settings) as engine:
            with engine.connect() as connection:
                migrate.require_current(connection)
            yield engine


@contextmanager
def open_unchecked(settings: Settings) -> Iterator[Engine]:
    """An engine on the database of the settings, whatever its schema: for `bandshift db`."""
    if settings.database_url is None:
        with embedded.serve(settings.home) as server, _engine(server.url) as engine:
            yield engine
    else:
        with _engine(parse_url(settings.database_url)) as engine:
            yield engine


@contextmanager
def scratch_engine() -> Iterator[Engine]:
    """An engine on an embedded database that is migrated, empty, and deleted after."""
    with embedded.serve_scratch() as server, _engine(server.url) as engine:
        migrate.upgrade(engine)
        yield engine


@contextmanager
def _engine(url: URL) -> Iterator[Engine]:
    """An engine, disposed of after; a server that is away, or refuses, is told in one line."""
    engine = make_engine(url)
    try:
        yield engine
    except (DBAPIError, psycopg.Error) as error:
        foreseen = _foreseen(error, url)
        if foreseen is None:
            raise
        raise foreseen from None
    finally:
        engine.dispose()


def _foreseen(error: DBAPIError | psycopg.Error, url: URL) -> BandshiftError | None:
    """What to tell the user of an error that is not a bug of ours."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    said = blot_out("; ".join(line.strip() for line in str(cause).splitlines() if line.strip()), url)
    match cause:
        case errors.InsufficientPrivilege():
            return Mistake(f"the database refuses its user: {said}")
        case errors.DiskFull():
            return DatabaseUnavailable(f"the database has no room left: {said}")
        case errors.AdminShutdown() | errors.CrashShutdown() | errors.CannotConnectNow():
            return DatabaseUnavailable(_LOST + said)
        case psycopg.OperationalError(sqlstate=None):  # it is not the server that speaks
            is_lost = not isinstance(error, DBAPIError) or error.connection_invalidated
            away = "the database cannot be reached: "
            return DatabaseUnavailable((_LOST if is_lost else away) + said.removeprefix("connection failed: "))
        case _:
            return None


_LOST = "the connection to the database was lost, and with it what was not committed: "


def blot_out(text: str, url: URL) -> str:
    """The text without the URL's passwords, in any of the ways they may be written."""
    secrets = {str(url.password or "")}
    for name in ("password", "sslpassword"):
        value = url.query.get(name, "")
        secrets.update([value] if isinstance(value, str) else value)
    spellings = {write(secret) for secret in secrets for write in (str, quote, quote_plus, unquote, unquote_plus, repr)}
    for spelling in sorted(spellings - {"", "''"}, key=lambda written: (-len(written), written)):
        text = text.replace(spelling, "***")
    return text
