"""Slots against wall clocks: twelve of the world's stranger ones, over ten years of the worker's ticks."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from numpy.typing import NDArray

from app.policy.model import Calendar
from app.schedule import WEEK, is_slot, latest_due_slot, next_slot, slot_instant

MONDAY, FRIDAY, SATURDAY, SUNDAY = 0, 4, 5, 6
FIRST, LAST = datetime(2011, 1, 1, tzinfo=UTC), datetime(2021, 1, 8, tzinfo=UTC)
TICK = timedelta(minutes=15)
EPOCH = date(1970, 1, 1)

CLOCKS = [
    ("UTC", MONDAY, time(6)),
    ("America/New_York", SUNDAY, time(1, 30)),  # comes twice in autumn
    ("Europe/Berlin", SUNDAY, time(2, 30)),  # is left out in spring, and comes twice in autumn
    ("Europe/Dublin", SUNDAY, time(1, 15)),  # whose winter time is the daylight saving time
    ("America/Sao_Paulo", SUNDAY, time(0)),  # the day began at one
    ("America/St_Johns", SUNDAY, time(0, 1)),  # the change was at a minute past midnight
    ("Australia/Lord_Howe", SUNDAY, time(2, 15)),  # changes by half an hour
    ("Pacific/Chatham", SUNDAY, time(3)),  # 45 minutes off
    ("Pacific/Apia", FRIDAY, time(6)),  # there was no 30 December 2011
    ("Africa/Casablanca", SUNDAY, time(2, 30)),  # changes four times a year
    ("Asia/Pyongyang", FRIDAY, time(23, 45)),  # lost half an hour for good on a Friday night
    ("Asia/Kathmandu", MONDAY, time(6)),  # its day begins while UTC has yesterday
]


def calendar(zone: str, weekday: int, at: time) -> Calendar:
    return Calendar(weekday=weekday, at=at, time_zone=ZoneInfo(zone))


def _ticks() -> NDArray[np.int64]:
    """The worker's ticks, in minutes since the epoch; seven minutes off the hour, as a start-up may have it."""
    minutes = np.arange(int(FIRST.timestamp()), int(LAST.timestamp()), int(TICK.total_seconds())) // 60
    return minutes + 7


def _instant(minutes: Any) -> datetime:
    return datetime.fromtimestamp(int(minutes) * 60, UTC)


def _offsets(ticks: NDArray[np.int64], zone: ZoneInfo) -> NDArray[np.float64]:
    """What the zone's clock is ahead of UTC at each tick, in minutes; looked up once for a day without a change."""
    per_day = int(timedelta(days=1) / TICK)

    def ahead(minutes: Any) -> float:
        offset = _instant(minutes).astimezone(zone).utcoffset()
        assert offset is not None
        return offset / timedelta(minutes=1)

    offsets = np.empty(len(ticks))
    for start in range(0, len(ticks), per_day):
        day = ticks[start : start + per_day]
        same = ahead(day[0]) == ahead(day[-1] + 15)
        offsets[start : start + per_day] = ahead(day[0]) if same else [ahead(tick) for tick in day]
    return offsets


def _due_by_the_wall(ticks: NDArray[np.int64], offsets: NDArray[np.float64], of: Calendar) -> NDArray[np.int64]:
    """At each tick the newest slot whose time the wall clock has shown, in days since the epoch.

    Independent of the code under test: it only watches the clock, tick by tick, and what fell due stays due.
    """
    at = of.at.hour * 60 + of.at.minute
    reached = np.floor((ticks + offsets - at) / (24 * 60)).astype(np.int64)
    weekday = (reached + EPOCH.weekday()) % 7
    return np.maximum.accumulate(reached - (weekday - of.weekday) % 7)


@pytest.mark.parametrize(("zone", "weekday", "at"), CLOCKS)
def test_ten_years_of_ticks_find_each_slot_due_once(zone: str, weekday: int, at: time) -> None:
    chosen, ticks = calendar(zone, weekday, at), _ticks()
    offsets = _offsets(ticks, chosen.time_zone)
    watched = _due_by_the_wall(ticks, offsets, chosen)

    # Every slot, at every tick: those that `slot_instant` calls due are those that the watcher of the wall saw.
    slots = [EPOCH + timedelta(days=int(watched[0])) + n * WEEK for n in range(525)]
    instants = np.array([slot_instant(slot, chosen).timestamp() / 60 for slot in slots])
    assert (np.diff(instants) > 0).all()
    newest = np.searchsorted(instants, ticks, side="right") - 1
    assert (newest * 7 + watched[0] == watched).all()
    assert (np.unique(np.diff(watched)) == [0, 7]).all()

    # And `latest_due_slot` says the same: at every tick about a slot or a change of the clock, and at one in 101.
    telling = np.zeros(len(ticks), dtype=bool)
    telling[::101] = True
    for changes, around in ((np.flatnonzero(np.diff(watched)), 3), (np.flatnonzero(np.diff(offsets)), 150)):
        for change in changes:
            telling[max(0, change - around) : change + around + 2] = True
    assert telling.sum() > 5000
    for minutes, days in zip(ticks[telling], watched[telling], strict=True):
        assert latest_due_slot(_instant(minutes), chosen) == EPOCH + timedelta(days=int(days)), _instant(minutes)


@pytest.mark.parametrize(("zone", "weekday", "at"), CLOCKS)
def test_a_slot_is_due_from_its_instant_on_and_not_before(zone: str, weekday: int, at: time) -> None:
    chosen = calendar(zone, weekday, at)
    slot = next_slot(FIRST, chosen)
    while slot < LAST.date():
        instant = slot_instant(slot, chosen)
        assert latest_due_slot(instant, chosen) == slot
        assert next_slot(instant, chosen) == slot + WEEK
        assert latest_due_slot(instant - timedelta(microseconds=1), chosen) == slot - WEEK
        assert next_slot(instant - timedelta(microseconds=1), chosen) == slot
        slot += WEEK


@pytest.mark.parametrize("weekday", range(7))
def test_every_iso_week_has_one_slot_also_the_53rd(weekday: int) -> None:
    chosen = calendar("Europe/Berlin", weekday, time(6))
    now = datetime(2014, 12, 20, tzinfo=UTC)
    weeks = []
    for _ in range(330):
        weeks.append(latest_due_slot(now, chosen).isocalendar()[:2])
        now += WEEK
    assert len(set(weeks)) == len(weeks)
    assert {(2015, 53), (2020, 53)} < set(weeks)
    for (year, week), (next_year, next_week) in pairwise(weeks):
        assert (next_year, next_week) == (year, week + 1) or (next_year, next_week, week >= 52) == (year + 1, 1, True)


def test_a_leap_day_is_a_slot_like_another() -> None:
    chosen = calendar("America/New_York", SATURDAY, time(6))
    assert slot_instant(date(2020, 2, 29), chosen) == datetime(2020, 2, 29, 11, tzinfo=UTC)
    assert latest_due_slot(datetime(2020, 3, 1, tzinfo=UTC), chosen) == date(2020, 2, 29)
    assert next_slot(datetime(2020, 3, 1, tzinfo=UTC), chosen) == date(2020, 3, 7)


@pytest.mark.parametrize(
    ("zone", "slot", "at", "instant"),
    [
        ("America/New_York", date(2026, 11, 1), time(1, 30), "2026-11-01T05:30:00+00:00"),  # the first of two
        ("America/New_York", date(2026, 3, 8), time(2, 30), "2026-03-08T07:00:00+00:00"),  # as the gap ends, at 03:00
        ("America/New_York", date(2026, 3, 8), time(3), "2026-03-08T07:00:00+00:00"),
        ("Europe/Berlin", date(2026, 3, 29), time(2), "2026-03-29T01:00:00+00:00"),  # the gap's first moment
        ("Europe/Berlin", date(2026, 3, 29), time(2, 59, 59), "2026-03-29T01:00:00+00:00"),
        ("Europe/Berlin", date(2026, 10, 25), time(2), "2026-10-25T00:00:00+00:00"),
        ("Australia/Lord_Howe", date(2026, 10, 4), time(2, 15), "2026-10-03T15:30:00+00:00"),
        ("Africa/Casablanca", date(2026, 3, 22), time(2, 59), "2026-03-22T02:00:00+00:00"),
        ("Pacific/Apia", date(2011, 12, 30), time(6), "2011-12-30T10:00:00+00:00"),  # a day that never was
        ("Pacific/Kwajalein", date(1969, 9, 30), time(12), "1969-09-30T01:00:00+00:00"),  # a day that came twice
        ("Asia/Kathmandu", date(2026, 3, 2), time(6), "2026-03-02T00:15:00+00:00"),
    ],
)
def test_a_time_left_out_falls_due_with_the_change_and_one_that_comes_twice_the_first_time(
    zone: str, slot: date, at: time, instant: str
) -> None:
    chosen = calendar(zone, slot.weekday(), at)
    assert slot_instant(slot, chosen).isoformat() == instant
    assert latest_due_slot(datetime.fromisoformat(instant), chosen) == slot


def test_it_does_not_matter_in_which_zone_now_is_told() -> None:
    chosen = calendar("America/New_York", SUNDAY, time(1, 30))
    now = datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    for zone in ("Asia/Tokyo", "America/New_York", "Pacific/Apia"):
        assert latest_due_slot(now.astimezone(ZoneInfo(zone)), chosen) == date(2026, 11, 1)


def test_only_the_calendars_weekday_is_a_slot() -> None:
    chosen = calendar("UTC", FRIDAY, time(6))
    assert [is_slot(date(2026, 3, day), chosen) for day in range(2, 9)] == [False] * 4 + [True] + [False] * 2
