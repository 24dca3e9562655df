"""Metrics for Prometheus: served by the worker, written to a file or pushed by whoever ran, printed by a command.

The Prometheus client is imported when one of these is asked for, so that no other command waits for it. What cannot be
read, written or pushed is logged, and is never the run's misfortune.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from app.settings import Settings


@dataclass(slots=True)
class Ticks:
    """When the worker last looked at the ledger; None before it did."""

    last: datetime | None = None

    def note(self, at: datetime) -> None:
        """It has looked at the ledger."""
        self.last = at


def publish(engine: Engine, settings: Settings, now: datetime) -> None:
    """The metrics are in the settings' text file and at their Pushgateway, if there are any; what fails is logged."""
    if settings.metrics.textfile is None and settings.metrics.push_url is None:
        return
    from app.metrics import exporter  # noqa: PLC0415 - see above

    registry = exporter.collect(engine, settings, now)
    if settings.metrics.textfile is not None:
        exporter.write(registry, settings.metrics.textfile)
    if settings.metrics.push_url is not None:
        exporter.push(registry, settings.metrics.push_url, settings.metrics.job)


@contextmanager
def published(engine: Engine, settings: Settings, now: datetime) -> Iterator[None]:
    """What was done within is told of after it, however it ended."""
    try:
        yield
    finally:
        publish(engine, settings, now)


@contextmanager
def served(engine: Engine, settings: Settings, clock: Callable[[], datetime]) -> Iterator[Ticks]:
    """The metrics are served at the settings' address, if they name a port; the caller notes its ticks.

    Raises Mistake when the address cannot be had.
    """
    ticks = Ticks()
    if settings.metrics.port is None:
        yield ticks
        return
    from app.metrics import exporter  # noqa: PLC0415 - see above

    with exporter.serve(engine, settings, ticks, clock):
        yield ticks


def exposition(engine: Engine, settings: Settings, now: datetime) -> str:
    """The metrics in Prometheus' text format."""
    from app.metrics import exporter  # noqa: PLC0415 - see above

    return exporter.text(exporter.collect(engine, settings, now))
