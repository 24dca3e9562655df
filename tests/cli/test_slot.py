"""`bandshift recompute --slot`, as a timer or a person calls it; the clock is the real one."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, update

from app.policy.read import read_policy
from app.schedule import latest_due_slot
from app.tables import accounts, coverage, outbox
from app.tables import runs as ledger
from tests.cli.conftest import Run, dsn
from tests.small_company import NO_GUARDS, POLICY, add_account, add_csm, assert_sound

WEEK = timedelta(weeks=1)
GUARDED = NO_GUARDS.replace("moved_accounts = false", "moved_accounts = { share = 0.10, at_least = 0 }")


def newest() -> date:
    """The slot that fell due last."""
    calendar = read_policy(POLICY, source="the test's policy").calendar
    return latest_due_slot(datetime.now(UTC), calendar)


@pytest.fixture
def policy_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY + NO_GUARDS)
    monkeypatch.setenv("BANDSHIFT_POLICY", str(path))
    return path


@pytest.fixture
def bandshift(run: Run, database: Engine, policy_file: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `bandshift` on a database with three accounts, where nothing has been run yet."""
    monkeypatch.setenv("DATABASE_URL", dsn(database.url))
    monkeypatch.setenv("BANDSHIFT_WORKER__MAX_LATENESS_HOURS", "8760")  # on a Sunday Monday's slot is late
    with database.begin() as connection:
        add_csm(connection, "ann", "low", max_accounts=3)
        for account_id, arr in (("A1", 10), ("B1", 500), ("B2", 400)):
            add_account(connection, account_id, arr)
    return run


def slots(engine: Engine) -> list[tuple[Any, ...]]:
    chosen = select(ledger.c.slot, ledger.c.kind, ledger.c.status, ledger.c.failure).order_by(ledger.c.run_id)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(chosen)]


def ago(engine: Engine, weeks: int) -> None:
    """Everything in the ledger happened so many weeks earlier."""
    back = WEEK * weeks
    with engine.begin() as connection:
        connection.execute(
            update(ledger).values(
                slot=ledger.c.slot - back.days, as_of=ledger.c.as_of - back, started_at=ledger.c.started_at - back
            )
        )
        connection.execute(update(coverage).values(band_since=coverage.c.band_since - back))


def test_the_latest_slot_is_run_once_however_often_it_is_asked_for(bandshift: Run, database: Engine) -> None:
    first = bandshift("recompute", "--slot", "latest")
    if slots(database) == [(newest(), "scheduled", "skipped", None)]:  # unless the slot fell due within the hour
        assert (first.code, first.out) == (0, "")
        assert f"bandshift: the slot {newest()} was passed over; the next is {newest() + WEEK}" in first.err
    ago(database, 1)
    made = bandshift("recompute", "--slot", "latest")
    assert made.code == 0
    assert made.out.startswith("Run ")
    assert "Applied." in made.out
    again = bandshift("recompute", "--slot", "latest")
    assert (again.code, again.out) == (0, "")
    assert f"bandshift: the slot {newest()} is done; the next is {newest() + WEEK}" in again.err
    assert slots(database)[-1] == (newest(), "scheduled", "applied", None)
    assert len(slots(database)) == 2
    assert_sound(database)


def test_a_person_names_a_slot_and_has_it_run_although_it_was_passed_over(bandshift: Run, database: Engine) -> None:
    bandshift("recompute", "--slot", "latest")
    named = bandshift("recompute", "--slot", str(newest()), "--format", "json")
    assert named.code == 0
    if named.out:
        assert json.loads(named.out)["status"] == "applied"
    again = bandshift("recompute", "--slot", str(newest()))
    assert (again.code, again.out) == (0, "")
    assert f"bandshift: the slot {newest()} is done: run " in again.err
    assert [row[2] for row in slots(database)].count("applied") == 1


def test_what_there_is_to_tell_is_delivered_after_it(bandshift: Run, database: Engine) -> None:
    bandshift("recompute", "--slot", str(newest()))
    with database.connect() as connection:
        messages = connection.execute(select(func.count(), func.count(outbox.c.delivered_at))).one()
    assert tuple(messages) == (2, 2)  # nobody takes them, so that they are done with


def test_nothing_to_run_writes_no_report_and_leaves_the_file_of_the_last(bandshift: Run, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert bandshift("recompute", "--slot", str(newest()), "--format", "json", "--output", str(report)).code == 0
    before = report.read_text()
    assert bandshift("recompute", "--slot", "latest", "--format", "json", "--output", str(report)).code == 0
    assert report.read_text() == before
    assert list(tmp_path.glob(".*part")) == []


def test_a_guard_s_stop_is_told_once_by_exit_code_and_then_by_a_line(
    bandshift: Run, database: Engine, policy_file: Path
) -> None:
    assert bandshift("recompute", "--slot", str(newest())).code == 0
    ago(database, 1)
    with database.begin() as connection:
        connection.execute(update(accounts).where(accounts.c.account_id == "B1").values(arr=50))
    policy_file.write_text(POLICY + GUARDED)
    stopped = bandshift("recompute", "--slot", "latest")
    assert stopped.code == 3
    assert "bandshift approve" in stopped.err
    again = bandshift("recompute", "--slot", "latest")
    assert (again.code, again.out) == (0, "")
    assert f"the slot {newest()} awaits approval" in again.err
    assert slots(database)[-1] == (newest(), "scheduled", "blocked", None)


def test_a_policy_that_cannot_be_read_costs_the_slot_a_try(bandshift: Run, database: Engine, policy_file: Path) -> None:
    assert bandshift("recompute", "--slot", str(newest())).code == 0
    ago(database, 1)
    policy_file.write_text(POLICY.replace("value < demotion_floor", "valu < demotion_floor"))
    failed = bandshift("recompute", "--slot", "latest")
    assert (failed.code, failed.out) == (2, "")
    assert "did you mean" in failed.err
    waiting = bandshift("recompute", "--slot", "latest")
    assert (waiting.code, f"try 2 of 5 of the slot {newest()} is not before" in waiting.err) == (0, True)
    assert slots(database)[-1] == (newest(), "scheduled", "failed", "mistake")
    policy_file.write_text(POLICY + NO_GUARDS)
    assert bandshift("recompute", "--slot", "latest").code == 0
    assert slots(database)[-1] == (newest(), "scheduled", "nothing", None)


def test_a_dry_run_of_a_slot_is_one_of_now_and_asks_nothing_of_the_ledger(bandshift: Run, database: Engine) -> None:
    for slot in ("latest", str(newest())):
        dry = bandshift("recompute", "--slot", slot, "--dry-run")
        assert (dry.code, dry.out.startswith("Dry run")) == (0, True)
    assert slots(database) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--slot", "last"], "--slot 'last' is neither `latest` nor a date (2026-03-02)"),
        (["--slot", "2026-03-03"], "--slot 2026-03-03 is no slot, which are on Mondays: 2026-03-02 or 2026-03-09"),
        (["--slot", "2026-03-03", "--dry-run"], "--slot 2026-03-03 is no slot"),
        (["--slot", "2199-01-07"], "--slot 2199-01-07 falls due 2199-01-07 06:00 UTC; the last that has is "),
        (["--slot", "latest", "--as-of", "2026-03-02"], "--slot decides as of now"),
        (["--slot", "latest", "--demo"], "--slot is a run of the worker's"),
    ],
)
def test_what_is_no_slot_is_a_mistake(bandshift: Run, database: Engine, options: list[str], said: str) -> None:
    ended = bandshift("recompute", *options)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert slots(database) == []


def test_another_process_at_work_is_busy(bandshift: Run, database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(0x62616E64736C6F74)))
        ended = bandshift("recompute", "--slot", "latest")
    assert ended.code == 4
    assert "another process is at work on the slots" in ended.err
    assert slots(database) == []
