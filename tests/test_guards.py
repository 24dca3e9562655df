"""Each guard trips above its limit, holds at it, can be switched off, and says its margin in a sentence."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.feeds import WEEKLY, Feed
from app.guards import Findings, LastRun, judge
from app.plan import BandCount, Book, Census, OwnerChange, Verdict
from app.policy.model import Guards, Policy, Share
from app.policy.read import default_policy
from tests.plans import decision

AS_OF = datetime(2026, 3, 2, 6, tzinfo=UTC)

OFF = Guards(
    moved_accounts=None,
    moved_arr=None,
    csm_book=None,
    shrunken_input=None,
    missing_facts=None,
    fewest_accounts=0,
    stale_after_days=None,
)


def policy(**guards: Any) -> Policy:
    """The default policy with only these guards switched on."""
    return replace(default_policy(), guards=replace(OFF, **guards))


def census(banded: int = 100, entering: int = 0, arr: int = 1_000_000) -> Census:
    bands = (
        BandCount("low", banded, Decimal(arr), Decimal(arr)),
        BandCount(None, entering, Decimal(0), Decimal(0)),
    )
    return Census(bands=bands, missing={})


def found(**fields: Any) -> Findings:
    base = Findings(
        as_of=AS_OF, census=census(), decisions=(), owner_changes=(), books=(), feeds=(), last_run=None
    )  # fmt: skip
    return replace(base, **fields)


def verdict(guard: str, judged: Policy, findings: Findings) -> Verdict:
    (one,) = (each for each in judge(judged, findings) if each.guard == guard)
    return one


def book(csm_id: str, accounts: int, max_accounts: int) -> Book:
    return Book(
        csm_id=csm_id,
        accounts_before=accounts,
        accounts_after=accounts,
        value_before=Decimal(0),
        value_after=Decimal(0),
        max_accounts=max_accounts,
        max_book=None,
        arrivals=0,
        departures=0,
    )


def handovers(
    count: int, why: str = "band_change", source: str | None = None, target: str | None = None
) -> tuple[OwnerChange, ...]:
    return tuple(OwnerChange(f"A{number}", source, target, why, "because") for number in range(count))


def test_a_guard_that_is_switched_off_gives_no_verdict() -> None:
    assert [each.guard for each in judge(policy(), found())] == ["empty_input"]


def test_verdicts_come_in_a_fixed_order() -> None:
    assert [each.guard for each in judge(default_policy(), found())] == [
        "moved_accounts", "moved_arr", "csm_book", "empty_input", "shrunken_input", "stale_feeds", "missing_facts",
    ]  # fmt: skip


# ---- Moves -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moved", "share", "at_least", "trips"),
    [
        (10, "0.10", 0, False),
        (11, "0.10", 0, True),
        (25, "0.10", 25, False),
        (26, "0.10", 25, True),
        (10, "0.10", 3, False),
    ],
)
def test_moved_accounts_trips_above_the_larger_of_count_and_share(
    moved: int, share: str, at_least: int, trips: bool
) -> None:
    judged = policy(moved_accounts=Share(Decimal(share), at_least))
    one = verdict("moved_accounts", judged, found(decisions=[decision(f"A{n}") for n in range(moved)]))
    assert one.tripped is trips
    assert one.actual == moved


def test_the_sentence_says_the_margin() -> None:
    judged = policy(moved_accounts=Share(Decimal("0.10"), 25))
    assert verdict("moved_accounts", judged, found(decisions=[decision(f"A{n}") for n in range(30)])).detail == (
        "30 accounts of 100 with a band would move, 5 over the limit of 25 (the larger of 25 and 10%)."
    )
    assert verdict("moved_accounts", judged, found(decisions=[decision()])).detail == (
        "1 account of 100 with a band would move, 24 under the limit of 25 (the larger of 25 and 10%)."
    )


def test_leaving_counts_as_moving_but_entering_settling_and_everything_undecided_do_not() -> None:
    judged = policy(moved_accounts=Share(Decimal(0)))
    still = [
        decision("A", move="enter", from_band=None),
        decision("B", move="settle"),
        decision("C", outcome="pending"),
        decision("D", outcome="review"),
        decision("E", outcome="contested"),
        decision("F", outcome="state"),
    ]
    assert verdict("moved_accounts", judged, found(decisions=still)).actual == 0
    gone = decision("G", move="leave", to_band=None, rule="left")
    assert verdict("moved_accounts", judged, found(decisions=[*still, gone])).actual == 1


@pytest.mark.parametrize(("arr", "trips"), [("150000.00", False), ("150000.01", True)])
def test_moved_arr_trips_above_its_share_of_all_arr(arr: str, trips: bool) -> None:
    moves = [decision("A", arr=Decimal(arr)), decision("B", arr=None)]
    one = verdict("moved_arr", policy(moved_arr=Share(Decimal("0.15"))), found(decisions=moves))
    assert (one.tripped, one.limit, one.unit) == (trips, Decimal(150_000), "USD")
    assert one.detail.startswith("$150,000")


# ---- One book --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gained", "trips"), [(14, False), (15, True)])
def test_gains_are_measured_against_what_the_book_may_hold(gained: int, trips: bool) -> None:
    findings = found(books=[book("ann", 0, 40)], owner_changes=handovers(gained, target="ann"))
    one = verdict("csm_book", policy(csm_book=Share(Decimal("0.35"), 10)), findings)
    assert (one.tripped, int(one.actual), int(one.limit)) == (trips, gained, 14)


@pytest.mark.parametrize(("lost", "trips"), [(10, False), (11, True)])
def test_losses_are_measured_against_the_book(lost: int, trips: bool) -> None:
    findings = found(books=[book("ann", 20, 400)], owner_changes=handovers(lost, source="ann"))
    one = verdict("csm_book", policy(csm_book=Share(Decimal("0.34"), 10)), findings)
    assert (one.tripped, int(one.actual), int(one.limit)) == (trips, lost, 10)


@pytest.mark.parametrize("why", ["departure", "waitlist", "pin"])
def test_what_a_person_wanted_does_not_count_against_a_book(why: str) -> None:
    changes = handovers(40, why=why, source="ann", target="bob")
    one = verdict(
        "csm_book",
        policy(csm_book=Share(Decimal(0))),
        found(books=[book("ann", 40, 40), book("bob", 0, 40)], owner_changes=changes),
    )
    assert (one.tripped, int(one.actual)) == (False, 0)


def test_the_verdict_names_the_book_that_is_furthest_beyond_its_limit() -> None:
    changes = (*handovers(3, source="ann"), *handovers(9, source="bob"), *handovers(12, target="cat"))
    books = [book("ann", 4, 40), book("bob", 30, 40), book("cat", 20, 40)]
    one = verdict("csm_book", policy(csm_book=Share(Decimal("0.34"))), found(books=books, owner_changes=changes))
    assert one.tripped
    assert one.detail == "The book of ann, 4 of 40 accounts, would lose 3, 1.6 over the limit of 1.4 (34%)."


# ---- The input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("accounts", "trips"), [(0, True), (1, False)])
def test_an_empty_input_trips(accounts: int, trips: bool) -> None:
    one = verdict("empty_input", policy(fewest_accounts=1), found(census=census(accounts)))
    assert (one.tripped, int(one.actual), int(one.limit)) == (trips, accounts, 1)


@pytest.mark.parametrize(("now", "trips"), [(900, False), (899, True), (2000, False)])
def test_a_shrunken_input_is_measured_against_the_last_run(now: int, trips: bool) -> None:
    last = LastRun(AS_OF - timedelta(weeks=1), accounts=1000, missing={})
    judged = policy(shrunken_input=Share(Decimal("0.10"), 25))
    one = verdict("shrunken_input", judged, found(census=census(now), last_run=last))
    assert (one.tripped, int(one.actual)) == (trips, max(1000 - now, 0))


def feed(age_days: float | None = 10, weeks: int = WEEKLY) -> Feed:
    return Feed("health", None if age_days is None else AS_OF - timedelta(days=age_days), weeks)


@pytest.mark.parametrize(
    ("one", "trips"),
    [
        (feed(10), True),
        (feed(9.99), False),
        (feed(10, WEEKLY - 1), False),
        (feed(None, 0), False),
        (feed(200, 0), False),
    ],
)
def test_a_weekly_feed_that_has_stopped_trips(one: Feed, trips: bool) -> None:
    judged = verdict("stale_feeds", policy(stale_after_days=10), found(feeds=[one, replace(feed(1), name="usage")]))
    assert judged.tripped is trips
    assert judged.actual == int(trips)
    if trips:
        assert judged.detail == (
            "Nothing new for 10 days or more from what used to arrive every week: health (last 2026-02-20)."
        )


@pytest.mark.parametrize(("missing", "trips"), [(35, False), (36, True), (3, False)])
def test_newly_missing_facts_are_measured_against_the_last_run(missing: int, trips: bool) -> None:
    last = LastRun(AS_OF - timedelta(weeks=1), accounts=100, missing={"arr": 10, "adoption": 90})
    judged = policy(missing_facts=Share(Decimal("0.25"), 10))
    now = replace(census(100), missing={"arr": missing, "adoption": 91, "health": 100})
    one = verdict("missing_facts", judged, found(census=now, last_run=last))
    assert one.tripped is trips
    assert (int(one.actual), int(one.limit)) == (max(missing - 10, 1), 25)


# ---- The first run ---------------------------------------------------------------------------------------------------


def test_a_first_run_is_judged_by_its_input_alone() -> None:
    findings = found(
        census=replace(census(banded=0, entering=5000), missing={"adoption": 5000}),
        decisions=[decision(f"A{n}", move="enter", from_band=None) for n in range(5000)],
        owner_changes=handovers(5000, target="ann"),
        books=[book("ann", 0, 40)],
    )
    assert [each.guard for each in judge(default_policy(), findings) if each.tripped] == []
    stopped = replace(findings, feeds=[feed()])
    assert [each.guard for each in judge(default_policy(), stopped) if each.tripped] == ["stale_feeds"]
    nobody = replace(findings, census=census(banded=0))
    assert [each.guard for each in judge(default_policy(), nobody) if each.tripped] == ["empty_input"]
