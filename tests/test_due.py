"""What is due, by the clock and the ledger: caught up with, passed over, tried again, left to people."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.due import Due, SlotRow, Standing, due, turn_of
from app.policy.model import Calendar
from app.schedule import slot_instant
from app.settings import Worker

CALENDAR = Calendar(weekday=0, at=time(6), time_zone=ZoneInfo("UTC"))
S1, S2, S3, S4 = (date(2026, 3, day) for day in (2, 9, 16, 23))
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SHA = "the policy"


def at(slot: date, late: timedelta = timedelta(0)) -> datetime:
    """So long after the slot fell due."""
    return slot_instant(slot, CALENDAR) + late


def row(
    slot: date, status: str = "applied", answer: str | None = None, *, sha: str = SHA, late: Any = MINUTE
) -> SlotRow:
    return SlotRow(slot, status, answer, sha, at(slot, late))


def ask(now: datetime, *ledger: SlotRow, as_of: datetime | None = None, sha: str | None = SHA, **worker: Any) -> Due:
    return due(now, CALENDAR, ledger, Worker(**worker), policy_sha=sha, applied_as_of=as_of)


def turn(found: Due) -> tuple[date, int] | None:
    return None if found.turn is None else (found.turn.slot, found.turn.number)


def skipped(found: Due) -> list[date]:
    return [skip.slot for skip in found.skips]


# ---- On time ---------------------------------------------------------------------------------------------------------


def test_a_slot_is_run_when_it_falls_due_and_not_before() -> None:
    before = ask(at(S2, -MINUTE), row(S1))
    assert (before.slot, before.standing, before.turn, before.skips) == (S1, "done", None, ())
    found = ask(at(S2), row(S1))
    assert (found.slot, found.standing, turn(found), found.skips) == (S2, "open", (S2, 1), ())
    assert found.turn is not None
    assert (found.turn.as_of, found.turn.not_before, found.turn.of) == (at(S2), at(S2), 5)


@pytest.mark.parametrize("status", ["applied", "nothing"])
def test_a_slot_that_was_run_is_done_whatever_else_its_rows_say(status: str) -> None:
    rows = [row(S2, "skipped"), row(S2, "failed"), row(S2, "blocked", "rejected"), row(S2, status)]
    for late in (MINUTE, 6 * 24 * HOUR):
        found = ask(at(S2, late), row(S1), *rows)
        assert (found.standing, found.turn, found.skips) == ("done", None, ())


# ---- The first deployment --------------------------------------------------------------------------------------------


def test_the_first_deployment_passes_over_last_weeks_slot_and_says_so() -> None:
    found = ask(at(S2, 50 * HOUR))
    assert (found.slot, found.standing, found.turn, skipped(found)) == (S2, "skipped", None, [S2])
    assert found.skips[0].why == (
        "It fell due 2026-03-09 06:00 UTC, before the first start here: the first to be run is 2026-03-16"
        " (worker.first_slot = next)."
    )
    then = ask(at(S3), row(S2, "skipped"))
    assert (turn(then), then.skips) == ((S3, 1), ())


def test_the_first_deployment_runs_last_weeks_slot_where_it_is_asked_to() -> None:
    assert turn(ask(at(S2, 50 * HOUR), first_slot="latest")) == (S2, 1)
    late = ask(at(S2, 130 * HOUR), first_slot="latest")
    assert (late.turn, skipped(late)) == (None, [S2])


def test_a_timer_that_starts_us_for_the_first_time_just_after_the_slot_has_it_run() -> None:
    assert turn(ask(at(S2, HOUR))) == (S2, 1)
    assert turn(ask(at(S2, HOUR + MINUTE))) is None
    assert turn(ask(at(S2, 3 * HOUR), tick_minutes=120)) == (S2, 1)  # the timer comes every two hours


# ---- Catching up -----------------------------------------------------------------------------------------------------


def test_the_latest_of_the_missed_slots_is_run_and_the_others_are_passed_over() -> None:
    found = ask(at(S4, 10 * HOUR), row(S1))
    assert (turn(found), skipped(found), found.standing) == ((S4, 1), [S2, S3], "open")
    assert found.skips[0].why == (
        "Nobody ran it when it fell due, 2026-03-09 06:00 UTC, and the slot 2026-03-23 has come since"
        " (worker.catch_up = latest)."
    )
    assert found.turn is not None
    assert found.turn.as_of == at(S4, 10 * HOUR)
    settled = [row(S1), row(S2, "skipped"), row(S3, "skipped")]
    assert skipped(ask(at(S4, 10 * HOUR), *settled)) == []


def test_all_missed_slots_are_run_in_order_each_as_of_its_own_instant() -> None:
    now, ledger = at(S4, 10 * HOUR), [row(S1)]
    seen = []
    for _ in range(3):
        found = ask(now, *ledger, as_of=at(S1), catch_up="all", max_lateness_hours=8760)
        assert found.turn is not None
        seen.append((found.turn.slot, found.turn.as_of))
        ledger.append(row(found.turn.slot))
    assert seen == [(S2, at(S2)), (S3, at(S3)), (S4, now)]
    assert ask(now, *ledger, catch_up="all").turn is None


def test_catching_up_with_all_waits_for_the_older_slot_that_failed() -> None:
    found = ask(at(S3, HOUR), row(S1), row(S2, "failed", late=169 * HOUR), catch_up="all", max_lateness_hours=999)
    assert found.turn is not None
    assert (found.turn.slot, found.turn.not_before) == (S2, at(S2, 169 * HOUR + 14 * MINUTE))


def test_history_is_not_rewritten_to_catch_up() -> None:
    found = ask(at(S4, HOUR), row(S1), as_of=at(S2, HOUR), catch_up="all", max_lateness_hours=999)
    assert (turn(found), skipped(found)) == ((S3, 1), [S2])
    assert "a run as of 2026-03-09 07:00 UTC took effect since" in found.skips[0].why


def test_no_missed_slot_is_run_where_none_is_to_be() -> None:
    found = ask(at(S4, 10 * HOUR), row(S1), catch_up="none")
    assert (found.turn, skipped(found), found.standing) == (None, [S2, S3, S4], "skipped")
    assert "(worker.catch_up = none)" in found.skips[-1].why
    assert turn(ask(at(S2, HOUR), row(S1), catch_up="none")) == (S2, 1)
    # What was begun in time is not missed.
    assert turn(ask(at(S2, 2 * HOUR), row(S1), row(S2, "failed"), catch_up="none")) == (S2, 2)


def test_a_slot_that_is_too_late_is_passed_over() -> None:
    assert turn(ask(at(S2, 120 * HOUR), row(S1))) == (S2, 1)
    found = ask(at(S2, 121 * HOUR), row(S1))
    assert (found.turn, skipped(found), found.standing) == (None, [S2], "skipped")
    assert found.skips[0].why == (
        "Nobody ran it when it fell due, 2026-03-09 06:00 UTC, 121 hours ago: too late"
        " (worker.max_lateness_hours = 120)."
    )
    assert turn(ask(at(S2, 25 * HOUR), row(S1), max_lateness_hours=24)) is None


def test_another_calendar_brings_no_slot_of_the_past() -> None:
    tuesday = at(S2, 24 * HOUR)
    to_wednesday = Calendar(weekday=2, at=time(6), time_zone=ZoneInfo("UTC"))
    found = due(tuesday, to_wednesday, [row(S2)], Worker(), policy_sha=SHA, applied_as_of=None)
    assert (found.slot, found.standing, found.turn, found.skips) == (S2, "done", None, ())
    found = due(tuesday + 24 * HOUR, to_wednesday, [row(S2)], Worker(), policy_sha=SHA, applied_as_of=None)
    assert (turn(found), found.skips) == ((date(2026, 3, 11), 1), ())


def test_ten_years_of_outage_are_passed_over_slot_by_slot() -> None:
    found = ask(at(S1 + timedelta(weeks=520)), row(S1))
    assert (len(found.skips), turn(found)) == (519, (S1 + timedelta(weeks=520), 1))


# ---- Tries -----------------------------------------------------------------------------------------------------------


def test_tries_are_spaced_twice_as_far_each_time_and_then_given_up() -> None:
    ledger = [row(S1)]
    failed_at = at(S2)
    pauses = []
    for number in range(1, 6):
        found = ask(failed_at, *ledger)
        assert found.turn is not None
        assert (found.turn.slot, found.turn.number, found.turn.of, found.turn.is_last) == (S2, number, 5, number == 5)
        pauses.append(found.turn.not_before - failed_at)
        failed_at = found.turn.not_before
        ledger.append(SlotRow(S2, "failed", None, SHA, failed_at))
    assert pauses == [timedelta(0), *(minutes * MINUTE - MINUTE for minutes in (15, 30, 60, 120))]
    found = ask(failed_at + 24 * HOUR, *ledger)
    assert (found.standing, found.turn, found.skips) == ("failed", None, ())
    assert turn(ask(at(S3), *ledger)) == (S3, 1)
    assert ask(at(S3), *ledger).skips == ()  # it was told as given up


def test_the_pause_between_tries_does_not_grow_for_ever() -> None:
    failed = [SlotRow(S2, "failed", None, SHA, at(S2)) for _ in range(60)]
    for minutes, pause in ((15, 6 * HOUR), (1440, 24 * HOUR)):
        found = ask(at(S2), row(S1), *failed, attempts=100, retry_minutes=minutes)
        assert found.turn is not None
        assert found.turn.not_before == at(S2, pause - MINUTE)


def test_another_policy_has_tries_of_its_own_for_it_may_be_the_correction() -> None:
    failed = [row(S2, "failed", sha="the wrong one") for _ in range(5)]
    assert ask(at(S2, HOUR), row(S1), *failed, sha="the wrong one").standing == "failed"
    found = ask(at(S2, HOUR), row(S1), *failed)
    assert turn(found) == (S2, 1)
    assert found.turn is not None
    assert found.turn.not_before <= at(S2, HOUR)
    # But not so that last week's comes back.
    assert (turn(ask(at(S3), row(S1), *failed)), ask(at(S3), row(S1), *failed).skips) == ((S3, 1), ())


def test_a_slot_with_tries_left_is_passed_over_when_the_next_comes() -> None:
    found = ask(at(S3), row(S1), row(S2, "failed"))
    assert (turn(found), skipped(found)) == ((S3, 1), [S2])
    assert found.skips[0].why.startswith("All its tries so far failed, and the slot 2026-03-16 has come since")


# ---- In a person's hands ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "standing"),
    [
        ([row(S2, "blocked")], "awaiting"),
        ([row(S2, "blocked", "rejected")], "rejected"),
        ([row(S2, "blocked", "lapsed")], "lapsed"),
        ([row(S2, "blocked", "approved"), row(S2)], "done"),
        ([row(S2, "blocked", "approved"), row(S2, "blocked")], "awaiting"),  # another guard stopped the approval
        ([row(S2, "blocked", "rejected"), row(S2, "failed")], "rejected"),  # somebody tried by hand
        ([row(S2, "skipped"), row(S2, "failed")], "skipped"),
        ([row(S2, "failed"), row(S2, "blocked")], "awaiting"),
    ],
)
def test_a_slot_that_a_person_decides_is_not_run_again(rows: list[SlotRow], standing: Standing) -> None:
    for late in (HOUR, 130 * HOUR):
        found = ask(at(S2, late), row(S1), *rows)
        assert (found.slot, found.standing, found.turn, found.skips) == (S2, standing, None, ())
    assert turn(ask(at(S3), row(S1), *rows)) == (S3, 1)
    assert ask(at(S3), row(S1), *rows).skips == ()


def test_a_person_may_run_what_was_passed_over_or_turned_down() -> None:
    ledger = [row(S1), row(S2, "skipped"), *[row(S3, "failed")] * 7, row(S3, "blocked", "rejected")]
    asked = turn_of(S3, at(S3, 2 * HOUR), CALENDAR, ledger, Worker())
    assert (asked.slot, asked.as_of, asked.number, asked.of) == (S3, at(S3, 2 * HOUR), 8, 5)
    assert asked.is_last
    assert turn_of(S2, at(S3), CALENDAR, ledger, Worker()).number == 1


# ---- As a whole ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("catch_up", ["latest", "all", "none"])
@pytest.mark.parametrize("first_slot", ["next", "latest"])
@pytest.mark.parametrize("outages", [(), ((2, 30), (40, 200), (400, 1300))])
def test_every_slot_from_the_first_start_on_is_run_or_passed_over_once(
    catch_up: str, first_slot: str, outages: tuple[tuple[int, int], ...]
) -> None:
    """A worker's half year, look by look, with outages in between; every seventh try fails."""
    zone = Calendar(weekday=6, at=time(1, 30), time_zone=ZoneInfo("America/New_York"))
    started = datetime(2026, 3, 3, 12, tzinfo=UTC)
    worker = Worker(catch_up=catch_up, first_slot=first_slot, max_lateness_hours=8760, tick_minutes=120)  # type: ignore[arg-type]
    ledger: list[SlotRow] = []
    tries = 0
    for tick in range(12 * 190):
        now = started + tick * 2 * HOUR
        if any(begins <= 2 * tick < ends for begins, ends in outages):
            continue
        newest = max((row.started_at for row in ledger if row.status == "applied"), default=None)
        found = due(now, zone, ledger, worker, policy_sha=SHA, applied_as_of=newest)
        ledger += [SlotRow(skip.slot, "skipped", None, None, now) for skip in found.skips]
        if found.turn is not None and found.turn.not_before <= now:
            tries += 1
            status = "failed" if tries % 7 == 0 else "applied"
            ledger.append(SlotRow(found.turn.slot, status, None, SHA, now))
    settled = [row.slot for row in ledger if row.status != "failed"]
    assert settled == sorted(set(settled))
    assert settled == [date(2026, 3, 1) + timedelta(weeks=week) for week in range(len(settled))]
    assert len(settled) == 28
    assert tries > 15
    if not outages:
        assert [row.slot for row in ledger if row.status == "skipped"] == (
            [] if (first_slot, catch_up) in (("latest", "latest"), ("latest", "all")) else [date(2026, 3, 1)]
        )
