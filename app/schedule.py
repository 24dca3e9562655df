"""When the weekly run is due: slots, which are local dates, and the instants at which they fall due.

A slot falls due at the first instant at which the wall clock of the policy's time zone shows the calendar's time on
that date, or a later one. So a time that the spring clock change leaves out falls due with the change, one that the
autumn change brings twice falls due the first time, and a date that a place left out when it crossed the date line
falls due as the next one begins. Slots are seven dates apart whatever the clocks do, and what falls due stays due.

Pure: `now` is always given.
"""

from datetime import UTC, date, datetime, timedelta

from app.policy.model import Calendar

WEEK = timedelta(days=7)
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


def slot_instant(slot: date, calendar: Calendar) -> datetime:
    """The instant, in UTC, at which the slot falls due. Takes any date, whatever day of the week it is."""
    wall = datetime.combine(slot, calendar.at)
    first = wall.replace(tzinfo=calendar.time_zone, fold=0).astimezone(UTC)
    if _wall(first, calendar) == wall:
        return first
    # The clock never shows this time. Read by the offset before the gap it lies after the gap, and by that after it
    # before; the change itself is in between.
    after, before = first, wall.replace(tzinfo=calendar.time_zone, fold=1).astimezone(UTC)
    while after - before > _SECOND:
        middle = before + (after - before) // _SECOND // 2 * _SECOND
        if _wall(middle, calendar) < wall:
            before = middle
        else:
            after = middle
    return after


def latest_due_slot(now: datetime, calendar: Calendar) -> date:
    """The last slot that has fallen due by `now`."""
    # A place that repeats a date is on it for the second time when its next slot may have fallen due already.
    ahead = _wall(now, calendar).date() + _DAY
    slot = ahead - _DAY * ((ahead.weekday() - calendar.weekday) % 7)
    return slot if slot_instant(slot, calendar) <= now else slot - WEEK


def next_slot(now: datetime, calendar: Calendar) -> date:
    """The first slot that falls due after `now`."""
    return latest_due_slot(now, calendar) + WEEK


def is_slot(day: date, calendar: Calendar) -> bool:
    """Whether the calendar has a slot on this date."""
    return day.weekday() == calendar.weekday


def _wall(instant: datetime, calendar: Calendar) -> datetime:
    """What the clock on the wall shows, without its zone."""
    return instant.astimezone(calendar.time_zone).replace(tzinfo=None, fold=0)
