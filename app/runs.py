"""The ledger: every run that set out to write, how it ended and what it counted.

A run that takes effect is written in the transaction of its effect, so that the two cannot disagree; the unique index
on `slot` lets one such run exist per slot, whatever happens to locks. A run that a guard stops leaves its row and its
plan (`app.kept`) and awaits approval until it is answered (`app.approvals`). A run that fails leaves nothing but its
row, written in a transaction of its own after the other was rolled back.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from traceback import extract_tb
from typing import Any, Literal
from uuid import UUID

import psycopg
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.errors import BandshiftError, Busy, ExitCode, Mistake
from app.failures import failure_of
from app.guards import LastRun
from app.plan import Plan, Verdict
from app.policy.model import Policy
from app.report.summary import counts
from app.tables import Instant, policies, runs

Kind = Literal["scheduled", "manual", "import", "rebalance", "approval"]

RECOMPUTES = ("scheduled", "manual")
"""The kinds of run that evaluate the rules and make all that follows."""

Ended = Literal["applied", "nothing", "blocked", "failed", "skipped"]

LOCK_KEY = 0x62616E6473686966
"""The advisory lock that one working run holds: `bandshif` in ASCII. Locks belong to one database, so others do not
meet it.
"""

_IN_EFFECT = ("applied", "nothing")


class SlotDone(BandshiftError):  # noqa: N818 - an outcome, as those of app.errors are
    """The slot has its run already; there is nothing to do."""

    exit_code = ExitCode.DONE


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it sets out, for the local date `slot` if it is a scheduled one; an approval has a run it `approves`."""

    run_id: UUID
    kind: Kind
    slot: date | None
    as_of: datetime
    started_at: datetime
    approves: UUID | None = None


def new_run_id(started_at: datetime) -> UUID:
    """A new id that sorts after those of earlier runs (UUID version 7): histories keep order within an instant."""
    milliseconds = int(started_at.timestamp() * 1000)
    chance = secrets.randbits(74)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | (chance >> 62) << 64 | 0b10 << 62 | chance & (1 << 62) - 1)


def take_lock(connection: Connection) -> None:
    """The transaction holds the run lock until it ends. Raises Busy when another one does."""
    if not connection.execute(select(func.pg_try_advisory_xact_lock(LOCK_KEY))).scalar_one():
        raise Busy("another run is at work on this database; nothing was done, try again when it has ended")


def refuse_as_of(connection: Connection, as_of: datetime, now: datetime) -> None:
    """Raises Mistake when no run may be applied at this instant: it is in the future, or before what took effect."""
    if as_of > now:
        raise Mistake(f"--as-of {as_of.isoformat()} is in the future; only a dry run can look ahead")
    newest = newest_as_of(connection)
    if newest is not None and as_of < newest:
        raise Mistake(
            f"--as-of {as_of.isoformat()} lies before the last applied run, of {newest.isoformat()}: history is not"
            " rewritten; use --dry-run to see what the rules say of that day"
        )


def newest_as_of(connection: Connection) -> datetime | None:
    """The newest instant as of which a run took effect."""
    statement = select(func.max(runs.c.as_of)).where(runs.c.status.in_(_IN_EFFECT))
    newest: datetime | None = connection.execute(statement).scalar_one()
    return newest


def refuse_slot(connection: Connection, slot: date | None) -> None:
    """Raises SlotDone when a run has taken effect for this slot."""
    if slot is None:
        return
    done = connection.execute(
        select(runs.c.run_id).where(runs.c.slot == slot, runs.c.status.in_(_IN_EFFECT))
    ).scalar_one_or_none()
    if done is not None:
        raise SlotDone(f"the slot {slot.isoformat()} is done: run {done} took effect; there is nothing to do")


def last_run(connection: Connection, as_of: datetime) -> LastRun | None:
    """What the last recompute that took effect by `as_of` had counted; None before the first."""
    row = connection.execute(select_last_run(as_of)).one_or_none()
    if row is None:
        return None
    return LastRun(as_of=row.as_of, accounts=row.counts.get("accounts", 0), missing=row.counts.get("missing", {}))


def select_last_run(as_of: datetime) -> Select[Any]:
    """The row of the last recompute (imports count nothing) that took effect at or before `as_of`."""
    return (
        select(runs.c.as_of, runs.c.counts)
        .where(runs.c.status.in_(_IN_EFFECT), evaluates_rules(), runs.c.as_of <= literal(as_of, Instant))
        .order_by(runs.c.as_of.desc(), runs.c.started_at.desc(), runs.c.run_id)
        .limit(1)
    )


def evaluates_rules() -> ColumnElement[bool]:
    """Whether a run evaluates the rules: a recompute does, and so does the approval of one."""
    approved = runs.alias("approved")
    of_owners = select(approved.c.run_id).where(approved.c.run_id == runs.c.approves, approved.c.kind == "rebalance")
    return or_(runs.c.kind.in_(RECOMPUTES), and_(runs.c.kind == "approval", not_(of_owners.exists())))


def keep_policy(connection: Connection, policy: Policy, now: datetime) -> None:
    """The policy's text is kept under its hash, so that any decision can be read again."""
    row = {"policy_sha": policy.sha256, "name": policy.name, "body": policy.body, "first_used_at": now}
    connection.execute(insert(policies).values(row).on_conflict_do_nothing())


def open_run(connection: Connection, run: Run, plan: Plan, status: Ended) -> None:
    """The ledger has the run, not yet finished, for the histories to refer to. Its policy is kept already.

    Raises SlotDone when another run took the slot without holding the lock.
    """
    try:
        connection.execute(insert(runs).values(_row(run) | _of_plan(plan) | {"status": status}))
    except IntegrityError as error:
        if not isinstance(error.orig, psycopg.Error) or error.orig.diag.constraint_name != "runs_slot_key":
            raise
        raise SlotDone(f"the slot {run.slot} is done: another run took effect; there is nothing to do") from None


def close_run(connection: Connection, run: Run, duration_ms: int, finished_at: datetime) -> None:
    """The run is finished, as far as its transaction is concerned; what remains is the commit."""
    connection.execute(
        update(runs)
        .where(runs.c.run_id == bindparam("of"))
        .values(finished_at=bindparam("at"), duration_ms=bindparam("took")),
        {"of": run.run_id, "at": finished_at, "took": duration_ms},
    )


def record_blocked(
    connection: Connection, run: Run, plan: Plan, *, lapses_at: datetime, duration_ms: int, finished_at: datetime
) -> None:
    """The ledger has the run as stopped by its guards, whose sentences are its error; it can be approved for a time."""
    ended = {"status": "blocked", "lapses_at": lapses_at, "duration_ms": duration_ms, "finished_at": finished_at}
    why = " ".join(verdict.detail for verdict in plan.tripped)
    connection.execute(insert(runs).values(_row(run) | _of_plan(plan) | ended | {"error": why}))


def record_failed(
    connection: Connection,
    run: Run,
    policy_sha: str | None,
    *,
    error: BaseException,
    duration_ms: int,
    finished_at: datetime,
) -> bool:
    """The ledger has the run as failed; False if it has its row already, for its own transaction was committed.

    Waits for that transaction if it is not over yet: a commit whose answer was lost may still be on its way.
    """
    ended = {"status": "failed", "duration_ms": duration_ms, "finished_at": finished_at}
    told = {"policy_sha": policy_sha, "error": describe(error), "failure": failure_of(error)}
    statement = insert(runs).values(_row(run) | ended | told).on_conflict_do_nothing()
    return connection.execute(statement.returning(runs.c.run_id)).first() is not None


def record_skipped(connection: Connection, run: Run, why: str) -> None:
    """The ledger has the run's slot as passed over, and why."""
    ended = {"status": "skipped", "duration_ms": 0, "finished_at": run.started_at, "error": why}
    connection.execute(insert(runs).values(_row(run) | ended))


def describe(error: BaseException) -> str:
    """What went wrong in words that hold no data of customers, no DSN and no parameters.

    Of what we foresaw, the message. Of the server's errors, the code and the primary message of the classes that
    never quote a value. Of anything else, the kind of error and where it was raised.
    """
    if isinstance(error, BandshiftError):
        return str(error)
    if isinstance(error, DBAPIError) and isinstance(error.orig, psycopg.Error):
        kind, code = type(error.orig).__name__, error.orig.sqlstate
        if code is None:
            return f"{kind}: the connection to the database was lost or refused"
        primary = error.orig.diag.message_primary
        return f"{kind} ({code}): {primary}" if primary and code[:2] in _QUOTES_NO_VALUES else f"{kind} ({code})"
    frames = extract_tb(error.__traceback__)
    where = f" in {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


_QUOTES_NO_VALUES = frozenset({"23", "25", "40", "42", "53", "54", "55", "57", "58"})
"""Classes of SQLSTATE whose primary message names objects and limits, never data: constraints, resources, shutdown."""


def run_counts(plan: Plan) -> dict[str, Any]:
    """What the ledger counts of a plan: the report's numbers and, for the next run's guards, the missing facts."""
    return {**counts(plan), "missing": dict(plan.census.missing)}


def guards_json(verdicts: Sequence[Verdict]) -> list[Mapping[str, Any]]:
    """Verdicts as the ledger keeps them, figures as JSON numbers."""
    return [
        {name: _figure(item) if isinstance(item, Decimal) else item for name, item in asdict(verdict).items()}
        for verdict in verdicts
    ]


def _figure(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def _row(run: Run) -> dict[str, Any]:
    return asdict(run)


def _of_plan(plan: Plan) -> dict[str, Any]:
    return {
        "policy_sha": plan.policy_sha,
        "plan_sha": plan.sha256,
        "counts": run_counts(plan),
        "guards": guards_json(plan.verdicts),
        "error": null(),
    }
