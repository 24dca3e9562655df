"""The coverage file: present bands and owners come in once, with their history; then bandshift keeps them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from app import doctor
from app.pipeline import recompute
from app.policy.model import Guards
from app.policy.read import default_policy
from tests.load.conftest import INSTANT, Loader, counts

ACCOUNTS = "account_id,arr\nA1,60000\nA2,\nA3,8000\nA4,9000\n"
CSMS = "csm_id,name,bands\nann,Ann,low;high\nbob,Bob,low\n"
HEADER = "account_id,band,band_since,owner_id,owner_since\n"
UNGUARDED = replace(default_policy(), guards=Guards(None, None, None, None, None, 0, None))
"""Four accounts are too few for shares of the whole to mean anything."""
JANUARY = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture
def company(loader: Loader) -> Loader:
    loader(accounts=ACCOUNTS, csms=CSMS)
    return loader


def findings(engine: Engine) -> dict[str, Any]:
    """What the doctor holds against the tables."""
    with engine.connect() as connection:
        return {finding.code: finding.offenders for finding in doctor.examine(connection) if finding.count}


def test_bands_and_owners_come_in_with_their_history_under_one_run(company: Loader, database: Engine) -> None:
    result = company(
        coverage=HEADER + "A1,high,2026-01-05,ann,2025-06-01\nA2,tech,,,\nA3,low,2026-01-05,bob,\nA4,low,2026-01-05,,\n"
    )
    assert counts(result, "coverage").inserted == 4
    june = datetime(2025, 6, 1, tzinfo=UTC)
    assert company.rows(
        "SELECT account_id, band, band_since, band_rule, owner_id, owner_since, first_owned_at, waiting_since, "
        "has_risen FROM coverage ORDER BY 1"
    ) == [
        ("A1", "high", JANUARY, "import", "ann", june, june, None, False),
        ("A2", "tech", INSTANT, "import", None, None, None, None, False),
        ("A3", "low", JANUARY, "import", "bob", JANUARY, JANUARY, None, False),
        ("A4", "low", JANUARY, "import", None, None, None, INSTANT, False),
    ]
    assert company.rows(
        "SELECT account_id, changed_at, from_band, to_band, move, rule, from_owner_id, to_owner_id, policy_sha, reason "
        "FROM band_history ORDER BY 1"
    ) == [
        ("A1", JANUARY, None, "high", "enter", "import", None, "ann", None,
         "it was imported from coverage.csv, in high with ann"),
        ("A2", INSTANT, None, "tech", "enter", "import", None, None, None,
         "it was imported from coverage.csv, in tech with no owner"),
        ("A3", JANUARY, None, "low", "enter", "import", None, "bob", None,
         "it was imported from coverage.csv, in low with bob"),
        ("A4", JANUARY, None, "low", "enter", "import", None, None, None,
         "it was imported from coverage.csv, in low with no owner"),
    ]  # fmt: skip
    assert company.rows(
        "SELECT account_id, changed_at, from_owner_id, to_owner_id, why FROM owner_history ORDER BY 1"
    ) == [
        ("A1", june, None, "ann", "import"),
        ("A3", JANUARY, None, "bob", "import"),
    ]
    assert company.rows("SELECT kind, status, as_of, slot, policy_sha, counts FROM runs") == [
        ("import", "applied", INSTANT, None, None, {"moves": 4, "owner_changes": 2})
    ]
    assert findings(database) == {}


def test_a_week_after_the_import_the_rules_take_over_and_every_invariant_holds(
    company: Loader, database: Engine
) -> None:
    company(coverage=HEADER + "A1,low,2026-01-05,ann,\nA2,tech,,,\nA3,low,2026-01-05,bob,\nA4,low,2026-01-05,,\n")
    for week in (1, 2, 3):
        result = recompute(database, UNGUARDED, INSTANT + timedelta(weeks=week), dry_run=False)
        assert result.status in ("applied", "nothing")
        assert findings(database) == {}
    assert company.rows("SELECT band, band_rule FROM coverage WHERE account_id = 'A1'") == [("high", "value_gained")]


def test_loading_coverage_that_is_so_already_changes_nothing_and_makes_no_run(company: Loader) -> None:
    file = HEADER + "A1,high,2026-01-05,ann,\nA2,tech,,,\n"
    company(coverage=file)
    again = counts(company(coverage=file, instant=INSTANT + timedelta(days=9)), "coverage")
    assert (again.inserted, again.unchanged) == (0, 2)
    without_owners = counts(company(coverage="account_id,band\nA1,high\n"), "coverage")
    assert (without_owners.inserted, without_owners.unchanged) == (0, 1)
    assert company.rows("SELECT count(*) FROM runs") == [(1,)]
    assert company.rows("SELECT count(*) FROM band_history") == [(2,)]
    more = counts(company(coverage=file + "A3,low,,bob,\n", instant=INSTANT + timedelta(days=9)), "coverage")
    assert (more.inserted, more.unchanged) == (1, 2)


def test_coverage_that_bandshift_keeps_is_not_changed_by_a_file(company: Loader) -> None:
    company(coverage=HEADER + "A1,high,,ann,\nA2,tech,,,\n")
    advice = "bandshift keeps its coverage now; to move it, use a pin"
    assert company.mistakes(coverage=HEADER + "A1,low,,ann,\nA2,low,,bob,\n") == [
        f'coverage.csv:2: band: "low" is not where the account stands, high with ann: {advice}',
        f'coverage.csv:3: band: "low" is not where the account stands, tech with no owner: {advice}',
    ]
    assert company.mistakes(coverage=HEADER + "A1,high,,bob,\n") == [
        f'coverage.csv:2: band: "high" is not where the account stands, high with ann: {advice}'
    ]


def test_bands_owners_and_dates_have_to_be_right(company: Loader) -> None:
    rows = (
        "A1,hihg,,ann,\nA2,tech,,ann,\nA3,low,,zoe,\nA9,low,,ann,\nA4,low,2026-03-03,ann,\n",
        "A1,low,,,2026-01-05\nA1,low,,ann,\n",
    )
    assert company.mistakes(coverage=HEADER + rows[0]) == [
        'coverage.csv:2: band: "hihg" is no band of policy default, which has tech, low, high, strategic',
        'coverage.csv:3: owner_id: "ann" owns an account of tech, a band that the pool serves',
        'coverage.csv:4: owner_id: "zoe" is the id of no CSM that is loaded',
        'coverage.csv:5: account_id: "A9" is the id of no account that is loaded',
        (
            'coverage.csv:6: band_since: "2026-03-03 00:00:00+00" lies after the moment of loading, '
            "2026-03-02T06:00:00+00:00"
        ),
    ]
    assert company.mistakes(coverage=HEADER + rows[1]) == [
        'coverage.csv:2: owner_since: "2026-01-05 00:00:00+00" is the date of an owner that the row does not name',
        'coverage.csv:3: account_id: "A1" is already on line 2',
    ]
    assert company.rows("SELECT count(*) FROM coverage") == [(0,)]


def test_an_account_that_left_comes_back_only_after_it_left(company: Loader, database: Engine) -> None:
    company(coverage=HEADER + "A1,high,2026-01-05,ann,\n")
    with database.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = 'churned' WHERE account_id = 'A1'"))
    left = INSTANT + timedelta(weeks=1)
    assert recompute(database, UNGUARDED, left, dry_run=False).status == "applied"
    later = left + timedelta(days=1)
    assert company.mistakes(coverage=HEADER + "A1,high,2026-02-01,ann,\n", instant=later) == [
        (
            'coverage.csv:2: band_since: "2026-02-01 00:00:00+00" is before the last change in the account\'s '
            "history, on "
            "2026-03-09; leave it empty"
        )
    ]
    company(coverage=HEADER + "A1,high,,ann,\n", instant=later)
    assert findings(database) == {}
