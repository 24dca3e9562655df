"""Reading a CSV file as a stream: batches of rows, each with the physical line it starts on.

Plain or gzipped (told by content), in any encoding that Python knows, with a BOM or without, with LF, CRLF or CR.
The memory used is bounded whatever the file holds: a batch ends after so many rows or characters, and a line after
so many characters. What makes the rest of a file meaningless (the wrong encoding, gzip data that ends early) raises
`Mistake`; a record that cannot be split into cells is `Broken`, and reading goes on with the next line.
"""

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from app.errors import Mistake

BATCH_ROWS = 5_000
BATCH_CHARACTERS = 4_000_000
LONGEST_LINE = 32_000_000
_HEAD = 4_096
_UNDECODED = re.compile("[\ud800-\udfff]")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class Broken:
    """A record that is no row of cells: the line it starts on, its text as it stands, and why."""

    line: int
    text: str
    reason: str


@dataclass(slots=True)
class Batch:
    """Some rows, the line each starts on, and the broken records met among them."""

    rows: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)


class CsvFile:
    """An open CSV file whose header has been read. Made by `open_csv`."""

    def __init__(self, path: Path, file: BinaryIO, text: io.TextIOWrapper, encoding: str, delimiter: str) -> None:
        self.path = path
        self.size = path.stat().st_size
        self._file = file
        self._text = text
        self._encoding = encoding
        self._line = 0
        self._characters = 0
        self._record: list[str] = []
        self._reader = csv.reader(self._lines(), delimiter=delimiter, strict=True)
        self.header = self._read_header(delimiter)

    @property
    def bytes_read(self) -> int:
        """How far into the file on disk the reading is; 0 for what cannot tell, such as a pipe."""
        return self._file.tell() if self._file.seekable() else 0

    def batches(self) -> Iterator[Batch]:
        """The rows after the header, in order; empty lines are left out."""
        batch = Batch()
        start = self._reader.line_num + 1
        self._characters = 0
        self._record.clear()
        while True:
            try:
                for row in self._reader:
                    if any(row):
                        batch.rows.append(row)
                        batch.lines.append(start)
                    start = self._reader.line_num + 1
                    self._record.clear()
                    if len(batch.rows) >= BATCH_ROWS or self._characters >= BATCH_CHARACTERS:
                        yield batch
                        batch = Batch()
                        self._characters = 0
                break
            except csv.Error as error:
                batch.broken.append(Broken(start, "".join(self._record), _why_broken(error)))
                start = self._reader.line_num + 1
                self._record.clear()
        if batch.rows or batch.broken:
            yield batch

    def _read_header(self, delimiter: str) -> list[str]:
        try:
            header = next((row for row in self._reader if any(row)), None)
        except csv.Error as error:
            raise Mistake(f"{self.path.name}: its header {_why_broken(error)}") from None
        if header is None:
            raise Mistake(f"{self.path.name} is empty; its first line has to name the columns")
        names = [name.strip().lstrip("\ufeff") for name in header]
        other = next((sign for sign in (";", "\t", "|", ",") if sign in names[0]), None)
        if len(names) == 1 and other and other != delimiter:
            shown = other.replace("\t", "\\t")
            raise Mistake(
                f"{self.path.name}: its header is one cell, {names[0]!r}; if `{shown}` separates the columns, put "
                f'`delimiter = "{shown}"` into the mapping'
            )
        return names

    def _lines(self) -> Iterator[str]:
        """The physical lines, checked, and kept in `_record` until a whole record is read."""
        readline = self._text.readline
        record = self._record
        while True:
            try:
                line = readline(LONGEST_LINE)
            except (EOFError, zlib.error, gzip.BadGzipFile):
                raise Mistake(
                    f"{self.path.name}: its gzip data ends early or is damaged, after line {self._line:,}; "
                    "get the file again"
                ) from None
            except UnicodeError:
                raise self._undecodable() from None
            if not line:
                return
            self._line += 1
            if len(line) == LONGEST_LINE:
                raise Mistake(
                    f"{self.path.name}:{self._line}: a line of over {LONGEST_LINE:,} characters; is this a CSV file?"
                )
            if not line.isascii() and _UNDECODED.search(line):
                raise self._undecodable(line)
            self._characters += len(line)
            record.append(line)
            yield line

    def _undecodable(self, line: str = "") -> Mistake:
        found = _UNDECODED.search(line)
        byte = f" (byte 0x{ord(found[0]) & 0xFF:02X})" if found else ""
        number = self._line if line else self._line + 1
        hint = '`encoding = "windows-1252"` or "latin-1"' if self._encoding == "utf-8" else "another `encoding`"
        return Mistake(f"{self.path.name}:{number}: is not {self._encoding.upper()}{byte}; put {hint} into the mapping")


@contextmanager
def open_csv(path: Path, *, encoding: str, delimiter: str) -> Iterator[CsvFile]:
    """The file at `path`, open, with its header read; closed on leaving.

    Raises `Mistake` for a file that is missing, empty, a directory, not text, or visibly in another encoding.
    """
    encoding = codecs.lookup(encoding).name
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise Mistake(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise Mistake(f"{path}: is a directory; name a CSV file") from None
    except OSError as error:
        raise Mistake(f"{path}: cannot be read: {error.strerror}") from None
    with file:
        data = _plain(file)
        _check_head(path, data, encoding)
        # A BOM is no part of the first column's name.
        codec = "utf-8-sig" if encoding == "utf-8" else encoding
        with io.TextIOWrapper(data, encoding=codec, errors="surrogateescape", newline="") as text:
            yield CsvFile(path, cast("BinaryIO", file), text, encoding, delimiter)


def _plain(file: io.BufferedReader) -> io.BufferedReader:
    """The file's data, unzipped on the way if it is gzip."""
    if file.peek(2)[:2] == b"\x1f\x8b":
        return io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=file)), 1 << 16)
    return file


def _check_head(path: Path, data: io.BufferedReader, encoding: str) -> None:
    """Raises `Mistake` where the first bytes tell that the file is something else than text in `encoding`."""
    try:
        head = data.peek(_HEAD)[:_HEAD]
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise Mistake(
            f"{path.name}: its gzip data ends early or is damaged, after line 0; get the file again"
        ) from None
    if head.startswith(b"PK\x03\x04"):
        raise Mistake(f"{path.name}: is a zip archive or an Excel workbook; save it as CSV")
    if encoding.startswith(("utf-16", "utf-32")):
        return
    if head.startswith(_UTF16) or head.count(0) > len(head) // 4:
        raise Mistake(
            f"{path.name}: is in UTF-16, not {encoding.upper()}; "
            'put `encoding = "utf-16"` into the mapping, or save it as UTF-8'
        )


def _why_broken(error: csv.Error) -> str:
    """What the csv module found, in words that follow a cell or a record."""
    text = str(error)
    if "field larger than" in text:
        return f"has a cell of over {csv.field_size_limit():,} characters; is a quote never closed?"
    if "unexpected end of data" in text:
        return "opens a quote that is never closed"
    if "expected after" in text:
        return "has text after a closing quote; a quote within a quoted cell is written twice"
    return f"cannot be split into cells: {text}"
