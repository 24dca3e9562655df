"""`bandshift explain`, from its options to its exit codes."""

import json
from typing import Any

import pytest
from sqlalchemy import Engine, text

from app.policy.read import default_policy
from tests.cli.conftest import Run


@pytest.fixture
def shown(bandshift_settled: Run) -> Any:
    def run(*arguments: str) -> Any:
        return bandshift_settled("explain", *arguments, "--as-of", "2026-11-23T06:00Z")

    return run


def test_the_command_shows_rules_and_candidates_within_80_columns(shown: Any, settled: Engine) -> None:
    with settled.connect() as connection:
        statement = "SELECT min(account_id) FROM coverage WHERE band = 'high' AND owner_id IS NOT NULL"
        account = connection.execute(text(statement)).scalar_one()
    ended = shown(account)
    assert ended.code == 0
    assert max(map(len, ended.out.splitlines())) <= 80
    for rule in default_policy().rules:
        assert f"\n  {rule.name}: " in ended.out
    assert "\nCandidates for high, as the books stand\n" in ended.out
    told = json.loads(shown(account, "--format", "json").out)
    assert [rule["rule"] for rule in told["band"]["rules"]] == [rule.name for rule in default_policy().rules]
    assert told["account"]["account_id"] == account
    assert told["owner"]["owner_id"] in {one["csm_id"] for one in told["owner"]["candidates"]}


def test_an_unknown_account_and_csv_exit_2(shown: Any) -> None:
    assert shown("nobody").code == 2
    assert shown("nobody", "--format", "csv").code == 2
