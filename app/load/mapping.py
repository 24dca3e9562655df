"""The mapping file: how a user's files say what our columns hold. docs/loading.md is its reference.

`read_mapping` parses the text once into `DatasetMapping` values and reports every mistake of the file together,
each with its path (`accounts.columns.arr.scale`). What the mapping means for a given header is decided in `layout`.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from app.errors import Mistake, Problem
from app.load.datasets import DATASETS, DatasetName, Field, Kind
from app.load.dates import DateFormat
from app.load.fields import Formats, Numbers
from app.load.shape import AttributeShape, ColumnShape, DatasetShape, FileShape, MappingShape

UnknownColumns = Literal["error", "attributes", "ignore"]
By = Literal["name", "email"]

_ATTRIBUTE_KINDS = {
    "text": Kind.TEXT,
    "number": Kind.NUMBER,
    "boolean": Kind.BOOLEAN,
    "date": Kind.DATE,
    "timestamp": Kind.INSTANT,
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where a column's cells come from: the first of `columns` that is not empty, or one `constant` for all rows.

    `values` translates cells, exactly as written, before they are read; other cells become `otherwise` if it is
    given.
    """

    columns: tuple[str, ...]
    constant: str | None
    values: Mapping[str, str]
    otherwise: str | None
    formats: Formats
    by: By | None = None


@dataclass(frozen=True, slots=True)
class AttributeSource:
    """A key of `accounts.attributes`, of this kind, and where it comes from."""

    kind: Kind
    source: Source


@dataclass(frozen=True, slots=True)
class Skip:
    """Rows to leave out: those whose cell in `column` is one of `cells` (or, `negated`, none of them)."""

    column: str
    cells: frozenset[str]
    negated: bool


@dataclass(frozen=True, slots=True)
class Conversion:
    """Money in another currency becomes `into`: multiplied by the rate, what one unit of the other is worth."""

    into: str
    rates: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class DatasetMapping:
    """How one dataset's file is to be read. The neutral one reads a file that has our columns and formats."""

    formats: Formats = field(default_factory=lambda: _formats(FileShape(), FileShape()))
    encoding: str = "utf-8"
    delimiter: str = ","
    null: frozenset[str] = frozenset()
    columns: Mapping[str, Source] = field(default_factory=lambda: MappingProxyType({}))
    attributes: Mapping[str, AttributeSource] = field(default_factory=lambda: MappingProxyType({}))
    unknown_columns: UnknownColumns = "error"
    ignore: frozenset[str] = frozenset()
    skip: tuple[Skip, ...] = ()
    conversion: Conversion | None = None


@dataclass(frozen=True, slots=True)
class FileMapping:
    """A mapping file: how to read each dataset."""

    datasets: Mapping[DatasetName, DatasetMapping] = field(default_factory=lambda: MappingProxyType({}))

    def of(self, dataset: DatasetName) -> DatasetMapping:
        """How to read this dataset; the neutral mapping if the file says nothing of it."""
        return self.datasets.get(dataset, DatasetMapping())


def load_mapping(path: Path | None) -> FileMapping:
    """The mapping at `path`; None is the neutral one. Raises `Mistake` with every mistake of the file."""
    if path is None:
        return FileMapping()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Mistake(f"{path}: the mapping file cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Mistake(f"{path}: the mapping file is not UTF-8; save it as UTF-8") from None
    return read_mapping(text, source=path.name)


def read_mapping(text: str, *, source: str) -> FileMapping:
    """The mapping that `text` writes; `source` names it in messages."""
    try:
        raw = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise Mistake(f"{source} is not TOML: {error}") from None
    problems = list(_misplaced(raw))
    try:
        shape = MappingShape.model_validate(raw)
    except ValidationError as error:
        problems += [_problem(item) for item in error.errors(include_url=False)]
        raise Mistake(f"{source} cannot be used:", sorted(problems, key=_place)) from None
    if problems:
        raise Mistake(f"{source} cannot be used:", sorted(problems, key=_place))
    return FileMapping(MappingProxyType({name: _dataset(name, shape) for name in DATASETS}))


def did_you_mean(word: str, words: list[str]) -> str:
    """`; did you mean `x`?` for the nearest of `words`, or nothing."""
    lowered = {known.lower(): known for known in words}
    near = get_close_matches(word.lower(), list(lowered), n=1)
    return f"; did you mean `{lowered[near[0]]}`?" if near else ""


def _misplaced(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """What the shape alone cannot see: columns that do not exist, and options that a column cannot have."""
    for name, dataset in DATASETS.items():
        section = raw.get(name)
        if not isinstance(section, dict):
            continue
        columns = section.get("columns")
        for column, spec in columns.items() if isinstance(columns, dict) else ():
            where = f"{name}.columns.{column}"
            if column not in dataset.field:
                yield Problem(where, f"{name} have no such column{did_you_mean(column, list(dataset.field))}")
            elif isinstance(spec, dict):
                yield from _misplaced_options(where, dataset.field[column], spec)
        if name != "accounts":
            for key in ("attributes", "currency"):
                if key in section:
                    yield Problem(f"{name}.{key}", "only accounts have it")
            if section.get("unknown_columns") == "attributes":
                yield Problem(f"{name}.unknown_columns", "only accounts have attributes; use `ignore`")


def _misplaced_options(where: str, column: Field, spec: Mapping[str, Any]) -> Iterator[Problem]:
    if "by" in spec and column.refers is None:
        yield Problem(f"{where}.by", "only a column of account or CSM ids can be looked up")
    elif spec.get("by") == "email" and column.refers != "csms":
        yield Problem(f"{where}.by", "accounts have no e-mail; use `name`")
    if "scale" in spec and column.kind not in (Kind.MONEY, Kind.NUMBER, Kind.INTEGER):
        yield Problem(f"{where}.scale", "only a number has a scale")


def _place(problem: Problem) -> tuple[str, str]:
    return problem.where, problem.what


def _problem(item: Any) -> Problem:
    """A mistake that pydantic found, with its path and, for an unknown key, what might have been meant."""
    *path, last = item["loc"] or ("",)
    where = ".".join(str(part) for part in (*path, last))
    if item["type"] == "extra_forbidden":
        return Problem(where, f"no such key{did_you_mean(str(last), _keys(path))}")
    return Problem(where, item["msg"].removeprefix("Value error, "))


def _keys(path: list[str | int]) -> list[str]:
    """The keys that may stand at `path`."""
    match path:
        case []:
            shape: Any = MappingShape
        case [_]:
            shape = DatasetShape
        case [_, "columns", _]:
            shape = ColumnShape
        case [_, "attributes", _]:
            shape = AttributeShape
        case _:
            return []
    return [info.alias or name for name, info in shape.model_fields.items()]


def _dataset(name: DatasetName, shape: MappingShape) -> DatasetMapping:
    section: DatasetShape = getattr(shape, name) or DatasetShape()
    base = _formats(section, shape)
    currency = section.currency
    return DatasetMapping(
        formats=base,
        encoding=section.encoding or shape.encoding or "utf-8",
        delimiter=section.delimiter or shape.delimiter or ",",
        null=frozenset(section.null if section.null is not None else shape.null or ()),
        columns=MappingProxyType({key: _source(spec, base) for key, spec in section.columns.items()}),
        attributes=MappingProxyType(
            {
                key: AttributeSource(_ATTRIBUTE_KINDS[spec.type], _source(spec, base))
                for key, spec in section.attributes.items()
            }
        ),
        unknown_columns=section.unknown_columns,
        ignore=frozenset(section.ignore),
        skip=tuple(
            Skip(item.column, frozenset(item.is_ if item.is_ is not None else item.is_not or ()), item.is_ is None)
            for item in section.skip
        ),
        conversion=Conversion(currency.into, MappingProxyType(dict(currency.rates))) if currency else None,
    )


def _source(spec: ColumnShape, base: Formats) -> Source:
    """The source that `spec` describes, its formats laid over the file's."""
    written = spec.numbers
    numbers = Numbers(
        decimal=written.decimal if written else base.numbers.decimal,
        thousands=written.thousands if written else base.numbers.thousands,
        strip=written.strip if written else base.numbers.strip,
        scale=spec.scale,
    )
    dates = base.dates if spec.dates is None else _date_format(spec.dates)
    return Source(
        columns=tuple(spec.from_ or ()),
        constant=None if spec.constant is None else base.list_separator.join(spec.constant),
        values=MappingProxyType(dict(spec.values)),
        otherwise=spec.otherwise,
        formats=Formats(numbers, dates, base.zone, base.list_separator),
        by=spec.by,
    )


def _formats(section: FileShape, whole: FileShape) -> Formats:
    """The formats of a dataset: what its section says, else what the top of the file says, else ours."""
    written = section.numbers or whole.numbers
    numbers = Numbers(written.decimal, written.thousands, written.strip) if written else Numbers()
    zone = section.time_zone or whole.time_zone
    return Formats(
        numbers=numbers,
        dates=_date_format(section.dates or whole.dates or "ISO"),
        zone=_zone(zone) if zone else UTC,
        list_separator=section.list_separator or whole.list_separator or ";",
    )


def _date_format(pattern: str) -> DateFormat | None:
    return None if pattern == "ISO" else DateFormat(pattern)


def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)
