"""The schema's version: what it is, what it should be, and how to get there.

The migrations lie beside this package, in the checkout as when installed. Each file's name begins with its revision,
which is its date, so that what is newest is read off the folder, without loading a single migration.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from psycopg import errors
from sqlalchemy import Connection, Engine, Text, column, func, select, table, text
from sqlalchemy.exc import DBAPIError

from app import roles
from app.errors import BandshiftError, Busy, Mistake

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
VERSION_TABLE = "bandshift_version"
"""Not Alembic's usual name: the database is the user's, who may keep an Alembic of their own in it."""

_version = table(VERSION_TABLE, column("version_num", Text))
_REVISION_LENGTH = len("2026_11_22_0901")

log = structlog.get_logger()


@cache
def revisions() -> tuple[str, ...]:
    """Every revision that this version of bandshift knows, oldest first."""
    found = (MIGRATIONS / "versions").glob("[0-9]*.py")
    return tuple(sorted(path.name[:_REVISION_LENGTH] for path in found))


def head() -> str:
    """The revision that this version of bandshift works with."""
    return revisions()[-1]


def current(connection: Connection) -> str | None:
    """The revision that the database is at; None if it has no schema of ours."""
    if connection.scalar(select(func.to_regclass(VERSION_TABLE))) is None:
        return None
    return connection.scalar(select(_version.c.version_num))


def require_current(connection: Connection) -> None:
    """The schema is the one this version works with; otherwise `Mistake` says what to run."""
    found = current(connection)
    if found is None:
        raise Mistake("the database has no bandshift schema yet: run `bandshift db upgrade`")
    if found not in revisions():
        raise Mistake(
            f"the database's schema ({found}) is newer than this bandshift knows ({head()}): install the bandshift "
            "whose `bandshift db upgrade` made it"
        )
    if found != head():
        raise Mistake(
            f"the database's schema is of {found} and this bandshift needs {head()}: run `bandshift db upgrade`"
        )


def upgrade(engine: Engine) -> tuple[str, ...]:
    """The schema is at the head; returns the revisions applied, oldest first, none if it was there already.

    Each migration commits on its own, so that one that fails leaves those before it in place; run again, it goes on
    from there. Where there are roles, the owner migrates, and the others are granted what they need at the end. Two
    upgrades at once: the second waits, and finds nothing to do. Raises `Mistake` if the schema is newer than this
    version, or if a table of the same name is in the way, and `Busy` if another session keeps a table locked.
    """
    with engine.connect() as connection:
        found = current(connection)
        if found == head():
            return ()
    with _alone(engine), engine.connect() as connection:
        found = current(connection)
        connection.rollback()
        if found is not None and found not in revisions():
            require_current(connection)
        pending = tuple(revision for revision in revisions() if found is None or revision > found)
        if pending:
            connection.detach()  # it may change its role, so nobody is to have it after
            with connection.begin():
                roles.become_owner(connection, VERSION_TABLE)
            _run(connection)
            with connection.begin():
                roles.grant_again(connection)
            log.info("schema.upgraded", from_revision=found, to_revision=head(), migrations=len(pending))
    return pending


def config(connection: Connection | None = None) -> "Config":
    """Alembic's configuration for our migrations, to be run through `connection`."""
    # Alembic takes a fifth of a second to import, and only an upgrade needs it.
    from alembic.config import Config  # noqa: PLC0415

    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = connection
    return made


def _run(connection: Connection) -> None:
    """All migrations are applied through `connection`."""
    from alembic import command  # noqa: PLC0415 - as above

    try:
        command.upgrade(config(connection), "head")
    except DBAPIError as error:
        raise _foreseen(error) from error


def _foreseen(error: DBAPIError) -> BandshiftError | DBAPIError:
    """What to tell the user about an error that the database raised in a migration; a bug stays what it is."""
    match error.orig:
        case errors.DuplicateTable():
            said = error.orig.diag.message_primary
            return Mistake(
                f"{said}, and it is not bandshift's: give bandshift a schema of its own (CREATE SCHEMA bandshift, and "
                "?options=-csearch_path%3Dbandshift at the end of DATABASE_URL)"
            )
        case errors.InsufficientPrivilege():
            return Mistake(f"the database's user may not make tables: {error.orig.diag.message_primary}")
        case errors.LockNotAvailable():
            return Busy("another session keeps a table locked; nothing of this step was changed, run it again later")
        case _:
            return error


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """No other upgrade of this database runs meanwhile.

    The lock is a transaction's, on a connection that does nothing else, since each migration ends a transaction of its
    own. It holds no snapshot, so that a migration may build an index concurrently; for the same reason it is asked for
    again and again instead of waited for.
    """
    with engine.connect() as connection:
        while not connection.scalar(select(func.pg_try_advisory_xact_lock(roles.LOCK_KEY))):
            connection.rollback()
            time.sleep(0.05)
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        yield
