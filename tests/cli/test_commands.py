"""The other commands, and what all commands have in common."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, text

from app import migrate
from app.errors import ExitCode
from tests.cli.conftest import Run, dsn

ROOT = Path(__file__).parents[2]


def start(*arguments: str, url: URL, **environment: str) -> subprocess.Popen[str]:
    """`bandshift` in a process of its own."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return subprocess.Popen(
        [sys.executable, "-m", "app", *arguments],
        cwd=ROOT,
        env={**inherited, "DATABASE_URL": dsn(url), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["recompute", "--help"]])
def test_help_lists_every_exit_code_within_80_columns(run: Run, arguments: list[str]) -> None:
    ended = run(*arguments)
    assert ended.code == 0
    for code in ExitCode:
        assert f"\n    {code.value}  " in ended.out
    assert max(map(len, ended.out.splitlines())) <= 80


def test_help_lists_every_command_with_a_whole_sentence(run: Run) -> None:
    out = run("--help").out
    commands = "recompute load policy demo history explain rebalance pin unpin pins doctor db"
    for command in commands.split():
        assert f"\n  {command} " in out
    assert "..." not in out.split("Commands:")[1]


def test_an_unknown_command_exits_2(run: Run) -> None:
    ended = run("recompte")
    assert ended.code == 2
    assert "No such command 'recompte'" in ended.err


def test_an_unknown_setting_exits_2(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANDSHIFT_HOEM", "x")
    ended = run("history")
    assert ended.code == 2
    assert "did you mean BANDSHIFT_HOME?" in ended.err


def test_a_bug_keeps_its_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("app.cli.doctor.load_settings", broken)
    with pytest.raises(ZeroDivisionError):
        run("doctor")


def test_db_status_and_upgrade(run: Run, blank_url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", dsn(blank_url))
    before = run("db", "status")
    assert (before.code, before.out.splitlines()[0]) == (1, "found   no schema")
    upgraded = run("db", "upgrade")
    assert upgraded.code == 0
    assert upgraded.out.splitlines() == [
        *(f"applied {revision}" for revision in migrate.revisions()),
        f"the schema is at {migrate.head()}",
    ]
    assert run("db", "status").code == 0
    assert run("db", "upgrade").out == f"the schema is at {migrate.head()}\n"


def test_doctor_exits_0_when_all_holds_and_1_when_not(bandshift_settled: Run, settled: Engine) -> None:
    sound = bandshift_settled("doctor")
    assert (sound.code, sound.out.splitlines()[-1]) == (0, "All holds.")
    with settled.begin() as connection:
        first = connection.execute(text("SELECT min(account_id) FROM coverage")).scalar_one()
        connection.execute(text("UPDATE coverage SET band = 'nowhere' WHERE account_id = :id"), {"id": first})
    broken = bandshift_settled("doctor")
    assert broken.code == 1
    assert " BAD  I2        each account's band is where its history ends: 1 offender\n" in broken.out
    assert f"{first} is in nowhere and its history ends in" in broken.out


def test_doctor_says_what_an_old_schema_needs(run: Run, blank_url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", dsn(blank_url))
    ended = run("doctor")
    assert ended.code == 1
    assert "run `bandshift db upgrade`" in " ".join(ended.out.split())


def test_history_tells_a_story_and_a_slice(bandshift_settled: Run, settled: Engine) -> None:
    with settled.connect() as connection:
        account, rule = connection.execute(
            text("SELECT account_id, rule FROM band_history WHERE move = 'demote' ORDER BY account_id LIMIT 1")
        ).one()
    story = bandshift_settled("history", account)
    assert story.code == 0
    assert story.out.startswith(f"{account}  ")
    assert f"down by {rule}, out of " in story.out
    by_rule = bandshift_settled("history", "--rule", rule, "--since", "2026-11-16", "--until", "2026-11-16")
    assert account in by_rule.out
    assert bandshift_settled("history", "--rule", rule, "--until", "2026-11-15").out == "No changes\n"


def test_history_lists_all_to_programs_and_the_latest_when_asked(bandshift_settled: Run) -> None:
    changes = json.loads(bandshift_settled("history", "--format", "json").out)["changes"]
    rows = bandshift_settled("history", "--format", "csv").out.splitlines()
    assert len(changes) == len(rows) - 1 > 300
    assert bandshift_settled("history", "--limit", "3", "--format", "csv").out.splitlines()[1:] == rows[-3:]


def test_an_unknown_account_is_one_line_and_exits_2(bandshift: Run) -> None:
    ended = bandshift("history", "acc-0000123x")
    assert (ended.code, ended.out) == (2, "")
    (line,) = [line for line in ended.err.splitlines() if not line.startswith("{")]
    assert line.startswith("bandshift: there is no account 'acc-0000123x'; did you mean acc-0000123 (")


def test_python_m_app_recompute_is_the_same_command() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "app.recompute", "--as-of", "x"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "bandshift: --as-of 'x' is neither" in ended.stderr


def test_a_reader_who_goes_away_is_no_error(company_url: URL) -> None:
    with start("history", "--format", "csv", url=company_url) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("changed_at,")
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, "Traceback" in err, "BrokenPipe" in err) == (0, False, False)


def test_ctrl_c_exits_130_without_a_traceback(company: Engine, company_url: URL) -> None:
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'accounts'::regclass")
    with company.connect() as lock, company.connect() as watch:
        lock.execute(text("LOCK TABLE accounts"))
        with start("recompute", "--dry-run", url=company_url) as process:
            while not watch.execute(waiting).scalar_one():
                watch.rollback()
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in err) == (130, False)


def test_no_colour_is_written_to_a_pipe(company_url: URL) -> None:
    with start("recompute", "--dry-run", url=company_url) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode in {0, 3}
    assert "\x1b" not in out + err
