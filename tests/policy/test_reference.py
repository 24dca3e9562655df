"""docs/policy.md names everything that a policy may say, and its example is a policy."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel
from sqlalchemy import Connection

from app.policy.cases import CaseShape, read_cases
from app.policy.catalogue import BUILT_IN, UNITS
from app.policy.check import check, warn
from app.policy.expressions import Type
from app.policy.read import read_policy, read_shape
from app.policy.refusals import FUNCTIONS
from app.policy.shape import PolicyShape
from app.rehearsal import run_cases

REFERENCE = (Path(__file__).parents[2] / "docs" / "policy.md").read_text(encoding="utf-8")


def keys_of(model: type[BaseModel]) -> Iterator[str]:
    """Every key of a table of the file and of the tables in it."""
    for name, field in model.model_fields.items():
        yield field.alias or name
        for inside in models_in(field.annotation):
            yield from keys_of(inside)


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inside in getattr(annotation, "__args__", ()):
        yield from models_in(inside)


KEYS = sorted({*keys_of(PolicyShape), *keys_of(CaseShape)})


def test_the_keys_are_found_at_every_depth() -> None:
    assert {"bands", "cost_ratio", "accounts_per_csm", "days_ago", "despite", "share", "held_by", "expr"} <= set(KEYS)


@pytest.mark.parametrize("word", [*KEYS, *BUILT_IN, *FUNCTIONS, *UNITS, *(type_.value for type_ in Type)])
def test_the_reference_names_every_word_of_the_language(word: str) -> None:
    assert re.search(rf"(?<![a-z_]){word}(?![a-z_])", REFERENCE)


def test_the_example_of_the_reference_is_a_policy_whose_cases_hold(connection: Connection) -> None:
    [example] = re.findall(r"```toml\n(name = .*?)```", REFERENCE, re.DOTALL)
    policy = read_policy(example, source="docs/policy.md")
    assert (check(policy), warn(policy)) == ((), ())
    cases = read_cases(read_shape(example, source="docs/policy.md").cases, policy, source="docs/policy.md")
    assert run_cases(connection, policy, cases) == ()
