"""`bandshift settings`: what is in force, where it is from, and no secret."""

import csv
import io
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run

FILE = """\
[worker]
attempts = 3

[channels.chat]
type = "slack"
url_file = "chat"
topics = ["run.blocked", "slot.failed"]
"""


@pytest.fixture(autouse=True)
def _said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bandshift.toml").write_text(FILE, encoding="utf-8")
    (tmp_path / "chat").write_text("https://chat.example.com/canary", encoding="utf-8")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:canary@h/d")
    monkeypatch.setenv("BANDSHIFT_WORKER__TICK_MINUTES", "5")


def test_the_table_says_what_is_in_force_and_where_it_is_from(run: Run) -> None:
    ended = run("settings")
    assert (ended.code, ended.err) == (0, "")
    assert [line.split(None, 2) for line in ended.out.splitlines()[:14]] == [
        ["Settings", "file:", "bandshift.toml"],
        ["setting", "from", "value"],
        ["database_url", "DATABASE_URL", "***"],
        ["home", "default", ".bandshift"],
        ["policy", "default", "none"],
        [],
        ["worker"],
        ["setting", "from", "value"],
        ["tick_minutes", "BANDSHIFT_WORKER__TICK_MINUTES", "5"],
        ["delivery_seconds", "default", "60"],
        ["catch_up", "default", "latest"],
        ["max_lateness_hours", "default", "120"],
        ["first_slot", "default", "next"],
        ["attempts", "bandshift.toml:2", "3"],
    ]
    assert "\nchannels.chat\n" in ended.out
    assert ["topics", "bandshift.toml:7", "run.blocked, slot.failed"] in [
        line.split(None, 2) for line in ended.out.splitlines()
    ]
    assert "canary" not in ended.out


def test_programs_get_the_same(run: Run) -> None:
    found = json.loads(run("settings", "--format", "json").out)
    by_name = {one.pop("name"): one for one in found["settings"]}
    assert (found["schema"], found["file"]) == (1, "bandshift.toml")
    assert by_name["database_url"] == {"value": "***", "is_secret": True, "from": "DATABASE_URL"}
    assert by_name["worker.attempts"] == {"value": 3, "is_secret": False, "from": "bandshift.toml:2"}
    assert by_name["channels.chat.url"] == {"value": "***", "is_secret": True, "from": "bandshift.toml:6"}
    assert by_name["metrics.push_url"] == {"value": None, "is_secret": True, "from": "default"}
    rows = list(csv.reader(io.StringIO(run("settings", "--format", "csv").out)))
    assert rows[0] == ["setting", "value", "from"]
    assert ["channels.chat.topics", "run.blocked, slot.failed", "bandshift.toml:7"] in rows
    assert [row[0] for row in rows[1:]] == list(by_name)


def test_without_a_settings_file_it_says_so(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bandshift.toml").unlink()
    assert run("settings").out.startswith("No settings file.\n")


def test_mistakes_are_told_and_leave_with_two(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANDSHIFT_WORKER__TICK_MINUTES", "canary")
    monkeypatch.setenv("BANDSHIFT_WORKER__TICKS_MINUTE", "canary")
    ended = run("settings")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "bandshift: the settings cannot be used:\n"
        "  BANDSHIFT_WORKER__TICKS_MINUTE: no such setting; did you mean BANDSHIFT_WORKER__TICK_MINUTES?\n"
        "  BANDSHIFT_WORKER__TICK_MINUTES: should be a whole number\n"
    )
