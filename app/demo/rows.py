"""The sample company's rows in the text format of COPY: tab-separated, no value holds a tab or a backslash.

Instants are written as UTC, to the minute. Days and times of day are formatted once and looked up, since a company of
a million accounts has some ten million instants.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

NULL = "\\N"
DAY = 1440

Cell = str | int | None


class Calendar:
    """Instants and dates that lie so many minutes or days before `as_of`, as text."""

    def __init__(self, as_of: datetime) -> None:
        moment = as_of.astimezone(UTC)
        self._midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        self._minute = moment.hour * 60 + moment.minute
        self.date = lru_cache(maxsize=None)(self._date)

    def instant(self, minutes_ago: int | None) -> str | None:
        """The instant `minutes_ago` before `as_of`, which counts as a whole minute."""
        if minutes_ago is None:
            return None
        days, minute = divmod(self._minute - minutes_ago, DAY)
        return self.date(-days) + _TIMES[minute]

    def _date(self, days_ago: int) -> str:
        return (self._midnight - timedelta(days=days_ago)).date().isoformat()


_TIMES = tuple(f" {minute // 60:02}:{minute % 60:02}:00+00" for minute in range(DAY))


def line(cells: Iterable[Cell]) -> str:
    """One row."""
    return "\t".join([NULL if cell is None else str(cell) for cell in cells]) + "\n"


def money(cents: int | None) -> str | None:
    """Cents as a decimal number."""
    return None if cents is None else f"{cents // 100}.{cents % 100:02}"


def array(words: Sequence[str]) -> str:
    """A text[] of words without quotes, commas or braces."""
    return "{" + ",".join(words) + "}"
