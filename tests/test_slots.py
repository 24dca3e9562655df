"""Slots in the ledger: run once, passed over where people see it, tried again, left to people, and told of."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, insert, select, text, update
from sqlalchemy.exc import DBAPIError, OperationalError
from structlog.testing import capture_logs

from app import pipeline, planning, slots
from app.answers import find, reject
from app.approvals import approve
from app.due import Standing
from app.errors import Busy, Mistake
from app.pipeline import recompute
from app.policy.model import Policy
from app.roster import roster_of
from app.runs import SlotDone, new_run_id
from app.settings import Worker
from app.slots import Outcome, require_policy, run_due, run_slot
from app.tables import accounts, coverage, outbox
from app.tables import runs as ledger
from tests.small_company import AS_OF, WEEK, add_account, add_csm, assert_sound, contents, count, policy, where

S1 = date(2026, 3, 2)
S2, S3, S4 = S1 + WEEK, S1 + 2 * WEEK, S1 + 3 * WEEK
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
DEADLOCK = OperationalError("SELECT", None, psycopg.errors.DeadlockDetected("deadlock detected"))
GUARDED = """
[guards]
moved_accounts = { share = 0.10, at_least = 0 }
moved_arr = false
csm_book = false
shrunken_input = false
missing_facts = false
fewest_accounts = false
stale_after_days = false
"""


def at(slot: date, late: timedelta = MINUTE) -> datetime:
    return AS_OF + (slot - S1) + late


@pytest.fixture
def company(database: Engine) -> Engine:
    """Three accounts, two CSMs, and the slot of 2 March is done."""
    with database.begin() as connection:
        add_csm(connection, "ann", "low", max_accounts=3)
        add_csm(connection, "cat", "high", max_accounts=3)
        for account_id, arr in (("A1", 10), ("B1", 500), ("C1", 5000)):
            add_account(connection, account_id, arr)
    assert look(database, at(S1), first_slot="latest").standing == "done"
    return database


def look(
    engine: Engine, now: datetime, judged: Policy | None = None, read: Callable[[], Policy] | None = None, **worker: Any
) -> Outcome:
    chosen = judged or policy()
    return run_due(engine, read or (lambda: chosen), Worker(**worker), now)


def change(engine: Engine, account_id: str, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(update(accounts).where(accounts.c.account_id == account_id).values(values))


def rows(engine: Engine, slot: date, *columns: str) -> list[Any]:
    """What the ledger has of the slot, in order."""
    chosen = [ledger.c[name] for name in columns or ("kind", "status", "failure")]
    with engine.connect() as connection:
        found = connection.execute(select(*chosen).where(ledger.c.slot == slot).order_by(ledger.c.run_id)).all()
    return [tuple(row) if len(row) > 1 else row[0] for row in found]


def told(engine: Engine, *topics: str) -> list[dict[str, Any]]:
    """The payloads of the messages of these topics, in order."""
    with engine.connect() as connection:
        chosen = select(outbox.c.payload).where(outbox.c.topic.in_(topics)).order_by(outbox.c.run_id)
        return list(connection.execute(chosen).scalars())


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Whatever is planned from now on fails with this."""

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(planning, "roster_of", fail)


# ---- Once ------------------------------------------------------------------------------------------------------------


def test_a_slot_is_run_once_and_looking_again_changes_nothing(company: Engine) -> None:
    change(company, "B1", arr=50)
    assert (
        look(company, at(S2, -2 * MINUTE)).told
        == "the slot 2026-03-02 is done; the next is 2026-03-09, due 2026-03-09 06:00 UTC"
    )
    outcome = look(company, at(S2))
    assert (outcome.slot, outcome.standing, outcome.turn) == (S2, "done", None)
    assert outcome.result is not None
    assert (outcome.result.status, where(company)["B1"][0]) == ("applied", "tech")
    before = contents(company)
    for late in (MINUTE, 16 * MINUTE, 6 * 24 * HOUR):
        again = look(company, at(S2, late))
        assert (again.slot, again.standing, again.result) == (S2, "done", None)
    assert contents(company) == before
    assert rows(company, S2, "kind", "status", "as_of") == [("scheduled", "applied", at(S2))]
    assert_sound(company)


def test_a_first_deployment_records_the_slot_that_it_passes_over_and_tells_of_it(database: Engine) -> None:
    with database.begin() as connection:
        add_account(connection, "A1", 10)
    with capture_logs() as logs:
        outcome = look(database, at(S2, 30 * HOUR))
    assert (outcome.standing, outcome.result) == ("skipped", None)
    assert [(one["event"], one["slot"]) for one in logs] == [("slot.skipped", "2026-03-09")]
    assert rows(database, S2) == [("scheduled", "skipped", None)]
    why = rows(database, S2, "error")[0]
    assert "before the first start here" in why
    assert [(one["slot"], one["why"]) for one in told(database, "slot.skipped")] == [("2026-03-09", why)]
    look(database, at(S2, 31 * HOUR))
    assert count(database, ledger) == 1
    assert look(database, at(S3)).standing == "done"
    assert_sound(database)


def test_missed_slots_are_in_the_ledger_and_one_message_tells_of_them(company: Engine) -> None:
    outcome = look(company, at(S4, 5 * HOUR))
    assert (outcome.slot, outcome.standing) == (S4, "done")
    assert [rows(company, slot) for slot in (S2, S3, S4)] == [
        [("scheduled", "skipped", None)],
        [("scheduled", "skipped", None)],
        [("scheduled", "nothing", None)],
    ]
    (message,) = told(company, "slot.skipped")
    assert message["slot"] == "2026-03-16"
    assert message["why"].endswith("So were 1 before it, from 2026-03-09 on.")
    assert_sound(company)


def test_all_missed_slots_are_run_one_after_another_where_that_is_asked_for(company: Engine) -> None:
    outcome = look(company, at(S4, 5 * HOUR), catch_up="all", max_lateness_hours=1000)
    assert (outcome.slot, outcome.standing) == (S4, "done")
    as_ofs = [rows(company, slot, "status", "as_of") for slot in (S2, S3)]
    assert as_ofs == [[("nothing", at(S2, timedelta(0)))], [("nothing", at(S3, timedelta(0)))]]
    ((_, last),) = rows(company, S4, "status", "as_of")
    assert at(S4, 5 * HOUR) <= last < at(S4, 5 * HOUR + MINUTE)
    with company.connect() as connection:
        order = connection.execute(select(ledger.c.slot).order_by(ledger.c.run_id)).scalars().all()
    assert order == [S1, S2, S3, S4]
    assert_sound(company)


def test_a_worker_that_is_told_to_stop_leaves_the_other_missed_slots_to_the_next(company: Engine) -> None:
    chosen, worker = policy(), Worker(catch_up="all", max_lateness_hours=1000)
    outcome = run_due(company, lambda: chosen, worker, at(S4), stop=lambda: True)
    assert (outcome.slot, outcome.standing) == (S4, "open")
    assert [len(rows(company, slot)) for slot in (S2, S3, S4)] == [1, 0, 0]


def test_a_manual_run_does_not_stand_for_a_slot(company: Engine) -> None:
    recompute(company, policy(), at(S2, -HOUR), dry_run=False)
    assert look(company, at(S2)).result is not None
    assert len(rows(company, S2)) == 1


# ---- Tries -----------------------------------------------------------------------------------------------------------


def test_a_failed_slot_is_tried_again_after_a_while_and_given_up_in_the_end(
    company: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(company, "B1", arr=50)
    before = contents(company, coverage)
    failing(monkeypatch, DEADLOCK)
    now, tried_at = at(S2, timedelta(0)), []
    while now < at(S2, 12 * HOUR):
        try:
            outcome = look(company, now)
        except DBAPIError:
            tried_at.append(now - at(S2, timedelta(0)))
            if len(tried_at) < 5:
                assert told(company, "run.failed", "slot.failed") == []
        else:
            assert (outcome.result, outcome.turn is None) == (None, len(tried_at) == 5)
        now += 15 * MINUTE
    assert tried_at == [minutes * MINUTE for minutes in (0, 15, 45, 105, 225)]
    assert rows(company, S2) == [("scheduled", "failed", "transient")] * 5
    assert contents(company, coverage) == before
    (message,) = told(company, "run.failed", "slot.failed")
    assert (message["slot"], message["attempt"], message["attempts"], message["failure"], message["error"]) == (
        "2026-03-09", 5, 5, "transient", "DeadlockDetected (40P01)",
    )  # fmt: skip
    outcome = look(company, now)
    assert (outcome.standing, outcome.turn) == ("failed", None)
    assert "is given up" in outcome.told
    monkeypatch.undo()
    assert look(company, at(S3)).standing == "done"
    assert rows(company, S2) == [("scheduled", "failed", "transient")] * 5
    assert_sound(company)


def test_a_try_that_succeeds_ends_the_matter(company: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, DEADLOCK)
    with pytest.raises(DBAPIError):
        look(company, at(S2))
    waiting = look(company, at(S2, 10 * MINUTE))
    assert (waiting.standing, waiting.result) == ("open", None)
    assert waiting.told.startswith("try 2 of 5 of the slot 2026-03-09 is not before 2026-03-09 06:15 UTC")
    monkeypatch.undo()
    assert look(company, at(S2, 20 * MINUTE)).standing == "done"
    assert rows(company, S2) == [("scheduled", "failed", "transient"), ("scheduled", "nothing", None)]
    assert told(company, "run.failed", "slot.failed", "slot.skipped") == []


@pytest.mark.parametrize(
    ("error", "failure", "said"),
    [
        (ValueError("Acme Ltd pays 5000"), "bug", "ValueError in fail, line "),
        (Mistake("accounts has no column arr"), "mistake", "accounts has no column arr"),
    ],
)
def test_what_does_not_pass_by_itself_is_told_at_once(
    company: Engine, monkeypatch: pytest.MonkeyPatch, error: Exception, failure: str, said: str
) -> None:
    failing(monkeypatch, error)
    with pytest.raises(type(error)):
        look(company, at(S2))
    assert rows(company, S2) == [("scheduled", "failed", failure)]
    (message,) = told(company, "run.failed")
    assert (message["attempt"], message["failure"]) == (1, failure)
    assert message["error"].startswith(said)
    assert "Acme" not in str(message)


def test_a_database_error_that_passes_by_itself_is_no_bug(company: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def strike(connection: Any, *_: Any, **__: Any) -> Any:
        connection.execute(text("SET LOCAL statement_timeout = 1"))
        connection.execute(text("SELECT pg_sleep(9)"))

    monkeypatch.setattr(planning, "roster_of", strike)
    with pytest.raises(DBAPIError):
        look(company, at(S2))
    assert rows(company, S2) == [("scheduled", "failed", "transient")]


def test_a_policy_that_cannot_be_read_is_a_try_that_failed_and_the_corrected_one_is_run_at_once(
    company: Engine,
) -> None:
    def unreadable() -> Policy:
        raise Mistake("policy.toml: rules[0].when: unknown fact seat")

    require_policy(company, unreadable)
    assert look(company, at(S2, -MINUTE), read=unreadable).standing == "done"
    for late in (timedelta(0), 16 * MINUTE):
        with pytest.raises(Mistake, match="unknown fact"):
            look(company, at(S2, late), read=unreadable)
    assert (
        rows(company, S2, "status", "failure", "error", "policy_sha")
        == [("failed", "mistake", "policy.toml: rules[0].when: unknown fact seat", None)] * 2
    )
    assert [one["attempt"] for one in told(company, "run.failed")] == [1, 2]
    outcome = look(company, at(S2, 20 * MINUTE), read=unreadable)
    assert outcome.turn is not None
    assert outcome.turn.not_before > at(S2, 40 * MINUTE)
    assert look(company, at(S2, 21 * MINUTE)).standing == "done"


def test_without_any_policy_there_is_nothing_to_go_by(database: Engine) -> None:
    def unreadable() -> Policy:
        raise Mistake("there is no policy.toml")

    with pytest.raises(Mistake, match=r"no policy\.toml"):
        require_policy(database, unreadable)
    with pytest.raises(Mistake, match=r"no policy\.toml"):
        look(database, at(S2), read=unreadable)
    assert count(database, ledger) == 0


# ---- A guard, and a person -------------------------------------------------------------------------------------------


@pytest.fixture
def awaiting(company: Engine) -> Engine:
    """The slot of 9 March was stopped by a guard."""
    change(company, "B1", arr=50)
    outcome = look(company, at(S2), policy(GUARDED), answer_within_hours=48)
    assert (outcome.standing, outcome.result is not None and outcome.result.status) == ("awaiting", "blocked")
    return company


def answers(engine: Engine, slot: date) -> list[Any]:
    return rows(engine, slot, "kind", "status", "answer")


def test_a_slot_that_awaits_approval_is_not_run_again(awaiting: Engine) -> None:
    before = contents(awaiting)
    outcome = look(awaiting, at(S2, HOUR), policy(GUARDED))
    assert (outcome.standing, outcome.result) == ("awaiting", None)
    assert "awaits approval" in outcome.told
    assert contents(awaiting) == before


def _approve(engine: Engine) -> None:
    with engine.connect() as connection:
        stopped = find(connection, "latest")
    made = approve(engine, policy(GUARDED), stopped.run_id, by="lee", now=at(S2, 2 * HOUR))
    assert made.status == "applied"


def _reject(engine: Engine) -> None:
    with engine.connect() as connection:
        stopped = find(connection, "latest")
    reject(engine, stopped.run_id, by="lee", now=at(S2, 2 * HOUR))


def _wait(engine: Engine) -> None:
    assert look(engine, at(S2, 47 * HOUR), policy(GUARDED)).standing == "awaiting"


@pytest.mark.parametrize(
    ("answer", "standing", "ledger_says"),
    [
        (_approve, "done", [("scheduled", "blocked", "approved"), ("approval", "applied", None)]),
        (_reject, "rejected", [("scheduled", "blocked", "rejected")]),
        (_wait, "lapsed", [("scheduled", "blocked", "lapsed")]),
    ],
)
def test_an_answered_slot_is_settled_and_the_next_comes_as_ever(
    awaiting: Engine, answer: Callable[[Engine], None], standing: Standing, ledger_says: list[Any]
) -> None:
    answer(awaiting)
    outcome = look(awaiting, at(S2, 50 * HOUR), policy(GUARDED))
    assert (outcome.slot, outcome.standing, outcome.result) == (S2, standing, None)
    assert answers(awaiting, S2) == ledger_says
    assert len(told(awaiting, "run.lapsed")) == (standing == "lapsed")
    assert look(awaiting, at(S3)).standing == "done"
    assert answers(awaiting, S2) == ledger_says
    assert_sound(awaiting)


def test_the_next_slot_overtakes_one_that_nobody_answered(company: Engine) -> None:
    change(company, "B1", arr=50)
    assert look(company, at(S2), policy(GUARDED), answer_within_hours=1000).standing == "awaiting"
    outcome = look(company, at(S3), policy(GUARDED), answer_within_hours=1000)
    assert (outcome.slot, outcome.standing) == (S3, "awaiting")
    assert [answers(company, slot) for slot in (S2, S3)] == [
        [("scheduled", "blocked", "lapsed")],
        [("scheduled", "blocked", None)],
    ]
    assert [one["slot"] for one in told(company, "run.lapsed")] == ["2026-03-09"]


def by_hand(engine: Engine, slot: date, now: datetime, judged: Policy | None = None) -> pipeline.RunResult:
    chosen = judged or policy()
    return run_slot(engine, lambda: chosen, Worker(), slot, now)


def test_a_person_runs_a_slot_that_was_turned_down(awaiting: Engine) -> None:
    _reject(awaiting)
    assert by_hand(awaiting, S2, at(S2, 3 * HOUR)).status == "applied"
    assert look(awaiting, at(S2, 4 * HOUR)).standing == "done"
    assert_sound(awaiting)


def test_a_person_runs_a_slot_that_was_passed_over(company: Engine) -> None:
    assert look(company, at(S2, 130 * HOUR)).standing == "skipped"
    assert by_hand(company, S2, at(S2, 131 * HOUR)).status == "nothing"
    assert look(company, at(S2, 132 * HOUR)).standing == "done"


def test_a_person_runs_a_slot_that_was_given_up(company: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, DEADLOCK)
    for _ in range(2):
        with pytest.raises(DBAPIError):
            by_hand(company, S2, at(S2))
    assert look(company, at(S2, HOUR), attempts=2).standing == "failed"
    monkeypatch.undo()
    assert by_hand(company, S2, at(S2, 2 * HOUR)).status == "nothing"
    assert_sound(company)


def test_a_person_cannot_run_what_is_done_or_no_slot_or_still_to_come(company: Engine) -> None:
    before = contents(company)
    with pytest.raises(SlotDone, match="2026-03-02 is done"):
        by_hand(company, S1, at(S1, HOUR))
    with pytest.raises(Mistake, match="2026-03-04 is no slot, which are on Mondays: 2026-03-02 or 2026-03-09"):
        by_hand(company, date(2026, 3, 4), at(S2))
    with pytest.raises(Mistake, match="2026-03-16 falls due 2026-03-16 06:00 UTC; the last that has is 2026-03-09"):
        by_hand(company, S3, at(S3, -MINUTE))
    assert contents(company) == before


def test_a_person_who_runs_a_slot_again_overtakes_what_awaits(awaiting: Engine) -> None:
    assert by_hand(awaiting, S2, at(S2, HOUR)).status == "applied"
    assert look(awaiting, at(S2, 2 * HOUR)).standing == "done"
    assert answers(awaiting, S2) == [("scheduled", "blocked", "lapsed"), ("scheduled", "applied", None)]


# ---- One at a time ---------------------------------------------------------------------------------------------------


def test_while_one_process_looks_at_the_slots_another_leaves_them_alone(
    company: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[str] = []
    real = roster_of

    def meanwhile(*arguments: Any, **named: Any) -> Any:
        for call in (lambda: look(company, at(S2)), lambda: by_hand(company, S2, at(S2))):
            with pytest.raises(Busy, match="another process is at work on the slots"):
                call()
            others.append("busy")
        return real(*arguments, **named)

    monkeypatch.setattr(planning, "roster_of", meanwhile)
    assert look(company, at(S2)).standing == "done"
    assert others == ["busy"] * 2
    assert len(rows(company, S2)) == 1


def test_a_manual_run_at_work_puts_a_slot_off_and_costs_it_no_try(
    company: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = roster_of
    seen: list[str] = []

    def meanwhile(*arguments: Any, **named: Any) -> Any:
        if not seen:
            with pytest.raises(Busy, match="another run is at work"):
                look(company, at(S2))
            seen.append("busy")
        return real(*arguments, **named)

    monkeypatch.setattr(planning, "roster_of", meanwhile)
    recompute(company, policy(), at(S2, -HOUR), dry_run=False)
    assert (seen, rows(company, S2)) == (["busy"], [])
    assert look(company, at(S2)).standing == "done"


def test_a_run_is_kept_when_only_the_lock_on_the_slots_is_lost(
    company: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = roster_of

    def strike(connection: Any, *rest: Any, **named: Any) -> Any:
        idle = text(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"
        )
        assert connection.execute(idle).scalars().all() == [True]
        return real(connection, *rest, **named)

    monkeypatch.setattr(planning, "roster_of", strike)
    with capture_logs() as logs:
        outcome = look(company, at(S2))
    assert (outcome.standing, [one["event"] for one in logs]) == ("done", ["run.applied", "slots.lock_lost"])
    assert_sound(company)


def test_an_approval_that_failed_is_no_try_of_its_slot(company: Engine) -> None:
    run = {"run_id": new_run_id(at(S2)), "kind": "scheduled", "slot": S2, "as_of": at(S2), "started_at": at(S2)}
    approval = {**run, "run_id": new_run_id(at(S2)), "kind": "approval"}
    with company.begin() as connection:
        connection.execute(insert(ledger).values({**run, "status": "failed", "duration_ms": 90_000}))
        connection.execute(insert(ledger).values({**approval, "status": "failed", "duration_ms": 1}))
        read = slots.read_slots(connection)
    assert [(row.slot, row.status, row.started_at) for row in read if row.slot == S2] == [(S2, "failed", at(S2))]
