"""Date formats: a pattern of letters, such as `M/D/YYYY` or `YYYY-MM-DD hh:mm`, compiled into a reader.

Pure. The letters are YYYY, MM (two digits), M (one or two), MMM (Jan), DD, D, hh, h, mm, ss, A (AM or PM); anything
else stands for itself. Years have four digits: two would have to be guessed.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

FIRST_YEAR, LAST_YEAR = 1900, 2200

_LETTERS = {
    "YYYY": r"(?P<year>[0-9]{4})",
    "MMM": r"(?P<name>[A-Za-z]{3})",
    "MM": r"(?P<month>[0-9]{2})",
    "M": r"(?P<month>[0-9]{1,2})",
    "DD": r"(?P<day>[0-9]{2})",
    "D": r"(?P<day>[0-9]{1,2})",
    "hh": r"(?P<hour>[0-9]{2})",
    "h": r"(?P<hour>[0-9]{1,2})",
    "mm": r"(?P<minute>[0-9]{2})",
    "ss": r"(?P<second>[0-9]{2})(?:\.[0-9]+)?",
    "A": r"(?P<half>[AaPp][Mm])",
}
_WORD = re.compile("YYYY|MMM|MM|M|DD|D|hh|h|mm|ss|A|T|[A-Za-z]+|[^A-Za-z]+")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True)
class DateFormat:
    """A compiled format.

    Raises `ValueError`, saying why, for a pattern that does not name a year, a month and a day, each once.
    """

    pattern: str

    def __post_init__(self) -> None:
        words = _WORD.findall(self.pattern)
        unknown = [word for word in words if word.isalpha() and word not in _LETTERS and word != "T"]
        if unknown:
            raise ValueError(f"does not know `{unknown[0]}`; the letters are {' '.join(_LETTERS)}")
        named = [name for word in words if word in _LETTERS for name in re.findall(r"\?P<(\w+)>", _LETTERS[word])]
        parts = ["month" if name == "name" else name for name in named]
        missing = [part for part in ("year", "month", "day") if part not in parts]
        if missing:
            raise ValueError(f"has no {missing[0]}; write for example M/D/YYYY")
        twice = [part for part in parts if parts.count(part) > 1]
        if twice:
            raise ValueError(f"has two of its {twice[0]}")
        if "half" in parts and "hour" not in parts:
            raise ValueError("has AM or PM and no hour")

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile("".join(_LETTERS.get(word, re.escape(word)) for word in _WORD.findall(self.pattern)))

    def read(self, cell: str) -> datetime:
        """The naive date and time that `cell` writes; `ValueError` if it does not."""
        found = self._regex.fullmatch(cell)
        if found is None:
            raise ValueError(cell)
        part = found.groupdict()
        month = _MONTHS.index(part["name"].lower()) + 1 if part.get("name") else int(part["month"])
        return datetime(  # noqa: DTZ001 - its zone is the file's, which the pattern does not know
            int(part["year"]),
            month,
            int(part["day"]),
            _hour(part.get("hour"), part.get("half")),
            int(part.get("minute") or 0),
            int(part.get("second") or 0),
        )


def _hour(hour: str | None, half: str | None) -> int:
    """The hour of the day, 0 to 23, of a 24-hour clock or (with `half`) of a 12-hour one."""
    number = int(hour or 0)
    if half is None:
        return number
    if not 1 <= number <= 12:
        raise ValueError(hour)
    return number % 12 + (12 if half.lower() == "pm" else 0)
