"""Reading one cell: a stripped cell that is not empty becomes the text that Postgres reads, or `BadCell` says why not.

Pure. A parser is compiled once per column, from its field and the formats of the mapping, and is then called for
every cell that it has not seen yet. What it returns is canonical and always accepted by the column's type: no row
can fail in the database for what one of its cells holds.
"""

import json
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from functools import partial

from app.load.datasets import Field, Kind
from app.load.dates import FIRST_YEAR, LAST_YEAR, DateFormat

Parse = Callable[[str], str]
Passes = Callable[[Sequence[str]], bool]

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?")
_PLAIN_AMOUNTS = re.compile(r"(?:(?:[0-9]{1,12}(?:\.[0-9]{1,2})?)?\n)*")
_PLAIN_INSTANTS = re.compile(
    r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|\+00:00)\n)*"
)
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CURRENCY = re.compile(r"[A-Za-z]{3}")
_LONGEST_NUMBER = 60
_WORDS = {
    **dict.fromkeys(("true", "t", "yes", "y", "1"), "true"),
    **dict.fromkeys(("false", "f", "no", "n", "0"), "false"),
}


class BadCell(Exception):  # noqa: N818 - it says what is the matter, as app.errors does
    """A cell cannot be read; `reason` follows the cell's value in the message."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Numbers:
    """How a file writes numbers. `strip` holds characters to leave out, `scale` multiplies what is read."""

    decimal: str = "."
    thousands: str = ""
    strip: str = ""
    scale: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class Formats:
    """How a column's cells are written. `zone` is that of instants without an offset."""

    numbers: Numbers
    dates: DateFormat | None
    zone: tzinfo
    list_separator: str


def parser_of(field: Field, formats: Formats) -> Parse:
    """The parser of `field`'s cells as `formats` writes them."""
    return _PARSERS[field.kind](field, formats)


def passes_of(field: Field, formats: Formats) -> Passes | None:
    """A test of a whole column of stripped cells: whether each is what the parser would return; None without one.

    It costs a fraction of parsing the cells. Where it says no, some of them may still be good.
    """
    match field.kind:
        case Kind.ID | Kind.TEXT:
            return partial(_all_plain_text, field.longest)
        case Kind.MONEY if formats.numbers == Numbers() and field.least == 0:
            return _all_plain_amounts
        case Kind.INSTANT if formats.dates is None:
            return _all_plain_instants
        case _:
            return None


def _all_plain_text(longest: int, cells: Sequence[str]) -> bool:
    # A backslash would have to be escaped for COPY.
    joined = "".join(cells)
    return max(map(len, cells)) <= longest and joined.isprintable() and "\\" not in joined


def _all_plain_amounts(cells: Sequence[str]) -> bool:
    return _PLAIN_AMOUNTS.fullmatch("\n".join([*cells, ""])) is not None


def _all_plain_instants(cells: Sequence[str]) -> bool:
    written = [cell for cell in cells if cell]
    if not written or _PLAIN_INSTANTS.fullmatch("\n".join([*written, ""])) is None:
        return False
    if min(written) < str(FIRST_YEAR) or max(written)[:4] > str(LAST_YEAR):
        return False
    try:
        # Only to see whether it is a day of the calendar.
        deque(map(datetime.fromisoformat, written), maxlen=0)
    except ValueError:
        return False
    return True


def _id(cell: str, longest: int) -> str:
    if _CONTROL.search(cell):
        raise BadCell("holds a control character; an id is one printable word or phrase")
    return _text(cell, longest)


def _text(cell: str, longest: int) -> str:
    if len(cell) > longest:
        raise BadCell(f"is {len(cell):,} characters long; at most {longest:,} fit")
    if "\0" in cell:
        raise BadCell("holds a NUL byte, which Postgres cannot store")
    return cell


def _choice(cell: str, field: Field) -> str:
    word = cell.lower()
    if word not in field.choices:
        raise BadCell(f"is not {' or '.join(field.choices)}; translate your words with `values` in the mapping")
    return word


def _currency(cell: str) -> str:
    if not _CURRENCY.fullmatch(cell):
        raise BadCell("is not a currency's three letters, such as USD")
    return cell.upper()


def _boolean(cell: str) -> str:
    word = _WORDS.get(cell.lower())
    if word is None:
        raise BadCell("is not true or false (nor yes, no, 1, 0)")
    return word


def _number_parser(field: Field, formats: Formats) -> Parse:
    def parse(cell: str) -> str:
        value = read_number(cell, formats.numbers)
        if field.kind is Kind.INTEGER and value != value.to_integral_value():
            raise BadCell("is not a whole number")
        if value < field.least:
            raise BadCell(_too_small(field))
        if value > field.most:
            raise BadCell(_too_large(field))
        # Half away from zero, as Postgres rounds.
        if field.kind is Kind.INTEGER:
            value = value.to_integral_value()
        return format(value, "f")

    return parse


def _too_small(field: Field) -> str:
    if field.least == 0:
        return "is negative"
    if field.least in (1, Decimal("0.01")):
        return "is not above zero; leave it empty for no limit of its own"
    return f"is below {field.least:,f}"


def _too_large(field: Field) -> str:
    if field.name == "adoption":
        return "is no share of 1; for percentages put `scale = 0.01` in the mapping"
    return f"is absurdly large, above {field.most:,f}"


def read_number(cell: str, numbers: Numbers) -> Decimal:
    """The number that `cell` writes, scaled; finite."""
    text = cell.translate({ord(character): None for character in numbers.strip}).strip() if numbers.strip else cell
    if numbers.thousands and numbers.thousands in text:
        text = _ungrouped(text, numbers)
    if numbers.decimal != ".":
        if "." in text:
            raise BadCell(f"is not a number whose decimal sign is `{numbers.decimal}`")
        text = text.replace(numbers.decimal, ".")
    if len(text) > _LONGEST_NUMBER:
        raise BadCell(f"is not a number: it is {len(text):,} characters long")
    if not _NUMBER.fullmatch(text):
        if _NOT_FINITE.fullmatch(text):
            raise BadCell("is not a finite number")
        raise BadCell(f"is not a number{_number_hint(text)}")
    return Decimal(text) * numbers.scale


def _ungrouped(text: str, numbers: Numbers) -> str:
    """`text` without its thousands separators; they must stand before each three digits of the whole part."""
    whole, decimal, rest = text.partition(numbers.decimal)
    first, *groups = whole.lstrip("+-").split(numbers.thousands)
    if not 1 <= len(first) <= 3 or any(len(group) != 3 for group in groups) or numbers.thousands in rest:
        raise BadCell(f"is not a number: its `{numbers.thousands}` do not stand between thousands")
    return whole.replace(numbers.thousands, "") + decimal + rest


def _number_hint(text: str) -> str:
    """What to put into the mapping, if `text` is a number in some other format."""
    if re.fullmatch(r"[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?", text):
        return '; if `,` separates thousands, put `thousands = ","` under `numbers` in the mapping'
    if re.fullmatch(r"[+-]?[0-9.]+,[0-9]*", text):
        return '; if `,` is the decimal sign, put `decimal = ","` under `numbers` in the mapping'
    sign = re.fullmatch(r"[+-]?([$€£¥%₹])?\s*[0-9.,]+\s*([$€£¥%₹])?", text)
    if sign and (sign[1] or sign[2]):
        symbol = sign[1] or sign[2]
        return f'; to leave `{symbol}` out, put `strip = "{symbol}"` under `numbers` in the mapping'
    return ""


def read_date(cell: str, form: DateFormat | None) -> date:
    """The date that `cell` writes; a time of day is accepted only at midnight, as databases export dates."""
    moment = _moment(cell, form)
    if moment.hour or moment.minute or moment.second or moment.microsecond:
        raise BadCell("has a time of day where a date is expected")
    return moment.date()


def read_instant(cell: str, form: DateFormat | None, zone: tzinfo) -> datetime:
    """The instant that `cell` writes, in UTC; without an offset it is a wall clock time in `zone`."""
    moment = _moment(cell, form)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).astimezone(UTC)


def _moment(cell: str, form: DateFormat | None) -> datetime:
    """The date and time that `cell` writes, in `form` or (None) by ISO 8601; naive unless it has an offset."""
    try:
        moment = _iso(cell) if form is None else form.read(cell)
    except (ValueError, OverflowError):
        expected = "YYYY-MM-DD" if form is None else form.pattern
        hint = "; put another `dates` format into the mapping" if form is None and re.match(r"\d+[/.]", cell) else ""
        raise BadCell(f"is not a date written {expected}{hint}") from None
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise BadCell(f"lies outside the years {FIRST_YEAR} to {LAST_YEAR}")
    return moment


def _iso(cell: str) -> datetime:
    if not (cell.isascii() and cell[4:5] == cell[7:8] == "-" and cell[10:11] in ("", "T", "t", " ")):
        raise ValueError(cell)
    # BigQuery writes `2024-01-05 10:00:00 UTC`.
    return datetime.fromisoformat(cell.removesuffix(" UTC") + "+00:00" if cell.endswith(" UTC") else cell)


def array(items: list[str]) -> str:
    """A Postgres array of the items, stripped, without empty and repeated ones; NULL in it cannot arise."""
    kept = [_text(item, 255) for item in dict.fromkeys(item.strip() for item in items) if item]
    if not kept:
        raise BadCell("lists nothing")
    return "{" + ",".join('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in kept) + "}"


def _json(cell: str, longest: int) -> str:
    _text(cell, longest)
    try:
        found = json.loads(cell, parse_constant=_refuse)
        written = json.dumps(found, ensure_ascii=False, allow_nan=False)
        written.encode()
    except (ValueError, RecursionError):
        raise BadCell("is not JSON") from None
    if not isinstance(found, dict):
        raise BadCell('is not a JSON object, such as {"tier": "gold"}')
    if "\\u0000" in written:
        raise BadCell("holds a NUL character, which Postgres cannot store")
    return written


def _refuse(constant: str) -> None:
    raise ValueError(constant)


_PARSERS: Mapping[Kind, Callable[[Field, Formats], Parse]] = {
    Kind.ID: lambda field, _: partial(_id, longest=field.longest),
    Kind.TEXT: lambda field, _: partial(_text, longest=field.longest),
    Kind.CHOICE: lambda field, _: partial(_choice, field=field),
    Kind.CURRENCY: lambda *_: _currency,
    Kind.MONEY: _number_parser,
    Kind.NUMBER: _number_parser,
    Kind.INTEGER: _number_parser,
    Kind.BOOLEAN: lambda *_: _boolean,
    Kind.DATE: lambda _, formats: lambda cell: read_date(cell, formats.dates).isoformat(),
    Kind.INSTANT: lambda _, formats: lambda cell: read_instant(cell, formats.dates, formats.zone).isoformat(),
    Kind.LIST: lambda _, formats: lambda cell: array(cell.split(formats.list_separator)),
    Kind.JSON: lambda field, _: partial(_json, longest=field.longest),
}
