"""The policies that come with bandshift: the default one, and those that real teams publish."""

import json
import tomllib
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sqlalchemy import Connection

from app.policy.cases import read_cases
from app.policy.check import check, warn
from app.policy.read import load_policy, read_shape
from app.policy.schema import policy_schema, schema_text
from app.rehearsal import run_cases

ROOT = Path(__file__).parents[2]
PUBLISHED = sorted((ROOT / "policies").glob("*.toml"))
SHIPPED = [ROOT / "app" / "policy" / "default.toml", *PUBLISHED]

each_policy = pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)


def test_three_published_policies_are_there() -> None:
    assert [path.stem for path in PUBLISHED] == ["gitlab-2026", "gitlab-fy21", "posthog-2026"]


@each_policy
def test_a_shipped_policy_raises_neither_alarm_nor_warning(path: Path) -> None:
    policy = load_policy(path)
    assert check(policy) == ()
    assert warn(policy) == ()


@pytest.mark.long
@each_policy
def test_the_cases_of_a_shipped_policy_come_out_as_they_say(path: Path, connection: Connection) -> None:
    policy = load_policy(path)
    cases = read_cases(read_shape(policy.body, source=path.name).cases, policy, source=path.name)
    assert len(cases) >= 12
    assert run_cases(connection, policy, cases) == ()


@each_policy
def test_the_cases_of_a_shipped_policy_show_every_rule(path: Path) -> None:
    policy = load_policy(path)
    cases = read_cases(read_shape(policy.body, source=path.name).cases, policy, source=path.name)
    assert {case.shape.expect.rule for case in cases} >= policy.rule.keys()


def test_the_schema_that_editors_find_is_the_one_that_the_shapes_give() -> None:
    committed = (ROOT / "policies" / "policy.schema.json").read_text(encoding="utf-8")
    assert committed == schema_text(), "run: bandshift policy schema --output policies/policy.schema.json"


def _as_json(value: Any) -> Any:
    """What an editor hands to a JSON Schema: TOML's dates and times as text."""
    match value:
        case dict():
            return {key: _as_json(each) for key, each in value.items()}
        case list():
            return [_as_json(each) for each in value]
        case datetime() | date() | time():
            return value.isoformat()
    return value


@each_policy
def test_a_shipped_policy_fits_the_schema(path: Path) -> None:
    jsonschema.Draft202012Validator(policy_schema()).validate(_as_json(tomllib.loads(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"bandz": []}, "$"),
        (
            {"rules": [{"name": "up", "move": "promote", "when": "true", "to": "next", "because": "it"}]},
            "$.rules[0].move",
        ),
        ({"economics": {"cost_ratio": 10}}, "$.economics.cost_ratio"),
        ({"guards": {"moved_arr": True}}, "$.guards.moved_arr"),
        ({"cases": [{"name": "x", "account": {}, "expect": {"outcome": "moved"}}]}, "$.cases[0].expect.outcome"),
    ],
)
def test_the_schema_marks_a_mistake_while_one_types(change: dict[str, Any], where: str) -> None:
    policy = _as_json(tomllib.loads(SHIPPED[0].read_text(encoding="utf-8"))) | change
    errors = jsonschema.Draft202012Validator(json.loads(schema_text())).iter_errors(policy)
    assert [error.json_path for error in errors] == [where]
