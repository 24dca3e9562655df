"""What came of a load: counts by dataset, and the bad rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.errors import Mistake, Problem
from app.figures import counted, printable
from app.load.datasets import DatasetName

_SHOWN = 60
KEPT = 200
"""How many characters of a bad cell are kept for messages; the quarantine has it whole."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """One thing wrong with one row. `column` is empty where no single cell is at fault; `value` is cut and printable.

    `reason` follows the value: "is not a number". `row_id` is the row's own id, where it could be read.
    """

    dataset: DatasetName
    file: str
    line: int
    column: str
    value: str
    reason: str
    row_id: str | None = None

    @property
    def problem(self) -> Problem:
        """The bad row as a line for people: `accounts.csv:7: arr: "abc" is not a number`."""
        shown = self.value if len(self.value) <= _SHOWN else f"{self.value[:_SHOWN]}…"
        quoted = f'"{shown}" ' if shown else ""
        return Problem(
            f"{self.file}:{self.line}", f"{self.column}: {quoted}{self.reason}" if self.column else self.reason
        )


def kept_value(cell: str) -> str:
    """As much of `cell` as a message may show, on one line."""
    return printable(cell[:KEPT])


@dataclass(frozen=True, slots=True)
class DatasetCounts:
    """One dataset's rows. Every row read is in exactly one of the other counts."""

    dataset: DatasetName
    file: str
    read: int
    skipped: int
    inserted: int
    updated: int
    unchanged: int
    bad: int


@dataclass(frozen=True, slots=True)
class LoadResult:
    """A load that was committed: counts in order of loading, and the first bad rows of each file.

    `quarantine` is the file that has all of them; None if there was none.
    """

    counts: tuple[DatasetCounts, ...]
    bad_rows: tuple[BadRow, ...] = ()
    quarantine: Path | None = None

    @property
    def bad(self) -> int:
        """How many rows were bad."""
        return sum(count.bad for count in self.counts)


class BadRows(Mistake):
    """Some rows are bad, and nothing was written. `counts` are what a load without them would have done."""

    def __init__(self, counts: Sequence[DatasetCounts], shown: Sequence[BadRow]) -> None:
        self.counts = tuple(counts)
        self.bad_rows = tuple(shown)
        super().__init__(_heading(self.counts, self.bad_rows), [row.problem for row in shown])


def _heading(counts: tuple[DatasetCounts, ...], shown: tuple[BadRow, ...]) -> str:
    """How many rows are bad in which file, and what to do about it."""
    bad = [f"{count.bad:,} of {counted(count.read, 'row')} in {count.file}" for count in counts if count.bad]
    lines = {(row.dataset, row.line) for row in shown}
    hidden = sum(count.bad for count in counts) - len(lines)
    more = f"; {hidden:,} more of them are not shown, see --max-errors" if hidden else ""
    return (
        f"nothing was loaded: bad rows, {', '.join(bad)}{more}. Correct them, or load the rest with --quarantine FILE:"
    )
