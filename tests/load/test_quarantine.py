"""--quarantine: the bad rows go to a file, character for character, which can be loaded again; the rest is loaded."""

import csv
import os
import re
from pathlib import Path
from threading import Thread

import pytest

from app.errors import Mistake
from tests.load.conftest import Loader, counts

ACCOUNTS = "account_id,name,parent_id,arr\n"


def quarantined(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_bad_rows_go_to_the_file_with_their_cells_as_they_were_and_the_rest_is_loaded(loader: Loader) -> None:
    rows = 'A1,Acme,,1\n A2 ,"=cmd|\' /C calc\'!A0\nline two",,x\nA3,Cole,A2,3\nA4,Dee,A1,4\nA5\nA6,"Ope"n,,6\n'
    result = loader(accounts=ACCOUNTS + rows, quarantine="q.csv")
    count = counts(result, "accounts")
    assert (count.read, count.inserted, count.bad) == (6, 2, 4)
    assert loader.ids() == ["A1", "A4"]
    found = quarantined(loader.folder / "q.csv")
    assert [(row["quarantine_line"], row["quarantine_reason"]) for row in found] == [
        ("3", 'arr: "x" is not a number'),
        ("5", 'parent_id: "A2" is an account whose own row is bad'),
        ("7", "has 1 cells where the header has 4"),
        ("8", "has text after a closing quote; a quote within a quoted cell is written twice"),
    ]
    assert {row["quarantine_dataset"] for row in found} == {"accounts"}
    assert {row["quarantine_file"] for row in found} == {"accounts.csv"}
    assert found[0]["account_id"] == " A2 "
    assert found[0]["name"] == "=cmd|' /C calc'!A0\nline two"
    assert [row["quarantine_raw"] for row in found] == ["", "", "A5", 'A6,"Ope"n,,6\n']
    assert next(str(bad.problem) for bad in result.bad_rows) == 'accounts.csv:3: arr: "x" is not a number'


def test_a_ten_megabyte_cell_is_kept_whole(loader: Loader) -> None:
    big = "x" * 10_000_000
    loader(accounts=ACCOUNTS + f"A1,{big},,\nA2,Best,,\n", quarantine="q.csv")
    csv.field_size_limit(20_000_000)
    try:
        assert quarantined(loader.folder / "q.csv")[0]["quarantine_raw"] == f"A1,{big},,\n"
    finally:
        csv.field_size_limit(131_072)


def test_rows_of_several_files_share_the_quarantine_and_load_again_once_corrected(loader: Loader) -> None:
    loader(
        accounts="account_id,name,arr\nA1,Acme,bad\nA2,Best,2\n",
        signals="account_id,signal_id,kind,occurred_at\nA1,s1,seats,2026-01-05\nA2,s2,seats,never\nA2,s3,seats,2026-01-05\n",
        quarantine="q.csv",
    )
    assert loader.ids() == ["A2"]
    assert loader.ids("account_signals", "signal_id") == ["s3"]
    corrected = (loader.folder / "q.csv").read_text().replace(",bad,", ",1,").replace(",never", ",2026-01-06")
    assert len(corrected.splitlines()) == 4
    result = loader(accounts=corrected, signals=corrected)
    assert [(count.read, count.skipped, count.inserted) for count in result.counts] == [(3, 2, 1), (3, 1, 2)]
    assert loader.ids() == ["A1", "A2"]
    assert loader.ids("account_signals", "signal_id") == ["s1", "s2", "s3"]


def test_taking_out_a_bad_row_can_make_a_cycle_which_is_found_too(loader: Loader) -> None:
    header = "account_id,parent_id,arr\n"
    loader(accounts=header + "A1,A2,1\nA2,,1\n")
    # A1 would stand alone and carry A2; but its row is bad, so it stays under A2.
    loader(accounts=header + "A1,,bad\nA2,A1,2\nA3,,3\n", quarantine="q.csv")
    assert [row["quarantine_reason"] for row in quarantined(loader.folder / "q.csv")] == [
        'arr: "bad" is not a number',
        'parent_id: "A1" closes a cycle: it has A2 above itself',
    ]
    assert loader.rows("SELECT account_id, parent_id FROM accounts ORDER BY 1") == [
        ("A1", "A2"),
        ("A2", None),
        ("A3", None),
    ]


def test_without_bad_rows_there_is_no_quarantine_file(loader: Loader) -> None:
    assert loader(accounts=ACCOUNTS + "A1,Acme,,1\n", quarantine="q.csv").quarantine is None
    assert not (loader.folder / "q.csv").exists()


def test_a_quarantine_that_may_still_be_needed_is_not_overwritten(loader: Loader) -> None:
    loader.write("q.csv", "waiting\n")
    with pytest.raises(Mistake, match=re.escape("q.csv: exists already; name another file")):
        loader(accounts=ACCOUNTS + "A1,Acme,,bad\n", quarantine="q.csv")
    with pytest.raises(Mistake, match="is a directory; name a file"):
        loader(accounts=ACCOUNTS + "A1,Acme,,bad\n", quarantine=".")
    with pytest.raises(Mistake, match="there is no directory"):
        loader(accounts=ACCOUNTS + "A1,Acme,,bad\n", quarantine="no/q.csv")
    assert loader.ids() == []


def test_many_bad_rows_are_all_quarantined_in_order(loader: Loader) -> None:
    rows = "".join(f"A{number},x,,{'bad' if number % 3 else '1'}\n" for number in range(15_000))
    result = loader(accounts=ACCOUNTS + rows, quarantine="q.csv", max_errors=5)
    found = quarantined(loader.folder / "q.csv")
    assert (result.bad, len(found), len(result.bad_rows)) == (10_000, 10_000, 5)
    lines = [int(row["quarantine_line"]) for row in found]
    assert lines == sorted(lines)
    assert found[-1]["account_id"] == "A14999"


def test_a_pipe_is_read_once_and_so_cannot_be_quarantined(loader: Loader) -> None:
    pipe = loader.folder / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=lambda: pipe.write_text(ACCOUNTS + "A1,Acme,,1\n"))
    writer.start()
    loader.load_files(accounts=pipe)
    writer.join()
    assert loader.ids() == ["A1"]
    with pytest.raises(
        Mistake, match=r"pipe: is no regular file; --quarantine reads files twice, so save it as one first"
    ):
        loader.load_files(accounts=pipe, quarantine="q.csv")
