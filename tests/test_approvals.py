"""Carrying out what was approved: what is made of it, what is left, and that nothing else happens."""

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine, delete, func, insert, select, text, update

from app.errors import StalePlan
from app.pipeline import rebalance, recompute
from app.runs import SlotDone
from app.tables import account_signals, accounts, band_history, coverage, csms, kept_moves, outbox, pins, policies, runs
from tests.small_company import (
    AS_OF,
    NO_GUARDS,
    RESTLESS,
    WEEK,
    add_account,
    add_csm,
    add_pin,
    add_signal,
    assert_sound,
    count,
    policy,
    where,
)
from tests.stopped_company import (
    MONDAY,
    SLOT,
    STRICT,
    TUESDAY,
    answer_of,
    company,
    handed_by,
    kept,
    ledger,
    left,
    made_by,
    nothing_changes,
    say_yes,
    set_account,
    set_coverage,
    set_csm,
    stop,
    stopped,
    stopped_template,
    strict,
    told,
)

__all__ = ["company", "stopped", "stopped_template"]

ALL_FOUR = {"A1": ("tech", "low"), "B1": ("low", "tech"), "B4": ("low", "high"), "C1": ("high", None)}


def test_a_run_that_a_guard_stops_keeps_its_plan(company: Engine, stopped: UUID) -> None:
    with company.connect() as connection:
        found = connection.execute(select(kept_moves).order_by(kept_moves.c.account_id)).all()
    planned = [
        (one.account_id, one.move, one.from_band, one.to_band, one.from_owner_id, one.to_owner_id) for one in found
    ]
    assert planned == [
        ("A1", "graduate", "tech", "low", None, "bob"),
        ("B1", "demote", "low", "tech", "ann", None),
        ("B4", "graduate", "low", "high", "bob", "bob"),
        ("C1", "leave", "high", None, "bob", None),
    ]
    assert {one.run_id for one in found} == {stopped}
    assert [one.why for one in found] == ["band_change", "band_change", None, "left"]
    assert found[1].reason == "Demoted from low to tech: its value of $50 is under $100."
    row = ledger(company, stopped)
    assert (row.status, row.answer, row.lapses_at - row.finished_at) == ("blocked", None, timedelta(hours=120))
    assert told(company, stopped) == [("run.blocked", None)]


def test_an_approval_makes_what_was_approved_in_a_run_of_its_own(company: Engine, stopped: UUID) -> None:
    result = say_yes(company, stopped)
    assert (result.status, result.kept, result.made, result.left) == ("applied", 4, 4, ())
    assert made_by(company, result.run_id) == ALL_FOUR
    assert handed_by(company, result.run_id) == {
        "A1": (None, "bob", "band_change"),
        "B1": ("ann", None, "band_change"),
        "C1": ("bob", None, "left"),
    }
    row = ledger(company, result.run_id)
    assert (row.kind, row.status, row.approves, row.slot) == ("approval", "applied", stopped, SLOT)
    assert (row.as_of, row.counts["moves"], row.plan_sha) == (TUESDAY, 4, result.plan.sha256)
    assert answer_of(company, stopped) == ("approved", "lee")
    assert ledger(company, stopped).answered_at == TUESDAY
    assert told(company, result.run_id) == [("csm.digest", "ann"), ("csm.digest", "bob"), ("run.summary", None)]
    assert_sound(company)
    with pytest.raises(SlotDone):
        recompute(company, strict(), TUESDAY, dry_run=False, kind="scheduled", slot=SLOT)
    assert recompute(company, strict(), MONDAY + WEEK, dry_run=False).status == "nothing"


def test_a_dry_run_of_an_approval_writes_nothing(company: Engine, stopped: UUID) -> None:
    with nothing_changes(company, *contents_of_all()):
        result = say_yes(company, stopped, dry_run=True)
    assert (result.status, result.run_id, result.made) == ("planned", None, 4)
    assert say_yes(company, stopped).plan == result.plan


def contents_of_all() -> tuple[object, ...]:
    return (coverage, runs, policies, outbox, kept_moves)


# ---- The night between ----------------------------------------------------------------------------------------------


def test_a_sync_that_rewrites_every_account_leaves_the_approval_as_useful_as_it_was(
    company: Engine, stopped: UUID
) -> None:
    with company.begin() as connection:
        connection.execute(update(accounts).values(arr=accounts.c.arr * Decimal("1.003") + 1, synced_at=TUESDAY))
        for account_id in ("A2", "B2", "B1", "C2"):
            connection.execute(
                update(accounts).where(accounts.c.account_id == account_id).values(last_engaged_at=TUESDAY)
            )
            add_signal(connection, account_id, "login", TUESDAY - timedelta(hours=3))
    result = say_yes(company, stopped)
    assert (result.status, result.left, result.unapproved_moves) == ("applied", (), ())
    assert made_by(company, result.run_id) == ALL_FOUR
    with company.connect() as connection:
        value = select(band_history.c.value).where(
            band_history.c.run_id == result.run_id, band_history.c.account_id == "B4"
        )
        assert connection.execute(value).scalar_one() == Decimal("2007.00")
    assert_sound(company)


def test_an_account_that_was_synced_away_and_back_is_still_moved(company: Engine, stopped: UUID) -> None:
    with company.begin() as connection:
        rows = connection.execute(select(accounts)).mappings().all()
        connection.execute(delete(accounts))
        connection.execute(insert(accounts), [dict(row) for row in rows])
    assert made_by(company, say_yes(company, stopped).run_id) == ALL_FOUR


@pytest.mark.parametrize(
    ("account_id", "fields", "why"),
    [
        ("B1", {"arr": 500}, "nothing asks for it any more"),
        ("A1", {"arr": 20}, "nothing asks for it any more"),
        ("A1", {"arr": 2500}, "grown would take it to high now"),
        ("B4", {"arr": 60}, "shrunk would take it to tech now"),
        ("B4", {"status": "churned"}, "it is no longer an active customer"),
        ("C1", {"status": "active"}, "nothing asks for it any more"),
        ("B1", {"arr": 500, "adoption": Decimal("0.1")}, "stuck would take it to high now"),
    ],
)
def test_an_account_whose_facts_have_changed_is_left_to_the_next_run(
    company: Engine, stopped: UUID, account_id: str, fields: dict[str, object], why: str
) -> None:
    set_account(company, account_id, **fields)
    stands = where(company)[account_id]
    result = say_yes(company, stopped)
    assert left(result) == {account_id: why}
    assert (result.status, result.made) == ("applied", 3)
    assert where(company)[account_id] == stands
    assert made_by(company, result.run_id) == {one: bands for one, bands in ALL_FOUR.items() if one != account_id}
    assert result.unapproved_moves == ()
    assert "of 4 approved changes, 1 cannot be made as approved any more" in result.plan.notes
    assert_sound(company)


def test_an_account_that_is_protected_now_is_left(company: Engine, stopped: UUID) -> None:
    with company.begin() as connection:
        add_signal(connection, "B1", "health", TUESDAY - timedelta(hours=1), 10)
    result = say_yes(company, stopped)
    assert left(result) == {"B1": "it is protected now, and for a person to decide"}
    assert [one.account_id for one in result.plan.of("review")] == ["B1"]
    assert_sound(company)


def test_an_account_that_another_run_has_moved_meanwhile_is_left(company: Engine, stopped: UUID) -> None:
    # A rebalance hands C3 over, and an import puts B1 where it goes anyway.
    with company.begin() as connection:
        connection.execute(update(csms).where(csms.c.csm_id == "cat").values(max_accounts=9))
        connection.execute(update(coverage).values(owner_since=AS_OF - 30 * WEEK))
    evened = rebalance(company, policy(RESTLESS), MONDAY + timedelta(hours=1), max_moves=1, dry_run=False)
    assert evened.status == "applied"
    changed = evened.plan.owner_changes[0].account_id
    result = say_yes(company, stopped)
    assert changed not in made_by(company, result.run_id)
    assert set(left(result)) <= {changed}
    assert_sound(company)


@pytest.mark.parametrize(
    ("account_id", "fields", "why"),
    [
        ("A1", {"band": "low", "owner_id": "ann"}, "it is in low now"),
        ("B4", {"owner_id": "ann"}, "ann owns it now"),
        ("B1", {"owner_id": None}, "nobody owns it now"),
    ],
)
def test_an_account_with_another_band_or_owner_is_left(
    company: Engine, stopped: UUID, account_id: str, fields: dict[str, object], why: str
) -> None:
    set_coverage(company, account_id, **fields)
    with company.connect() as connection:
        before = connection.execute(select(coverage).where(coverage.c.account_id == account_id)).one()
    result = say_yes(company, stopped)
    assert left(result) == {account_id: why}
    assert result.made == 3
    with company.connect() as connection:
        after = connection.execute(select(coverage).where(coverage.c.account_id == account_id)).one()
    assert (after.band, after.owner_id) == (before.band, before.owner_id)


def test_an_account_without_coverage_any_more_is_left(company: Engine, stopped: UUID) -> None:
    with company.begin() as connection:
        connection.execute(delete(coverage).where(coverage.c.account_id == "B1"))
    assert left(say_yes(company, stopped)) == {"B1": "it is in no band now"}


def test_no_move_is_made_that_nobody_approved(company: Engine, stopped: UUID) -> None:
    set_account(company, "B2", arr=40)  # would go down
    set_account(company, "C2", status="churned")  # would leave
    with company.begin() as connection:
        add_account(connection, "D1", 700)  # would enter
    result = say_yes(company, stopped)
    assert made_by(company, result.run_id) == ALL_FOUR
    assert [one.account_id for one in result.unapproved_moves] == ["B2", "C2", "D1"]
    assert "3 accounts would change too; nobody approved that, so it is left to the next run" in result.plan.notes
    assert (where(company)["B2"], where(company)["C2"]) == (("low", "ann"), ("high", "cat"))
    assert "D1" not in where(company)
    assert_sound(company)
    assert made_by(company, stop_is_off(company)) == {"B2": ("low", "tech"), "C2": ("high", None), "D1": (None, "low")}


def stop_is_off(engine: Engine) -> UUID | None:
    """The next Monday's run, without guards."""
    result = recompute(engine, policy(RESTLESS), MONDAY + WEEK, dry_run=False)
    assert_sound(engine)
    return result.run_id


def test_no_owner_is_changed_that_nobody_approved(company: Engine, stopped: UUID) -> None:
    set_csm(company, "ann", active=False)
    result = say_yes(company, stopped)
    # B1 goes to the pool as approved; ann's other accounts stay with her until the next run.
    assert set(handed_by(company, result.run_id)) == {"A1", "B1", "C1"}
    assert {one.account_id for one in result.unapproved_owners} == {"B2", "B3"}
    assert (where(company)["B2"], where(company)["B3"]) == (("low", "ann"), ("low", "ann"))
    assert_sound(company)


def test_what_the_rules_remember_of_others_is_written_as_today_s_facts_say(company: Engine, stopped: UUID) -> None:
    with company.begin() as connection:
        for hour in range(3):
            add_signal(connection, "A2", "ticket", TUESDAY - timedelta(hours=hour))
    result = say_yes(company, stopped)
    assert [(one.account_id, one.weeks) for one in result.plan.of("pending")] == [("A2", 1)]
    with company.connect() as connection:
        pending = connection.execute(select(coverage.c.pending).where(coverage.c.account_id == "A2")).scalar_one()
    assert pending["busy"]["weeks"] == 1
    assert_sound(company)


# ---- The approved owner ----------------------------------------------------------------------------------------------


def test_an_account_whose_approved_owner_has_left_moves_and_waits(company: Engine, stopped: UUID) -> None:
    set_csm(company, "bob", bands=["high"])
    result = say_yes(company, stopped)
    assert left(result) == {"A1": "bob does not serve low"}
    assert (result.made, result.left[0].moved) == (4, True)
    assert where(company)["A1"] == ("low", None)
    assert [(one.account_id, one.since) for one in result.plan.waitlist] == [("A1", TUESDAY)]
    with company.connect() as connection:
        waits = (
            connection.execute(select(coverage.c.account_id).where(coverage.c.waiting_since == TUESDAY)).scalars().all()
        )
    assert waits == ["A1"]
    assert_sound(company)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"max_accounts": 2}, "bob is full: 2 of 2 accounts"),
        ({"max_new_per_run": 0}, "bob takes no new accounts in this run"),
        ({"active": False}, "bob has left"),
        ({"max_book": 100}, "bob is full: "),
        ({"segments": ["enterprise"]}, None),
    ],
)
def test_an_approved_owner_without_room_gets_nobody(
    company: Engine, stopped: UUID, fields: dict[str, object], why: str | None
) -> None:
    set_csm(company, "bob", **fields)
    result = say_yes(company, stopped)
    assert made_by(company, result.run_id) == ALL_FOUR
    if why is None:  # what is not known of an account is no mismatch
        assert result.left == ()
    else:
        assert left(result)["A1"].startswith(why)
        assert where(company)["A1"] == ("low", None)
    # B4 keeps the owner it has: nobody approved that it loses him.
    assert where(company)["B4"] == ("high", "bob")
    assert_sound(company)


def test_an_approved_owner_who_is_none_of_the_csms_any_more_gets_nobody(company: Engine, stopped: UUID) -> None:
    with company.begin() as connection:
        connection.execute(delete(csms).where(csms.c.csm_id == "bob"))
    result = say_yes(company, stopped)
    assert left(result) == {"A1": "bob has left"}
    assert where(company)["A1"] == ("low", None)
    assert_sound(company)


def test_the_room_of_who_leaves_in_the_same_run_counts(company: Engine, stopped: UUID) -> None:
    # bob has C1, C3 and B4; with room for three he can have A1 only because C1 leaves.
    set_csm(company, "bob", max_accounts=3)
    result = say_yes(company, stopped)
    assert (result.left, where(company)["A1"]) == ((), ("low", "bob"))
    assert_sound(company)


def test_where_room_is_short_the_more_valuable_account_has_it(company: Engine) -> None:
    set_csm(company, "ann", max_accounts=9)
    set_csm(company, "bob", max_accounts=3)
    for account_id, arr in (("A1", 150), ("A2", 170), ("A3", 160)):
        set_account(company, account_id, arr=arr)
    run_id = stop(company)
    with company.connect() as connection:
        ours = (
            select(kept_moves.c.account_id).where(kept_moves.c.to_owner_id == "ann").order_by(kept_moves.c.account_id)
        )
        assert connection.execute(ours).scalars().all() == ["A1", "A2", "A3"]
    set_csm(company, "ann", max_accounts=5)
    result = say_yes(company, run_id)
    assert [one.kept.account_id for one in result.left] == ["A1"]
    assert {account_id: where(company)[account_id][1] for account_id in ("A1", "A2", "A3")} == {
        "A1": None, "A2": "ann", "A3": "ann"
    }  # fmt: skip
    assert_sound(company)


def test_an_account_that_somebody_has_pinned_since_is_left(company: Engine, stopped: UUID) -> None:
    with company.begin() as connection:
        add_pin(connection, "B1", band="low", pinned_at=TUESDAY - timedelta(hours=1))
        add_pin(connection, "A1", owner_id="ann", pinned_at=TUESDAY - timedelta(hours=1))
    result = say_yes(company, stopped)
    assert set(left(result)) == {"A1", "B1"}
    assert left(result)["A1"] == "it is pinned to ann now"
    assert (where(company)["A1"], where(company)["B1"]) == (("tech", None), ("low", "ann"))
    assert_sound(company)


# ---- Changes of owner without a move ---------------------------------------------------------------------------------


@pytest.fixture
def departed(company: Engine) -> UUID:
    """Monday's run, stopped: ann has left, dan and bob get her three accounts."""
    set_csm(company, "ann", active=False)
    with company.begin() as connection:
        add_csm(connection, "dan", "low", max_accounts=2)
    guards = RESTLESS.replace("csm_book = false", "csm_book = { share = 0.1 }")
    guards = guards.replace("moved_accounts = false", "moved_accounts = { share = 0.1 }")
    set_account(company, "A1", arr=150)
    set_account(company, "C2", arr=450)
    return stop(company, strict(guards))


DEPARTED = strict(
    RESTLESS.replace("csm_book = false", "csm_book = { share = 0.1 }").replace(
        "moved_accounts = false", "moved_accounts = { share = 0.1 }"
    )
)


def owners(engine: Engine, *account_ids: str) -> list[str | None]:
    after = where(engine)
    return [after[account_id][1] for account_id in account_ids]


def test_the_book_of_who_left_is_handed_over_as_approved(company: Engine, departed: UUID) -> None:
    with company.connect() as connection:
        approved = dict(
            connection.execute(
                select(kept_moves.c.account_id, kept_moves.c.to_owner_id).where(kept_moves.c.why == "departure")
            ).all()
        )
    result = say_yes(company, departed, DEPARTED)
    assert result.left == ()
    assert {account_id: where(company)[account_id][1] for account_id in approved} == approved
    assert_sound(company)


def test_a_change_of_owner_that_nothing_asks_for_any_more_is_left(company: Engine, departed: UUID) -> None:
    set_csm(company, "ann", active=True)
    result = say_yes(company, departed, DEPARTED)
    assert {left(result)[account_id] for account_id in ("B1", "B2", "B3")} == {
        "nothing asks for another owner any more"
    }
    assert owners(company, "B1", "B2", "B3") == ["ann", "ann", "ann"]
    assert_sound(company)


def test_a_change_of_owner_for_which_there_is_no_room_is_left_as_it_is(company: Engine, departed: UUID) -> None:
    before = where(company)
    set_csm(company, "dan", max_accounts=0)
    set_csm(company, "bob", max_accounts=0)
    result = say_yes(company, departed, DEPARTED)
    for account_id in ("B1", "B2", "B3"):
        if account_id in left(result):
            assert "is full" in left(result)[account_id]
            assert where(company)[account_id] == before[account_id]
    assert {"B1", "B2", "B3"} & set(left(result))
    assert all(not one.moved for one in result.left if one.kept.move is None)
    assert_sound(company)


def test_an_approved_owner_by_pin_needs_no_room_but_the_pin(company: Engine) -> None:
    with company.begin() as connection:
        add_pin(connection, "B2", owner_id="cat")
        add_pin(connection, "B3", owner_id="cat")
    for account_id in ("A1", "A2"):
        set_account(company, account_id, arr=150)
    run_id = stop(company)
    with company.begin() as connection:
        connection.execute(update(pins).where(pins.c.account_id == "B3").values(unpinned_at=TUESDAY, unpinned_by="lee"))
        connection.execute(update(csms).where(csms.c.csm_id == "cat").values(max_accounts=1))
    result = say_yes(company, run_id)
    assert left(result) == {"B3": "it is no longer pinned to cat"}
    assert owners(company, "B2", "B3") == ["cat", "ann"]
    assert_sound(company)


def test_who_was_approved_to_wait_waits_on_though_there_is_room_now(company: Engine) -> None:
    set_csm(company, "ann", max_accounts=3)
    set_csm(company, "bob", max_accounts=3)
    for account_id, arr in (("A1", 150), ("A2", 160)):
        set_account(company, account_id, arr=arr)
    run_id = stop(company)
    set_csm(company, "ann", max_accounts=9)
    result = say_yes(company, run_id)
    assert result.left == ()
    assert [one.account_id for one in result.plan.waitlist] == ["A2", "A1"]
    assert owners(company, "A1", "A2") == [None, None]
    assert_sound(company)
    assert recompute(company, strict(), MONDAY + WEEK, dry_run=False).status == "applied"
    assert owners(company, "A1", "A2") == ["ann", "ann"]


# ---- A rebalance -----------------------------------------------------------------------------------------------------

EVEN = strict(NO_GUARDS.replace("csm_book = false", "csm_book = { share = 0.1 }"))


@pytest.fixture
def uneven(database: Engine) -> UUID:
    """A rebalance that a guard has stopped: eve, who is new, would get accounts of ann's."""
    with database.begin() as connection:
        add_csm(connection, "ann", "low", max_accounts=8)
        for number in range(6):
            add_account(connection, f"B{number}", 200 + number)
    assert recompute(database, EVEN, AS_OF, dry_run=False).status == "applied"
    with database.begin() as connection:
        add_csm(connection, "eve", "low", max_accounts=8)
        connection.execute(update(coverage).values(owner_since=AS_OF - 30 * WEEK))
    result = rebalance(database, EVEN, MONDAY, max_moves=3, dry_run=False)
    assert result.status == "blocked"
    assert result.run_id is not None
    return result.run_id


def test_a_rebalance_is_approved_like_any_run(database: Engine, uneven: UUID) -> None:
    assert kept(database, uneven) == 3
    result = say_yes(database, uneven, EVEN)
    assert (result.status, result.made, result.left) == ("applied", 3, ())
    assert sorted(handed_by(database, result.run_id).values()) == [("ann", "eve", "rebalance")] * 3
    row = ledger(database, result.run_id)
    assert (row.kind, row.slot, row.approves) == ("approval", None, uneven)
    assert_sound(database)


def test_of_a_rebalance_what_may_not_be_moved_any_more_is_left(database: Engine, uneven: UUID) -> None:
    with database.connect() as connection:
        first, second, third = connection.execute(
            select(kept_moves.c.account_id).order_by(kept_moves.c.account_id)
        ).scalars()
    with database.begin() as connection:
        add_pin(connection, first, owner_id="ann", pinned_at=TUESDAY - timedelta(hours=1))
        connection.execute(update(csms).where(csms.c.csm_id == "eve").values(max_accounts=1))
    result = say_yes(database, uneven, EVEN)
    assert left(result)[first] == "it is pinned to ann now"
    assert "eve is full" in left(result)[second]  # the less valuable of the two
    assert handed_by(database, result.run_id) == {third: ("ann", "eve", "rebalance")}
    assert_sound(database)


def test_the_approval_of_a_rebalance_is_no_recompute(database: Engine, uneven: UUID) -> None:
    with database.begin() as connection:
        add_pin(connection, "B0", band="low", expires_at=MONDAY + timedelta(hours=1))
    say_yes(database, uneven, EVEN)
    # The pin has lapsed before the approval, and is still told of by the next recompute.
    result = recompute(database, policy(NO_GUARDS), TUESDAY + WEEK, dry_run=True)
    assert [one.account_id for one in result.plan.lapsed_pins] == ["B0"]


# ---- Guards ----------------------------------------------------------------------------------------------------------

TWO_GUARDS = STRICT.replace("missing_facts = false", "missing_facts = { share = 0.2 }")


def test_the_guard_that_was_approved_is_waived_and_the_others_judge_anew(company: Engine) -> None:
    judged = strict(TWO_GUARDS)
    recompute(company, judged, AS_OF + timedelta(hours=1), dry_run=False)
    for account_id, arr in (("B1", 50), ("A1", 150), ("B4", 2000)):
        set_account(company, account_id, arr=arr)
    run_id = stop(company, judged)
    for account_id in ("C1", "C2", "C3"):
        set_account(company, account_id, arr=None)
    with nothing_changes(company):
        result = say_yes(company, run_id, judged)
    assert (result.status, [one.guard for one in result.plan.tripped]) == ("blocked", ["missing_facts"])
    waived = next(one for one in result.plan.verdicts if one.guard == "moved_accounts")
    assert (waived.tripped, waived.actual) == (False, Decimal(3))
    assert waived.detail.endswith(" over the limit of 1 (10%). Waived: it was approved.")
    assert answer_of(company, run_id) == ("approved", "lee")
    assert result.run_id is not None
    row = ledger(company, result.run_id)
    assert (row.kind, row.status, row.answer, row.approves, row.slot) == ("approval", "blocked", None, run_id, SLOT)
    assert kept(company, result.run_id) == 3
    assert_sound(company)
    # That run awaits approval in its turn; then both guards are waived.
    again = say_yes(company, result.run_id, judged, by="kim", now=TUESDAY + timedelta(hours=1))
    assert (again.status, again.made, again.plan.tripped) == ("applied", 3, ())
    assert set(made_by(company, again.run_id)) == {"A1", "B1", "B4"}
    assert answer_of(company, result.run_id) == ("approved", "kim")
    assert ledger(company, again.run_id).slot == SLOT
    assert_sound(company)


def test_the_guards_compare_the_next_run_with_the_approved_one(company: Engine, stopped: UUID) -> None:
    say_yes(company, stopped)
    shrinking = RESTLESS.replace("shrunken_input = false", "shrunken_input = { share = 0.5 }")
    result = recompute(company, policy(shrinking), MONDAY + WEEK, dry_run=True)
    verdict = next(one for one in result.plan.verdicts if one.guard == "shrunken_input")
    assert verdict.detail.startswith("9 active accounts read, 9 at the run of 2026-03-10,")


def test_pins_that_lapse_are_told_of_once(company: Engine) -> None:
    with company.begin() as connection:
        add_pin(connection, "A3", band="tech", expires_at=MONDAY + timedelta(hours=2))
    for account_id, arr in (("B1", 50), ("A1", 150)):
        set_account(company, account_id, arr=arr)
    result = say_yes(company, stop(company))
    assert [one.account_id for one in result.plan.lapsed_pins] == ["A3"]
    assert recompute(company, strict(), MONDAY + WEEK, dry_run=True).plan.lapsed_pins == ()


def test_a_first_run_that_a_guard_stopped_is_approved(database: Engine) -> None:
    with database.begin() as connection:
        add_csm(connection, "ann", "low", max_accounts=2)
        for number in range(4):
            add_account(connection, f"B{number}", 200)
        add_pin(connection, "B0", band="high")
    few = policy(RESTLESS.replace("fewest_accounts = false", "fewest_accounts = 10"))
    run_id = stop(database, few)
    result = say_yes(database, run_id, few)
    assert (result.status, result.made) == ("applied", 4)
    assert count(database, coverage) == 4
    assert_sound(database)


def test_an_approved_run_that_had_nothing_to_move_makes_its_slot_done(company: Engine) -> None:
    stale = policy(RESTLESS.replace("fewest_accounts = false", "fewest_accounts = 100"))
    run_id = stop(company, stale)
    assert kept(company, run_id) == 0
    result = say_yes(company, run_id, stale)
    assert (result.status, ledger(company, result.run_id).slot) == ("nothing", SLOT)
    assert_sound(company)


# ---- When nothing follows --------------------------------------------------------------------------------------------


def test_an_approval_of_which_nothing_follows_is_stale_and_leaves_no_trace(company: Engine, stopped: UUID) -> None:
    for account_id, fields in (
        ("B1", {"arr": 500}), ("A1", {"arr": 10}), ("B4", {"arr": 200}), ("C1", {"status": "active"})
    ):  # fmt: skip
        set_account(company, account_id, **fields)
    set_account(company, "B2", arr=40)  # what nobody approved does not save it
    with nothing_changes(company, *contents_of_all()), pytest.raises(StalePlan, match=r"A1: nothing asks .* 1 more\)"):
        say_yes(company, stopped)
    assert answer_of(company, stopped) == (None, None)
    assert_sound(company)


def test_a_tiny_change_of_the_database_under_the_approval_keeps_nothing_of_it(company: Engine, stopped: UUID) -> None:
    with company.begin() as connection:
        connection.execute(text("CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " UPDATE coverage SET owner_id = 'cat' WHERE account_id = 'B4'; RETURN NEW; END $$"))  # fmt: skip
        connection.execute(text("CREATE TRIGGER meddle AFTER INSERT ON runs FOR EACH ROW"
            " WHEN (NEW.status = 'applied') EXECUTE FUNCTION meddle()"))  # fmt: skip
    with nothing_changes(company), pytest.raises(StalePlan, match="no longer as the plan found them"):
        say_yes(company, stopped)
    assert answer_of(company, stopped) == (None, None)
    with company.connect() as connection:
        failed = connection.execute(select(runs).where(runs.c.status == "failed")).one()
    assert (failed.kind, failed.approves) == ("approval", stopped)
    with company.begin() as connection:
        connection.execute(text("DROP TRIGGER meddle ON runs"))
    assert say_yes(company, stopped).made == 4
    assert_sound(company)


def test_the_query_of_the_docs_says_who_approved_what(company: Engine, stopped: UUID) -> None:
    result = say_yes(company, stopped)
    page = (Path(__file__).parents[1] / "docs" / "approvals.md").read_text(encoding="utf-8")
    (query,) = re.findall(r"^    (SELECT .*?)\n\n", page, flags=re.MULTILINE | re.DOTALL)
    with company.connect() as connection:
        assert connection.execute(text(query)).all() == [(stopped, "lee", TUESDAY, result.run_id, "4")]


def test_messages_of_the_night_are_not_lost(company: Engine, stopped: UUID) -> None:
    with company.begin() as connection:
        connection.execute(insert(account_signals), [
            {"account_id": "A1", "signal_id": "s", "kind": "ticket", "occurred_at": TUESDAY}
        ])  # fmt: skip
    result = say_yes(company, stopped)
    with company.connect() as connection:
        digest = connection.execute(
            select(outbox.c.payload).where(outbox.c.run_id == result.run_id, outbox.c.recipient == "bob")
        ).scalar_one()
        messages = connection.execute(select(func.count()).select_from(outbox)).scalar_one()
    assert [one["account_id"] for one in digest["arrivals"]] == ["A1"]
    assert messages > 3
