"""One run from end to end: what it writes, what it refuses, and what it leaves behind when it is stopped or dies."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
import structlog
from sqlalchemy import Engine, delete, event, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, OperationalError
from structlog.testing import capture_logs

from app import apply as apply_module
from app import pipeline, planning, readers, runs
from app.errors import Busy, Mistake, StalePlan
from app.messages import message_id
from app.pipeline import recompute
from app.policy.model import Policy
from app.tables import accounts, band_history, coverage, csms, outbox, owner_history, policies
from app.tables import runs as ledger
from tests.small_company import (
    AS_OF,
    EFFECT,
    RESTLESS,
    WEEK,
    add_account,
    add_csm,
    add_pin,
    add_signal,
    assert_sound,
    contents,
    count,
    policy,
    where,
)

GUARDED = """
[guards]
moved_accounts = {{ share = 0.10, at_least = {at_least} }}
moved_arr = false
csm_book = false
shrunken_input = {{ share = 0.10 }}
missing_facts = {{ share = 0.10 }}
stale_after_days = 10
"""


def run(engine: Engine, judged: Policy, weeks: int = 0, **options: Any) -> pipeline.RunResult:
    return recompute(engine, judged, AS_OF + weeks * WEEK, dry_run=options.pop("dry_run", False), **options)


@pytest.fixture
def company(database: Engine) -> Engine:
    """Nine accounts that have just entered: three CSMs own what they have room for, B3 waits, and A9 has no value."""
    with database.begin() as connection:
        add_csm(connection, "ann", "low", max_accounts=2)
        add_csm(connection, "bob", "low", "high")
        add_csm(connection, "cat", "high", max_accounts=1)
        for account_id, arr in (
            ("A1", 10), ("A2", 20), ("A9", None), ("B1", 500), ("B2", 400), ("B3", 100), ("B4", 300), ("C1", 5000),
            ("C2", 4000),
        ):  # fmt: skip
            add_account(connection, account_id, arr)
    result = run(database, policy())
    assert result.status == "applied"
    return database


def test_a_first_run_places_every_account_and_owner(company: Engine) -> None:
    assert where(company) == {
        "A1": ("tech", None),
        "A2": ("tech", None),
        "A9": ("tech", None),
        "B1": ("low", "ann"),
        "B2": ("low", "ann"),
        "B3": ("low", None),
        "B4": ("low", "bob"),
        "C1": ("high", "bob"),
        "C2": ("high", "cat"),
    }
    with company.connect() as connection:
        waiting = (
            connection.execute(select(coverage.c.account_id).where(coverage.c.waiting_since == AS_OF)).scalars().all()
        )
        assert waiting == ["B3"]
        owned = connection.execute(select(coverage).where(coverage.c.account_id == "B1")).one()
        assert (owned.band_since, owned.band_rule, owned.owner_since, owned.first_owned_at) == (
            AS_OF,
            "entry",
            AS_OF,
            AS_OF,
        )
        first = connection.execute(select(band_history).where(band_history.c.account_id == "B1")).one()
        assert (first.from_band, first.to_band, first.move, first.rule, first.value) == (
            None,
            "low",
            "enter",
            "entry",
            500,
        )
        assert (first.from_owner_id, first.to_owner_id, first.changed_at) == (None, "ann", AS_OF)
        assert first.reason == "Entered low: its value of $500 carries low."
        assert first.evidence == {"facts": {"earned_band": "low", "value": 500}, "rules": {}}
        assert first.policy_sha == policy().sha256
    assert_sound(company)


def test_the_second_run_on_the_same_facts_changes_nothing(company: Engine) -> None:
    before = contents(company, *EFFECT)
    for weeks in (0, 1):
        assert run(company, policy(), weeks).status == "nothing"
        assert contents(company, *EFFECT) == before
    assert_sound(company)


def test_moves_change_bands_owners_and_histories_together(company: Engine) -> None:
    with company.begin() as connection:
        for account_id, arr in (("B1", 50), ("A1", 150), ("C2", 400), ("B2", 2000)):
            connection.execute(update(accounts).where(accounts.c.account_id == account_id).values(arr=arr))
        connection.execute(update(accounts).where(accounts.c.account_id == "C1").values(status="churned"))
        connection.execute(delete(accounts).where(accounts.c.account_id == "A2"))
    result = run(company, policy(RESTLESS), weeks=1)
    assert result.status == "applied"
    assert where(company) == {
        "A1": ("low", "bob"),
        "A9": ("tech", None),
        "B1": ("tech", None),
        "B2": ("high", "cat"),
        "B3": ("low", "ann"),
        "B4": ("low", "bob"),
        "C2": ("low", "ann"),
    }
    with company.connect() as connection:
        told = {
            row.account_id: (row.move, row.rule, row.from_band, row.to_band, row.from_owner_id, row.to_owner_id)
            for row in connection.execute(select(band_history).where(band_history.c.changed_at == AS_OF + WEEK))
        }
        assert told["B1"] == ("demote", "shrunk", "low", "tech", "ann", None)
        assert told["C1"] == ("leave", "left", "high", None, "bob", None)
        assert told["A2"] == ("leave", "left", "tech", None, None, None)
        assert told["B2"][:5] == ("graduate", "grown", "low", "high", "ann")
        whys = dict(
            connection.execute(
                select(owner_history.c.account_id, owner_history.c.why).where(owner_history.c.run_id == result.run_id)
            ).all()
        )  # fmt: skip
        assert (whys["B1"], whys["C1"], whys["B3"]) == ("band_change", "left", "waitlist")
        held = connection.execute(
            select(coverage.c.held_by, coverage.c.held_from).where(coverage.c.account_id == "B1")
        ).one()
        assert tuple(held) == ("shrunk", "low")
    assert_sound(company)


def test_an_account_that_is_pending_counts_and_moves_nothing(company: Engine) -> None:
    with company.begin() as connection:
        for day in range(3):
            add_signal(connection, "A1", "ticket", AS_OF + WEEK - timedelta(days=day))
    before = contents(company, band_history, owner_history, outbox)
    for weeks in (1, 2):
        result = run(company, policy(), weeks)
        assert (result.status, [one.weeks for one in result.plan.of("pending")]) == ("nothing", [weeks])
    assert contents(company, band_history, owner_history, outbox) == before
    assert run(company, policy(), weeks=3).status == "applied"
    assert where(company)["A1"][0] == "low"
    assert_sound(company)


def test_a_review_that_stays_as_it_is_writes_no_row(company: Engine) -> None:
    with company.begin() as connection:
        connection.execute(update(accounts).where(accounts.c.account_id == "C1").values(arr=500))
        add_signal(connection, "C1", "health", AS_OF + WEEK, 10)
    run(company, policy(), weeks=1)
    with company.connect() as connection:
        versions = select(coverage.c.account_id, text("xmin::text")).order_by(coverage.c.account_id)
        before = connection.execute(versions).all()
    result = run(company, policy(), weeks=2)
    assert [(one.account_id, one.rule) for one in result.plan.of("review")] == [("C1", "shrunk")]
    with company.connect() as connection:
        assert connection.execute(versions).all() == before


def test_an_intervention_lifts_and_returns_with_its_state(company: Engine) -> None:
    with company.begin() as connection:
        connection.execute(update(accounts).where(accounts.c.account_id == "B1").values(adoption=Decimal("0.1")))
    run(company, policy(), weeks=1)
    with company.connect() as connection:
        lifted = connection.execute(select(coverage).where(coverage.c.account_id == "B1")).one()
    assert (lifted.band, lifted.intervention, lifted.intervention_from) == ("high", "stuck", "low")
    assert lifted.intervention_until == AS_OF + 5 * WEEK
    assert lifted.has_risen is True
    run(company, policy(), weeks=5)
    with company.connect() as connection:
        returned = connection.execute(select(coverage).where(coverage.c.account_id == "B1")).one()
    assert (returned.band, returned.intervention, returned.intervention_until) == ("low", None, None)
    assert returned.spent_intervention == "stuck"
    assert returned.fell_with is not None
    assert_sound(company)


# ---- Owners through the database -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["inactive", "vanished"])
def test_the_book_of_a_csm_who_leaves_is_handed_over_in_the_run(company: Engine, how: str) -> None:
    with company.begin() as connection:
        add_csm(connection, "dan", "low", max_accounts=1)
        gone = csms.c.csm_id == "ann"
        connection.execute(
            update(csms).where(gone).values(active=False) if how == "inactive" else delete(csms).where(gone)
        )
    result = run(company, policy(), weeks=1)
    assert result.status == "applied"
    after = where(company)
    assert (after["B1"], after["B2"], after["B3"]) == (("low", "dan"), ("low", None), ("low", None))
    assert all(owner != "ann" for _, owner in after.values())
    with company.connect() as connection:
        whys = connection.execute(
            select(owner_history.c.account_id, owner_history.c.why)
            .where(owner_history.c.run_id == result.run_id)
            .order_by(owner_history.c.account_id)
        ).all()  # fmt: skip
    assert whys == [("B1", "departure"), ("B2", "departure")]
    assert_sound(company)


def test_a_pin_of_an_owner_moves_the_account_and_a_pin_to_nobody_is_told(company: Engine) -> None:
    with company.begin() as connection:
        add_pin(connection, "B1", owner_id="cat")
        add_pin(connection, "B2", owner_id="nobody")
        add_pin(connection, "C1", owner_id="ann", expires_at=AS_OF + WEEK)
        add_pin(connection, "A1", band="high", owner_id="cat")
    result = run(company, policy(), weeks=1)
    after = where(company)
    assert (after["B1"], after["B2"], after["C1"]) == (("low", "cat"), ("low", "ann"), ("high", "bob"))
    assert after["A1"] == ("high", "cat")
    assert result.plan.notes == ("the pin of B2 to nobody counts for nothing: there is no such CSM",)
    assert_sound(company)
    assert run(company, policy(), weeks=2).status == "nothing"


def test_accounts_in_a_state_no_run_leaves_are_put_right(company: Engine) -> None:
    with company.begin() as connection:
        connection.execute(update(coverage).where(coverage.c.account_id == "A1").values(owner_id="ann"))
        connection.execute(update(coverage).where(coverage.c.account_id == "A2").values(waiting_since=AS_OF))
        connection.execute(
            update(coverage).where(coverage.c.account_id == "B1").values(owner_id=None, owner_since=None)
        )
        connection.execute(update(coverage).where(coverage.c.account_id == "B3").values(waiting_since=None))
    result = run(company, policy(), weeks=1)
    after = where(company)
    assert (after["A1"], after["B1"], after["B3"]) == (("tech", None), ("low", "ann"), ("low", None))
    with company.connect() as connection:
        waiting = select(coverage.c.account_id, coverage.c.waiting_since).where(coverage.c.waiting_since.is_not(None))
        assert connection.execute(waiting).all() == [("B3", AS_OF + WEEK)]
    assert [one.account_id for one in result.plan.waitlist] == ["B3"]


def test_a_band_that_becomes_the_pools_gives_up_its_owners_and_its_waitlist(company: Engine) -> None:
    pooled = policy(**{'name = "low"\nowner = "named"': 'name = "low"\nowner = "pool"'})
    result = run(company, pooled, weeks=1)
    assert {owner for band, owner in where(company).values() if band == "low"} == {None}
    assert result.plan.waitlist == ()
    assert_sound(company)


def test_books_add_up_from_run_to_run(company: Engine) -> None:
    with company.begin() as connection:
        for account_id, arr in (("B1", 50), ("A1", 150), ("C2", 400), ("B2", 2000)):
            connection.execute(update(accounts).where(accounts.c.account_id == account_id).values(arr=arr))
        connection.execute(update(accounts).where(accounts.c.account_id == "C1").values(status="churned"))
    earlier = run(company, policy(), weeks=1).plan.books
    later = run(company, policy(), weeks=2, dry_run=True).plan.books
    after = {book.csm_id: (book.accounts_after, book.value_after) for book in earlier}
    before = {book.csm_id: (book.accounts_before, book.value_before) for book in later}
    # What an account gained or lost in value since the last run is in the book before the run already.
    assert after == before


# ---- Messages --------------------------------------------------------------------------------------------------------


def test_each_csm_gets_one_digest_and_cs_ops_one_summary(company: Engine) -> None:
    with company.begin() as connection:
        connection.execute(update(accounts).where(accounts.c.account_id == "B1").values(arr=50))
    result = run(company, policy(), weeks=1)
    with company.connect() as connection:
        told = connection.execute(select(outbox).where(outbox.c.run_id == result.run_id).order_by(outbox.c.topic)).all()
    digest, summary = told
    assert (digest.topic, digest.recipient, summary.topic, summary.recipient) == (
        "csm.digest",
        "ann",
        "run.summary",
        None,
    )
    assert digest.payload["departures"] == [
        {
            "account_id": "B1",
            "name": None,
            "from_band": "low",
            "to_band": "tech",
            "value": 50,
            "renewal_on": None,
            "champion": None,
            "last_engaged_at": None,
            "reason": "Demoted from low to tech: its value of $50 is under $100.",
            "why": "band_change",
            "owner_reason": "the pool serves tech",
            "to_owner_id": None,
            "to_owner_name": None,
        }
    ]
    assert [one["account_id"] for one in digest.payload["arrivals"]] == ["B3"]
    assert summary.payload["counts"]["moves"] == 1
    assert summary.payload["flows"] == [{"from": "low", "to": "tech", "accounts": 1, "value": 50.0}]
    assert digest.message_id != summary.message_id
    assert all(one.message_id.startswith("msg_") and "." not in one.message_id for one in told)


def test_a_digest_has_the_same_id_in_sql_and_in_python(company: Engine) -> None:
    with company.connect() as connection:
        for row in connection.execute(select(outbox)):
            assert row.message_id == message_id(row.run_id, row.topic, row.recipient)


# ---- Dry runs --------------------------------------------------------------------------------------------------------


def test_a_dry_run_is_the_same_plan_and_writes_nothing(company: Engine) -> None:
    with company.begin() as connection:
        connection.execute(update(accounts).where(accounts.c.account_id == "B1").values(arr=50))
    before = contents(company)
    dry = run(company, policy(), weeks=1, dry_run=True)
    assert (dry.status, dry.run_id) == ("planned", None)
    assert contents(company) == before
    wet = run(company, policy(), weeks=1)
    assert wet.plan.sha256 == dry.plan.sha256
    assert run(company, policy(), weeks=1, dry_run=True).status == "nothing"


def test_a_dry_run_is_made_in_a_read_only_snapshot(company: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = planning.make_plan

    def watched(connection: Any, *rest: Any) -> Any:
        seen.append(
            connection.execute(
                text("SELECT current_setting('transaction_read_only'), current_setting('transaction_isolation')")
            ).one()
        )
        return real(connection, *rest)

    monkeypatch.setattr(pipeline, "make_plan", watched)
    run(company, policy(), weeks=1, dry_run=True)
    run(company, policy(), weeks=1)
    assert [tuple(one) for one in seen] == [("on", "repeatable read"), ("off", "read committed")]


def test_a_dry_run_may_be_of_any_instant(company: Engine) -> None:
    for as_of in (AS_OF - 100 * WEEK, datetime.now(UTC) + 10 * WEEK):
        assert recompute(company, policy(), as_of, dry_run=True).status in ("planned", "nothing")


# ---- What is refused -------------------------------------------------------------------------------------------------


def test_a_run_is_not_applied_in_the_future_or_before_the_last_one(company: Engine) -> None:
    before = contents(company)
    with pytest.raises(Mistake, match="before the last applied run, of 2026-03-02T06:00:00"):
        recompute(company, policy(), AS_OF - timedelta(seconds=1), dry_run=False)
    with pytest.raises(Mistake, match="in the future"):
        recompute(company, policy(), datetime.now(UTC) + timedelta(hours=1), dry_run=False)
    assert contents(company) == before


def test_a_slot_has_one_run_that_takes_effect(company: Engine) -> None:
    slot = date(2026, 3, 9)
    first = run(company, policy(), weeks=1, kind="scheduled", slot=slot)
    assert first.status == "nothing"
    before = contents(company)
    with pytest.raises(runs.SlotDone, match=str(first.run_id)):
        run(company, policy(), weeks=1, kind="scheduled", slot=slot)
    assert contents(company) == before


def test_the_index_decides_about_a_slot_when_the_lock_did_not(company: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    slot = date(2026, 3, 9)
    run(company, policy(), weeks=1, kind="scheduled", slot=slot)
    before = contents(company)
    monkeypatch.setattr(runs, "refuse_slot", lambda connection, slot: None)
    with pytest.raises(runs.SlotDone):
        run(company, policy(), weeks=1, kind="scheduled", slot=slot)
    assert contents(company) == before


# ---- Two at once -----------------------------------------------------------------------------------------------------


def test_a_second_run_meanwhile_is_busy_and_writes_nothing(company: Engine) -> None:
    with company.begin() as holder:
        runs.take_lock(holder)
        with capture_logs() as logs, pytest.raises(Busy):
            run(company, policy(), weeks=1)
        assert [one["event"] for one in logs] == ["run.busy"]
    assert count(company, ledger) == 1
    assert run(company, policy(), weeks=1).status == "nothing"


def test_of_racing_runs_one_works_and_the_others_are_busy_or_find_nothing(company: Engine) -> None:
    with company.begin() as connection:
        connection.execute(update(accounts).where(accounts.c.account_id == "B1").values(arr=50))
    statuses: list[str] = []
    gate = threading.Barrier(4)

    def race() -> None:
        gate.wait()
        try:
            statuses.append(run(company, policy(), weeks=1).status)
        except Busy:
            statuses.append("busy")

    racers = [threading.Thread(target=race) for _ in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert statuses.count("applied") == 1
    assert set(statuses) <= {"applied", "busy", "nothing"}
    assert count(company, ledger) == 1 + len(statuses) - statuses.count("busy")
    assert_sound(company)


# ---- The report of a run ---------------------------------------------------------------------------------------------


def test_a_run_is_reported_while_the_database_works(company: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with company.begin() as connection:
        connection.execute(update(accounts).where(accounts.c.account_id == "B1").values(arr=50))
    reported: list[pipeline.RunResult] = []
    while_applying = threading.Event()

    def waiting_apply(*arguments: Any) -> None:
        assert while_applying.wait(20)
        apply_module.apply(*arguments)

    def report(result: pipeline.RunResult) -> None:
        reported.append(result)
        while_applying.set()

    monkeypatch.setattr(pipeline, "apply", waiting_apply)
    made = run(company, policy(), weeks=1, meanwhile=report)
    assert reported == [made]
    assert (made.status, made.plan.changes) == ("applied", True)
    run(company, policy(), weeks=2, dry_run=True, meanwhile=report)
    with company.begin() as connection:
        connection.execute(update(accounts).where(accounts.c.account_id == "B2").values(arr=50))
    assert run(company, policy(GUARDED.format(at_least=0)), weeks=2, meanwhile=report).status == "blocked"
    assert reported == [made]


def test_a_run_whose_report_cannot_be_written_changes_nothing(company: Engine) -> None:
    with company.begin() as connection:
        connection.execute(update(accounts).where(accounts.c.account_id == "B1").values(arr=50))
    before = contents(company, *EFFECT)

    def report(_: pipeline.RunResult) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run(company, policy(), weeks=1, meanwhile=report)
    assert contents(company, *EFFECT) == before
    with company.connect() as connection:
        statuses = connection.execute(select(ledger.c.status).order_by(ledger.c.run_id)).scalars().all()
    assert statuses == ["applied", "failed"]
    assert_sound(company)


# ---- Stopped by a guard ----------------------------------------------------------------------------------------------


def test_a_blocked_run_moves_nothing_and_is_in_the_ledger(company: Engine) -> None:
    guarded = policy(GUARDED.format(at_least=0))
    with company.begin() as connection:
        connection.execute(update(accounts).where(accounts.c.account_id == "B1").values(arr=50))
    before, told = contents(company, coverage, band_history, owner_history), count(company, outbox)
    assert run(company, guarded, weeks=1, dry_run=True).status == "blocked"
    assert count(company, outbox) == told
    with capture_logs() as logs:
        result = run(company, guarded, weeks=1, kind="scheduled", slot=date(2026, 3, 9))
    assert (result.status, [one.guard for one in result.plan.tripped]) == ("blocked", ["moved_accounts"])
    assert [(one["event"], one["guards"]) for one in logs] == [("run.blocked", ["moved_accounts"])]
    assert contents(company, coverage, band_history, owner_history) == before
    with company.connect() as connection:
        row = connection.execute(select(ledger).where(ledger.c.run_id == result.run_id)).one()
    assert (row.status, row.plan_sha, row.policy_sha) == ("blocked", result.plan.sha256, guarded.sha256)
    assert row.error == "1 account of 9 with a band would move, 0.1 over the limit of 0.9 (10%)."
    assert row.counts["moves"] == 1
    assert (row.guards[0]["guard"], row.guards[0]["tripped"], row.guards[0]["limit"]) == ("moved_accounts", True, 0.9)
    assert_sound(company)
    assert run(company, policy(GUARDED.format(at_least=1)), weeks=1, slot=date(2026, 3, 9)).status == "applied"


def test_the_input_is_compared_with_the_last_run_that_took_effect(company: Engine) -> None:
    guarded = policy(GUARDED.format(at_least=9))
    assert run(company, guarded, weeks=1).status == "nothing"
    with company.begin() as connection:
        connection.execute(update(accounts).where(accounts.c.account_id == "A1").values(status="churned"))
        connection.execute(update(accounts).where(accounts.c.account_id.in_(["B1", "B2"])).values(arr=None))
    for _ in range(2):  # a blocked run is nothing to compare with
        result = run(company, guarded, weeks=2)
        assert [one.guard for one in result.plan.tripped] == ["shrunken_input", "missing_facts"]


def test_a_feed_that_stopped_stops_the_run(company: Engine) -> None:
    guarded = policy(GUARDED.format(at_least=9))
    with company.begin() as connection:
        for week in range(9):
            add_signal(connection, f"X{week}", "health", AS_OF - week * WEEK, 80)
    assert run(company, guarded, weeks=1).status == "nothing"
    result = run(company, guarded, weeks=2)
    assert [one.guard for one in result.plan.tripped] == ["stale_feeds"]
    with company.begin() as connection:
        add_signal(connection, "X", "health", AS_OF + WEEK, 80)
    assert run(company, guarded, weeks=2).status == "nothing"


# ---- Stale plans -----------------------------------------------------------------------------------------------------


def _changed_under_the_plan(monkeypatch: pytest.MonkeyPatch, engine: Engine, *statements: Any) -> None:
    """After the plan is made, and before it is applied, somebody else commits these statements."""
    real = planning.make_plan

    def then_changed(*arguments: Any) -> Any:
        plan = real(*arguments)
        with engine.begin() as other:
            for statement in statements:
                other.execute(statement)
        return plan

    monkeypatch.setattr(pipeline, "make_plan", then_changed)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(
            update(coverage).where(coverage.c.account_id == "B1").values(band="high"), id="the band of one that moves"
        ),
        pytest.param(update(coverage).where(coverage.c.account_id == "B1").values(owner_id="bob"), id="its owner"),
        pytest.param(delete(coverage).where(coverage.c.account_id == "B1"), id="its row"),
        pytest.param(update(coverage).where(coverage.c.account_id == "B3").values(owner_id="cat"), id="one that waits"),
        pytest.param(
            update(coverage).where(coverage.c.account_id == "B3").values(band="tech"), id="the band of one that waits"
        ),
        pytest.param(update(coverage).where(coverage.c.account_id == "A2").values(band="low"), id="one that leaves"),
        pytest.param(
            update(coverage).where(coverage.c.account_id == "A1").values(band="low"), id="one that is pending"
        ),
        pytest.param(
            insert(coverage).values(account_id="N1", band="tech", band_since=AS_OF, band_rule="import"),
            id="one that enters",
        ),
    ],
)
def test_what_changes_under_a_plan_makes_it_stale(
    company: Engine, monkeypatch: pytest.MonkeyPatch, changed: Any
) -> None:
    with company.begin() as connection:
        connection.execute(update(accounts).where(accounts.c.account_id == "B1").values(arr=50))
        connection.execute(delete(accounts).where(accounts.c.account_id == "A2"))
        add_account(connection, "N1", 20)
        for day in range(3):
            add_signal(connection, "A1", "ticket", AS_OF + WEEK - timedelta(days=day))
    _changed_under_the_plan(monkeypatch, company, changed)
    before = contents(company, band_history, owner_history, outbox)
    with capture_logs() as logs, pytest.raises(StalePlan, match="plan again"):
        run(company, policy(), weeks=1)
    assert [one["event"] for one in logs] == ["run.failed"]
    assert contents(company, band_history, owner_history, outbox) == before
    with company.connect() as connection:
        row = connection.execute(select(ledger).where(ledger.c.status == "failed")).one()
    assert "plan again" in row.error


def test_what_changes_beside_a_plan_does_not_matter(company: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with company.begin() as connection:
        connection.execute(update(accounts).where(accounts.c.account_id == "B1").values(arr=50))
    _changed_under_the_plan(
        monkeypatch, company, update(coverage).where(coverage.c.account_id == "A9").values(band_rule="import")
    )
    assert run(company, policy(), weeks=1).status == "applied"


# ---- Dying half-way --------------------------------------------------------------------------------------------------


KILLED = "AdminShutdown (57P01): terminating connection due to administrator command"


@contextmanager
def killed_at(engine: Engine, step: int) -> Iterator[Callable[[], int]]:
    """The run's backend is terminated just before its `step`th statement; yields how many statements there were."""
    seen = 0
    dsn = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)

    def strike(connection: Any, cursor: Any, *rest: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == step:
            with psycopg.connect(dsn, autocommit=True) as killer:
                killer.execute("SELECT pg_terminate_backend(%s, 5000)", [cursor.connection.info.backend_pid])

    event.listen(engine, "before_cursor_execute", strike)
    try:
        yield lambda: seen
    finally:
        event.remove(engine, "before_cursor_execute", strike)


def test_a_run_that_is_killed_at_any_statement_leaves_nothing_but_its_row(company: Engine) -> None:
    with company.begin() as connection:
        for account_id, arr in (("B1", 50), ("A1", 150), ("C2", 400), ("B2", 2000)):
            connection.execute(update(accounts).where(accounts.c.account_id == account_id).values(arr=arr))
        connection.execute(delete(accounts).where(accounts.c.account_id == "A2"))
    before = contents(company, *EFFECT)
    failed = step = 0
    while True:
        step += 1
        with killed_at(company, step) as statements:
            try:
                result = run(company, policy(), weeks=1)
            except DBAPIError:
                assert contents(company, *EFFECT) == before, step
                with company.connect() as connection:
                    failures = connection.execute(select(func.count()).where(ledger.c.status == "failed")).scalar_one()
                assert failures - failed in (0, 1)  # a run that dies before it holds the lock is no run
                assert failures - failed == 1 or failed == 0
                failed = failures
                continue
        assert step > statements()
        break
    assert result.status == "applied"
    assert failed > 12
    assert_sound(company)
    with company.connect() as connection:
        errors = (
            connection.execute(select(ledger.c.error).where(ledger.c.status == "failed").distinct()).scalars().all()
        )
    assert errors == [KILLED]


@pytest.mark.parametrize("module", ["decide", "copy", "commit"])
def test_a_run_that_is_killed_between_statements_leaves_nothing_but_its_row(
    company: Engine, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    with company.begin() as connection:
        connection.execute(update(accounts).where(accounts.c.account_id == "B1").values(arr=50))
    before = contents(company, *EFFECT)
    _strike_in(monkeypatch, company, module)
    with pytest.raises(DBAPIError) as caught:
        run(company, policy(), weeks=1)
    assert caught.value.connection_invalidated
    assert contents(company, *EFFECT) == before
    with company.connect() as connection:
        error = connection.execute(select(ledger.c.error).where(ledger.c.status == "failed")).scalar_one()
    assert error in (KILLED, "OperationalError: the connection to the database was lost or refused")
    monkeypatch.undo()
    assert run(company, policy(), weeks=1).status == "applied"
    assert_sound(company)


def _strike_in(monkeypatch: pytest.MonkeyPatch, engine: Engine, module: str) -> None:
    """The run's backend is terminated while its decisions stream, while the plan is copied, or before its commit."""

    def strike(connection: Any) -> None:
        with engine.connect() as other:
            other.execute(
                select(func.pg_terminate_backend(connection.connection.driver_connection.info.backend_pid, 5000))
            )

    if module == "decide":
        real_sharing_out = readers.sharing_out

        def dying_sharing_out(connections: Any) -> Any:
            strike(connections[0])
            return real_sharing_out(connections)

        monkeypatch.setattr(planning, "sharing_out", dying_sharing_out)
    elif module == "copy":
        real_rows = apply_module.planned_rows
        connections: list[Any] = []
        real_copy = apply_module._copy

        def watched_copy(connection: Any, rows_: Any) -> None:
            connections.append(connection)
            real_copy(connection, rows_)

        def dying_rows(*arguments: Any) -> Iterator[Any]:
            yield from real_rows(*arguments)
            strike(connections[0])

        monkeypatch.setattr(apply_module, "_copy", watched_copy)
        monkeypatch.setattr(apply_module, "planned_rows", dying_rows)
    else:
        real_close = runs.close_run

        def dying_close(connection: Any, *rest: Any, **options: Any) -> None:
            real_close(connection, *rest, **options)
            strike(connection)

        monkeypatch.setattr(runs, "close_run", dying_close)


def test_a_run_whose_second_reader_is_killed_leaves_nothing_but_its_row(
    company: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with company.begin() as connection:
        connection.execute(update(accounts).where(accounts.c.account_id == "B1").values(arr=50))
    before = contents(company, *EFFECT)
    real_sharing_out = readers.sharing_out

    def dying_sharing_out(connections: Any) -> Any:
        first, second = connections
        assert first.execute(select(func.pg_terminate_backend(_backend(second), 5000))).scalar_one()
        return real_sharing_out(connections[::-1])  # so that it is sure to be given a task

    monkeypatch.setattr(planning, "sharing_out", dying_sharing_out)
    with pytest.raises(DBAPIError):
        run(company, policy(), weeks=1)
    assert contents(company, *EFFECT) == before
    with company.connect() as connection:
        assert (
            connection.execute(select(ledger.c.status).order_by(ledger.c.run_id.desc()).limit(1)).scalar() == "failed"
        )
    monkeypatch.undo()
    assert run(company, policy(), weeks=1).status == "applied"
    assert_sound(company)


def _backend(connection: Any) -> int:
    return int(connection.connection.driver_connection.info.backend_pid)


def test_a_commit_whose_answer_is_lost_is_looked_up(company: Engine) -> None:
    with company.begin() as connection:
        connection.execute(update(accounts).where(accounts.c.account_id == "B1").values(arr=50))
    lost: list[bool] = []

    def lose_the_answer(connection: Any) -> None:
        if not lost:
            lost.append(True)
            connection.connection.driver_connection.commit()
            raise OperationalError("COMMIT", {}, psycopg.OperationalError("server closed the connection unexpectedly"))

    event.listen(company, "commit", lose_the_answer)
    try:
        result = run(company, policy(), weeks=1)
    finally:
        event.remove(company, "commit", lose_the_answer)
    assert (lost, result.status) == ([True], "applied")
    assert where(company)["B1"] == ("tech", None)
    assert_sound(company)


def test_a_bug_is_recorded_without_what_it_was_about(company: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("Acme Ltd pays 5000")

    monkeypatch.setattr(planning, "roster_of", broken)
    with capture_logs() as logs, pytest.raises(ValueError, match="Acme"):
        run(company, policy(), weeks=1)
    with company.connect() as connection:
        row = connection.execute(select(ledger).where(ledger.c.status == "failed")).one()
    assert row.error.startswith("ValueError in broken, line ")
    assert row.duration_ms >= 0
    assert "Acme" not in str(logs)


# ---- The ledger ------------------------------------------------------------------------------------------------------


def test_the_ledger_has_every_run_with_its_policy_and_counts(company: Engine) -> None:
    result = run(company, policy(), weeks=1)
    with company.connect() as connection:
        row = connection.execute(select(ledger).where(ledger.c.run_id == result.run_id)).one()
        kept = connection.execute(
            select(policies.c.body, policies.c.name).where(policies.c.policy_sha == row.policy_sha)
        ).one()
    assert tuple(kept) == (policy().body, "small")
    assert (row.kind, row.slot, row.as_of, row.status) == ("manual", None, AS_OF + WEEK, "nothing")
    assert row.started_at <= row.finished_at
    assert row.duration_ms >= 0
    assert (row.plan_sha, row.error) == (result.plan.sha256, None)
    assert (row.counts["accounts"], row.counts["moves"], row.counts["waitlist"]) == (9, 0, 1)
    assert row.counts["missing"] == dict(result.plan.census.missing)
    assert len(row.guards) == len(result.plan.verdicts)


def test_every_event_of_a_run_carries_its_id(company: Engine) -> None:
    structlog.contextvars.clear_contextvars()
    events: list[dict[str, Any]] = []

    def keep(logger: Any, method: str, event_dict: Any) -> Any:
        events.append(dict(structlog.contextvars.merge_contextvars(logger, method, event_dict)))
        raise structlog.DropEvent

    before = structlog.get_config()["processors"]
    structlog.configure(processors=[keep])
    try:
        result = run(company, policy(), weeks=1)
    finally:
        structlog.configure(processors=before)
    assert [(one["event"], one["run_id"]) for one in events] == [("run.applied", str(result.run_id))]
    assert structlog.contextvars.get_contextvars() == {}
