"""The signals of the sample company's accounts: measurements every four weeks, meetings, and single events."""

from collections.abc import Iterator
from dataclasses import dataclass

from app.demo.accounts import Account, Draw
from app.demo.decks import Profile

FOUR_WEEKS = 28
DAY = 1440

Signal = tuple[str, int, int | None, str | None]
"""Kind, minutes before `as_of`, value, detail."""


@dataclass(frozen=True, slots=True)
class Series:
    """A measurement: it stands at `now`, stood at `then` until `turn` four-week periods ago, and drifted before."""

    now: int
    then: int
    turn: int

    def at(self, week: int, draw: Draw) -> int:
        """The measurement `week` four-week periods ago."""
        if week < self.turn:
            return self.now + (self.then - self.now) * week // self.turn
        return max(1, self.then - self.then * (week - self.turn) * int(draw() * 3) // 100)


def signals(account: Account, profile: Profile, draw: Draw) -> Iterator[Signal]:
    """The signals of `account` that `profile` keeps, kind by kind, newest first. None is older than the account."""
    phase = int(draw() * FOUR_WEEKS)
    oldest = min(account.signed_days, 30 * 19)
    for kind, series in (
        ("seats", Series(account.seats, account.seats_then, 3)),
        ("usage", Series(account.usage, account.usage_then, 2)),
    ):
        for week in profile.readings[kind]:
            if (days := week * FOUR_WEEKS + phase) <= oldest:
                yield kind, _minutes(days, draw), series.at(week, draw), None
    if account.health is not None:
        for week in profile.readings["health"]:
            if (days := week * FOUR_WEEKS + phase) <= oldest:
                health = account.health if week == 0 else min(99, max(5, account.health + int(draw() * 17) - 8))
                yield "health", _minutes(days, draw), health, None
    yield from _meetings(account, min(oldest, profile.meeting_days), draw)
    yield from _events(account, min(oldest, profile.ticket_days), draw)


def _meetings(account: Account, oldest: int, draw: Draw) -> Iterator[Signal]:
    if account.engaged_days is None or account.meeting_every is None:
        return
    days = account.engaged_days
    for number in range(oldest):
        if days > oldest:
            return
        detail = "quarterly business review" if number % 3 == 2 else "check-in"
        yield "meeting", _engaged_minutes(days), None, detail
        days += account.meeting_every - int(draw() * 4)


def _events(account: Account, oldest: int, draw: Draw) -> Iterator[Signal]:
    if account.ticket_ago is not None:
        yield "api_ticket", _minutes(account.ticket_ago, draw), None, "asks to provision users through the API"
    if account.tickets:
        yield "api_ticket", _minutes(int(draw() * oldest), draw), None, "asks about rate limits of the API"
    if account.use_case_ago is not None:
        yield "strategic_use_case", _minutes(account.use_case_ago, draw), None, "wants to report to its board from it"
    if account.champion_left_ago is not None:
        yield "champion_left", _minutes(account.champion_left_ago, draw), None, "has left the company"
    if account.champion_joined_ago is not None:
        yield "champion_joined", _minutes(account.champion_joined_ago, draw), None, "took over as sponsor"


def _minutes(days: int, draw: Draw) -> int:
    """An instant of the day that began `days` before `as_of`."""
    return days * DAY + int(draw() * DAY)


def _engaged_minutes(days: int) -> int:
    """When a meeting `days` ago was: `last_engaged_at` says the same of the latest."""
    return days * DAY + 90


def engaged_minutes(account: Account) -> int | None:
    """When somebody last engaged, in minutes before `as_of`."""
    return None if account.engaged_days is None else _engaged_minutes(account.engaged_days)
