"""Delivering the outbox: every message through every channel that takes its topic, at least once.

Each channel has a thread of its own and sends one message at a time, so that one that is slow or down keeps no other
waiting. A channel that fails three times in a row is left alone until the next call. An attempt that fails is repeated
after a time that doubles, less up to half of it by chance so that many do not come back at once; when the delivery's
time is over it is parked.
"""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from time import monotonic

import structlog
from sqlalchemy import Engine

from app.notify import queue
from app.notify.channels import Sender, sender
from app.notify.message import Undelivered
from app.notify.queue import Claim
from app.runs import describe
from app.settings import Channel, Delivery, Settings

log = structlog.get_logger()

_FAILURES_IN_A_ROW = 3
_MARGIN = timedelta(seconds=60)
"""Between the end of the longest attempt and that of its lease."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one call did: how many deliveries were made, are to be tried again, and were parked."""

    delivered: int = 0
    postponed: int = 0
    parked: int = 0

    def __add__(self, other: "Delivered") -> "Delivered":
        return Delivered(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


def deliver_due(
    engine: Engine,
    settings: Settings,
    now: datetime,
    *,
    deadline: datetime,
    stop: Callable[[], bool] = lambda: False,
) -> Delivered:
    """What is due is delivered, postponed or parked; no attempt begins after `deadline` or once `stop` says so.

    An attempt takes no longer than its channel's `timeout_s`, and looking its host up. Many processes may deliver at
    once. Raises the database's errors: what was sent but not marked is sent again, under the same id.
    """
    clock = _Clock(now)
    routes = {name: channel.topics for name, channel in settings.channels.items()}
    with engine.begin() as connection:
        queue.fan_out(connection, routes, now, timedelta(hours=settings.delivery.give_up_hours))
        abandoned = queue.give_up_abandoned(connection, routes, now)
    if not settings.channels:
        return Delivered(parked=abandoned)
    courses = [
        _Course(engine, name, channel, delivery=settings.delivery, clock=clock, deadline=deadline, stop=stop)
        for name, channel in sorted(settings.channels.items())
    ]
    with ThreadPoolExecutor(len(courses), thread_name_prefix="notify") as pool:
        ends = [pool.submit(copy_context().run, course.run) for course in courses]
    return sum((end.result() for end in ends), Delivered(parked=abandoned))


class _Clock:
    """The time, from the one instant that was read at the edge."""

    def __init__(self, now: datetime) -> None:
        self._now, self._since = now, monotonic()

    def now(self) -> datetime:
        return self._now + timedelta(seconds=monotonic() - self._since)


class _Course:
    """One channel's part of a call."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        channel: Channel,
        *,
        delivery: Delivery,
        clock: _Clock,
        deadline: datetime,
        stop: Callable[[], bool],
    ) -> None:
        self.engine, self.name, self.delivery, self.clock = engine, name, delivery, clock
        self.sender: Sender = sender(channel)
        self.lease = timedelta(seconds=channel.timeout_s) * 2 + _MARGIN
        self.deadline, self.stop = deadline, stop

    def run(self) -> Delivered:
        """All that is due has been tried once, or the channel failed too often."""
        total, failures = Delivered(), 0
        while failures < _FAILURES_IN_A_ROW and not self._is_over():
            with self.engine.begin() as connection:
                claimed = queue.claim(connection, self.name, self.clock.now(), self.lease)
            if claimed is None:
                break
            try:
                note = self._send(claimed)
            except Undelivered as error:
                total += self._fail(claimed, error)
                # What is wrong with one message says nothing of the channel.
                failures += 0 if error.is_final else 1
                if error.is_gone or error.wait_s is not None:
                    break
            else:
                with self.engine.begin() as connection:
                    queue.mark_delivered(connection, claimed, self.clock.now(), note)
                log.info("message.delivered", **self._told(claimed), partly=note is not None)
                total, failures = total + Delivered(delivered=1), 0
        return total

    def _is_over(self) -> bool:
        return self.stop() or self.clock.now() >= self.deadline

    def _send(self, claimed: Claim) -> str | None:
        """What part of it was not taken, if any. A bug is a failure like others: it must not hold up the rest."""
        try:
            return self.sender.send(claimed.message, self.clock.now())
        except Undelivered:
            raise
        except Exception as error:
            what = describe(error)
            log.error("message.unsendable", **self._told(claimed), error=what)  # noqa: TRY400 - a traceback may quote data
            raise Undelivered(f"a bug: {what}") from error

    def _fail(self, claimed: Claim, error: Undelivered) -> Delivered:
        """The attempt's failure is on record, and what follows from it."""
        now = self.clock.now()
        wait = timedelta(seconds=max(_backoff_s(claimed.attempt, self.delivery), error.wait_s or 0))
        with self.engine.begin() as connection:
            if error.is_gone:
                queue.mark_parked(connection, claimed, queue.GONE, now)
                others = queue.park_channel(connection, self.name, now)
                log.warning("channel.gone", channel=self.name, parked=others + 1)
                return Delivered(parked=others + 1)
            if error.wait_s is not None:
                queue.hold_back(connection, self.name, now + timedelta(seconds=error.wait_s))
            if not error.is_final and now + wait <= claimed.gives_up_at:
                queue.mark_waiting(connection, claimed, error.why, now + wait)
                log.warning(
                    "message.postponed", **self._told(claimed), why=error.why, wait_s=round(wait.total_seconds())
                )
                return Delivered(postponed=1)
            queue.mark_parked(connection, claimed, error.why, now)
            log.error("message.parked", **self._told(claimed), why=error.why)
            return Delivered(parked=1)

    def _told(self, claimed: Claim) -> dict[str, str | int]:
        message = claimed.message
        return {
            "message_id": message.message_id,
            "topic": message.topic,
            "channel": self.name,
            "attempt": claimed.attempt,
        }


def _backoff_s(attempt: int, delivery: Delivery) -> float:
    """How long to wait after the `attempt`-th attempt."""
    longest = min(delivery.first_retry_s << min(attempt - 1, 30), delivery.last_retry_s)
    return longest * random.uniform(0.5, 1)  # noqa: S311 - it spreads, and keeps no secret
