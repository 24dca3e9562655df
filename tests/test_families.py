"""Families that stand together: who is kept where by whom, how they come down again, and that it stays calm."""

import io
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, select, text, update
from sqlalchemy.dialects import postgresql

from app.decide import decide, decision_statement
from app.decide.reading import read_judgement
from app.demo import DEMO_AS_OF
from app.errors import Mistake
from app.explain import explain
from app.families import select_kin
from app.pipeline import recompute
from app.policy.model import FAMILY, Policy
from app.policy.read import default_policy, read_policy
from app.report.explain import write_explanation
from app.report.page import Page
from app.tables import accounts, band_history, coverage, pins
from tests.company import company, company_template, company_url
from tests.examples import seeds
from tests.in_postgres import carried_out, store, store_coverage
from tests.policy_text import policy_text
from tests.random_accounts import World, random_world
from tests.random_expressions import seeded
from tests.random_policies import NO_GUARDS, random_policy
from tests.small_company import (
    AS_OF,
    POLICY,
    RESTLESS,
    TOGETHER,
    WEEK,
    add_account,
    add_csm,
    add_pin,
    assert_sound,
    policy,
)
from tests.test_calm import WEEKS, frozen, last_week, replay, restless, static

__all__ = ["company", "company_template", "company_url"]


def run(engine: Engine, week: int, chosen: Policy | None = None) -> dict[str, str]:
    """A run, and the reason of every move that it made."""
    result = recompute(engine, chosen or policy(TOGETHER), AS_OF + week * WEEK, dry_run=False)
    assert_sound(engine)
    with engine.connect() as connection:
        history = band_history.c
        rows = connection.execute(select(history.account_id, history.reason).where(history.run_id == result.run_id))
        return {row.account_id: row.reason for row in rows}


def bands(engine: Engine) -> dict[str, str]:
    with engine.connect() as connection:
        return {row.account_id: row.band for row in connection.execute(select(coverage))}


def change(engine: Engine, account_id: str, **fields: Any) -> None:
    with engine.begin() as connection:
        connection.execute(update(accounts).where(accounts.c.account_id == account_id).values(fields))


@pytest.fixture
def family(database: Engine) -> Engine:
    """R is the parent and worth high, A below it tech, B below A low; X is a stranger in tech. All have entered."""
    with database.begin() as connection:
        add_account(connection, "R", 5000, adoption=0.9)
        add_account(connection, "A", 10, adoption=0.9, parent_id="R")
        add_account(connection, "B", 500, adoption=0.9, parent_id="A")
        add_account(connection, "X", 10, adoption=0.9)
        add_csm(connection, "ann", "low", "high", max_accounts=9)
    run(database, 0)
    return database


# ---- Who is kept where -----------------------------------------------------------------------------------------------


def test_a_family_enters_the_highest_band_of_its_members(family: Engine) -> None:
    assert bands(family) == {"R": "high", "A": "high", "B": "high", "X": "tech"}
    with family.connect() as connection:
        rows = {row.account_id: row for row in connection.execute(select(band_history))}
    assert (rows["A"].move, rows["A"].rule) == ("enter", FAMILY)
    assert rows["A"].reason == (
        "Entered high: R of its family is in high; by itself it would be in tech, as its value of $10 is under $100,"
        " where low starts."
    )
    assert rows["B"].evidence["facts"]["its family"] == {
        "band": "high",
        "by": "R",
        "own_band": "low",
        "own_rule": "entry",
    }
    assert (rows["R"].move, rows["R"].rule) == ("enter", "entry")


def test_who_grows_takes_its_family_along_in_the_same_run(database: Engine) -> None:
    with database.begin() as connection:
        for account_id, arr in (("R", 10), ("A", 500)):
            add_account(connection, account_id, arr, parent_id=None if account_id == "R" else "R")
        add_csm(connection, "ann", "low", "high", max_accounts=9)
    run(database, 0)
    assert bands(database) == {"R": "low", "A": "low"}
    change(database, "A", arr=5000)
    told = run(database, 1)
    assert told == {
        "A": "Graduated from low to high: its value of $5,000 carries high.",
        "R": "Lifted from low to high: A of its family is in high.",
    }
    assert run(database, 2) == {}


def test_the_standalone_and_strangers_are_left_where_they_are(family: Engine) -> None:
    with family.begin() as connection:
        add_account(connection, "J", 10, parent_id="R", standalone=True)
        add_account(connection, "K", 500, parent_id="J")
    run(family, 1)
    assert {one: bands(family)[one] for one in "JKX"} == {"J": "tech", "K": "low", "X": "tech"}


def test_without_the_option_each_is_on_its_own_merits(family: Engine) -> None:
    told = run(family, 1, policy(RESTLESS))
    assert bands(family) == {"R": "high", "A": "tech", "B": "low", "X": "tech"}
    assert told["A"] == "Returned from high to tech: none of its family is in a higher band any more."
    assert run(family, 2, policy(RESTLESS)) == {}


# ---- How they come down again ----------------------------------------------------------------------------------------


def test_when_the_highest_shrinks_its_family_comes_down_as_far_as_the_next_highest(family: Engine) -> None:
    change(family, "R", arr=20)
    told = run(family, 1)
    assert bands(family) == {"R": "low", "A": "low", "B": "low", "X": "tech"}
    assert told == {
        "R": "Demoted from high to low: its value of $20 is under $1,000; by itself it would be in tech, but B of its"
        " family is in low.",
        "A": "Returned from high to low: B of its family is in low, and nobody of it in a higher band any more.",
        "B": "Returned from high to low: none of its family is in a higher band any more.",
    }
    change(family, "B", status="churned")
    run(family, 2)
    assert bands(family) == {"R": "tech", "A": "tech", "X": "tech"}


@pytest.mark.parametrize("fields", [{"status": "churned"}, {"standalone": True}])
def test_when_the_highest_leaves_the_family_the_others_return(family: Engine, fields: dict[str, Any]) -> None:
    change(family, "R", **fields)
    run(family, 1)
    # What hangs below a parent that has left is still a family; below one that stands alone A is the root.
    assert {one: bands(family)[one] for one in "AB"} == {"A": "low", "B": "low"}
    change(family, "B", parent_id=None)
    run(family, 2)
    assert {one: bands(family)[one] for one in "AB"} == {"A": "tech", "B": "low"}


def test_a_demotion_that_the_family_holds_up_is_told_and_takes_effect_when_the_family_falls(family: Engine) -> None:
    change(family, "A", arr=7000)
    assert run(family, 1) == {"A": "Stays in high: its value of $7,000 carries high."}
    change(family, "A", arr=30)
    assert run(family, 2) == {
        "A": "Stays in high: R of its family is in high; by itself it would be in tech, as its value of $30 is under"
        " $1,000."
    }
    assert run(family, 3) == {}
    change(family, "R", arr=20)
    told = run(family, 4)
    assert bands(family) == {"R": "low", "A": "low", "B": "low", "X": "tech"}
    assert (
        told["A"] == "Returned from high to low: B of its family is in low, and nobody of it in a higher band any more."
    )


def test_what_shrank_while_its_family_held_it_is_judged_once_it_is_back(family: Engine) -> None:
    change(family, "B", arr=20)
    assert run(family, 1) == {}
    change(family, "R", status="churned")
    run(family, 2)
    assert bands(family) == {"A": "low", "B": "low", "X": "tech"}
    assert run(family, 3) == {
        "A": "Returned from low to tech: none of its family is in a higher band any more.",
        "B": "Demoted from low to tech: its value of $20 is under $100.",
    }


def test_an_account_that_earned_the_band_by_then_keeps_it(family: Engine) -> None:
    change(family, "B", arr=6000)
    change(family, "R", arr=20)
    told = run(family, 1)
    assert bands(family) == {"R": "high", "A": "high", "B": "high", "X": "tech"}
    assert told["B"] == "Stays in high: its value of $6,000 carries high."
    assert told["R"].startswith("Stays in high: B of its family is in high; by itself it would be in tech, as")
    assert "A" not in told


# ---- Pins, interventions, settling -----------------------------------------------------------------------------------


def test_a_pinned_account_stays_where_it_is_pinned_and_its_band_counts_for_the_family(family: Engine) -> None:
    with family.begin() as connection:
        add_pin(connection, "R", band="low", pinned_at=AS_OF)
        add_pin(connection, "X", band="high", pinned_at=AS_OF)
        connection.execute(update(accounts).where(accounts.c.account_id == "X").values(parent_id="A"))
    told = run(family, 1)
    assert bands(family) == {"R": "low", "A": "high", "B": "high", "X": "high"}
    assert set(told) == {"R", "X"}
    with family.begin() as connection:
        connection.execute(text("UPDATE pins SET band = 'tech' WHERE account_id = 'X'"))
    run(family, 2)
    assert bands(family) == {"R": "low", "A": "low", "B": "low", "X": "tech"}


def test_an_intervention_lifts_the_one_that_it_is_for(database: Engine) -> None:
    with database.begin() as connection:
        add_account(connection, "R", 500, adoption=0.9)
        add_account(connection, "A", 500, adoption=0.9, parent_id="R")
        add_csm(connection, "ann", "low", "high", max_accounts=9)
    run(database, 0)
    change(database, "A", adoption=0.1)
    run(database, 1)
    assert bands(database) == {"R": "low", "A": "high"}


def test_an_account_that_moved_in_the_week_is_seen_to_on_the_next_run(family: Engine) -> None:
    change(family, "X", arr=500)
    run(family, 1)
    assert bands(family)["X"] == "low"
    change(family, "X", parent_id="R")
    result = recompute(family, policy(TOGETHER), AS_OF + WEEK + timedelta(days=3), dry_run=False)
    assert result.status == "nothing"
    assert run(family, 2) == {"X": "Lifted from low to high: R of its family is in high."}


RENEWALS = read_policy(
    POLICY.split("[[rules]]")[0]
    + """
[[rules]]
name = "renewed"
move = "demote"
when = "days_until(renewal_on) < 0"
to = "low"
from = ["high"]
because = "it renewed on {renewal_on}"

[[rules]]
name = "renews"
move = "graduate"
when = "days_until(renewal_on) between 0 and 30"
to = "high"
from = ["low"]
because = "it renews on {renewal_on}"
"""
    + TOGETHER,
    source="the test's policy",
)
"""Whoever is about to renew is in high: a band that comes and goes with the weeks while no fact changes."""


def test_who_rose_and_fell_with_its_family_rises_again_only_when_something_is_new(database: Engine) -> None:
    today = AS_OF.date()
    with database.begin() as connection:
        add_account(connection, "P", 500, renewal_on=today + timedelta(weeks=5))
        add_account(connection, "Q", 500, parent_id="P", renewal_on=today + timedelta(weeks=20))
        add_account(connection, "C", 500, parent_id="P")
        add_csm(connection, "ann", "low", "high", max_accounts=9)
    in_high = {week: _in_high(database, week) for week in range(18)}
    assert in_high[0] == set()
    assert in_high[1] == in_high[5] == {"P", "Q", "C"}
    assert in_high[6] == in_high[15] == set()
    # Q was in high for its family's sake, so it has risen and fallen; nothing that is known is new to it.
    assert in_high[16] == in_high[17] == set()
    change(database, "C", seats=5)
    assert _in_high(database, 18) == set(), "no condition of the policy reads seats"
    change(database, "C", arr=501)
    # Of Q's own facts none is new; but were it to rise, its family would go with it.
    assert _in_high(database, 19) == set()
    change(database, "Q", arr=501)
    assert _in_high(database, 20) == {"P", "Q", "C"}


def _in_high(engine: Engine, week: int) -> set[str]:
    run(engine, week, RENEWALS)
    return {account_id for account_id, band in bands(engine).items() if band == "high"}


# ---- Calm ------------------------------------------------------------------------------------------------------------


def family_world(seed: int, accounts: int = 40, *, still: bool = False) -> World:
    """A frozen world whose policy keeps families together; `still`: it reads nothing that changes with time."""
    r = seeded(f"families {seed}")
    allowed = static if still else lambda condition: True
    while True:
        chosen = random_policy(r, allows=allowed)
        if not still or static(chosen.value):
            break
    chosen = replace(chosen, owners=replace(chosen.owners, families="highest_band"))
    return frozen(random_world(r, chosen, accounts))


@pytest.mark.parametrize("seed", seeds(24, some=4))
def test_on_frozen_facts_nobody_of_a_family_goes_up_down_and_up_again_whatever_the_policy(seed: int) -> None:
    world = family_world(seed)
    steps = replay(world, WEEKS)
    assert not restless(world.policy, steps), policy_text(world.policy)


@pytest.mark.parametrize("seed", seeds(12, some=3))
def test_where_nothing_changes_with_time_families_come_to_rest(seed: int) -> None:
    world = family_world(100 + seed, still=True)
    steps = replay(world, 90)
    assert not steps or last_week(steps) < 60, policy_text(world.policy)


def test_the_replays_see_families_rise_and_fall() -> None:
    """The properties above are not empty."""
    lifted = returned = 0
    for seed in range(8):
        for moves in replay(family_world(seed), 60).values():
            by_family = [step.move for step in moves if step.rule == FAMILY]
            lifted += "intervene" in by_family or "enter" in by_family
            returned += "return" in by_family
    assert lifted >= 50
    assert returned >= 20


@pytest.mark.parametrize("seed", seeds(8, some=2))
def test_a_second_run_over_families_at_the_same_instant_changes_nothing(connection: Connection, seed: int) -> None:
    world = family_world(200 + seed, 150)
    store(connection, world)
    standing = {row.account_id: row for row in world.coverage}
    first = {made.account_id: made for made in decide(connection, world.policy, world.as_of)}
    after = {
        account: row
        for account, made in first.items()
        if (row := carried_out(standing.get(account), made, world.policy, world.as_of))
    }
    store_coverage(connection, after.values(), [account for account, made in first.items() if made.to_band is None])
    for made in decide(connection, world.policy, world.as_of):
        assert made.outcome not in ("move", "state"), policy_text(world.policy)
        assert made == first[made.account_id]


def test_after_a_run_nobody_is_under_its_family_but_who_is_left_alone(company: Engine) -> None:
    """Of the sample company: in each family all who are not pinned stand in one band after the first run."""
    recompute(company, TOGETHER_BY_DEFAULT, DEMO_AS_OF, dry_run=False)
    assert_sound(company)
    with company.connect() as connection:
        rows = connection.execute(select(members_with_bands())).all()
    seen: dict[str, set[str]] = {}
    for row in rows:
        seen.setdefault(row.family, set()).add(row.band)
    assert len(seen) >= 10
    assert {len(found) for found in seen.values()} == {1}


def members_with_bands() -> Any:
    kin = select_kin(accounts).subquery("kin")
    pinned = select(pins.c.account_id).where(pins.c.band.is_not(None))
    return (
        select(kin.c.family, coverage.c.band)
        .join(coverage, coverage.c.account_id == kin.c.account_id)
        .where(kin.c.account_id.not_in(pinned))
        .subquery()
    )


# ---- What it costs, and how it is told -------------------------------------------------------------------------------

TOGETHER_BY_DEFAULT = replace(
    default_policy(), guards=NO_GUARDS, owners=replace(default_policy().owners, families="highest_band")
)


def test_without_the_option_the_statement_knows_of_no_families() -> None:
    def written(chosen: Policy) -> str:
        return str(decision_statement(chosen, DEMO_AS_OF).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]

    assert not {"family", "kin", "parent_id"} & set(re.findall(r"\w+", written(default_policy())))
    assert {"family", "kin", "parent_id"} <= set(re.findall(r"\w+", written(TOGETHER_BY_DEFAULT)))


def test_what_is_explained_of_a_family_is_what_is_decided(company: Engine) -> None:
    recompute(company, TOGETHER_BY_DEFAULT, DEMO_AS_OF, dry_run=False)
    with company.begin() as connection:
        connection.execute(update(accounts).where(accounts.c.account_id.in_(_largest_relatives())).values(arr=1))
    later = DEMO_AS_OF + WEEK
    with company.connect() as connection:
        found = {one.account_id: one for one in decide(connection, TOGETHER_BY_DEFAULT, later)}
        by_family = [one for one in found.values() if one.rule == FAMILY]
        assert by_family
        for made in [*by_family, *list(found.values())[:10]]:
            told = read_judgement(connection, TOGETHER_BY_DEFAULT, made.account_id, later)
            assert told is not None
            assert told.decision == (made if made.outcome != "state" else None)
        told = read_judgement(connection, TOGETHER_BY_DEFAULT, by_family[0].account_id, later)
        assert told is not None
        assert told.family is not None


def _largest_relatives() -> Any:
    return select(coverage.c.account_id).where(coverage.c.band_rule == "entry", coverage.c.band != "tech").limit(60)


def test_the_explanation_says_who_puts_the_family_where_it_is(family: Engine) -> None:
    with family.connect() as connection:
        told = explain(connection, policy(TOGETHER), "A", AS_OF + WEEK)
        shown = io.StringIO()
        write_explanation(Page(shown), policy(TOGETHER), told, everybody=False)
    said = " ".join(shown.getvalue().split())
    assert "Its family lifts it; only the graduations are asked." in said
    assert "It belongs to the family of R, which R puts in high; by itself it would be in tech." in said
    assert "Lifted by family from tech" in said
    assert "shrunk: not asked: its family lifts it" in said


def test_no_rule_of_a_policy_can_be_called_family() -> None:
    with pytest.raises(Mistake, match="the history says `family` of an account that goes with its family"):
        read_policy(POLICY.replace('name = "grown"', 'name = "family"'), source="the test's policy")


@pytest.mark.parametrize("written", ["highest", "true"])
def test_the_option_takes_two_words(written: str) -> None:
    with pytest.raises(Mistake, match=r"owners\.families"):
        read_policy(POLICY + f'\n[owners]\nfamilies = "{written}"\n', source="the test's policy")
