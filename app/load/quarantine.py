"""The quarantine: a CSV file of the bad rows, to be corrected and loaded again.

Each bad row is there once, with the file, line and reasons first and then its original cells, under their original
names and character for character: a cell such as `=1+1` is kept as it is, because a changed one could not be loaded
again, and the file is meant for the loader before it is meant for a spreadsheet. Of a record that could not be
split into cells, its text is kept in `quarantine_raw`. The files are read a second time for this, so that nothing
of them has to be kept in memory.
"""

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TextIO

from sqlalchemy import Connection

from app.errors import Mistake
from app.figures import printable
from app.load.layout import QUARANTINE_COLUMNS, Layout
from app.load.mapping import DatasetMapping
from app.load.outcome import BadRow
from app.load.read import open_csv
from app.load.stage import select_bad


def require_new_file(path: Path) -> None:
    """`path` can be written to and holds nothing yet, or `Mistake` says why not."""
    if path.is_dir():
        raise Mistake(f"--quarantine {path}: is a directory; name a file")
    if path.exists() and path.stat().st_size:
        raise Mistake(
            f"--quarantine {path}: exists already; name another file, its rows may still be waiting for correction"
        )
    if not path.parent.is_dir():
        raise Mistake(f"--quarantine {path}: there is no directory {path.parent}")


def write_quarantine(
    connection: Connection, target: Path, sources: Sequence[tuple[Path, Layout, DatasetMapping]]
) -> None:
    """The bad rows of every dataset are in the file `target`, which appears whole."""
    names = list(
        dict.fromkeys(name for _, layout, _ in sources for name in layout.header if name not in QUARANTINE_COLUMNS)
    )
    with _whole_file(target) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*QUARANTINE_COLUMNS, *names])
        for path, layout, mapping in sources:
            for line, reasons, cells, raw in _bad_records(connection, path, layout, mapping):
                by_name = dict(zip(layout.header, cells, strict=True)) if cells else {}
                writer.writerow(
                    [layout.dataset.name, layout.file, line, reasons, raw, *(by_name.get(name, "") for name in names)]
                )


def _bad_records(
    connection: Connection, path: Path, layout: Layout, mapping: DatasetMapping
) -> Iterator[tuple[int, str, list[str], str]]:
    """Each bad row of one file: line, reasons, its cells, or its text where the cells do not fit the header."""
    wanted = _reasons(connection, layout)
    line, reasons = next(wanted, (0, ""))
    if not line:
        return
    with open_csv(path, encoding=mapping.encoding, delimiter=mapping.delimiter) as file:
        for batch in file.batches():
            records: list[tuple[int, list[str], str]] = [
                (at, row, "") for at, row in zip(batch.lines, batch.rows, strict=True)
            ]
            records += [(broken.line, [], broken.text) for broken in batch.broken]
            for at, cells, raw in sorted(records, key=lambda record: record[0]):
                if at != line:
                    continue
                fits = len(cells) == len(layout.header)
                yield line, reasons, cells if fits else [], raw if fits or raw else _one_line(cells, mapping.delimiter)
                line, reasons = next(wanted, (0, ""))
    if line:
        raise Mistake(f"{path}: changed while it was being loaded; nothing was loaded, try again")


def _reasons(connection: Connection, layout: Layout) -> Iterator[tuple[int, str]]:
    """Each bad line with all that is wrong with it, in order."""
    rows = connection.execution_options(stream_results=True).execute(select_bad(layout.dataset.name))
    for line, group in groupby(rows, key=lambda row: int(row.line)):
        problems = [
            BadRow(layout.dataset.name, layout.file, line, row.column_name, row.value, row.reason).problem.what
            for row in group
        ]
        yield line, printable("; ".join(problems))


def _one_line(cells: list[str], delimiter: str) -> str:
    """Cells as one CSV record again."""
    lines: list[str] = []

    class _Kept:
        @staticmethod
        def write(text: str) -> None:
            lines.append(text)

    csv.writer(_Kept, delimiter=delimiter, lineterminator="").writerow(cells)
    return "".join(lines)


@contextmanager
def _whole_file(target: Path) -> Iterator[TextIO]:
    """A file to write into, which takes the name `target` when it is complete and on disk."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("x", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        raise Mistake(f"--quarantine {target}: cannot be written: {error.strerror}; nothing was loaded") from None
    finally:
        part.unlink(missing_ok=True)
