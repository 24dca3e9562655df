"""A load, whole: open every file, stage and check its rows, merge them, and keep all of it or none.

The files are loaded in the order of `DATASETS`, in one transaction that holds the lock of runs, so that no run sees
half a load. Bad rows either stop the load, and then nothing is written; or they go to the quarantine file, and the
rest is loaded.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine, Table

from app import runs
from app.errors import Mistake, Problem
from app.load.checks import check
from app.load.convert import Converter
from app.load.cover import check_coverage, count_standing, import_coverage
from app.load.datasets import DATASETS, Dataset, DatasetName
from app.load.layout import Layout, make_layout
from app.load.mapping import DatasetMapping, FileMapping
from app.load.outcome import BadRow, BadRows, DatasetCounts, LoadResult
from app.load.quarantine import require_new_file, write_quarantine
from app.load.read import CsvFile, open_csv
from app.load.stage import (
    analyze,
    bad_rows,
    copy_bad_rows,
    copy_rows,
    count_bad,
    count_rows,
    merge,
    select_bad,
    staging_table,
    views_among,
)
from app.policy.model import Policy

MAX_ERRORS = 20
_MANY = 10_000

Progress = Callable[[DatasetName, int, int], None]
"""Called after each batch: the dataset, the bytes read so far, and the size of its file."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Loading:
    """One file on its way."""

    path: Path
    mapping: DatasetMapping
    file: CsvFile
    layout: Layout
    read: int = 0
    skipped: int = 0
    counts: DatasetCounts | None = None

    @property
    def dataset(self) -> Dataset:
        return self.layout.dataset


@dataclass(frozen=True, slots=True)
class _Terms:
    """What every file of a load has in common."""

    policy: Policy | None
    instant: datetime
    run_id: UUID
    progress: Progress | None


def load(
    engine: Engine,
    files: Mapping[DatasetName, Path],
    *,
    instant: datetime,
    run_id: UUID,
    mapping: FileMapping | None = None,
    policy: Policy | None = None,
    quarantine: Path | None = None,
    max_errors: int = MAX_ERRORS,
    progress: Progress | None = None,
) -> LoadResult:
    """The tables hold what the files say, or, where an error is raised, what they held before.

    `instant` is the moment of loading: rows that change are synced at it, and coverage without a date begins at it,
    under a run of `run_id`. `policy` says which bands there are; a coverage file needs one. Raises `Mistake` for
    files, headers and mappings that cannot be used, `BadRows` for bad rows when there is no `quarantine`, and
    `Busy` while a run is at work.
    """
    _check_request(files, policy, quarantine)
    with ExitStack() as stack:
        loadings = _open_all(stack, files, mapping or FileMapping())
        with engine.begin() as connection:
            runs.take_lock(connection)
            _refuse_views(connection, loadings)
            bad_rows.create(connection)
            terms = _Terms(policy, instant, run_id, progress)
            for loading in loadings:
                _load_one(connection, loading, terms)
            counts = tuple(loading.counts for loading in loadings if loading.counts is not None)
            shown = tuple(bad for loading in loadings for bad in _first_bad(connection, loading, max_errors))
            found = any(count.bad for count in counts)
            if found and quarantine is None:
                raise BadRows(counts, shown)
            if found and quarantine is not None:
                write_quarantine(connection, quarantine, [(item.path, item.layout, item.mapping) for item in loadings])
    for count in counts:
        log.info("load.committed", dataset=count.dataset, **_numbers(count))
    return LoadResult(counts, shown, quarantine if found else None)


def _check_request(files: Mapping[DatasetName, Path], policy: Policy | None, quarantine: Path | None) -> None:
    """What can be said against the request before any file is opened."""
    if not files:
        raise Mistake(f"nothing to load: name a file with {', '.join(f'--{name}' for name in DATASETS)}")
    if "coverage" in files and policy is None:
        raise Mistake("a coverage file can only be loaded with a policy, which says what bands there are")
    if quarantine is not None:
        require_new_file(quarantine)
        pipes = [path for path in files.values() if path.exists() and not path.is_file() and not path.is_dir()]
        if pipes:
            raise Mistake(f"{pipes[0]}: is no regular file; --quarantine reads files twice, so save it as one first")


def _open_all(stack: ExitStack, files: Mapping[DatasetName, Path], mapping: FileMapping) -> list[_Loading]:
    """Every file, open and with its layout. Raises `Mistake` with what is wrong with any of them."""
    loadings, mistakes = [], []
    for name, dataset in DATASETS.items():
        if name not in files:
            continue
        path, how = files[name], mapping.of(name)
        try:
            file = stack.enter_context(open_csv(path, encoding=how.encoding, delimiter=how.delimiter))
            loadings.append(_Loading(path, how, file, make_layout(dataset, how, file.header, path.name)))
        except Mistake as mistake:
            mistakes.append(mistake)
    if len(mistakes) == 1:
        raise mistakes[0]
    if mistakes:
        problems = [problem for mistake in mistakes for problem in mistake.problems or (Problem("", mistake.heading),)]
        raise Mistake("these files cannot be loaded:", problems)
    return loadings


def _refuse_views(connection: Connection, loadings: list[_Loading]) -> None:
    views = views_among(connection, [loading.dataset for loading in loadings])
    if views:
        raise Mistake(
            f"`{views[0]}` is a view in this database: feed the table behind it, there is nothing to load into"
        )


def _load_one(connection: Connection, loading: _Loading, terms: _Terms) -> None:
    """The file's good rows are in the table; its bad rows are kept aside."""
    layout, dataset = loading.layout, loading.dataset
    staged = staging_table(layout)
    staged.create(connection)
    _stage(connection, loading, staged, terms.progress)
    if not loading.read and not dataset.may_be_empty:
        raise Mistake(f"{layout.file}: has a header and no rows; an export that failed looks just like this")
    analyze(connection, staged)
    check(connection, layout, staged, terms.policy)
    inserted, updated, unchanged = _keep(connection, layout, staged, terms)
    if inserted + updated > _MANY:
        analyze(connection, dataset.table)
    loading.counts = DatasetCounts(
        dataset=dataset.name,
        file=layout.file,
        read=loading.read,
        skipped=loading.skipped,
        inserted=inserted,
        updated=updated,
        unchanged=unchanged,
        bad=connection.scalar(count_bad(dataset.name)) or 0,
    )


def _keep(connection: Connection, layout: Layout, staged: Table, terms: _Terms) -> tuple[int, int, int]:
    """The staged rows are in the table; returns how many were inserted, updated, and so already."""
    if layout.dataset.name == "coverage" and terms.policy is not None:
        check_coverage(connection, layout, staged, terms.policy, terms.instant)
        standing = connection.scalar(count_standing(staged)) or 0
        imported = import_coverage(connection, layout, staged, terms.policy, run_id=terms.run_id, instant=terms.instant)
        return imported, 0, standing
    inserted, updated = merge(connection, layout, staged, instant=terms.instant)
    return inserted, updated, (connection.scalar(count_rows(staged)) or 0) - inserted - updated


def _stage(connection: Connection, loading: _Loading, staged: Table, progress: Progress | None) -> None:
    """Every row of the file that can be read by itself is in its staging table; the others are bad rows."""
    converter = Converter(loading.layout)
    for batch in loading.file.batches():
        converted = converter.convert(batch)
        copy_rows(connection, staged, converted.text)
        copy_bad_rows(connection, converted.bad)
        loading.read += len(batch.rows) + len(batch.broken)
        loading.skipped += converted.skipped
        if progress is not None:
            progress(loading.dataset.name, loading.file.bytes_read, loading.file.size)


def _first_bad(connection: Connection, loading: _Loading, most: int) -> Iterator[BadRow]:
    """The first bad rows of one file, by line."""
    layout = loading.layout
    for row in connection.execute(select_bad(layout.dataset.name).limit(most)):
        yield BadRow(layout.dataset.name, layout.file, row.line, row.column_name, row.value, row.reason, row.row_id)


def _numbers(count: DatasetCounts) -> dict[str, int]:
    names = ("read", "skipped", "inserted", "updated", "unchanged", "bad")
    return {name: getattr(count, name) for name in names}
