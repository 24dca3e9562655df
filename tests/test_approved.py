"""What of an approved plan still follows, where books are short of room; without a database, and at random with one."""

import random
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, update

from app.approved import Followed, Today, follow
from app.errors import StalePlan
from app.kept import Kept, read_kept
from app.owners import Claim, Csm
from app.pipeline import recompute
from app.policy.read import default_policy
from app.tables import accounts, coverage, csms, owner_history, pins
from tests.examples import seeds
from tests.plans import plan
from tests.small_company import AS_OF, RESTLESS, WEEK, add_account, add_csm, add_pin, assert_sound, policy, where
from tests.stopped_company import MONDAY, made_by, say_yes, strict


def csm(csm_id: str, accounts_: int, most: int, **fields: Any) -> Csm:
    base = Csm(
        csm_id=csm_id,
        bands=frozenset({"low"}),
        segments=None,
        regions=None,
        languages=None,
        max_accounts=most,
        max_book=None,
        max_new=None,
        active=True,
        accounts=accounts_,
        value=Decimal(100 * accounts_),
    )
    return replace(base, **fields)


def handed(account_id: str, before: str, after: str, value: int = 100) -> tuple[Kept, Claim]:
    """An approved change of owner for balance, and the account as it stands, which has not changed."""
    worth = Decimal(value)
    kept = Kept(account_id, None, None, "low", "low", worth, before, after, "rebalance", "for balance", "low", before)
    return kept, Claim(account_id, "rebalance", "low", worth, None, None, None, before, None, None)


def followed(team: list[Csm], *pairs: tuple[Kept, Claim]) -> Followed:
    today = Today(
        plan=plan(default_policy()),
        csms=team,
        claims={claim.account_id: claim for _, claim in pairs},
        pins={},
        named=frozenset({"low"}),
    )
    return follow(today, {kept.account_id: kept for kept, _ in pairs})


def changes(made: Followed) -> dict[str, tuple[str | None, str | None]]:
    return {one.account_id: (one.from_owner_id, one.to_owner_id) for one in made.plan.owner_changes}


def test_accounts_that_trade_places_in_full_books_both_move() -> None:
    made = followed([csm("ann", 4, 4), csm("bob", 4, 4)], handed("A", "ann", "bob"), handed("B", "bob", "ann"))
    assert changes(made) == {"A": ("ann", "bob"), "B": ("bob", "ann")}
    assert made.left == ()
    assert [(book.accounts_after, book.arrivals, book.departures) for book in made.plan.books] == [(4, 1, 1), (4, 1, 1)]


def test_one_who_cannot_go_keeps_the_room_that_the_next_one_was_to_have() -> None:
    team = [csm("ann", 4, 4), csm("bob", 4, 4), csm("cat", 4, 4), csm("dan", 2, 2)]
    chain = [handed("A", "ann", "bob"), handed("B", "bob", "cat"), handed("C", "cat", "dan")]
    made = followed(team, *chain)
    assert changes(made) == {}
    assert {one.kept.account_id: one.changed for one in made.left} == {
        "A": "bob is full: 4 of 4 accounts",
        "B": "cat is full: 4 of 4 accounts",
        "C": "dan is full: 2 of 2 accounts",
    }
    assert all(book.accounts_before == book.accounts_after for book in made.plan.books)


def test_the_most_valuable_that_fits_goes_first() -> None:
    team = [csm("ann", 3, 9), csm("bob", 1, 9, max_book=Decimal(500))]
    made = followed(team, handed("A", "ann", "bob", 450), handed("B", "ann", "bob", 300), handed("C", "ann", "bob", 90))
    assert changes(made) == {"B": ("ann", "bob"), "C": ("ann", "bob")}
    assert [(one.kept.account_id, one.moved) for one in made.left] == [("A", False)]
    assert "has room for 400 more in value" in made.left[0].changed


def test_no_more_come_than_may_in_one_run() -> None:
    made = followed(
        [csm("ann", 3, 9), csm("bob", 1, 9, max_new=1)], handed("A", "ann", "bob"), handed("B", "ann", "bob")
    )
    assert changes(made) == {"A": ("ann", "bob")}
    assert made.left[0].changed == "bob takes no new accounts in this run"


# ---- At random, through the database ---------------------------------------------------------------------------------

TEAM = ("ann", "bob", "cat", "dan")


def unsettle(engine: Engine, chance: random.Random, *, share: float) -> None:
    """Some accounts are worth something else, left, or are new; people come, go, and are full; pins are made."""
    with engine.begin() as connection:
        for account_id in connection.execute(select(accounts.c.account_id).order_by(accounts.c.account_id)).scalars():
            if chance.random() < share:
                fields: dict[str, Any] = {"arr": chance.choice([None, 20, 50, 150, 400, 900, 1500, 4000])}
                if chance.random() < 0.15:
                    fields["status"] = chance.choice(["churned", "active"])
                if chance.random() < 0.15:
                    fields["adoption"] = Decimal("0.1")
                connection.execute(update(accounts).where(accounts.c.account_id == account_id).values(fields))
        for csm_id in TEAM:
            if chance.random() < share:
                fields = {"max_accounts": chance.randint(1, 9), "active": chance.random() < 0.8}
                fields["max_new_per_run"] = chance.choice([None, None, 1, 3])
                fields["max_book"] = chance.choice([None, None, 3000])
                connection.execute(update(csms).where(csms.c.csm_id == csm_id).values(fields))
        add_account(connection, f"N{chance.randrange(10**9)}", chance.choice([20, 400, 4000]))
        free = select(accounts.c.account_id).where(
            accounts.c.status == "active", accounts.c.account_id.not_in(select(pins.c.account_id))
        )
        pinned = chance.sample(connection.execute(free.order_by(accounts.c.account_id)).scalars().all(), 2)
        add_pin(connection, pinned[0], owner_id=chance.choice(TEAM), pinned_at=datetime.now(UTC))
        add_pin(connection, pinned[1], band=chance.choice(["low", "high"]), pinned_at=datetime.now(UTC))


@pytest.mark.parametrize("seed", seeds(12, some=4))
def test_whatever_changes_overnight_only_what_was_approved_is_made(database: Engine, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - it deals test data
    with database.begin() as connection:
        for csm_id, bands in zip(TEAM, (("low",), ("low", "high"), ("high",), ("low", "high")), strict=True):
            add_csm(connection, csm_id, *bands, max_accounts=chance.randint(3, 9))
        for number in range(24):
            add_account(connection, f"A{number:02}", chance.choice([20, 150, 400, 1500, 4000]))
    assert recompute(database, strict(), AS_OF, dry_run=False).status == "applied"
    unsettle(database, chance, share=0.5)
    stopped = recompute(database, strict(), MONDAY, dry_run=False)
    assert stopped.run_id is not None
    if stopped.status != "blocked":
        pytest.skip("not enough has changed for a guard")
    unsettle(database, chance, share=0.25)
    before = where(database)
    with database.connect() as connection:
        kept = read_kept(connection, stopped.run_id)
    try:
        result = say_yes(database, stopped.run_id)
    except StalePlan:
        assert where(database) == before
        return
    assert result.status == "applied"
    after, left = where(database), {one.kept.account_id: one for one in result.left}
    made = made_by(database, result.run_id)
    assert made == {
        one.account_id: (one.from_band, one.to_band)
        for one in kept.values()
        if one.move is not None and (one.account_id not in left or left[one.account_id].moved)
    }
    for change in result.plan.owner_changes:
        one = kept[change.account_id]
        assert change.from_owner_id == one.from_owner_id == before.get(one.account_id, (None, None))[1]
        refused = one.account_id in left
        assert change.to_owner_id == (None if refused else one.to_owner_id)
    untouched = before.keys() - made.keys() - {change.account_id for change in result.plan.owner_changes}
    assert {one: after[one] for one in untouched} == {one: before[one] for one in untouched}
    _books_are_as_planned(database, result.plan, result.run_id)
    assert_sound(database)
    assert recompute(database, policy(RESTLESS), MONDAY + WEEK, dry_run=False).status in {"applied", "nothing"}
    assert_sound(database)


def _books_are_as_planned(engine: Engine, made: Any, run_id: Any) -> None:
    """The books and the waitlist are what the plan says, and nobody got more by the rules than they have room for."""
    with engine.connect() as connection:
        owned = select(coverage.c.owner_id, func.count()).where(coverage.c.owner_id.is_not(None))
        held: dict[str, int] = {row[0]: row[1] for row in connection.execute(owned.group_by(coverage.c.owner_id))}
        waits = select(coverage.c.account_id).where(coverage.c.waiting_since.is_not(None))
        waiting = set(connection.execute(waits).scalars())
        by_rules = owner_history.c.run_id == run_id, owner_history.c.why != "pin"
        by_rule = set(connection.execute(select(owner_history.c.to_owner_id).where(*by_rules)).scalars())
        limits = {row.csm_id: row for row in connection.execute(select(csms))}
    assert {book.csm_id: book.accounts_after for book in made.books if book.accounts_after} == held
    # Who left waits on until the run that says so.
    assert {one.account_id for one in made.waitlist} <= waiting
    for book in made.books:
        if book.csm_id in by_rule:
            limit = limits[book.csm_id]
            assert book.accounts_after <= limit.max_accounts
            assert limit.max_new_per_run is None or book.arrivals <= limit.max_new_per_run + len(pins_of(made, book))
            assert limit.active


def pins_of(made: Any, book: Any) -> list[Any]:
    """The accounts that came to this book by a pin, which no limit keeps out."""
    return [one for one in made.owner_changes if one.to_owner_id == book.csm_id and one.why == "pin"]
