"""How things stand, as a monitor asks: what is well, what waits, and what is wrong."""

import io
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, insert, text

from app.answers import reject
from app.policy.model import Policy
from app.report.page import Page
from app.report.runs import COLUMNS as RUN_KEYS
from app.report.status import write_status_json, write_status_table
from app.settings import Worker
from app.status import Status, read_status
from app.tables import deliveries, runs
from tests.small_company import policy
from tests.stopped_company import MONDAY, SLOT, TUESDAY, company, say_yes, stopped, stopped_template, strict

__all__ = ["company", "stopped", "stopped_template"]

LAST_SLOT = SLOT - timedelta(weeks=1)


def status(engine: Engine, now: datetime = TUESDAY, judged: Policy | None = None) -> Status:
    with engine.connect() as connection:
        return read_status(connection, judged or strict(), Worker(), now)


def add_run(engine: Engine, slot: date | None, state: str, **fields: object) -> UUID:
    """A row of the ledger as a scheduled run of that slot leaves it."""
    run_id = uuid4()
    at = datetime(2026, 3, 9, 6, 1, tzinfo=UTC)
    row = {
        "run_id": run_id,
        "kind": "scheduled",
        "slot": slot,
        "as_of": at,
        "started_at": at,
        "status": state,
        **fields,
    }
    with engine.begin() as connection:
        connection.execute(insert(runs), [row])
    return run_id


def table(of: Status) -> str:
    out = io.StringIO()
    write_status_table(Page(out), of, UTC)
    return out.getvalue()


def test_where_no_slot_was_ever_run_nothing_is_late(company: Engine) -> None:
    found = status(company)
    assert (found.problems, found.last_slot) == ((), None)
    assert found.slots is not None
    assert (found.slots.standing, found.slots.latest, found.slots.next) == (None, SLOT, SLOT + timedelta(weeks=1))
    assert found.last_run is not None
    assert found.last_run.kind == "manual"
    assert "2026-03-09, due 2026-03-09 06:00: no slot was run here yet" in table(found)


def test_a_slot_that_was_run_is_done(company: Engine) -> None:
    add_run(company, SLOT, "applied")
    found = status(company)
    assert found.problems == ()
    assert found.slots is not None
    assert found.slots.standing == "done"
    assert found.last_slot is not None
    assert found.last_slot.slot == SLOT
    assert table(found).startswith("All is well\n")


@pytest.mark.parametrize(("late", "told"), [(59, None), (61, 1), (60 * 47, 47), (60 * 24 * 3, 3)])
def test_a_slot_that_nobody_ran_is_late_after_an_hour(company: Engine, late: int, told: int | None) -> None:
    add_run(company, LAST_SLOT, "applied", as_of=MONDAY - timedelta(weeks=1))
    found = status(company, MONDAY + timedelta(minutes=late))
    assert found.slots is not None
    assert found.slots.standing == "open"
    assert len(found.problems) == (0 if told is None else 1)
    if told is not None:
        unit = "days" if late > 60 * 48 else "hour" if told == 1 else "hours"
        assert found.problems[0].startswith(f"the slot 2026-03-09 is late by {told} {unit}: is the worker running?")
        assert (found.slots.late, found.slots.late_by) == (SLOT, timedelta(minutes=late))


def test_a_slot_that_is_too_late_to_be_run_is_late_until_somebody_passes_over_it(company: Engine) -> None:
    add_run(company, LAST_SLOT, "applied", as_of=MONDAY - timedelta(weeks=1))
    friday = MONDAY + timedelta(days=6)
    assert status(company, friday).problems[0].startswith("the slot 2026-03-09 is late by 6 days")
    add_run(company, SLOT, "skipped", error="It fell due too long ago.")
    found = status(company, friday)
    assert (found.problems, found.slots and found.slots.standing) == ((), "skipped")


def test_a_slot_whose_every_try_failed_is_given_up(company: Engine) -> None:
    sha = strict().sha256
    for _ in range(Worker().attempts):
        add_run(company, SLOT, "failed", failure="transient", error="DiskFull (53100)", policy_sha=sha)
    found = status(company)
    assert found.slots is not None
    assert found.slots.standing == "failed"
    assert len(found.problems) == 1
    assert found.problems[0].startswith("the slot 2026-03-09 is given up, every try failed")
    assert found.last_failure is not None
    assert (found.last_failure.failure, found.last_failure.error) == ("transient", "DiskFull (53100)")
    assert "DiskFull (53100) (transient)" in table(found)


def test_a_run_that_awaits_approval_is_shown_with_its_command_and_is_no_problem(company: Engine, stopped: UUID) -> None:
    found = status(company)
    assert found.problems == ()
    assert found.slots is not None
    assert found.slots.standing == "awaiting"
    assert [one.run_id for one in found.awaiting] == [stopped]
    sha = found.awaiting[0].plan_sha or ""
    assert f"\n  bandshift approve {stopped} --plan-sha {sha[:12]} --by WHO\n" in table(found)
    say_yes(company, stopped)
    found = status(company)
    assert (found.awaiting, found.slots and found.slots.standing) == ((), "done")
    assert found.last_slot is not None
    assert (found.last_slot.kind, found.last_slot.slot) == ("approval", SLOT)


def test_a_rejected_slot_is_settled(company: Engine, stopped: UUID) -> None:
    reject(company, stopped, by="lee", now=TUESDAY)
    found = status(company, TUESDAY + timedelta(days=2))
    assert (found.problems, found.slots and found.slots.standing) == ((), "rejected")


def test_parked_messages_are_a_problem_and_waiting_ones_are_not(company: Engine, stopped: UUID) -> None:
    with company.begin() as connection:
        message_id = connection.execute(
            text("SELECT min(message_id) FROM outbox WHERE delivered_at IS NULL")
        ).scalar_one()
        row = {"message_id": message_id, "channel": "ops", "next_attempt_at": TUESDAY, "gives_up_at": TUESDAY}
        connection.execute(insert(deliveries), [{**row, "status": "waiting", "attempts": 3}])
    found = status(company)
    assert found.problems == ()
    assert found.backlog is not None
    assert (found.backlog.waiting, found.backlog.failing, found.backlog.parked) == (1, 1, 0)
    with company.begin() as connection:
        connection.execute(text("UPDATE deliveries SET status = 'parked', ended_at = now()"))
    assert status(company).problems == (
        "1 message could not be delivered: `bandshift outbox list` says why, and `outbox retry` sends them again",
    )


def test_another_schema_is_all_that_is_said(blank: Engine) -> None:
    found = status(blank)
    assert len(found.problems) == 1
    assert "bandshift db upgrade" in found.problems[0]
    assert (found.slots, found.last_run, found.awaiting, found.backlog) == (None, None, (), None)
    out = io.StringIO()
    write_status_json(out, found)
    read = json.loads(out.getvalue())
    assert (read["healthy"], read["database"]["found"], read["slot"]) == (False, None, None)


def test_its_json_has_what_the_table_has(company: Engine, stopped: UUID) -> None:
    out = io.StringIO()
    write_status_json(out, status(company))
    read = json.loads(out.getvalue())
    assert (read["schema"], read["healthy"], read["problems"], read["now"]) == (1, True, [], "2026-03-10T06:00:00Z")
    assert read["slot"] == {
        "slot": "2026-03-09", "due_at": "2026-03-09T06:00:00Z", "standing": "awaiting", "late": None, "late_s": None
    }  # fmt: skip
    assert read["next_slot"] == {"slot": "2026-03-16", "due_at": "2026-03-16T06:00:00Z"}
    assert [(one["run_id"], one["slot"], one["guards"]) for one in read["awaiting"]] == [
        (str(stopped), "2026-03-09", ["moved_accounts"])
    ]
    assert set(read["outbox"]) == {"unseen", "waiting", "failing", "parked", "oldest"}
    assert (read["last_slot"], read["last_failure"], read["last_run"]["status"]) == (None, None, "applied")
    documented = (Path(__file__).parents[1] / "docs" / "json.md").read_text(encoding="utf-8")
    named = {*read, *read["slot"], *read["awaiting"][0], *read["outbox"], *read["last_run"], *RUN_KEYS}
    assert {name for name in named if f"`{name}`" not in documented} == set()


def test_times_are_those_of_the_policy_s_time_zone(company: Engine) -> None:
    add_run(company, LAST_SLOT, "applied")
    far = policy(calendar_of("Asia/Tokyo"))
    found = status(company, MONDAY, far)
    assert found.slots is not None
    assert found.slots.fell_due == datetime(2026, 3, 8, 21, 0, tzinfo=UTC)


def calendar_of(zone: str) -> str:
    return f'\n[calendar]\nweekday = "monday"\nat = "06:00"\ntime_zone = "{zone}"\n'


def test_nothing_is_written(company: Engine, stopped: UUID) -> None:
    with company.connect().execution_options(postgresql_readonly=True) as connection:
        assert read_status(connection, strict(), Worker(), TUESDAY).problems == ()
