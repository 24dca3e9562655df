"""The layout of one file: which of its columns fills which of ours. Pure.

Decided once, from the header and the mapping, before any row is read; every mistake of the header is reported
together. A column of the file whose name is one of ours is taken as it is, unless the mapping says otherwise.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from app.errors import Mistake, Problem
from app.load.datasets import Dataset, DatasetName, Field, Kind
from app.load.fields import BadCell, parser_of
from app.load.mapping import AttributeSource, By, Conversion, DatasetMapping, Source, did_you_mean

QUARANTINE_DATASET, QUARANTINE_RAW = "quarantine_dataset", "quarantine_raw"
QUARANTINE_COLUMNS = (QUARANTINE_DATASET, "quarantine_file", "quarantine_line", "quarantine_reason", QUARANTINE_RAW)
"""The columns of a quarantine file before the original ones. A file with the first of them can be loaded again."""


@dataclass(frozen=True, slots=True)
class Target:
    """One of our columns, or one attribute, and the places in a row that it is read from; none if it is constant."""

    field: Field
    label: str
    places: tuple[int, ...]
    source: Source


@dataclass(frozen=True, slots=True)
class SkipAt:
    """Rows to leave out, by the cell at `place`."""

    place: int
    cells: frozenset[str]
    negated: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """How every row of one file is read."""

    dataset: Dataset
    file: str
    header: tuple[str, ...]
    columns: tuple[Target, ...]
    attributes: tuple[Target, ...]
    skips: tuple[SkipAt, ...]
    null: frozenset[str]
    conversion: Conversion | None

    @property
    def names(self) -> tuple[str, ...]:
        """Our columns that the file brings, in the table's order; `attributes` last when made of several."""
        return (*(target.field.name for target in self.columns), *(("attributes",) if self.attributes else ()))

    @property
    def lookups(self) -> Mapping[str, By]:
        """The columns that hold a name or an e-mail to look up instead of an id."""
        return MappingProxyType({t.field.name: t.source.by for t in self.columns if t.source.by is not None})

    def label(self, name: str) -> str:
        """What the file calls our column `name`."""
        return next((target.label for target in self.columns if target.field.name == name), name)


def make_layout(dataset: Dataset, mapping: DatasetMapping, header: Sequence[str], file: str) -> Layout:
    """The layout of `file`. Raises `Mistake` with all that is wrong with the header and the mapping's constants."""
    sources = dict(mapping.columns)
    used = {column for source in sources.values() for column in source.columns}
    for name in header:
        if name in dataset.field and name not in sources and name not in used and name not in mapping.ignore:
            sources[name] = Source((name,), None, {}, None, mapping.formats)
    attributes = dict(mapping.attributes)
    for name in _unknown(dataset, mapping, header, sources) if mapping.unknown_columns == "attributes" else ():
        attributes.setdefault(name, AttributeSource(Kind.TEXT, Source((name,), None, {}, None, mapping.formats)))
    problems = [
        *_header_problems(mapping, header),
        *_source_problems(dataset, mapping, header, sources),
        *_constant_problems(dataset, sources, attributes),
    ]
    if problems:
        raise Mistake(f"{file}: its columns do not fit:", [Problem(file, str(problem)) for problem in problems])
    place = {name: index for index, name in enumerate(header)}
    return Layout(
        dataset=dataset,
        file=file,
        header=tuple(header),
        columns=tuple(
            _target(field, sources[field.name], place) for field in dataset.fields if field.name in sources
        ),
        attributes=tuple(_target(_attribute(name, item.kind), item.source, place) for name, item in attributes.items()),
        skips=tuple(_skips(dataset.name, mapping, place)),
        null=mapping.null,
        conversion=mapping.conversion,
    )  # fmt: skip


def _target(field: Field, source: Source, place: Mapping[str, int]) -> Target:
    label = source.columns[0] if len(source.columns) == 1 else field.name
    return Target(field, label, tuple(place[name] for name in source.columns), source)


def _attribute(name: str, kind: Kind) -> Field:
    return Field(name, kind, least=Decimal(-(10**15)), most=Decimal(10**15), longest=10_000)


def _skips(dataset: DatasetName, mapping: DatasetMapping, place: Mapping[str, int]) -> Iterator[SkipAt]:
    if QUARANTINE_DATASET in place:
        yield SkipAt(place[QUARANTINE_DATASET], frozenset({dataset}), negated=True)
    for skip in mapping.skip:
        yield SkipAt(place[skip.column], skip.cells, skip.negated)


def _unknown(
    dataset: Dataset, mapping: DatasetMapping, header: Sequence[str], sources: Mapping[str, Source]
) -> Iterator[str]:
    """The columns of the file that nothing reads, in their order."""
    read = {column for source in sources.values() for column in source.columns}
    read |= {column for item in mapping.attributes.values() for column in item.source.columns}
    read |= {skip.column for skip in mapping.skip} | mapping.ignore
    if QUARANTINE_DATASET in header:
        read |= {*QUARANTINE_COLUMNS}
    return (name for name in header if name and name not in read and not (name in sources and name in dataset.field))


def _header_problems(mapping: DatasetMapping, header: Sequence[str]) -> Iterator[Problem]:
    for name in dict.fromkeys(name for name in header if name and list(header).count(name) > 1):
        yield Problem("", f"the header names `{name}` {list(header).count(name)} times")
    if mapping.unknown_columns != "ignore":
        for place, name in enumerate(header, start=1):
            if not name:
                yield Problem("", f"column {place} of the header has no name")


def _source_problems(
    dataset: Dataset, mapping: DatasetMapping, header: Sequence[str], sources: Mapping[str, Source]
) -> Iterator[Problem]:
    names = [name for name in header if name]
    wanted = [(f"{dataset.name}.columns.{key}", column) for key, item in sources.items() for column in item.columns]
    wanted += [
        (f"{dataset.name}.attributes.{key}", name)
        for key, item in mapping.attributes.items()
        for name in item.source.columns
    ]
    wanted += [(f"{dataset.name}.skip", skip.column) for skip in mapping.skip]
    for where, column in wanted:
        if column not in names:
            yield Problem(
                "", f"there is no column `{column}`, which {where} of the mapping names{did_you_mean(column, names)}"
            )
    unknown = list(_unknown(dataset, mapping, header, sources))
    for field in dataset.fields:
        if field.required and field.name not in sources:
            yield Problem(
                "",
                f"no column for `{field.name}`, which {dataset.name} need{did_you_mean(field.name, unknown) or ';'} "
                f"name it so, or say under [{dataset.name}.columns] in a mapping which it is",
            )
    if mapping.unknown_columns == "error" and QUARANTINE_DATASET not in header:
        free = [field.name for field in dataset.fields if field.name not in sources]
        for name in unknown:
            yield Problem("", f"unknown column `{name}`{did_you_mean(name, free) or _what_to_do(dataset)}")
    if "attributes" in sources and (mapping.attributes or (mapping.unknown_columns == "attributes" and unknown)):
        yield Problem("", "attributes come from the column `attributes` and from others too; choose one")
    if mapping.conversion and "currency" not in sources:
        yield Problem("", "no column for `currency`, which the conversion of accounts.currency needs")


def _what_to_do(dataset: Dataset) -> str:
    kept = '"attributes" keeps and "ignore" drops' if dataset.name == "accounts" else '"ignore" drops'
    return f"; in a mapping, `unknown_columns` = {kept} such columns"


def _constant_problems(
    dataset: Dataset, sources: Mapping[str, Source], attributes: Mapping[str, AttributeSource]
) -> Iterator[Problem]:
    """The mapping's constants that their columns cannot hold."""
    for name, source in sources.items():
        yield from _constant_problem(f"{dataset.name}.columns.{name}", dataset.field[name], source)
    for name, item in attributes.items():
        yield from _constant_problem(f"{dataset.name}.attributes.{name}", _attribute(name, item.kind), item.source)


def _constant_problem(where: str, field: Field, source: Source) -> Iterator[Problem]:
    if source.constant:
        try:
            parser_of(field, source.formats)(source.constant.strip())
        except BadCell as error:
            yield Problem("", f'{where}: the constant "{source.constant}" {error.reason}')
    elif source.constant is not None and field.required:
        yield Problem("", f"{where}: the constant is empty, and every row needs one")
