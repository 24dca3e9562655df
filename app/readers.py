"""Reading with more than one connection at a time, all of which see the same.

Postgres does not spread a statement that looks accounts up one by one over its workers, so what a plan needs is asked
in parts, by whichever connection is free. The connections beside the first share its snapshot and only read; where
none is to be had (a server with no connection left), the first one does all the work.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
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


@contextmanager
def sharing_out(connections: Sequence[Connection]) -> Iterator["ShareOut"]:
    """Hands tasks to whichever connection is free, in the order they come.

    The first error, of a task or in the `with` block, is raised when nobody is at work any more: it cancels those that
    are. What nobody called for may be left undone.
    """
    first, *others = connections
    share_out = ShareOut(first)
    with ThreadPoolExecutor(max(len(others), 1), thread_name_prefix="reader") as pool:
        for other in others:
            pool.submit(copy_context().run, share_out.serve, other)
        try:
            yield share_out
        except BaseException as error:
            share_out.fail(error)
            raise
        finally:
            share_out.close()
    if share_out.error is not None:
        raise share_out.error


@dataclass(eq=False, slots=True)
class _Job:
    """A task, and what it returned."""

    task: Task
    later: bool
    result: Any = None
    done: bool = False


class ShareOut:
    """The tasks that wait, and who is at work. All that changes is changed, and waited for, under one condition."""

    def __init__(self, first: Connection) -> None:
        self.error: BaseException | None = None
        self._first = first
        self._waiting: list[_Job] = []
        self._at_work: set[Connection] = set()
        self._closed = False
        self._changed = Condition()

    def __call__(self, task: Task, *, later: bool = False) -> Callable[[], Any]:
        """What the task returns, to be called for by the thread of the first connection, when it is needed.

        Until it is there, that connection does what waits too. A task for `later` is begun when no other waits, and by
        the first connection only when it is called for.
        """
        job = _Job(task, later)
        with self._changed:
            self._waiting.append(job)
            self._changed.notify_all()
        return partial(self._result, job)

    def serve(self, connection: Connection) -> None:
        """Does what waits, until all is done or there was an error."""
        while job := self._next():
            self._do(connection, job)

    def fail(self, error: BaseException) -> None:
        """The first error ends everything; when this returns, nobody but the caller is at work."""
        with self._changed:
            self.error = self.error or error
            self._changed.notify_all()
            while self._at_work:
                for other in self._at_work:
                    _cancel(other)
                self._changed.wait(_CANCEL_AGAIN_S)  # for a statement that was only about to begin is not canceled

    def close(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _result(self, job: _Job) -> Any:
        while before := self._next(wanted=job):
            self._do(self._first, before)
        if self.error is not None:
            raise self.error
        return job.result

    def _next(self, wanted: _Job | None = None) -> _Job | None:
        """The job to do next, as soon as there is one; None when there was an error or what is wanted is done."""
        with self._changed:
            while self.error is None and not (wanted.done if wanted else self._closed and not self._waiting):
                at_once = (job for job in self._waiting if not job.later)
                put_off = (job for job in self._waiting if wanted is None or job is wanted)
                if job := next(at_once, None) or next(put_off, None):
                    self._waiting.remove(job)
                    return job
                self._changed.wait()
        return None

    def _do(self, connection: Connection, job: _Job) -> None:
        with self._changed:
            self._at_work.add(connection)
        try:
            job.result = job.task(connection)
            job.done = True
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread of the run
            self._leave(connection)
            self.fail(error)
        else:
            self._leave(connection)

    def _leave(self, connection: Connection) -> None:
        with self._changed:
            self._at_work.discard(connection)
            self._changed.notify_all()


def _cancel(connection: Connection) -> None:
    driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    try:
        driver.cancel_safe(timeout=_CANCEL_TIMEOUT_S)
    except psycopg.Error:
        log.info("reader.uncancelled")
