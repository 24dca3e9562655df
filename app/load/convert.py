"""From cells to what COPY reads: a batch of rows becomes one block of text, and the rows that cannot are told apart.

Work goes column by column. A column of plain text or plain amounts is checked as a whole and passes as it is; every
other column remembers the cells it has read, so that a parser runs once per different cell. Only where a column
holds something odd are its cells looked at one by one. This is what makes a Python loader fast enough for a million
rows.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from itertools import compress

from app.load.datasets import Field, Kind
from app.load.fields import BadCell, parser_of, passes_of
from app.load.layout import Layout, Target
from app.load.mapping import Conversion
from app.load.outcome import BadRow, kept_value
from app.load.read import Batch

NULL = "\\N"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_REMEMBERED = 100_000
_ABSURD = Decimal(10) ** 13
_CENT = Decimal("0.01")

Cells = Sequence[str]
Report = Callable[[int, str, str, str], None]
"""Called for each bad cell: the row's place in the batch, the column, the cell, the reason."""


def escaped(text: str) -> str:
    """`text` as one value of COPY's text format."""
    return text.translate(_ESCAPES)


@dataclass(slots=True)
class Converted:
    """A batch as COPY reads it, line number first, and the rows left out of it."""

    text: str = ""
    rows: int = 0
    skipped: int = 0
    bad: list[BadRow] = field(default_factory=list)


class Converter:
    """Reads the rows of one file by its layout. Remembers cells between batches."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._columns = [_Column(target, layout.null) for target in layout.columns]
        self._attributes = [_Column(target, layout.null, as_attribute=True) for target in layout.attributes]
        self._names = [target.field.name for target in layout.columns]

    def convert(self, batch: Batch) -> Converted:
        """The batch's good rows as text, and its bad rows by line."""
        layout = self._layout
        result = Converted()
        for broken in batch.broken:
            result.bad.append(self._bad_row(broken.line, "", broken.text, broken.reason, shown=False))
        rows, lines = self._whole_rows(batch, result)
        rows, lines = self._kept_rows(rows, lines, result)
        if not rows:
            return result
        cells: list[Cells] = list(zip(*rows, strict=True))
        faults: dict[int, list[tuple[str, str, str]]] = {}

        def report(place: int, column: str, value: str, reason: str) -> None:
            faults.setdefault(place, []).append((column, value, reason))

        texts = [column.read(cells, len(rows), report) for column in self._columns]
        if self._attributes:
            texts.append(_objects([column.read(cells, len(rows), report) for column in self._attributes]))
        if layout.conversion is not None:
            _Exchange(layout, layout.conversion, report).convert(dict(zip(self._names, texts, strict=False)))
        if faults:
            ids = texts[self._names.index(layout.dataset.key[0])]
            for place in sorted(faults):
                row_id = None if ids[place] == NULL else ids[place].replace("\\\\", "\\")
                result.bad += [self._bad_row(lines[place], *fault, row_id=row_id) for fault in faults[place]]
            good = [place not in faults for place in range(len(rows))]
            texts = [list(compress(column, good)) for column in texts]
            lines = list(compress(lines, good))
        result.rows = len(lines)
        if lines:
            result.text = "\n".join(map("\t".join, zip(map(str, lines), *texts, strict=True))) + "\n"
        result.bad.sort(key=lambda bad: bad.line)
        return result

    def _whole_rows(self, batch: Batch, result: Converted) -> tuple[list[list[str]], list[int]]:
        """The rows with as many cells as the header."""
        width = len(self._layout.header)
        if set(map(len, batch.rows)) <= {width}:
            return batch.rows, batch.lines
        for row, line in zip(batch.rows, batch.lines, strict=True):
            if len(row) != width:
                result.bad.append(self._bad_row(line, "", "", f"has {len(row):,} cells where the header has {width:,}"))
        whole = [len(row) == width for row in batch.rows]
        return list(compress(batch.rows, whole)), list(compress(batch.lines, whole))

    def _kept_rows(
        self, rows: list[list[str]], lines: list[int], result: Converted
    ) -> tuple[list[list[str]], list[int]]:
        """The rows that no filter of the mapping leaves out."""
        for skip in self._layout.skips:
            kept = [(row[skip.place].strip() in skip.cells) is skip.negated for row in rows]
            result.skipped += kept.count(False)
            rows, lines = list(compress(rows, kept)), list(compress(lines, kept))
        return rows, lines

    def _bad_row(
        self, line: int, column: str, value: str, reason: str, *, row_id: str | None = None, shown: bool = True
    ) -> BadRow:
        layout = self._layout
        return BadRow(
            layout.dataset.name, layout.file, line, column, kept_value(value) if shown else "", reason, row_id
        )


class _Column:
    """Reads one target's cells: `read` gives a COPY value per row."""

    def __init__(self, target: Target, null: frozenset[str], *, as_attribute: bool = False) -> None:
        self._target = target
        self._null = null | {""}
        self._as_attribute = as_attribute
        self._parse = parser_of(target.field, target.source.formats)
        self._memory = _Memory(self._read_cell)
        source = target.source
        translated = source.values or source.otherwise is not None or as_attribute
        self._passes = None if translated else passes_of(target.field, source.formats)
        self._constant = self._read_cell(source.constant) if source.constant is not None else None

    def read(self, cells: Sequence[Cells], count: int, report: Report) -> list[str]:
        """The column's values in row order; a bad cell is reported, and reads as NULL."""
        if self._constant is not None:
            return [self._constant] * count
        column = self._cells(cells)
        if self._passes is not None:
            stripped = list(map(str.strip, column))
            if self._passes(stripped) and not (self._target.field.required and not self._null.isdisjoint(stripped)):
                return [NULL if cell in self._null else cell for cell in stripped]
        if len(self._memory) > _REMEMBERED:
            self._memory.clear()
        try:
            return list(map(self._memory.__getitem__, column))
        except BadCell:
            return [self._read_or_report(place, cell, report) for place, cell in enumerate(column)]

    def _cells(self, cells: Sequence[Cells]) -> Cells:
        """The cells it is read from: of several columns, the first in each row that is not empty."""
        first, *others = (cells[place] for place in self._target.places)
        if not others:
            return first
        return [next((cell for cell in row if cell.strip()), "") for row in zip(first, *others, strict=True)]

    def _read_or_report(self, place: int, cell: str, report: Report) -> str:
        try:
            return self._memory[cell]
        except BadCell as error:
            report(place, self._target.label, cell.strip(), error.reason)
            return NULL

    def _read_cell(self, raw: str) -> str:
        """The COPY value of one cell, translated first; `BadCell` where it cannot be read."""
        cell, source, field = raw.strip(), self._target.source, self._target.field
        if cell in source.values:
            cell = source.values[cell]
        elif source.otherwise is not None:
            cell = source.otherwise
        if cell in self._null:
            if field.required:
                raise BadCell("is empty, and every row needs one")
            return "" if self._as_attribute else NULL if field.default is None else field.default
        text = self._parse(cell)
        return escaped(_member(field, text) if self._as_attribute else text)


class _Memory(dict[str, str]):
    """Cells already read, with their values; a bad cell is not remembered."""

    def __init__(self, read: Callable[[str], str]) -> None:
        self._read = read

    def __missing__(self, cell: str) -> str:
        value = self[cell] = self._read(cell)
        return value


def _member(field: Field, text: str) -> str:
    """One member of a JSON object."""
    written = text if field.kind in (Kind.NUMBER, Kind.BOOLEAN) else json.dumps(text, ensure_ascii=False)
    return f"{json.dumps(field.name, ensure_ascii=False)}: {written}"


def _objects(columns: Iterable[Cells]) -> list[str]:
    """A JSON object per row, of those attributes that it has."""
    return ["{" + ", ".join(filter(None, members)) + "}" for members in zip(*columns, strict=True)]


@dataclass(frozen=True, slots=True)
class _Exchange:
    """Converts a batch's amounts by the rates of the mapping."""

    layout: Layout
    conversion: Conversion
    report: Report

    def convert(self, texts: Mapping[str, list[str]]) -> None:
        """Every row in another currency has its amounts and its currency converted, in place."""
        rates, currencies = self.conversion.rates, texts["currency"]
        foreign = [place for place, code in enumerate(currencies) if code not in (NULL, self.conversion.into)]
        for place in foreign:
            if currencies[place] not in rates:
                label = self.layout.label("currency")
                self.report(place, label, currencies[place], "has no rate under accounts.currency.rates")
                continue
            for name in ("arr", "expansion_arr"):
                if name in texts and texts[name][place] != NULL:
                    texts[name][place] = self._exchanged(place, name, texts[name][place], rates[currencies[place]])
            currencies[place] = self.conversion.into

    def _exchanged(self, place: int, name: str, amount: str, rate: Decimal) -> str:
        exchanged = (Decimal(amount) * rate).quantize(_CENT, ROUND_HALF_UP)
        if exchanged > _ABSURD:
            reason = f"is absurdly large in {self.conversion.into}, above {_ABSURD:,f}"
            self.report(place, self.layout.label(name), amount, reason)
        return format(exchanged, "f")
