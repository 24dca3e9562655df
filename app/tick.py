"""What is done each time the ledger is looked at, by the worker and by `bandshift recompute --slot latest` alike.

First the slots, then what is to be told. An error in one step is logged and keeps no other from being done, so that a
run that failed can still be told of.
"""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from threading import Lock
from traceback import extract_tb

import structlog
from sqlalchemy import Engine

from app.errors import Busy
from app.failures import failure_of
from app.notify import deliver_due
from app.runs import SlotDone, describe
from app.settings import Settings
from app.tracing import span

Stop = Callable[[], bool]

_delivering = Lock()
"""Held by the thread that delivers: a process sends one message at a time through a channel."""

log = structlog.get_logger()


def follow_up(engine: Engine, settings: Settings, now: datetime, *, deadline: datetime, stop: Stop) -> None:
    """What is due in the outbox was delivered, as far as `deadline` and `stop` let it. Errors are logged.

    While another thread of this process delivers, nothing is done: the next delivery is soon enough.
    """
    if stop() or not _delivering.acquire(blocking=False):
        return
    try:
        step("deliver", lambda: _deliver(engine, settings, now, deadline, stop))
    finally:
        _delivering.release()


def step(name: str, work: Callable[[], object]) -> bool:
    """Whether the step of this name was done; if not, its error is in the log."""
    try:
        work()
    except (Busy, SlotDone):
        log.info("tick.yielded", step=name)
        return False
    except Exception as error:  # noqa: BLE001 - whatever it is, the next tick is another chance
        kind = failure_of(error)
        frames = _frames(error) if kind == "bug" else []
        log.error("tick.failed", step=name, failure=kind, error=describe(error), frames=frames)  # noqa: TRY400
        return False
    return True


def _deliver(engine: Engine, settings: Settings, now: datetime, deadline: datetime, stop: Stop) -> None:
    with span("deliver"):
        done = asdict(deliver_due(engine, settings, now, deadline=deadline, stop=stop))
    if any(done.values()):
        log.info("outbox.delivered", **done)


def _frames(error: BaseException) -> list[str]:
    """Where the error came from, outermost first: a traceback without its message, which may quote data."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in extract_tb(error.__traceback__)]
