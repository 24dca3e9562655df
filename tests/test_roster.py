"""The roster: families, absences, intake, circumstances, and a team whose data is not as it should be."""

from datetime import date, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, insert, select

from app.circumstances import completed, read_at_risk
from app.families import select_members
from app.intake import Intake, away_until
from app.owners import Claim
from app.pipeline import recompute
from app.planning import make_plan
from app.policy.model import Owners, Share
from app.policy.read import default_policy
from app.roster import read_families
from app.tables import accounts, coverage, csm_absences, csms, owner_history
from tests.random_expressions import seeded
from tests.small_company import AS_OF, RESTLESS, WEEK, add_account, add_csm, add_signal, assert_sound, policy, where

TODAY = AS_OF.date()
OWNERS = default_policy().owners
DAY = timedelta(days=1)


# ---- Families --------------------------------------------------------------------------------------------------------


def families(connection: Connection) -> dict[str, str]:
    return {row.account_id: row.family for row in connection.execute(select_members())}


def test_a_family_is_everybody_below_one_root(connection: Connection) -> None:
    for account_id, parent in (("R", None), ("A", "R"), ("B", "A"), ("C", "R"), ("X", None), ("L", "lost")):
        add_account(connection, account_id, parent_id=parent)
    assert families(connection) == {"R": "R", "A": "R", "B": "R", "C": "R"}


def test_who_is_marked_standalone_parts_the_family(connection: Connection) -> None:
    for account_id, parent in (("R", None), ("A", "R"), ("H", "R"), ("B", "H"), ("C", "B")):
        add_account(connection, account_id, parent_id=parent, standalone=account_id == "H")
    assert families(connection) == {"R": "R", "A": "R", "B": "B", "C": "B"}


def test_circles_and_accounts_that_are_their_own_parent_have_no_family(connection: Connection) -> None:
    """The load refuses them; a company's own table may have them."""
    for account_id, parent in (("A", "B"), ("B", "C"), ("C", "A"), ("D", "A"), ("S", "S"), ("T", "S")):
        add_account(connection, account_id, parent_id=parent)
    assert families(connection) == {"S": "S", "T": "S"}


def test_a_churned_account_is_in_no_book_but_holds_its_family_together(connection: Connection) -> None:
    add_account(connection, "R", status="churned")
    add_account(connection, "A", parent_id="R")
    add_account(connection, "B", parent_id="R")
    assert families(connection) == {"A": "R", "B": "R"}


@pytest.mark.parametrize("seed", range(8))
def test_the_families_of_some_accounts_are_those_of_all_as_far_as_they_are_in_them(
    connection: Connection, seed: int
) -> None:
    draw = seeded(seed)
    names = [f"A{number:02}" for number in range(40)]
    for number, name in enumerate(names):
        parent = draw.choice([None, None, "lost", draw.choice(names), *names[max(number - 6, 0) : number]])
        status = draw.choices(["active", "churned"], [9, 1])[0]
        add_account(connection, name, parent_id=parent, standalone=draw.random() < 0.1, status=status)
    some = draw.sample(names, 25)
    for csm_id in ("ann", "bob"):
        add_csm(connection, csm_id)
    connection.execute(
        insert(coverage),
        [
            {"account_id": name, "band": "low", "band_since": AS_OF, "band_rule": "entry", "owner_id": owner}
            for name, owner in zip(some, draw.choices(["ann", "bob", None], k=25), strict=True)
        ],
    )
    everybody, held = read_families(connection)
    assert len(everybody) > 10
    for asked in ([], ["nobody"], draw.sample(names, 1), draw.sample(names, 5), draw.sample(names, 15), names):
        theirs = {everybody[name] for name in asked if name in everybody}
        families, owned = read_families(connection, asked)
        assert families.items() >= {name: root for name, root in everybody.items() if root in theirs}.items()
        assert families.items() <= everybody.items()
        for owner_id, books in held.items():
            mine = owned.get(owner_id, {})
            assert {root: mine.get(root) for root in theirs} == {root: books.get(root) for root in theirs}


# ---- Absences and intake ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("starts", "days", "away"),
    [
        (0, 6, True),
        (0, 5, False),
        (2, 6, True),
        (3, 6, False),
        (-5, 6, True),
        (-6, 6, False),
        (-30, 60, True),
    ],
)
def test_who_is_away_for_more_than_five_days_counts_from_two_days_before(starts: int, days: int, away: bool) -> None:
    first = TODAY + starts * DAY
    found = away_until([("ann", first, first + (days - 1) * DAY)], OWNERS, TODAY)
    assert found == ({"ann": first + (days - 1) * DAY} if away else {})


def test_absences_that_follow_each_other_are_one() -> None:
    rows = [("ann", TODAY - 3 * DAY, TODAY), ("ann", TODAY + DAY, TODAY + 3 * DAY), ("bob", TODAY, TODAY + 2 * DAY)]
    assert away_until(rows, OWNERS, TODAY) == {"ann": TODAY + 3 * DAY}


def csm(**fields: Any) -> Any:
    return SimpleNamespace(**{"csm_id": "ann", "max_new_per_run": None, "hired_on": None, **fields})


def most(max_accounts: int = 40, *, first: bool = False, owners: Owners = OWNERS, **fields: Any) -> int | None:
    away = {"eve": TODAY + 9 * DAY}
    return Intake(owners, TODAY, away, first).most(csm(**fields), max_accounts)


def test_a_csm_is_given_a_quarter_of_their_book_or_five() -> None:
    assert (most(40), most(250), most(10), most(0)) == (10, 63, 5, 5)


def test_a_first_run_sets_the_books_up_without_a_limit() -> None:
    assert most(40, first=True) is None


@pytest.mark.parametrize(("weeks", "given"), [(0, 2), (1, 3), (3, 5), (6, 9), (7, 10), (8, 10), (300, 10)])
def test_a_new_hire_is_given_more_every_week(weeks: int, given: int) -> None:
    assert most(40, hired_on=TODAY - weeks * 7 * DAY) == given


def test_a_new_hire_is_limited_by_their_book_where_nothing_else_limits() -> None:
    assert most(40, first=True, hired_on=TODAY) == 5
    unlimited = Owners(90, 5, 2, None, 8, 90, 365)
    assert most(40, owners=unlimited, hired_on=TODAY) == 5
    assert most(40, owners=unlimited) is None


def test_a_number_of_their_own_holds_as_it_is_and_one_of_no_sense_is_none() -> None:
    assert most(max_new_per_run=3, hired_on=TODAY) == 3
    assert most(max_new_per_run=-3) == 0


def test_who_is_away_or_not_yet_here_is_given_nobody() -> None:
    assert most(csm_id="eve", max_new_per_run=3) == 0
    assert most(hired_on=TODAY + DAY) == 0


def test_a_ramp_of_no_weeks_is_none() -> None:
    assert most(owners=Owners(90, 5, 2, Share(Decimal("0.5")), 0, 90, 365), hired_on=TODAY) == 20


def test_who_is_away_keeps_the_book_gets_nobody_and_is_not_flooded_on_return(database: Engine) -> None:
    with database.begin() as connection:
        add_account(connection, "A", 500)
        add_csm(connection, "ann", "low", max_new_per_run=2)
    recompute(database, policy(), AS_OF, dry_run=False)
    with database.begin() as connection:
        absence = {"csm_id": "ann", "starts_on": TODAY + 8 * DAY, "ends_on": TODAY + 20 * DAY}
        connection.execute(insert(csm_absences).values(absence))
        connection.execute(csms.update().values(max_accounts=9))
        for name in "BCDE":
            add_account(connection, name, 500)
    owners = []
    for weeks in (1, 2, 3, 4):
        recompute(database, policy(), AS_OF + weeks * WEEK, dry_run=False)
        owners.append("".join(name for name, (_, owner) in where(database).items() if owner == "ann"))
        assert_sound(database)
    assert owners == ["A", "A", "ABC", "ABCDE"]


# ---- Circumstances ---------------------------------------------------------------------------------------------------


def claim(account_id: str, **fields: Any) -> Claim:
    asked = {"why": "departure", "band": "low", "value": Decimal(1), "owner_id": "ann", **fields}
    nothing = dict.fromkeys(("segment", "region", "language", "waiting_since", "pinned_to"))
    return Claim(account_id=account_id, **{**nothing, **asked})


def test_a_claim_comes_with_its_history_its_renewal_and_its_lock(database: Engine) -> None:
    with database.begin() as connection:
        add_account(connection, "A", 500, renewal_on=date(2026, 5, 1))
        add_account(connection, "B", 500)
        for name in ("ann", "bob", "cat"):
            add_csm(connection, name, "low")
    for weeks, owner in enumerate(("ann", "bob", "ann", "cat", "ann")):
        with database.begin() as connection:
            connection.exec_driver_sql("UPDATE csms SET active = (csm_id = %s)", (owner,))
        recompute(database, policy(RESTLESS), AS_OF + weeks * WEEK, dry_run=False)
    with database.connect() as connection:
        bare = [claim("A"), claim("B", owner_id=None), claim("N"), claim("P", band="tech")]
        a, b, n, p = completed(connection, policy(), AS_OF + 10 * WEEK, bare)
        assert (a.former_owners, a.renewal_on, a.owner_since, a.locked) == (
            ("cat", "bob"),
            date(2026, 5, 1),
            AS_OF + 4 * WEEK,
            True,
        )
        assert (b.former_owners, b.locked) == (("cat", "ann", "bob"), False)
        assert (n, p) == (bare[2], bare[3])
        (later,) = completed(connection, policy(), AS_OF + 17 * WEEK, [claim("A")])
        assert not later.locked


def test_at_risk_is_what_the_policy_says_of_accounts_whose_csm_left(connection: Connection) -> None:
    add_account(connection, "A", 500)
    add_account(connection, "B", 500)
    add_account(connection, "C", 500)
    add_signal(connection, "A", "health", AS_OF - DAY, 30)
    add_signal(connection, "C", "health", AS_OF - DAY, 30)
    add_signal(connection, "B", "health", AS_OF - DAY, 90)
    risky = policy(**{"[signals]": '[facts]\nat_risk = "health < 50"\n\n[signals]'})
    assert read_at_risk(connection, risky, AS_OF, ["A", "B"]) == {"A"}
    assert read_at_risk(connection, risky, AS_OF, ["B"]) == frozenset()
    assert read_at_risk(connection, policy(), AS_OF, ["A", "B"]) == frozenset()
    departed, moved = completed(connection, risky, AS_OF, [claim("A"), claim("C", why="band_change")])
    assert (departed.at_risk, moved.at_risk) == (True, False)


def test_a_new_owner_stays_for_ninety_days_and_then_hands_over_what_they_do_not_serve(database: Engine) -> None:
    with database.begin() as connection:
        add_account(connection, "A", 500)
        add_csm(connection, "ann", "low")
        add_csm(connection, "bob", "high")
    recompute(database, policy(), AS_OF, dry_run=False)
    with database.begin() as connection:
        connection.execute(accounts.update().values(arr=5000))
    recompute(database, policy(), AS_OF + WEEK, dry_run=False)
    assert where(database)["A"] == ("high", "ann")
    recompute(database, policy(), AS_OF + 12 * WEEK, dry_run=False)
    assert where(database)["A"] == ("high", "ann")
    recompute(database, policy(), AS_OF + 13 * WEEK, dry_run=False)
    assert where(database)["A"] == ("high", "bob")
    with database.connect() as connection:
        last = select(owner_history.c.why).order_by(owner_history.c.changed_at.desc()).limit(1)
        assert connection.execute(last).scalar_one() == "band_change"
    assert recompute(database, policy(), AS_OF + 14 * WEEK, dry_run=False).status == "nothing"
    assert_sound(database)


# ---- A team whose data is not as it should be ------------------------------------------------------------------------


def test_what_is_wrong_with_the_team_is_told_a_line_each_and_stops_nothing(database: Engine) -> None:
    with database.begin() as connection:
        add_account(connection, "A", 500)
        add_account(connection, "H", 5000)
        add_account(connection, "O", 500)
        add_csm(connection, "ann", "low", max_accounts=0)
        add_csm(connection, "bob", "low", max_accounts=-3, email="Lee@x.org")
        add_csm(connection, "cat", "low", max_book=Decimal(0), email="lee@x.org")
        add_csm(connection, "dan", "nosuchband")
        add_csm(connection, "nan", "low", max_book=Decimal("NaN"))
        row = {"account_id": "O", "band": "low", "band_since": AS_OF - WEEK, "band_rule": "import", "owner_id": "who"}
        connection.execute(insert(coverage).values(row))
    result = recompute(database, policy(), AS_OF, dry_run=False)
    assert result.status == "applied"
    assert result.plan.notes[:7] == (
        "the CSM ann may have 0 accounts at most, so they are given nobody",
        "the CSM bob may have -3 accounts at most, so they are given nobody",
        "the CSM cat may have a book of 0.00 at most, so they are given nobody",
        "the CSMs bob and cat have one e-mail address; what one is told goes to both",
        "the CSM nan may have a book of NaN at most, so they are given nobody",
        "who owns 1 account and is none of the CSMs, so they count as one who has left",
        "no active CSM serves high, so 1 account in it cannot but wait",
    )
    assert [one.account_id for one in result.plan.waitlist] == ["H", "A", "O"] or len(result.plan.waitlist) == 3


NASTY = st.lists(
    st.fixed_dictionaries(
        {
            "bands": st.lists(st.sampled_from(["tech", "low", "high", "bronze", ""]), max_size=3),
            "segments": st.none() | st.lists(st.sampled_from(["smb", ""]), max_size=1),
            "max_accounts": st.none() | st.integers(-2, 4),
            "max_book": st.none() | st.sampled_from([Decimal(-1), Decimal(0), Decimal(600), Decimal("NaN")]),
            "max_new_per_run": st.none() | st.integers(-1, 3),
            "hired_on": st.none() | st.sampled_from([TODAY - 9 * DAY, TODAY, TODAY + 30 * DAY]),
            "active": st.booleans(),
            "email": st.none() | st.sampled_from(["", "a@x.org", "A@x.org"]),
        }
    ),
    max_size=4,
)
COMPANY = st.lists(
    st.fixed_dictionaries(
        {
            "arr": st.none() | st.sampled_from([Decimal(5), Decimal(500), Decimal(5000), Decimal("NaN"), Decimal(-5)]),
            "segment": st.none() | st.sampled_from(["smb", "ent", ""]),
            "parent": st.none() | st.integers(0, 5),
            "standalone": st.booleans(),
            "status": st.sampled_from(["active", "active", "churned"]),
            "owner": st.none() | st.integers(0, 5),
            "band": st.none() | st.sampled_from(["tech", "low", "high", "bronze"]),
        }
    ),
    min_size=1,
    max_size=6,
)


@settings(
    max_examples=25,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(team=NASTY, company=COMPANY)
def test_no_roster_however_nasty_stops_a_plan(database: Engine, team: list[Any], company: list[Any]) -> None:
    """Nobody is given more than fits, and nobody who waits has an owner."""
    with database.connect() as connection:  # never committed: each example starts from nothing
        for number, fields in enumerate(team):
            add_csm(connection, f"c{number}", **fields)
        for number, fields in enumerate(company):
            parent = f"a{fields['parent']}" if fields["parent"] is not None else None
            columns = {name: fields[name] for name in ("segment", "standalone", "status")}
            add_account(connection, f"a{number}", fields["arr"], parent_id=parent, **columns)
            if fields["band"] is not None:
                owner = f"c{fields['owner']}" if fields["owner"] is not None else None
                row = {"account_id": f"a{number}", "band": fields["band"], "band_since": AS_OF - 9 * WEEK}
                connection.execute(insert(coverage).values({**row, "band_rule": "entry", "owner_id": owner}))
        plan = make_plan(connection, policy(), AS_OF)
    for book in plan.books:
        assert book.accounts_after <= max(book.accounts_before, book.max_accounts)
        assert book.accounts_after == book.accounts_before + book.arrivals - book.departures
    waiting = [one.account_id for one in plan.waitlist]
    changed = [one.account_id for one in plan.owner_changes]
    assert len(set(waiting)) == len(waiting)
    assert len(set(changed)) == len(changed)
    assert not {one.account_id for one in plan.owner_changes if one.to_owner_id} & set(waiting)
