"""Whether all is well: the slots, what waits for a person, and what could not be delivered. Reads only.

What is wrong is a problem, for a monitor to see: a slot that is late or given up, messages that are parked, a schema of
another version. What waits for an answer is none: that ends by itself, and everybody was told.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select

from app import migrate
from app.answers import Stopped, read_awaiting
from app.due import ON_TIME, Due, due
from app.errors import Mistake
from app.figures import counted
from app.invariants import IN_EFFECT
from app.notify.backlog import Backlog, read_backlog
from app.policy.model import Policy
from app.runs import newest_as_of
from app.schedule import latest_due_slot, next_slot, slot_instant
from app.settings import Worker
from app.slots import read_slots
from app.tables import runs


@dataclass(frozen=True, slots=True)
class Schema:
    """The schema that is needed, the one that was found (None: none of ours), and what to do if it is another."""

    needed: str
    found: str | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class Slots:
    """Where the slots stand. `standing` is that of `latest`, the last that fell due; None: no slot was ever run here.

    `late_by` is how long the oldest slot that is yet to be run or passed over has been overdue, None if there is none
    or its time has not come.
    """

    latest: date
    fell_due: datetime
    standing: str | None
    late: date | None
    late_by: timedelta | None
    next: date
    next_due: datetime


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that ended, well or not."""

    run_id: UUID
    kind: str
    slot: date | None
    as_of: datetime
    started_at: datetime
    status: str
    failure: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """How things stand at `now`. With another schema than the one needed, nothing but that is known."""

    now: datetime
    schema: Schema
    slots: Slots | None = None
    last_slot: Ended | None = None
    last_run: Ended | None = None
    last_failure: Ended | None = None
    awaiting: tuple[Stopped, ...] = ()
    backlog: Backlog | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, in a sentence each, with what to do; empty if all is well."""
        return tuple(_problems(self))


def read_status(connection: Connection, policy: Policy, worker: Worker, now: datetime) -> Status:
    """How things stand, as the ledger and the policy's calendar say."""
    schema = _schema(connection)
    if schema.problem is not None:
        return Status(now, schema)
    took_effect = runs.c.status.in_(IN_EFFECT)
    return Status(
        now=now,
        schema=schema,
        slots=_slots(connection, policy, worker, now),
        last_slot=_last(connection, took_effect, runs.c.slot.is_not(None), by=runs.c.slot),
        last_run=_last(connection, took_effect, runs.c.kind != "import", by=runs.c.started_at),
        last_failure=_last(connection, runs.c.status == "failed", by=runs.c.started_at),
        awaiting=read_awaiting(connection),
        backlog=read_backlog(connection),
    )


def _schema(connection: Connection) -> Schema:
    try:
        migrate.require_current(connection)
    except Mistake as mistake:
        return Schema(migrate.head(), migrate.current(connection), str(mistake))
    return Schema(migrate.head(), migrate.head(), None)


def _slots(connection: Connection, policy: Policy, worker: Worker, now: datetime) -> Slots:
    calendar, rows = policy.calendar, read_slots(connection)
    latest, upcoming = latest_due_slot(now, calendar), next_slot(now, calendar)
    found = due(now, calendar, rows, worker, policy_sha=policy.sha256, applied_as_of=newest_as_of(connection))
    # A ledger without slots is of somebody who runs by hand, or whose worker has not started yet.
    overdue = _unsettled(found) if rows else None
    late_by = now - slot_instant(overdue, calendar) if overdue is not None else timedelta(0)
    grace = max(ON_TIME, 2 * timedelta(minutes=worker.tick_minutes))
    is_late = late_by > grace
    return Slots(
        latest=latest,
        fell_due=slot_instant(latest, calendar),
        standing=("open" if overdue == found.slot else found.standing) if rows else None,
        late=overdue if is_late else None,
        late_by=late_by if is_late else None,
        next=upcoming,
        next_due=slot_instant(upcoming, calendar),
    )


def _unsettled(found: Due) -> date | None:
    """The oldest slot that somebody has yet to run or to pass over."""
    slots = [skip.slot for skip in found.skips] + ([found.turn.slot] if found.turn is not None else [])
    return min(slots, default=None)


def _last(connection: Connection, *where: Any, by: Any) -> Ended | None:
    columns = (runs.c[name] for name in Ended.__slots__)
    statement = select(*columns).where(*where).order_by(by.desc(), runs.c.started_at.desc(), runs.c.run_id.desc())
    row = connection.execute(statement.limit(1)).one_or_none()
    return Ended(*row) if row is not None else None


def _problems(status: Status) -> Iterator[str]:
    if status.schema.problem is not None:
        yield status.schema.problem
    slots = status.slots
    if slots is not None and slots.late is not None and slots.late_by is not None:
        yield f"the slot {slots.late} is late by {_long(slots.late_by)}: is the worker running? What does its log say?"
    if slots is not None and slots.standing == "failed":
        by_hand = f"`bandshift recompute --slot {slots.latest}` tries it again"
        yield f"the slot {slots.latest} is given up, every try failed: `bandshift runs` says why, and {by_hand}"
    if status.backlog is not None and status.backlog.parked:
        parked = counted(status.backlog.parked, "message")
        yield f"{parked} could not be delivered: `bandshift outbox list` says why, and `outbox retry` sends them again"


def _long(time: timedelta) -> str:
    hours = int(time / timedelta(hours=1))
    return counted(hours // 24, "day") if hours >= 48 else counted(hours, "hour")
