"""`bandshift rebalance`, from its options to its exit codes."""

import json

import pytest
from sqlalchemy import Engine, text

from tests.cli.conftest import Run

LATER = "2027-03-29T06:00Z"
"""Long enough after the first run for its owners to be movable. In the future, so only a dry run can look at it."""


def test_a_dry_run_proposes_no_more_moves_than_asked_for_and_writes_nothing(
    bandshift_settled: Run, settled: Engine
) -> None:
    with settled.begin() as connection:
        connection.execute(text("UPDATE csms SET max_accounts = 500, max_new_per_run = NULL"))
        before = connection.execute(text("SELECT count(*) FROM runs")).scalar_one()
    ended = bandshift_settled("rebalance", "--max-moves", "1", "--dry-run", "--as-of", LATER, "--format", "json")
    told = json.loads(ended.out)
    assert told["status"] in {"planned", "blocked"}
    assert ended.code == {"planned": 0, "blocked": 3}[told["status"]]
    assert [change["why"] for change in told["owner_changes"]] == ["rebalance"]
    with settled.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM runs")).scalar_one() == before


def test_asked_for_nothing_it_does_nothing_and_the_future_is_refused(bandshift_settled: Run) -> None:
    nothing = bandshift_settled("rebalance", "--max-moves", "0", "--dry-run", "--as-of", "2026-11-16T06:00Z")
    assert nothing.code == 0
    assert nothing.out.startswith("Rebalance: 0 accounts with another owner\n")
    assert bandshift_settled("rebalance", "--as-of", "2190-01-01").code == 2


@pytest.mark.parametrize("moves", ["-1", "many"])
def test_a_number_of_moves_that_is_none_exits_2(bandshift_settled: Run, moves: str) -> None:
    assert bandshift_settled("rebalance", "--max-moves", moves).code == 2
