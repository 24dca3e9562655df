"""Plain text laid out for a terminal, a pipe or a mail: headings, paragraphs and aligned rows.

Nothing is boxed and no id is ever wrapped or cut: a row that does not fit loses the end of its one flexible cell, and
runs over the edge if that is not enough. Whatever comes from outside is made printable here, so that no name can draw
on the terminal. Colours appear only on terminals that want them (NO_COLOR).
"""

import os
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO

from rich.cells import cell_len, set_cell_size
from rich.console import Console

from app.figures import printable

_WIDTH = 80
_WIDEST = 120
_NARROWEST_CELL = 8


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; at most one per table is `flexible` and may be cut to fit."""

    title: str
    right: bool = False
    flexible: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one line, with an optional sentence that goes under it."""

    cells: tuple[str, ...]
    note: str = ""
    style: str | None = None


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """The reader has gone: whoever opened the stream decides what that means, not Rich, which would exit with 1."""
        raise BrokenPipeError


class Page:
    """Writes to `out`: `width` columns wide or, without it, 80 or as the terminal or COLUMNS says, but at most 120."""

    def __init__(self, out: IO[str], *, width: int | None = None) -> None:
        self._begun = False
        self._console = _Console(file=out, highlight=False, markup=False, emoji=False, soft_wrap=True)
        columns = os.environ.get("COLUMNS", "")
        told = int(columns) if columns.isdigit() else 0
        self.width = width or min(told or (self._console.width if out.isatty() else _WIDTH), _WIDEST)

    def line(self, text: str = "", style: str | None = None) -> None:
        """One line as it is."""
        self._begun = True
        plain = self._console.no_color  # NO_COLOR: nor bold, nor dim
        self._console.out(printable(text).rstrip(), style=None if plain else style, highlight=False)

    def heading(self, text: str) -> None:
        """A line that stands out, after a blank one unless it is the first."""
        if self._begun:
            self.line()
        self.line(text, style="bold")

    def paragraph(self, text: str, indent: int = 0, style: str | None = None) -> None:
        """`text` wrapped between words; a word longer than the line stays whole."""
        margin = " " * indent
        wrapped = textwrap.wrap(
            printable(text),
            self.width,
            initial_indent=margin,
            subsequent_indent=margin,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in wrapped:
            self.line(line, style)

    def table(self, columns: Sequence[Column], rows: Iterable[Row], indent: int = 2) -> None:
        """Rows in aligned columns under their titles, without the columns that are empty throughout."""
        held = list(rows)
        filled = [position for position in range(len(columns)) if any(row.cells[position] for row in held)]
        if not filled:
            return
        held = [Row(tuple(printable(row.cells[position]) for position in filled), row.note, row.style) for row in held]
        columns = [columns[position] for position in filled]
        title = Row(tuple(column.title for column in columns), style="dim")
        widths = self._widths(columns, [title, *held], indent)
        for row in [title, *held] if any(title.cells) else held:
            self._row(columns, widths, row, indent)
            if row.note:
                self.paragraph(row.note, indent + 2)

    def _widths(self, columns: Sequence[Column], rows: Sequence[Row], indent: int) -> list[int]:
        widths = [max(cell_len(row.cells[position]) for row in rows) for position in range(len(columns))]
        excess = indent + sum(widths) + 2 * (len(widths) - 1) - self.width
        for position, column in enumerate(columns):
            if column.flexible and excess > 0:
                widths[position] = max(min(widths[position], _NARROWEST_CELL), widths[position] - excess)
        return widths

    def _row(self, columns: Sequence[Column], widths: Sequence[int], row: Row, indent: int) -> None:
        cells = []
        for column, width, cell in zip(columns, widths, row.cells, strict=True):
            fitted = cell if cell_len(cell) <= width else set_cell_size(cell, width - 3).rstrip() + "..."
            padding = " " * (width - cell_len(fitted))
            cells.append(padding + fitted if column.right else fitted + padding)
        self.line(" " * indent + "  ".join(cells), row.style)
