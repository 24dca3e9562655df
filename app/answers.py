"""The runs that a guard stopped, in the ledger: which await approval, which were answered, and which have lapsed.

A run awaits approval as long as it is `blocked` and has no answer. Only one answer is ever given: whoever gives it has
locked the run's row. To carry out what was approved is the business of `app.approvals`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any
from uuid import UUID

import structlog
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, Engine, Select, Text, cast, func, insert, literal, select, update
from sqlalchemy.exc import OperationalError

from app import messages
from app.errors import Busy, Mistake
from app.figures import day, printable
from app.invariants import IN_EFFECT
from app.pins import not_a_line
from app.runs import evaluates_rules
from app.tables import outbox, runs

LATEST = "latest"
SHORTEST = 4
"""The fewest characters that a run's id may be shortened to."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Stopped:
    """A run of the ledger, as far as answering it goes. One that awaits approval is `blocked` and has no `answer`."""

    run_id: UUID
    kind: str
    slot: date | None
    as_of: datetime
    started_at: datetime
    status: str
    policy_sha: str | None
    plan_sha: str | None
    guards: Sequence[dict[str, Any]]
    approves: UUID | None
    lapses_at: datetime | None
    answer: str | None
    answered_at: datetime | None
    answered_by: str | None

    @property
    def awaits(self) -> bool:
        """Whether somebody has to say yes or no to it."""
        return self.status == "blocked" and self.answer is None


def find(connection: Connection, wanted: str) -> Stopped:
    """The run of this id, or beginning of an id; `latest` is the last that awaits approval. Raises Mistake for none."""
    given = wanted.strip().lower()
    if given == LATEST:
        row = connection.execute(select_awaiting().order_by(None).order_by(*_newest_first()).limit(1)).one_or_none()
        if row is None:
            raise Mistake("no run awaits approval; `bandshift runs` lists them all")
        return _stopped(row)
    if len(given) < SHORTEST or set(given) - set("0123456789abcdef-"):
        raise Mistake(
            f"{printable(wanted)!r} is no run: give its id, {SHORTEST} or more characters of it, or `{LATEST}`"
        )
    alike = _select_runs().where(func.starts_with(cast(runs.c.run_id, Text), given)).order_by(*_newest_first()).limit(5)
    rows = connection.execute(alike).all()
    if not rows:
        raise Mistake(f"there is no run {printable(wanted)}; `bandshift runs` lists them")
    if len(rows) > 1:
        raise Mistake(f"{wanted} is the beginning of several runs: {', '.join(str(row.run_id) for row in rows)}")
    return _stopped(rows[0])


def read_awaiting(connection: Connection) -> tuple[Stopped, ...]:
    """The runs that await approval, the oldest first."""
    return tuple(map(_stopped, connection.execute(select_awaiting())))


def reject(engine: Engine, run_id: UUID, *, by: str, now: datetime, reason: str | None = None) -> Stopped:
    """The run will not be carried out. Raises Mistake when it does not await approval, Busy while it is approved."""
    require_line("--by", by)
    if reason is not None:
        require_line("--reason", reason)
    with engine.begin() as connection:
        stopped = read_stopped(connection, run_id, lock=True)
        require_unanswered(stopped)
        told = f"Rejected: {reason.strip().rstrip('.')}." if reason is not None else None
        answer(connection, run_id, "rejected", now, by=by, told=told)
    log.info("run.answered", answer="rejected", answered_run_id=str(run_id))
    return stopped


def lapse_overdue(connection: Connection, now: datetime, slot_due: date | None) -> tuple[UUID, ...]:
    """The runs that nobody answered in time have lapsed, and whoever looks after the runs is told; returns their ids.

    In time is before `lapses_at`, before the next slot falls due (`slot_due` is the last that has), and before another
    recompute takes effect. One that is being approved at this moment is left alone.
    """
    newer = Newer(connection)
    lapsed = []
    for row in connection.execute(select_awaiting().with_for_update(key_share=True, skip_locked=True)):
        stopped = _stopped(row)
        why = overdue(stopped, now, slot_due, newer)
        if why is not None:
            answer(connection, stopped.run_id, "lapsed", now, told=f"Lapsed: {why}.")
            connection.execute(insert(outbox), [messages.lapsed(stopped.run_id, stopped.slot, why, now)])
            log.warning("run.lapsed", lapsed_run_id=str(stopped.run_id))
            lapsed.append(stopped.run_id)
    return tuple(lapsed)


def select_awaiting() -> Select[Any]:
    """The runs that await approval, the oldest first."""
    awaits = runs.c.status == "blocked", runs.c.answer.is_(None)
    return _select_runs().where(*awaits).order_by(runs.c.started_at, runs.c.run_id)


def require_unanswered(stopped: Stopped) -> None:
    """Raises Mistake unless the run awaits approval."""
    if stopped.status != "blocked":
        raise Mistake(f"run {stopped.run_id} does not await approval: it is {stopped.status}")
    if stopped.answer is not None and stopped.answered_at is not None:
        by = f" by {printable(stopped.answered_by)}" if stopped.answered_by else ""
        raise Mistake(f"run {stopped.run_id} is answered already: {stopped.answer} on {day(stopped.answered_at)}{by}")


class Newer:
    """What the ledger has of runs that may have overtaken others; read once."""

    def __init__(self, connection: Connection) -> None:
        recent = runs.c.started_at.desc(), runs.c.run_id.desc()
        approved = runs.alias("approved")
        planned_at = func.coalesce(approved.c.started_at, runs.c.started_at)
        latest = (
            select(runs.c.run_id, planned_at.label("planned_at"))
            .select_from(runs.outerjoin(approved, approved.c.run_id == runs.c.approves))
            .where(runs.c.status.in_(IN_EFFECT), evaluates_rules())
            .order_by(planned_at.desc(), runs.c.run_id.desc())
        )
        scheduled = select(runs.c.slot, runs.c.started_at).where(runs.c.kind == "scheduled", runs.c.slot.is_not(None))
        self.recompute = connection.execute(latest.limit(1)).one_or_none()
        self.slot = connection.execute(scheduled.order_by(*recent).limit(1)).one_or_none()


def overdue(stopped: Stopped, now: datetime, slot_due: date | None, newer: Newer) -> str | None:
    """Why it is too late to approve the run, in half a sentence; None while it is not.

    A run of no slot is overtaken by a slot only where slots are run, and one that only changes owners by no recompute.
    """
    if stopped.lapses_at is not None and stopped.lapses_at <= now:
        return f"nobody answered by {stopped.lapses_at:%Y-%m-%d %H:%M} UTC"
    if stopped.slot is None:
        is_newer = newer.slot is not None and newer.slot.started_at > stopped.started_at
        slot_due = newer.slot.slot if newer.slot is not None and is_newer else None
    if slot_due is not None and slot_due > (stopped.slot or stopped.as_of.date()):
        return f"the slot {slot_due.isoformat()} has fallen due since"
    newest = newer.recompute
    if stopped.kind != "rebalance" and newest is not None and newest.planned_at > stopped.started_at:
        return f"run {newest.run_id}, planned later, took effect since"
    return None


def require_line(option: str, text: str) -> None:
    """Raises Mistake unless the option's text can be kept as one line."""
    problem = not_a_line(option, text)
    if problem is not None:
        raise Mistake(problem)


# ---- The ledger ------------------------------------------------------------------------------------------------------


def _select_runs() -> Select[Any]:
    return select(*(runs.c[field.name] for field in fields(Stopped)))


def _newest_first() -> tuple[Any, Any]:
    return runs.c.started_at.desc(), runs.c.run_id.desc()


def _stopped(row: Any) -> Stopped:
    return Stopped(**row._mapping)


def read_stopped(connection: Connection, run_id: UUID, *, lock: bool = False) -> Stopped:
    """The run; with `lock` nobody else can answer it until the transaction ends. Raises Busy if somebody just does."""
    statement = _select_runs().where(runs.c.run_id == run_id)
    if lock:
        statement = statement.with_for_update(key_share=True, nowait=True)
    try:
        row = connection.execute(statement).one_or_none()
    except OperationalError as error:
        if not isinstance(error.orig, LockNotAvailable):
            raise
        raise Busy(f"run {run_id} is being answered at this moment; look again when that has ended") from None
    if row is None:
        raise Mistake(f"there is no run {run_id}; `bandshift runs` lists them")
    return _stopped(row)


def lineage(connection: Connection, stopped: Stopped) -> Iterator[Stopped]:
    """The run, the one that it approves if it is an approval, and so on."""
    yield stopped
    while stopped.approves is not None:
        stopped = read_stopped(connection, stopped.approves)
        yield stopped


def answer(
    connection: Connection, run_id: UUID, answer: str, at: datetime, *, by: str | None = None, told: str | None = None
) -> None:
    """The run, locked by this transaction, is answered; `told` is a sentence after those of the guards."""
    values: dict[str, Any] = {"answer": answer, "answered_at": at, "answered_by": by}
    if told is not None:
        values["error"] = func.concat_ws(" ", runs.c.error, literal(told, Text))
    connection.execute(update(runs).where(runs.c.run_id == run_id, runs.c.answer.is_(None)).values(values))
