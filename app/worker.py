"""`python -m app.worker`: looks at the ledger when it starts and every few minutes, and does what is due.

What is to be told goes out at each look, and every minute in between: no second attempt waits for the next look.

APScheduler wakes it and knows nothing of slots: its jobs are in memory, and a wake-up that comes late still counts.
The ledger decides, so that any number of workers may run. No tick ends the worker, whatever goes wrong in it; a
database that is away is waited for. SIGTERM and SIGINT end it: the run under way comes to its end, nothing new begins.
"""

import logging
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from queue import SimpleQueue
from threading import Event, Thread
from types import FrameType

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger
from sqlalchemy import Engine

from app import metrics, tracing
from app.database import open_engine
from app.errors import BandshiftError, DatabaseUnavailable
from app.logs import configure_logs
from app.migrate import require_current
from app.policy.read import load_policy
from app.settings import Settings, load_settings
from app.slots import require_policy, run_due
from app.tick import follow_up, step

Clock = Callable[[], datetime]

LONGEST_PAUSE_S = 60
"""Between two attempts to reach a database that was away when the worker started."""

log = structlog.get_logger()


def main() -> None:
    """The worker worked until it was told to stop; what keeps it from working at all is its exit code."""
    configure_logs(level=logging.INFO)
    try:
        work(load_settings(), set_when_told_to_stop(), clock=partial(datetime.now, UTC))
    except BandshiftError as error:
        log.error("worker.refused", error=str(error))  # noqa: TRY400 - it was foreseen
        sys.exit(error.exit_code)


def work(settings: Settings, stopping: Event, *, clock: Clock) -> None:
    """Ticks were made until `stopping`, and the last has come to its end.

    Raises Mistake at once, rather than at each tick, when settings, schema or a first policy are not fit to work with.
    """
    read = partial(load_policy, settings.policy)
    with ExitStack() as stack:
        stack.enter_context(tracing.exported(settings))
        engine = _reach(settings, stack, stopping)
        if engine is None:
            return
        require_policy(engine, read)
        ticks = stack.enter_context(metrics.served(engine, settings, clock))
        scheduler = BackgroundScheduler(
            timezone=UTC,  # otherwise that of the machine
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        worker = settings.worker
        scheduler.add_job(
            partial(tick, engine, settings, stopping, clock=clock, looked=ticks.note),
            IntervalTrigger(minutes=worker.tick_minutes, timezone=UTC),
            next_run_time=datetime.now(UTC),
        )
        scheduler.add_job(
            partial(deliver, engine, settings, stopping, clock=clock),
            IntervalTrigger(seconds=worker.delivery_seconds, timezone=UTC),
            max_instances=2,  # one that finds another at work ends at once; with one, each miss would be a warning
        )
        log.info("worker.started", tick_minutes=worker.tick_minutes, delivery_seconds=worker.delivery_seconds)
        scheduler.start()
        stopping.wait()
        log.info("worker.stopping")
        scheduler.shutdown(wait=True)
    log.info("worker.stopped")


def tick(
    engine: Engine,
    settings: Settings,
    stopping: Event,
    *,
    clock: Clock,
    looked: Callable[[datetime], None] = lambda _: None,
) -> None:
    """What was due was done, as far as it could be; what could not is in the log and, of a run, in the ledger.

    `looked` is told when the database could be asked.
    """
    if stopping.is_set() or not step("schema", lambda: _check(engine)):
        return
    read = partial(load_policy, settings.policy)
    stop = stopping.is_set
    step("slots", lambda: run_due(engine, read, settings.worker, clock(), stop=stop))
    now = clock()
    follow_up(engine, settings, now, deadline=_deadline(settings, now), stop=stop)
    looked(now)
    step("metrics", lambda: metrics.publish(engine, settings, clock()))


def deliver(engine: Engine, settings: Settings, stopping: Event, *, clock: Clock) -> None:
    """What was due in the outbox was delivered, between two ticks; what could not be is in the log."""
    if stopping.is_set() or not step("schema", lambda: _check(engine)):
        return
    now = clock()
    follow_up(engine, settings, now, deadline=_deadline(settings, now), stop=stopping.is_set)


def _deadline(settings: Settings, now: datetime) -> datetime:
    """When a delivery begins nothing more: the next goes on, and no tick is held up by a slow channel."""
    return now + timedelta(seconds=settings.worker.delivery_seconds)


def _check(engine: Engine) -> None:
    """The schema is still the one that this version knows: somebody may have migrated since the start."""
    with engine.connect() as connection:
        require_current(connection)


def _reach(settings: Settings, stack: ExitStack, stopping: Event) -> Engine | None:
    """An engine on the settings' database, closed with the stack; None if the worker is told to stop before."""
    pause_s = 1
    while True:
        try:
            return stack.enter_context(open_engine(settings))
        except DatabaseUnavailable as error:
            log.warning("database.unavailable", error=str(error), again_in_s=pause_s)
        if stopping.wait(pause_s):
            return None
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def set_when_told_to_stop() -> Event:
    """Set after a SIGTERM or SIGINT: the worker stops when it has done what it is doing. Told again, it ends at once.

    A thread sets it, not the handler: that would wait for ever for the lock of the event if the signal came while the
    main thread, whose handler it is, held it on its way to wait for the event.
    """
    told: SimpleQueue[int] = SimpleQueue()
    stopping = Event()

    def stop(number: int, _: FrameType | None) -> None:
        told.put(number)
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)

    def listen() -> None:
        told.get()
        stopping.set()

    Thread(target=listen, name="signals", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return stopping


if __name__ == "__main__":
    main()
