"""The run whose turn it is, if it is any's: what the worker's tick and `bandshift recompute --slot` have in common.

Postgres decides who works. A lock that lasts as long as a transaction keeps a second process from looking at the slots
meanwhile, so that the tries of one slot are counted and spaced, and a skip is told once. It is politeness: should it be
lost with its connection, the run's own lock and the ledger's unique slot still let one run take effect.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from time import monotonic

import structlog
from sqlalchemy import Connection, Engine, and_, func, insert, not_, select, text
from sqlalchemy.exc import DBAPIError

from app import messages, pipeline, runs
from app.answers import lapse_overdue
from app.due import Due, Skip, SlotRow, Standing, Turn, due, turn_of
from app.errors import Busy, Mistake
from app.failures import failure_of
from app.pipeline import RunResult
from app.planning import make_plan
from app.policy.model import Calendar, Policy
from app.policy.read import read_policy
from app.runs import Run
from app.schedule import WEEK, is_slot, latest_due_slot, next_slot, slot_instant
from app.settings import Worker
from app.tables import outbox, policies
from app.tables import runs as ledger

LOCK_KEY = 0x62616E64736C6F74
"""The advisory lock of whoever looks at the slots: `bandslot` in ASCII."""

PolicyReader = Callable[[], Policy]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the newest slot stands now, and in `told` the sentence for a person; `result` is the last run made, if any.

    `turn` is the next try of a slot that failed and is to be tried again.
    """

    slot: date
    standing: Standing
    turn: Turn | None
    told: str
    result: RunResult | None


def run_due(
    engine: Engine,
    read: PolicyReader,
    worker: Worker,
    now: datetime,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """The slot whose turn it is has been tried, if there is one; those to pass over are in the ledger, and told of.

    Runs whose answer is overdue lapse first. Where all missed slots are caught up with, they are run one after another,
    until `stop` says otherwise. Raises Busy when another process is at work, and whatever stopped a try, which the
    ledger then has; a policy that cannot be read counts as a try of the slot that is due by the last policy's calendar.
    """
    clock = _Clock(now)
    result = None
    with _alone(engine):
        while True:
            at = now if result is None else clock()
            policy = _Policy.read(engine, read)
            found = _look(engine, policy, worker, at)
            if found.turn is None or found.turn.not_before > at or (result is not None and stop()):
                return Outcome(found.slot, found.standing, found.turn, _told(found, policy.calendar, at), result)
            result = _take(engine, policy, found.turn, worker, clock())


def run_slot(engine: Engine, read: PolicyReader, worker: Worker, slot: date, now: datetime) -> RunResult:
    """The slot that a person names is run, however often it failed, and even if it was passed over or turned down.

    Raises Mistake when the calendar has no such slot or it is not due yet, SlotDone when it is done, Busy when another
    process is at work, and whatever stopped the run.
    """
    with _alone(engine):
        policy = _Policy.read(engine, read)
        require_due(slot, policy.calendar, now)
        with engine.begin() as connection:
            turn = turn_of(slot, now, policy.calendar, read_slots(connection), worker)
        return _take(engine, policy, turn, worker, now)


def require_policy(engine: Engine, read: PolicyReader) -> None:
    """There is a policy to go by: the one to run or, while that cannot be read, the last one's calendar.

    Raises Mistake, as `run_due` would each time, if there is neither.
    """
    _Policy.read(engine, read)


def read_slots(connection: Connection) -> tuple[SlotRow, ...]:
    """Every row of the ledger that bears a slot and counts for it, in order; an approval that failed is not a try."""
    statement = (
        select(ledger.c.slot, ledger.c.status, ledger.c.answer, ledger.c.policy_sha, ledger.c.started_at)
        .where(ledger.c.slot.is_not(None), not_(and_(ledger.c.kind == "approval", ledger.c.status == "failed")))
        .order_by(ledger.c.slot, ledger.c.started_at, ledger.c.run_id)
    )
    return tuple(SlotRow(*row) for row in connection.execute(statement))


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """No other process looks at the slots meanwhile. Raises Busy if one does."""
    connection = engine.connect()
    try:
        if not connection.scalar(select(func.pg_try_advisory_xact_lock(LOCK_KEY))):
            raise Busy("another process is at work on the slots; nothing was done, it will be tried again")
        # The connection does nothing else, and must not be taken for a forgotten one.
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        yield
    finally:
        try:
            connection.close()
        except DBAPIError:  # what was done is done, with or without it
            log.warning("slots.lock_lost")


@dataclass(frozen=True, slots=True)
class _Policy:
    """The policy to run, or why it cannot be read; then the calendar is the last policy's."""

    policy: Policy | None
    mistake: Mistake | None
    calendar: Calendar

    @classmethod
    def read(cls, engine: Engine, read: PolicyReader) -> "_Policy":
        """The policy; raises Mistake if it cannot be read and there was none before it."""
        try:
            policy = read()
        except Mistake as mistake:
            with engine.begin() as connection:
                calendar = _last_calendar(connection)
            if calendar is None:
                raise
            return cls(None, mistake, calendar)
        return cls(policy, None, policy.calendar)


def _last_calendar(connection: Connection) -> Calendar | None:
    """The calendar of the policy that the last run used."""
    newest = (
        select(policies.c.body, policies.c.name)
        .join(ledger, ledger.c.policy_sha == policies.c.policy_sha)
        .order_by(ledger.c.started_at.desc(), ledger.c.run_id.desc())
        .limit(1)
    )
    row = connection.execute(newest).one_or_none()
    try:
        return read_policy(row.body, source=row.name).calendar if row is not None else None
    except Mistake:
        return None


def _look(engine: Engine, policy: _Policy, worker: Worker, now: datetime) -> Due:
    """What is due; what is overdue has lapsed, and what is passed over is in the ledger."""
    with engine.begin() as connection:
        lapse_overdue(connection, now, latest_due_slot(now, policy.calendar))
        found = due(
            now,
            policy.calendar,
            read_slots(connection),
            worker,
            policy_sha=policy.policy.sha256 if policy.policy is not None else None,
            applied_as_of=runs.newest_as_of(connection),
        )
        if found.skips:
            _record_skips(connection, found.skips, now)
    for skip in found.skips:
        log.warning("slot.skipped", slot=skip.slot.isoformat(), why=skip.why)
    return found


def _record_skips(connection: Connection, skips: tuple[Skip, ...], now: datetime) -> None:
    """The slots are in the ledger as passed over; one message tells of the newest and, in it, of the others."""
    ids = sorted(runs.new_run_id(now) for _ in skips)  # which sort as their slots do, though of one instant
    for run_id, skip in zip(ids, skips, strict=True):
        run = Run(run_id, "scheduled", skip.slot, now, now)
        runs.record_skipped(connection, run, skip.why)
    others = f" So were {len(skips) - 1:,} before it, from {skips[0].slot} on." if len(skips) > 1 else ""
    connection.execute(insert(outbox), [messages.skipped(ids[-1], skips[-1].slot, skips[-1].why + others, now)])


def _take(engine: Engine, policy: _Policy, turn: Turn, worker: Worker, now: datetime) -> RunResult:
    """The slot's run is made; raises whatever stopped it, with the ledger's row and the message written."""
    run = Run(runs.new_run_id(now), "scheduled", turn.slot, turn.as_of, now)

    def failed(connection: Connection, error: BaseException) -> None:
        kind = failure_of(error)
        if kind != "transient" or turn.is_last:  # what passes by itself is nobody's business until it does not
            told = messages.failed(
                run.run_id, turn.slot, attempt=turn.number, of=turn.of, error=runs.describe(error), failure=kind, at=now
            )
            connection.execute(insert(outbox), [told])

    if policy.mistake is not None or policy.policy is None:
        error = policy.mistake or Mistake("there is no policy")
        with engine.begin() as connection:
            runs.record_failed(connection, run, None, error=error, duration_ms=0, finished_at=now)
            failed(connection, error)
        raise error
    return pipeline.attempt(
        engine,
        policy.policy,
        run,
        make_plan,
        answer_within=timedelta(hours=worker.answer_within_hours),
        failed=failed,
    )


def require_due(slot: date, calendar: Calendar, now: datetime) -> None:
    """The slot is one of the calendar's that has fallen due; raises Mistake if it is not."""
    latest = latest_due_slot(now, calendar)
    if not is_slot(slot, calendar):
        before = slot - timedelta(days=(slot.weekday() - calendar.weekday) % 7)
        raise Mistake(f"--slot {slot} is no slot, which are on {_weekday(calendar)}s: {before} or {before + WEEK}")
    if slot > latest:
        raise Mistake(f"--slot {slot} falls due {_instant(slot, calendar)}; the last that has is {latest}")


def _weekday(calendar: Calendar) -> str:
    """The day of the week on which the calendar's slots are, in English."""
    return f"{date(2024, 1, 1) + timedelta(days=calendar.weekday):%A}"


def _told(found: Due, calendar: Calendar, now: datetime) -> str:
    """How the newest slot stands, and what comes next."""
    then = next_slot(now, calendar)
    upcoming = f"the next is {then}, due {_instant(then, calendar)}"
    by_hand = f"`bandshift recompute --slot {found.slot}` runs it all the same"
    if found.turn is not None:
        again = f"{found.turn.not_before:%Y-%m-%d %H:%M} UTC"
        return f"try {found.turn.number} of {found.turn.of} of the slot {found.turn.slot} is not before {again}"
    words: dict[Standing, str] = {
        "open": f"no slot is due; {upcoming}",
        "done": f"the slot {found.slot} is done; {upcoming}",
        "awaiting": f"the slot {found.slot} awaits approval: `bandshift approve latest --by WHO`, or `reject`",
        "rejected": f"the slot {found.slot} was rejected; {upcoming}; {by_hand}",
        "lapsed": f"the slot {found.slot} lapsed, nobody approved it in time; {upcoming}; {by_hand}",
        "skipped": f"the slot {found.slot} was passed over; {upcoming}; {by_hand}",
        "failed": f"the slot {found.slot} is given up, every try failed: `bandshift runs` says why; {by_hand}",
    }
    return words[found.standing]


def _instant(slot: date, calendar: Calendar) -> str:
    return f"{slot_instant(slot, calendar):%Y-%m-%d %H:%M} UTC"


class _Clock:
    """Tells the time from the instant it was given on: the clock on the wall is not read again."""

    def __init__(self, now: datetime) -> None:
        self.now, self.started = now, monotonic()

    def __call__(self) -> datetime:
        return self.now + timedelta(seconds=monotonic() - self.started)
