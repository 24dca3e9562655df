"""`bandshift load` as people type it: what it prints where, and the code it leaves with."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import URL

from tests.cli.conftest import Run, dsn

ROOT = Path(__file__).resolve().parents[2]
ACCOUNTS = "account_id,name,arr\nA1,Acme,1\nA2,Best,2\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the command works in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def test_counts_go_to_stdout_and_piped_there_is_no_progress_bar(folder: Path, bandshift: Run) -> None:
    (folder / "a.csv").write_text(ACCOUNTS)
    done = bandshift("load", "--accounts", "a.csv")
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "loaded    read  inserted  updated  unchanged  skipped  bad",
        "accounts     2         2        0          0        0    0",
    ]
    assert "━" not in done.err
    assert "\x1b" not in done.out + done.err


def test_bad_rows_are_on_stderr_with_exit_code_2(folder: Path, bandshift: Run) -> None:
    (folder / "a.csv").write_text(ACCOUNTS + "A3,Cole,bad\nA4,Dee,bad\n")
    done = bandshift("load", "--accounts", "a.csv", "--max-errors", "1")
    assert done.code == 2
    assert done.out == ""
    assert done.err.splitlines() == [
        (
            "bandshift: nothing was loaded: bad rows, 2 of 4 rows in a.csv; 1 more of them are not shown, see "
            "--max-errors. "
            "Correct them, or load the rest with --quarantine FILE:"
        ),
        '  a.csv:4: arr: "bad" is not a number',
    ]


def test_a_quarantine_takes_the_bad_rows_and_the_rest_is_loaded(folder: Path, bandshift: Run) -> None:
    (folder / "a.csv").write_text(ACCOUNTS + "A3,Cole,bad\n")
    done = bandshift("load", "--accounts", "a.csv", "--quarantine", "q.csv")
    assert done.code == 0
    assert "accounts     3         2        0          0        0    1" in done.out
    assert '1 bad row went to q.csv:\n  a.csv:4: arr: "bad" is not a number\n' in done.err
    assert len((folder / "q.csv").read_text().splitlines()) == 2


def test_coverage_is_loaded_with_the_shipped_policy_when_none_is_named(folder: Path, bandshift: Run) -> None:
    (folder / "a.csv").write_text(ACCOUNTS)
    (folder / "v.csv").write_text("account_id,band\nA1,gold\n")
    done = bandshift("load", "--accounts", "a.csv", "--coverage", "v.csv")
    assert done.code == 2
    assert '  v.csv:2: band: "gold" is no band of policy default, which has tech, low, high, strategic' in done.err


def test_a_mapping_is_read_before_anything_else(folder: Path, bandshift: Run) -> None:
    (folder / "m.toml").write_text("acounts = {}\n")
    done = bandshift("load", "--accounts", "no.csv", "--mapping", "m.toml")
    assert done.code == 2
    assert done.err.splitlines() == [
        "bandshift: m.toml cannot be used:",
        "  acounts: no such key; did you mean `accounts`?",
    ]


def test_the_help_fits_80_columns(folder: Path, bandshift: Run) -> None:
    assert max(map(len, bandshift("load", "--help").out.splitlines())) <= 80


def test_a_terminal_shows_a_progress_bar(folder: Path, database_url: URL) -> None:
    (folder / "a.csv").write_text("account_id\n" + "".join(f"A{number}\n" for number in range(20_000)))
    terminal, end = pty.openpty()
    environment = {**os.environ, "DATABASE_URL": dsn(database_url), "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "load", "--accounts", "a.csv"],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=end,
    )  # fmt: skip
    os.close(end)
    shown = b""
    try:
        while chunk := os.read(terminal, 65_536):
            shown += chunk
    except OSError:  # how Linux says that the other end was closed
        pass
    os.close(terminal)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "━" in shown.decode()
    assert b"20,000" in out
