"""Reading with more than one connection at a time, all of which see the same.

Postgres does not spread a statement that looks accounts up one by one over its workers, so what a plan needs is asked
in parts, by whichever connection is free. The connections beside the first share its snapshot and only read; where
none is to be had (a server with no connection left), the first one does all the work.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from threading import Condition
from typing import Any, cast

import psycopg
import structlog
from psycopg import sql
from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoneLeft

BESIDE = 1
"""How many connections a run reads with beside its own."""

_CANCEL_TIMEOUT_S = 5.0
_CANCEL_AGAIN_S = 0.1

Task = Callable[[Connection], Any]

log = structlog.get_logger()


@contextmanager
def beside(engine: Engine, connection: Connection) -> Iterator[tuple[Connection, ...]]:
    """Connections that see what `connection` sees now, what it has not committed apart; none if none are to be had."""
    snapshot = connection.execute(select(func.pg_export_snapshot())).scalar_one()
    with ExitStack() as stack:
        try:
            others = tuple(stack.enter_context(_sharing(engine, snapshot)) for _ in range(BESIDE))
        except (DBAPIError, NoneLeft, psycopg.Error):
            log.info("run.reads_alone")
            others = ()
        yield others


@contextmanager
def _sharing(engine: Engine, snapshot: str) -> Iterator[Connection]:
    """A connection of that snapshot, whose transaction is rolled back at the end: it wrote nothing."""
    with engine.connect() as connection:
        alike = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        # The server takes its name as a literal only.
        alike.connection.cursor().execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
        yield alike


def gather(connections: Sequence[Connection], tasks: Sequence[Task]) -> list[Any]:
    """What each task returns, in their order; they are begun in this order too, by whichever connection is free.

    The first error is raised when no task is at work any more: it cancels those that are, and leaves the others.
    """
    left = deque(enumerate(tasks))
    found: dict[int, Any] = {}
    errors: list[BaseException] = []
    at_work, changed = set(connections), Condition()

    def work(connection: Connection) -> None:
        try:
            while left:
                try:
                    place, task = left.popleft()
                except IndexError:  # another connection was quicker
                    break
                found[place] = task(connection)
        except BaseException as error:  # noqa: BLE001 - it is raised below, in the thread of the run
            errors.append(error)
            left.clear()
        with changed:
            at_work.discard(connection)
            changed.notify_all()
            while errors and at_work:
                for other in at_work:
                    _cancel(other)
                changed.wait(_CANCEL_AGAIN_S)  # for a statement that was only about to begin is not canceled

    first, *others = connections
    with ThreadPoolExecutor(max(len(others), 1), thread_name_prefix="reader") as pool:
        for other in others:
            pool.submit(copy_context().run, work, other)
        work(first)
    if errors:
        raise errors[0]
    return [found[place] for place in range(len(tasks))]


@contextmanager
def meanwhile(connections: Sequence[Connection], task: Task) -> Iterator[Callable[[], Any]]:
    """What the task returns, to be called for when it is needed; another connection than the first works on it.

    With one connection alone it is done when it is called for.
    """
    first, *others = connections
    if not others:
        yield lambda: task(first)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="reader") as pool:
        working = pool.submit(copy_context().run, task, others[0])
        try:
            yield working.result
        except BaseException:
            while not working.done():
                _cancel(others[0])
                wait([working], _CANCEL_AGAIN_S)
            raise


def _cancel(connection: Connection) -> None:
    driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    try:
        driver.cancel_safe(timeout=_CANCEL_TIMEOUT_S)
    except psycopg.Error:
        log.info("reader.uncancelled")
