"""Which slot is to be run now, which are passed over and why: a pure reading of the ledger by the clock.

A slot that was run is done for good. One that a guard stopped is in a person's hands until they answer, or their time
is up; either way it is settled then. What failed is tried again a limited number of times, each pause twice the last;
a policy that was changed since gets its own number of tries, for it may be the correction. A slot that nobody ran is
caught up with, if the settings want that and it is not too late; otherwise it is passed over, and that is settled too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from app.policy.model import Calendar
from app.schedule import WEEK, latest_due_slot, slot_instant
from app.settings.model import Worker

Standing = Literal["open", "done", "awaiting", "rejected", "lapsed", "skipped", "failed"]
"""How a slot stands: `open` has no row yet or is to be tried again, `failed` is given up."""

ON_TIME = timedelta(hours=1)
"""A slot that is run so soon after it fell due is not late: its worker was starting, or its timer is not exact."""

LONGEST_PAUSE = timedelta(hours=6)
"""From one try of a slot to the next, unless the first pause is longer already."""

SLACK = timedelta(minutes=1)
"""Taken off a pause, so that a look which comes as often as the pause is long does not miss it by a moment."""


@dataclass(frozen=True, slots=True)
class SlotRow:
    """What a row of the ledger says of its slot. `started_at` is when its run set out, or the row was written."""

    slot: date
    status: str
    answer: str | None
    policy_sha: str | None
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Turn:
    """A slot's next try: the `number`th `of` those it has, not before an instant, reading the facts as of another."""

    slot: date
    as_of: datetime
    number: int
    of: int
    not_before: datetime

    @property
    def is_last(self) -> bool:
        """Whether the slot is given up if this try fails."""
        return self.number >= self.of


@dataclass(frozen=True, slots=True)
class Skip:
    """A slot that is passed over, and the sentence that says why."""

    slot: date
    why: str


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done now. `slot` is the newest that counts and `standing` how it stands once the skips are kept.

    `turn` is the next try of a slot, which may lie ahead; the slot is an earlier one while others wait behind it.
    """

    slot: date
    standing: Standing
    turn: Turn | None
    skips: tuple[Skip, ...]


def due(
    now: datetime,
    calendar: Calendar,
    ledger: Sequence[SlotRow],
    worker: Worker,
    *,
    policy_sha: str | None,
    applied_as_of: datetime | None,
) -> Due:
    """What is to be done at `now`; skips are in order of their slots.

    `ledger` is every row that bears a slot, `policy_sha` the policy that would be run (None if it cannot be read), and
    `applied_as_of` the newest instant of which a run took effect.
    """
    return _Reading.of(now, calendar, ledger, worker, policy_sha=policy_sha, applied_as_of=applied_as_of).due()


def turn_of(slot: date, now: datetime, calendar: Calendar, ledger: Sequence[SlotRow], worker: Worker) -> Turn:
    """The turn of a slot that a person asks for, whatever its tries, its lateness and the answers so far."""
    tried = sum(row.slot == slot and row.status == "failed" for row in ledger)
    return Turn(slot, now, tried + 1, worker.attempts, slot_instant(slot, calendar))


@dataclass(frozen=True, slots=True)
class _Reading:
    now: datetime
    calendar: Calendar
    rows: Mapping[date, Sequence[SlotRow]]
    worker: Worker
    policy_sha: str | None
    applied_as_of: datetime | None
    latest: date
    newest: date
    """The latest slot that fell due, or one of the ledger's that is later by another calendar than today's."""

    @classmethod
    def of(
        cls,
        now: datetime,
        calendar: Calendar,
        ledger: Sequence[SlotRow],
        worker: Worker,
        *,
        policy_sha: str | None,
        applied_as_of: datetime | None,
    ) -> "_Reading":
        rows: dict[date, list[SlotRow]] = {}
        for row in ledger:
            rows.setdefault(row.slot, []).append(row)
        latest = latest_due_slot(now, calendar)
        return cls(now, calendar, rows, worker, policy_sha, applied_as_of, latest, max([latest, *rows]))

    def due(self) -> Due:
        skips: list[Skip] = []
        turn = None
        for slot in self._candidates():
            why = self._why_not(slot)
            if why is not None:
                skips.append(Skip(slot, why))
            elif turn is None:
                turn = self._turn(slot)
        standing: Standing = (
            "skipped" if any(skip.slot == self.newest for skip in skips) else self.standing(self.newest)
        )
        return Due(self.newest, standing, turn, tuple(skips))

    def standing(self, slot: date) -> Standing:
        """How the slot stands. What took effect counts before what waits, and that before what was decided."""
        rows = self.rows.get(slot, ())
        blocked = {row.answer for row in rows if row.status == "blocked"}
        skipped = any(row.status == "skipped" for row in rows)
        failed = any(row.status == "failed" for row in rows) and self.tries(slot) >= self.worker.attempts
        standings: tuple[tuple[bool, Standing], ...] = (
            (any(row.status in ("applied", "nothing") for row in rows), "done"),
            (None in blocked, "awaiting"),
            ("rejected" in blocked, "rejected"),
            ("lapsed" in blocked, "lapsed"),
            (skipped, "skipped"),
            (failed, "failed"),
        )
        return next((standing for holds, standing in standings if holds), "open")

    def tries(self, slot: date) -> int:
        """How often the slot was tried in vain; the newest slot, with the policy that would be run now."""
        rows = (row for row in self.rows.get(slot, ()) if row.status == "failed")
        return sum(slot < self.newest or row.policy_sha == self.policy_sha for row in rows)

    def _candidates(self) -> list[date]:
        """The slots to run or pass over, oldest first: those after the ledger's last, and those to be tried again."""
        missed = []
        slot = self.latest
        while slot > max(self.rows, default=self.latest - WEEK):
            missed.append(slot)
            slot -= WEEK
        return sorted([*missed, *(slot for slot in self.rows if self.standing(slot) == "open")])

    def _why_not(self, slot: date) -> str | None:
        """Why the slot is passed over; None if it is to be run."""
        fell_due = slot_instant(slot, self.calendar)
        late = self.now - fell_due
        newest, worker, tried = self.newest, self.worker, self.rows.get(slot)
        missed = "All its tries so far failed" if tried else f"Nobody ran it when it fell due, {_told(fell_due)}"
        if not self.rows and worker.first_slot == "next" and late > self._on_time():
            return (
                f"It fell due {_told(fell_due)}, before the first start here: the first to be run is"
                f" {slot + WEEK} (worker.first_slot = next)."
            )
        if slot < newest and worker.catch_up != "all":
            return f"{missed}, and the slot {newest} has come since (worker.catch_up = {worker.catch_up})."
        if late > timedelta(hours=worker.max_lateness_hours):
            hours = int(late / timedelta(hours=1))
            return f"{missed}, {hours} hours ago: too late (worker.max_lateness_hours = {worker.max_lateness_hours})."
        if worker.catch_up == "none" and not tried and late > self._on_time():
            return f"{missed}, and missed slots are not caught up with (worker.catch_up = none)."
        if slot < newest and self.applied_as_of is not None and fell_due < self.applied_as_of:
            return f"{missed}, a run as of {_told(self.applied_as_of)} took effect since, and history is not rewritten."
        return None

    def _turn(self, slot: date) -> Turn:
        fell_due = slot_instant(slot, self.calendar)
        tries = self.tries(slot)
        failures = [row.started_at for row in self.rows.get(slot, ()) if row.status == "failed"]
        # Facts are read as they are now, except where the next slot is caught up with at once: weeks would count as
        # one (`confirm_weeks`) if both were of the same day.
        as_of = self.now if slot == self.newest else fell_due
        not_before = max(failures) + _pause(tries, self.worker) if tries else fell_due
        return Turn(slot, as_of, tries + 1, self.worker.attempts, not_before)

    def _on_time(self) -> timedelta:
        return max(ON_TIME, 2 * timedelta(minutes=self.worker.tick_minutes))


def _pause(tries: int, worker: Worker) -> timedelta:
    """From the start of the last try to that of the next, after so many in vain."""
    first = timedelta(minutes=worker.retry_minutes)
    doubled = 1 << min(tries - 1, 16)
    return min(first * doubled, max(first, LONGEST_PAUSE)) - SLACK


def _told(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
