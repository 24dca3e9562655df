"""Failures are told apart by what the server, or the connection, really raises."""

from collections.abc import Callable

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.errors import Busy, DatabaseUnavailable, Mistake, StalePlan
from app.failures import Failure, failure_of


@pytest.mark.parametrize(
    ("state", "failure"),
    [
        ("40001", "transient"),  # serialization
        ("40P01", "transient"),  # deadlock
        ("57P01", "transient"),  # admin shutdown
        ("57P02", "transient"),  # crash
        ("57P03", "transient"),  # starting up
        ("57014", "transient"),  # cancelled, or a statement that took too long
        ("08006", "transient"),  # connection failure
        ("53100", "transient"),  # disk full
        ("53300", "transient"),  # too many connections
        ("58030", "transient"),  # input or output
        ("55P03", "transient"),  # a lock that was not to be had
        ("25006", "transient"),  # a standby
        ("42501", "mistake"),  # a grant that lacks
        ("28P01", "mistake"),  # a password
        ("42P01", "bug"),  # undefined table
        ("42601", "bug"),  # syntax
        ("22003", "bug"),  # a number out of range
        ("23505", "bug"),  # unique
        ("XX000", "bug"),  # internal
    ],
)
def test_the_server_s_errors_are_told_apart_by_their_state(state: str, failure: Failure) -> None:
    error = errors.lookup(state)("so it is")
    assert failure_of(error) == failure
    assert failure_of(DBAPIError("SELECT", None, error)) == failure


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (Mistake("the policy is wrong"), "mistake"),
        (StalePlan("plan again"), "transient"),
        (Busy("another run"), "transient"),
        (DatabaseUnavailable("away"), "transient"),
        (psycopg.OperationalError("server closed the connection unexpectedly"), "transient"),
        (OperationalError("COMMIT", None, psycopg.OperationalError("consuming input failed")), "transient"),
        (
            IntegrityError("INSERT", None, psycopg.errors.UniqueViolation("twice"), connection_invalidated=True),
            "transient",
        ),
        (psycopg.ProgrammingError("the cursor is misused"), "bug"),
        (PoolTimeout("no connection is free"), "transient"),
        (ConnectionResetError(), "transient"),
        (TimeoutError(), "transient"),
        (KeyboardInterrupt(), "transient"),
        (SystemExit(), "transient"),
        (ValueError("Acme"), "bug"),
        (MemoryError(), "bug"),
        (KeyError("x"), "bug"),
    ],
)
def test_everything_else_is_told_apart_by_its_kind(error: BaseException, failure: Failure) -> None:
    assert failure_of(error) == failure


def _terminated(database: Engine) -> None:
    with database.connect() as one, database.connect() as other:
        pid = one.scalar(text("SELECT pg_backend_pid()"))
        one.rollback()
        other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        one.execute(text("SELECT 1"))


def _timeout(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 1"))
        connection.execute(text("SELECT pg_sleep(5)"))


def _locked(database: Engine) -> None:
    with database.begin() as holder, database.begin() as connection:
        holder.execute(text("LOCK TABLE pins"))
        connection.execute(text("LOCK TABLE pins NOWAIT"))


def _read_only(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        connection.execute(text("DELETE FROM pins"))


def _lost(database: Engine) -> None:
    with database.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        driver.close()
        connection.execute(text("SELECT 1"))


def _wrong(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("SELECT no_such_column FROM pins"))


@pytest.mark.parametrize(
    ("happen", "failure"),
    [
        (_terminated, "transient"),
        (_timeout, "transient"),
        (_locked, "transient"),
        (_read_only, "transient"),
        (_lost, "transient"),
        (_wrong, "bug"),
    ],
)
def test_what_really_happens_is_told_apart(
    database: Engine, happen: Callable[[Engine], None], failure: Failure
) -> None:
    with pytest.raises(DBAPIError) as caught:
        happen(database)
    assert failure_of(caught.value) == failure
