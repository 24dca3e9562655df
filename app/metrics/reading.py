"""The figures that the metrics tell, as read from the database: the ledger is the truth, whichever process asks it.

Any replica and any one-shot command therefore tells the same. Every statement reads an index, or a table that grows by
some rows a week; none passes over the accounts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, true
from sqlalchemy.dialects.postgresql import JSONB

from app import migrate, runs
from app.due import Due, Standing, due
from app.errors import Mistake
from app.invariants import IN_EFFECT
from app.notify.backlog import Backlog, read_backlog
from app.policy.model import Policy
from app.policy.read import load_policy
from app.schedule import next_slot, slot_instant
from app.settings import Settings
from app.slots import read_slots
from app.tables import band_history, coverage
from app.tables import runs as ledger


@dataclass(frozen=True, slots=True)
class Success:
    """The last run that evaluated the rules and took effect. `moves` counts accounts by (move, rule, from, to)."""

    finished_at: datetime
    duration_ms: int
    policy_sha: str
    counts: Mapping[str, Any]
    moves: Mapping[tuple[str, str, str, str], int]


@dataclass(frozen=True, slots=True)
class Slot:
    """How the newest slot stands. `opens_at` is when the slot that has to be run next fell due, or falls due.

    `failed` attempts of the newest slot are in the ledger.
    """

    standing: Standing
    opens_at: datetime
    failed: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that there is to tell of at an instant. `slot` is None while the policy cannot be read."""

    now: datetime
    success: Success | None
    failed_at: datetime | None
    runs: Mapping[tuple[str, str], int]
    trips: Mapping[str, int]
    waitlist: int
    waiting_since: datetime | None
    backlog: Backlog
    awaiting: int
    lapses_at: datetime | None
    slot: Slot | None


def read_schema(connection: Connection) -> str | None:
    """The revision that the schema is at; None where there is none."""
    return migrate.current(connection)


def read_figures(connection: Connection, now: datetime, settings: Settings) -> Figures:
    """The figures at `now`, as the transaction sees the tables, whose schema is this version's."""
    waiting = select(func.count(), func.min(coverage.c.waiting_since)).where(coverage.c.waiting_since.is_not(None))
    awaiting = select(func.count(), func.min(ledger.c.lapses_at)).where(
        ledger.c.status == "blocked", ledger.c.answer.is_(None)
    )
    waitlist, waiting_since = connection.execute(waiting).one()
    asked, lapses_at = connection.execute(awaiting).one()
    return Figures(
        now=now,
        success=_read_success(connection),
        failed_at=connection.scalar(select(func.max(ledger.c.started_at)).where(ledger.c.status == "failed")),
        runs=_read_runs(connection),
        trips=_read_trips(connection),
        waitlist=waitlist,
        waiting_since=waiting_since,
        backlog=read_backlog(connection),
        awaiting=asked,
        lapses_at=lapses_at,
        slot=_read_slot(connection, now, settings),
    )


def _read_success(connection: Connection) -> Success | None:
    last = (
        select(ledger)
        .where(runs.evaluates_rules(), ledger.c.status.in_(IN_EFFECT))
        .order_by(ledger.c.started_at.desc(), ledger.c.run_id.desc())
        .limit(1)
    )
    run = connection.execute(last).one_or_none()
    if run is None:
        return None
    of = func.coalesce(band_history.c.from_band, ""), func.coalesce(band_history.c.to_band, "")
    by = band_history.c.move, band_history.c.rule, *of
    moved = select(*by, func.count()).where(band_history.c.run_id == run.run_id).group_by(*by).order_by(*by)
    return Success(
        finished_at=run.finished_at or run.started_at,
        duration_ms=run.duration_ms or 0,
        policy_sha=run.policy_sha or "",
        counts=run.counts,
        moves={(move, rule, before, after): moves for move, rule, before, after, moves in connection.execute(moved)},
    )


def _read_runs(connection: Connection) -> Mapping[tuple[str, str], int]:
    by = ledger.c.kind, ledger.c.status
    rows = connection.execute(select(*by, func.count()).group_by(*by).order_by(*by))
    return {(kind, status): count for kind, status, count in rows}


def _read_trips(connection: Connection) -> Mapping[str, int]:
    """How many runs each guard has stopped."""
    verdict = func.jsonb_array_elements(ledger.c.guards, type_=JSONB).table_valued("value")
    guard, tripped = verdict.c.value.op("->>")("guard"), verdict.c.value.op("->")("tripped")
    stopped = (
        select(guard, func.count())
        .select_from(ledger.join(verdict, true()))
        .where(ledger.c.status == "blocked", tripped == func.to_jsonb(true()))
        .group_by(guard)
        .order_by(guard)
    )
    return {name: count for name, count in connection.execute(stopped)}  # noqa: C416 - rows are no pairs to mypy


def _read_slot(connection: Connection, now: datetime, settings: Settings) -> Slot | None:
    try:
        policy = load_policy(settings.policy)
    except Mistake:
        return None  # whose business it is to say why is the run's
    rows = read_slots(connection)
    found = due(
        now,
        policy.calendar,
        rows,
        settings.worker,
        policy_sha=policy.sha256,
        applied_as_of=runs.newest_as_of(connection),
    )
    failed = sum(row.slot == found.slot and row.status == "failed" for row in rows)
    return Slot(found.standing, _opens_at(now, found, policy), failed)


def _opens_at(now: datetime, found: Due, policy: Policy) -> datetime:
    """When the slot that has to be run next fell due, or falls due. One that was given up is still to be run."""
    if found.turn is not None:
        slot = found.turn.slot
    elif found.standing == "failed":
        slot = found.slot
    else:
        slot = next_slot(now, policy.calendar)
    return slot_instant(slot, policy.calendar)
