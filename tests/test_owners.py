"""Who owns which account: the order of precedence, room, the waitlist, and what holds of every assignment."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from app.owners import Assignment, Claim, Csm, Why, assign, serves
from app.plan import OwnerChange
from tests.examples import seeds

AS_OF = datetime(2026, 3, 2, 6, tzinfo=UTC)
POOLED = frozenset({"tech"})


def csm(csm_id: str, *bands: str, **fields: Any) -> Csm:
    """An active CSM with an empty book of 10 who serves these bands (default: low and high)."""
    base = Csm(
        csm_id=csm_id,
        bands=frozenset(bands or ("low", "high")),
        segments=None,
        regions=None,
        languages=None,
        max_accounts=10,
        max_book=None,
        max_new=None,
        active=True,
        accounts=0,
        value=Decimal(0),
    )
    return replace(base, **fields)


def claim(account_id: str, band: str | None = "low", **fields: Any) -> Claim:
    """An account that the rules moved into this band, worth 100, in the pool until now."""
    base = Claim(
        account_id=account_id,
        why="band_change" if band else "left",
        band=band,
        value=Decimal(100),
        segment=None,
        region=None,
        language=None,
        owner_id=None,
        waiting_since=None,
        pinned_to=None,
    )
    return structs.replace(base, **fields)


def settled(csms: list[Csm], *claims: Claim) -> Assignment:
    return assign(POOLED, csms, claims, AS_OF)


def handed(assignment: Assignment) -> dict[str, tuple[str | None, str | None, str]]:
    return {change.account_id: (change.from_owner_id, change.to_owner_id, change.why) for change in assignment.changes}


# ---- Who keeps, who loses --------------------------------------------------------------------------------------------


def test_an_account_that_goes_down_to_a_pooled_band_is_released() -> None:
    result = settled([csm("ann", accounts=3, value=Decimal(900))], claim("A", "tech", owner_id="ann"))
    assert handed(result) == {"A": ("ann", None, "band_change")}
    assert result.changes[0].reason == "the pool serves tech"
    assert result.waitlist == ()
    (book,) = result.books
    assert (book.accounts_after, book.value_after, book.departures) == (2, Decimal(800), 1)


def test_an_account_that_leaves_is_released() -> None:
    result = settled([csm("ann", accounts=1)], claim("A", None, owner_id="ann", value=None))
    assert handed(result) == {"A": ("ann", None, "left")}


def test_an_account_of_the_pool_that_stays_there_is_no_change_of_owner() -> None:
    assert settled([csm("ann")], claim("A", "tech")).changes == ()


def test_the_present_owner_keeps_an_account_that_moves_within_their_bands_even_over_capacity() -> None:
    full = csm("ann", "low", "high", accounts=12, max_accounts=10, max_new=0, max_book=Decimal(1))
    result = settled([full, csm("bob")], claim("A", "high", owner_id="ann"))
    assert result.changes == ()
    assert [(book.csm_id, book.accounts_after) for book in result.books] == [("ann", 12), ("bob", 0)]


def test_an_owner_who_does_not_serve_the_new_band_hands_the_account_over() -> None:
    result = settled([csm("ann", "low", accounts=1), csm("bob", "high")], claim("A", "high", owner_id="ann"))
    assert handed(result) == {"A": ("ann", "bob", "band_change")}
    assert result.changes[0].reason == "ann does not serve it in high; bob serves high and has room"


@pytest.mark.parametrize("served", ["segments", "regions", "languages"])
def test_a_csm_serves_only_their_kinds_and_what_is_unknown_of_an_account_is_no_mismatch(served: str) -> None:
    picky, name = csm("ann", **{served: frozenset({"x"})}), served.removesuffix("s")
    assert handed(settled([picky], claim("A", **{name: "x"}), claim("B", **{name: "y"}), claim("C"))) == {
        "A": (None, "ann", "band_change"),
        "C": (None, "ann", "band_change"),
    }


def test_an_owner_whose_account_changes_segment_with_its_move_hands_it_over() -> None:
    picky = csm("ann", segments=frozenset({"smb"}), accounts=1)
    result = settled([picky, csm("bob")], claim("A", "high", owner_id="ann", segment="enterprise"))
    assert handed(result) == {"A": ("ann", "bob", "band_change")}


@pytest.mark.parametrize("known", [True, False])
def test_a_departure_hands_the_whole_book_over(known: bool) -> None:
    gone = [csm("ann", active=False, accounts=2)] if known else []
    result = settled([*gone, csm("bob")], *(claim(name, why="departure", owner_id="ann") for name in "AB"))
    assert handed(result) == {"A": ("ann", "bob", "departure"), "B": ("ann", "bob", "departure")}
    assert result.changes[0].reason == "ann has left; bob serves low and has room"


def test_what_finds_no_seat_after_a_departure_waits_with_the_pool() -> None:
    result = settled([csm("ann", active=False, accounts=1)], claim("A", why="departure", owner_id="ann"))
    assert handed(result) == {"A": ("ann", None, "departure")}
    assert [(waiting.account_id, waiting.since) for waiting in result.waitlist] == [("A", AS_OF)]
    assert (
        result.changes[0].reason
        == "ann has left; nobody serves low for accounts of its kind, so it waits with the pool"
    )


# ---- Who gets it -----------------------------------------------------------------------------------------------------


def test_the_most_room_is_relative_and_ties_go_to_the_lower_id() -> None:
    half_full = csm("ann", accounts=50, max_accounts=100)
    roomier = csm("bob", accounts=4, max_accounts=10)
    assert handed(settled([half_full, roomier], claim("A")))["A"][1] == "bob"
    assert handed(settled([csm("dan"), csm("cat")], claim("A")))["A"][1] == "cat"


def test_accounts_are_spread_as_books_fill() -> None:
    result = settled([csm("ann", max_accounts=4), csm("bob", max_accounts=2)], *(claim(f"A{n}") for n in range(6)))
    assert Counter(change.to_owner_id for change in result.changes) == {"ann": 4, "bob": 2}
    assert result.waitlist == ()


def test_room_in_value_counts_beside_room_in_accounts() -> None:
    nearly_sold_out = csm("ann", max_book=Decimal(1000), value=Decimal(950), accounts=1)
    result = settled([nearly_sold_out], claim("A", value=Decimal(60)), claim("B", value=Decimal(50)))
    assert handed(result) == {"B": (None, "ann", "band_change")}
    assert [waiting.account_id for waiting in result.waitlist] == ["A"]
    roomier = csm("bob", accounts=8)
    assert handed(settled([nearly_sold_out, roomier], claim("C", value=Decimal(10))))["C"][1] == "bob"


def test_a_csm_takes_no_more_new_accounts_than_their_intake() -> None:
    result = settled([csm("ann", max_new=1)], claim("A"), claim("B"))
    assert set(handed(result)) == {"A"}


@pytest.mark.parametrize("limit", [0, -3])
def test_a_csm_without_capacity_gets_nothing_and_breaks_nothing(limit: int) -> None:
    for none in (csm("ann", max_accounts=limit), csm("ann", max_book=Decimal(limit))):
        assert settled([none], claim("A"), claim("B", value=None)).changes == ()


def test_what_is_released_in_a_run_makes_room_in_it() -> None:
    full = csm("ann", accounts=1, max_accounts=1, value=Decimal(100))
    result = settled([full], claim("A"), claim("Z", "tech", owner_id="ann"))
    assert handed(result) == {"A": (None, "ann", "band_change"), "Z": ("ann", None, "band_change")}
    (book,) = result.books
    assert (book.accounts_after, book.value_after, book.arrivals, book.departures) == (1, Decimal(100), 1, 1)


def test_a_value_that_does_not_fit_does_not_keep_smaller_ones_out() -> None:
    books = [csm("ann", max_book=Decimal(100)), csm("bob", max_book=Decimal(500))]
    worth = {"A": 900, "B": 500, "C": 450, "D": 100, "E": 1}
    result = settled(books, *(claim(name, value=Decimal(value)) for name, value in worth.items()))
    assert {name: to for name, (_, to, _) in handed(result).items()} == {"B": "bob", "D": "ann"}
    assert [waiting.account_id for waiting in result.waitlist] == ["A", "C", "E"]


# ---- In which order --------------------------------------------------------------------------------------------------


def test_the_most_valuable_are_placed_first_and_of_equals_those_who_have_waited_the_longest() -> None:
    week = timedelta(weeks=1)
    claims = [
        claim("dear", value=Decimal(999)),
        claim("longest", why="waitlist", waiting_since=AS_OF - 3 * week, value=Decimal(5)),
        claim("recent", why="waitlist", waiting_since=AS_OF - week, value=Decimal(5)),
        claim("at risk", value=Decimal(5), at_risk=True),
        claim("renews", value=Decimal(5), renewal_on=AS_OF.date() + 4 * week),
        claim("renews late", value=Decimal(5), renewal_on=AS_OF.date() + 9 * week),
        claim("departed", why="departure", owner_id="gone", value=Decimal(5)),
        claim("another", value=Decimal(5)),
        claim("cheap", why="waitlist", waiting_since=AS_OF - 9 * week, value=None),
    ]
    for seats in range(1, len(claims) + 1):
        placed = handed(settled([csm("ann", max_accounts=seats)], *reversed(claims)))
        assert {name for name, (_, to, _) in placed.items() if to} == {one.account_id for one in claims[:seats]}


def test_the_waitlist_lists_the_longest_wait_first_then_value_then_id() -> None:
    since = AS_OF - timedelta(weeks=5)
    result = settled(
        [],
        claim("C", value=Decimal(1)),
        claim("B", value=Decimal(1)),
        claim("D", value=None),
        claim("A", value=Decimal(2)),
        claim("Z", why="waitlist", waiting_since=since, value=None),
    )
    assert [(waiting.account_id, waiting.since) for waiting in result.waitlist] == [
        ("Z", since), ("A", AS_OF), ("B", AS_OF), ("C", AS_OF), ("D", AS_OF),
    ]  # fmt: skip


def test_a_waiting_account_that_finds_a_seat_says_since_when_it_waited() -> None:
    waits = claim("A", why="waitlist", waiting_since=AS_OF - timedelta(days=14))
    (change,) = settled([csm("ann")], waits).changes
    assert (change.why, change.reason) == (
        "waitlist", "it has waited since 2026-02-16; ann serves low and has room",
    )  # fmt: skip


def test_an_account_in_a_named_band_with_neither_owner_nor_wait_begins_to_wait() -> None:
    result = settled([], claim("A", why="waitlist"))
    assert [(waiting.account_id, waiting.since) for waiting in result.waitlist] == [("A", AS_OF)]
    assert result.changes == ()


# ---- Pins ------------------------------------------------------------------------------------------------------------


def test_a_pin_is_obeyed_whatever_the_room_and_the_bands() -> None:
    full = csm("ann", "high", accounts=10, max_new=0)
    result = settled([full, csm("bob", accounts=1)], claim("A", "low", owner_id="bob", pinned_to="ann", why="pin"))
    assert handed(result) == {"A": ("bob", "ann", "pin")}
    assert result.changes[0].reason == "it is pinned to ann"


def test_a_pin_that_is_obeyed_already_changes_nothing() -> None:
    assert settled([csm("ann", "high", accounts=1)], claim("A", "low", owner_id="ann", pinned_to="ann")).changes == ()


@pytest.mark.parametrize(("pinned_to", "problem"), [("gone", "they have left"), ("nobody", "there is no such CSM")])
def test_a_pin_to_somebody_who_cannot_own_counts_for_nothing_and_is_noted(pinned_to: str, problem: str) -> None:
    result = settled([csm("ann"), csm("gone", active=False)], claim("A", pinned_to=pinned_to))
    assert handed(result) == {"A": (None, "ann", "band_change")}
    assert result.notes == (f"the pin of A to {pinned_to} counts for nothing: {problem}",)


def test_a_pin_in_a_pooled_band_gives_no_owner_and_is_noted() -> None:
    result = settled([csm("ann", accounts=1)], claim("A", "tech", owner_id="ann", pinned_to="ann"))
    assert handed(result) == {"A": ("ann", None, "band_change")}
    assert result.notes == ("the pin of A to ann counts for nothing: the pool serves tech",)


# ---- What holds of every assignment ----------------------------------------------------------------------------------

BANDS = ("tech", "low", "high")
KINDS = st.sampled_from([None, "x", "y"])


def _served() -> st.SearchStrategy[frozenset[str] | None]:
    return st.one_of(st.none(), st.frozensets(st.sampled_from(["x", "y"]), min_size=1))


@st.composite
def instances(draw: st.DrawFn) -> tuple[list[Csm], list[Claim]]:
    """Some CSMs, and claims whose owners' books hold at least what the claims say they own."""
    money = st.decimals(0, 1000, places=2)
    whys = st.sampled_from(["band_change", "waitlist", "departure", "pin"])
    claims: list[Claim] = []
    for number in range(draw(st.integers(0, 14))):
        band = draw(st.sampled_from([None, *BANDS]))
        owner = draw(st.sampled_from([None, "c0", "c1", "c2", "ghost"]))
        waits = band not in (None, "tech") and owner is None and draw(st.booleans())
        claims.append(
            claim(
                f"A{number:02}",
                band,
                why=draw(whys) if band else "left",
                value=draw(st.one_of(st.none(), money)) if band else None,
                segment=draw(KINDS),
                region=draw(KINDS),
                owner_id=owner,
                waiting_since=AS_OF - timedelta(weeks=draw(st.integers(1, 3))) if waits else None,
                pinned_to=draw(st.sampled_from([None, None, None, "c0", "c1", "ghost"])),
            )
        )
    csms = [
        csm(
            f"c{number}",
            *draw(st.sets(st.sampled_from(["low", "high"]), min_size=1)),
            segments=draw(_served()),
            regions=draw(_served()),
            max_accounts=draw(st.integers(-1, 6)),
            max_book=draw(st.one_of(st.none(), money)),
            max_new=draw(st.one_of(st.none(), st.integers(0, 3))),
            active=draw(st.integers(0, 3)) > 0,
            accounts=draw(st.integers(0, 4)) + sum(one.owner_id == f"c{number}" for one in claims),
            value=draw(money) + sum((one.value or 0 for one in claims if one.owner_id == f"c{number}"), Decimal(0)),
        )
        for number in range(draw(st.integers(0, 4)))
    ]
    return csms, claims


def _owners_after(claims: list[Claim], result: Assignment) -> dict[str, str | None]:
    changed: dict[str, OwnerChange] = {change.account_id: change for change in result.changes}
    return {
        one.account_id: changed[one.account_id].to_owner_id if one.account_id in changed else one.owner_id
        for one in claims
    }


@settings(max_examples=len(seeds(200, some=80)), deadline=None, derandomize=True)
@given(instances())
def test_every_claim_ends_with_one_owner_or_the_pool_or_the_waitlist(instance: tuple[list[Csm], list[Claim]]) -> None:
    csms, claims = instance
    result = assign(POOLED, csms, claims, AS_OF)
    after = _owners_after(claims, result)
    waiting = [one.account_id for one in result.waitlist]
    assert len(set(waiting)) == len(waiting)
    assert [change.account_id for change in result.changes] == sorted({change.account_id for change in result.changes})
    active = {one.csm_id for one in csms if one.active}
    for one in claims:
        owner = after[one.account_id]
        if one.band in (None, "tech"):
            assert owner is None
            assert one.account_id not in waiting
        else:
            assert (owner is None) == (one.account_id in waiting)
            assert owner is None or owner in active
    assert all(change.from_owner_id != change.to_owner_id and change.why in get_args(Why) for change in result.changes)


@settings(max_examples=len(seeds(200, some=80)), deadline=None, derandomize=True)
@given(instances())
def test_books_balance_and_nobody_gets_more_than_fits(instance: tuple[list[Csm], list[Claim]]) -> None:
    csms, claims = instance
    result = assign(POOLED, csms, claims, AS_OF)
    pinned = {change.account_id for change in result.changes if change.why == "pin"}
    for one, book in zip(sorted(csms, key=lambda each: each.csm_id), result.books, strict=True):
        came = [change for change in result.changes if change.to_owner_id == one.csm_id]
        went = [change for change in result.changes if change.from_owner_id == one.csm_id]
        assert (book.arrivals, book.departures) == (len(came), len(went))
        assert book.accounts_after == book.accounts_before + len(came) - len(went)
        worth = sum((change.value or Decimal(0) for change in came), Decimal(0))
        lost = sum((change.value or Decimal(0) for change in went), Decimal(0))
        assert book.value_after == book.value_before + worth - lost
        if {change.account_id for change in came} - pinned:
            assert book.accounts_after <= one.max_accounts
            assert one.max_book is None or book.value_after <= one.max_book
            assert one.max_new is None or len(came) <= max(one.max_new, len(pinned))


@settings(max_examples=len(seeds(200, some=80)), deadline=None, derandomize=True)
@given(instances())
def test_nobody_waits_while_somebody_who_serves_them_has_room(instance: tuple[list[Csm], list[Claim]]) -> None:
    csms, claims = instance
    result = assign(POOLED, csms, claims, AS_OF)
    books = {book.csm_id: book for book in result.books}
    by_id = {one.account_id: one for one in claims}
    for waiting in result.waitlist:
        one = by_id[waiting.account_id]
        for each in csms:
            book = books[each.csm_id]
            has_seat = book.accounts_after < each.max_accounts and (
                each.max_new is None or book.arrivals < each.max_new
            )
            has_value = each.max_book is None or (
                book.value_after < each.max_book and book.value_after + (one.value or 0) <= each.max_book
            )
            assert not (serves(each, one) and has_seat and has_value), (waiting, each.csm_id)


@settings(max_examples=len(seeds(200, some=80)), deadline=None, derandomize=True)
@given(instances(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(instance: tuple[list[Csm], list[Claim]], random: Random) -> None:
    csms, claims = instance
    expected = assign(POOLED, csms, claims, AS_OF)
    random.shuffle(csms)
    random.shuffle(claims)
    assert assign(POOLED, csms, claims, AS_OF) == expected


def test_fifty_thousand_accounts_are_placed_among_a_thousand_csms() -> None:
    random = Random(7)  # noqa: S311 - a fixed sequence is the point
    csms = [
        csm(
            f"c{number:04}",
            regions=frozenset({f"r{number % 5}"}),
            max_accounts=random.randint(20, 60),
            max_book=Decimal(40_000),
        )
        for number in range(1000)
    ]
    claims = [
        claim(
            f"A{number:05}",
            random.choice(["low", "high"]),
            value=Decimal(random.randint(1, 3000)),
            region=f"r{random.randrange(6)}",
        )
        for number in range(50_000)
    ]
    result = assign(POOLED, csms, claims, AS_OF)
    assert len(result.changes) + len(result.waitlist) == 50_000
    assert all(book.accounts_after <= book.max_accounts and book.value_after <= 40_000 for book in result.books)
