"""Processes that look at the slots, for the tests that race and kill them. They are forked from one that has imported
everything, so that each starts within a few milliseconds.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from datetime import datetime
from multiprocessing.context import ForkServerContext
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from sqlalchemy import URL, event

from app.errors import Busy
from app.logs import configure_logs
from app.settings import Worker
from app.slots import run_due
from tests.conftest import engine_on
from tests.kept_statements import kept_statements
from tests.small_company import policy

Result = tuple[str, float]
"""How a look ended, and after how many seconds."""

CHOSEN = policy()
"""Read once, by the process that they are forked from."""


def context() -> ForkServerContext:
    """What starts such processes."""
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload([__name__])
    return forks


def race(url: URL, nows: list[datetime], gate: Barrier, results: "SimpleQueue[Result]") -> None:
    """Looks at the slots once for each of `nows`, each time together with all others at the gate."""
    configure_logs()
    with engine_on(url) as engine:
        engine.connect().close()
        for now in nows:
            gate.wait(60)
            started = time.monotonic()
            try:
                result = run_due(engine, lambda: CHOSEN, Worker(), now).result
                ended = "found it done" if result is None else str(result.status)
            except Busy:
                ended = "busy"
            results.put((ended, time.monotonic() - started))


def look(url: URL, now: datetime, dies_at: int, statements: Path) -> None:
    """Looks at the slots, and is killed as by `kill -9` before it sends its so manieth statement or COMMIT.

    What decides is written by the first of many, and kept for the others in this folder.
    """
    configure_logs()
    seen = 0

    def step(*_: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with kept_statements(statements, often=1), engine_on(url) as engine:
        event.listen(engine, "before_cursor_execute", step)
        event.listen(engine, "commit", step)
        run_due(engine, lambda: CHOSEN, Worker(), now)


def until(holds: Callable[[], object], seconds: float = 90) -> None:
    """It holds, soon; fails if it does not within so many seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
