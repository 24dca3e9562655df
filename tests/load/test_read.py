"""Files as they come: encodings, line ends, quotes, gzip, and what cannot be read at all."""

import gzip
from pathlib import Path

import pytest

from app.errors import Mistake
from app.load.read import BATCH_ROWS, CsvFile, open_csv

HEADER = "account_id,name\n"


def write(folder: Path, content: str | bytes, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def all_rows(path: Path, encoding: str = "utf-8", delimiter: str = ",") -> list[tuple[int, list[str]]]:
    with open_csv(path, encoding=encoding, delimiter=delimiter) as file:
        return [item for batch in file.batches() for item in zip(batch.lines, batch.rows, strict=True)]


def broken(path: Path) -> list[tuple[int, str]]:
    with open_csv(path, encoding="utf-8", delimiter=",") as file:
        return [(item.line, item.reason) for batch in file.batches() for item in batch.broken]


def mistake(path: Path, encoding: str = "utf-8", delimiter: str = ",") -> str:
    with pytest.raises(Mistake) as caught:
        all_rows(path, encoding, delimiter)
    return str(caught.value)


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbf" + HEADER.encode() + b"A1,Acme\n")
    with open_csv(path, encoding="utf-8", delimiter=",") as file:
        assert file.header == ["account_id", "name"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_end_is_read_and_counted(tmp_path: Path, end: str) -> None:
    path = write(tmp_path, end.join(["account_id,name", "A1,Acme", "", "A2,Best", ""]))
    assert all_rows(path) == [(2, ["A1", "Acme"]), (4, ["A2", "Best"])]


def test_a_row_is_known_by_the_line_it_starts_on(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + 'A1,"two\nlines"\nA2,"three\r\nmore\nlines"\nA3,x\n')
    assert all_rows(path) == [(2, ["A1", "two\nlines"]), (4, ["A2", "three\r\nmore\nlines"]), (7, ["A3", "x"])]


def test_lines_of_nothing_but_separators_are_left_out(tmp_path: Path) -> None:
    assert all_rows(write(tmp_path, HEADER + ",\nA1,Acme\n,\n")) == [(3, ["A1", "Acme"])]


def test_gzip_is_told_by_content_and_not_by_name(tmp_path: Path) -> None:
    packed = gzip.compress((HEADER + "A1,Acme\n").encode())
    assert all_rows(write(tmp_path, packed, "a.csv")) == [(2, ["A1", "Acme"])]
    assert all_rows(write(tmp_path, HEADER + "A1,Acme\n", "a.csv.gz")) == [(2, ["A1", "Acme"])]


def test_gzip_data_that_ends_early_is_a_mistake(tmp_path: Path) -> None:
    rows = "".join(f"A{number},{number * 7919 % 10007}\n" for number in range(50_000))
    packed = gzip.compress((HEADER + rows).encode())
    found = mistake(write(tmp_path, packed[: len(packed) // 2], "a.csv.gz"))
    assert found.startswith("a.csv.gz: its gzip data ends early or is damaged, after line ")
    assert found.endswith("; get the file again")
    assert mistake(write(tmp_path, packed[:12], "b.csv.gz")) == (
        "b.csv.gz: its gzip data ends early or is damaged, after line 0; get the file again"
    )


def test_utf_16_is_recognised_and_can_be_read_when_named(tmp_path: Path) -> None:
    text = HEADER + "A1,Müller\n"
    for encoding in ("utf-16", "utf-16-le"):
        assert mistake(write(tmp_path, text.encode(encoding))) == (
            'a.csv: is in UTF-16, not UTF-8; put `encoding = "utf-16"` into the mapping, or save it as UTF-8'
        )
        assert all_rows(tmp_path / "a.csv", encoding) == [(2, ["A1", "Müller"])]


def test_latin_1_is_told_by_its_line_and_can_be_read_when_named(tmp_path: Path) -> None:
    path = write(tmp_path, (HEADER + "A1,Acme\nA2,Müller\n").encode("latin-1"))
    assert mistake(path) == (
        'a.csv:3: is not UTF-8 (byte 0xFC); put `encoding = "windows-1252"` or "latin-1" into the mapping'
    )
    assert all_rows(path, "latin-1")[1] == (3, ["A2", "Müller"])


def test_a_byte_that_the_named_encoding_does_not_have_is_a_mistake(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER.encode() + b"A1,\x81\n")
    assert mistake(path, "cp1252") == "a.csv:2: is not CP1252 (byte 0x81); put another `encoding` into the mapping"


def test_what_is_no_csv_file_at_all_is_told_in_one_line(tmp_path: Path) -> None:
    assert mistake(tmp_path / "no.csv") == f"{tmp_path}/no.csv: there is no such file"
    assert mistake(tmp_path) == f"{tmp_path}: is a directory; name a CSV file"
    assert mistake(write(tmp_path, "")) == "a.csv is empty; its first line has to name the columns"
    assert mistake(write(tmp_path, "\n\n")) == "a.csv is empty; its first line has to name the columns"
    assert mistake(write(tmp_path, b"PK\x03\x04zip", "a.xlsx")) == (
        "a.xlsx: is a zip archive or an Excel workbook; save it as CSV"
    )


def test_a_header_of_one_cell_hints_at_the_delimiter(tmp_path: Path) -> None:
    assert mistake(write(tmp_path, "account_id;name\nA1;Acme\n")) == (
        "a.csv: its header is one cell, 'account_id;name'; if `;` separates the columns, put `delimiter = \";\"` "
        "into the mapping"
    )
    assert all_rows(tmp_path / "a.csv", delimiter=";") == [(2, ["A1", "Acme"])]


def test_a_ten_megabyte_cell_is_a_broken_record_and_reading_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "A1," + "x" * 10_000_000 + "\nA2,Best\n")
    assert broken(path) == [(2, "has a cell of over 131,072 characters; is a quote never closed?")]
    assert all_rows(path) == [(3, ["A2", "Best"])]


def test_quotes_gone_wrong_are_broken_records_and_reading_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + 'A1,"Ac"me\nA2,Best\nA3,"Open\nA4,Lost\n')
    assert broken(path) == [
        (2, "has text after a closing quote; a quote within a quoted cell is written twice"),
        (4, "opens a quote that is never closed"),
    ]
    assert all_rows(path) == [(3, ["A2", "Best"])]


def test_a_line_without_end_is_a_mistake_and_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.load.read.LONGEST_LINE", 1_000)
    assert mistake(write(tmp_path, HEADER + "A1," + "x" * 5_000)) == (
        "a.csv:2: a line of over 1,000 characters; is this a CSV file?"
    )


def test_a_long_file_comes_in_batches(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "".join(f"A{number},x\n" for number in range(BATCH_ROWS + 10)))
    with open_csv(path, encoding="utf-8", delimiter=",") as file:
        assert isinstance(file, CsvFile)
        assert [len(batch.rows) for batch in file.batches()] == [BATCH_ROWS, 10]
        assert file.bytes_read == file.size
