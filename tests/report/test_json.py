"""The report for programs: it fits its schema, is exact, and is made piece by piece."""

import io
import json
import tracemalloc
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest

from app.plan import Plan
from app.policy.read import default_policy
from app.report.json import write_json
from tests import golden
from tests.plans import a_monday, decision, plan

POLICY = default_policy()
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "plan.schema.json").read_text(encoding="utf-8"))
RUN = UUID("0f9619ff-8b86-4d01-b42d-00cf4fc964ff")


def written(of: Plan, *, run_id: UUID | None = None, status: str = "planned") -> str:
    out = io.StringIO()
    write_json(out, POLICY, of, run_id=run_id, status=status)
    return out.getvalue()


def valid(text: str) -> Any:
    report = json.loads(text)
    jsonschema.validate(report, SCHEMA, format_checker=jsonschema.FormatChecker())
    return report


def test_a_monday_fits_the_schema_and_reads_as_it_should() -> None:
    monday = a_monday(POLICY)
    text = written(monday)
    valid(text)
    golden.check("monday.json", text.replace(POLICY.sha256, "0" * 64).replace(monday.sha256, "1" * 64))


def test_an_empty_plan_fits_the_schema() -> None:
    report = valid(written(plan(POLICY), status="nothing"))
    assert [report[name] for name in ("flows", "moves", "pending", "reviews", "contested", "waitlist", "guards")] == [
        []
    ] * 7


def test_the_keys_are_those_that_are_documented() -> None:
    report = valid(written(a_monday(POLICY), run_id=RUN, status="applied"))
    assert list(report) == SCHEMA["required"]
    assert report["run_id"] == str(RUN)
    documented = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")
    assert [key for key in report if f"| `{key}` |" not in documented] == []
    assert list(report["moves"][0]) == [
        "account_id", "from_band", "to_band", "move", "rule", "reason", "evidence", "from_owner_id", "to_owner_id"
    ]  # fmt: skip


def test_the_schema_refuses_what_it_should() -> None:
    report = json.loads(written(a_monday(POLICY)))
    for broken in ({"status": "done"}, {"schema": 2}, {"as_of": "yesterday"}, {"flows": None}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**report, **broken}, SCHEMA)


def test_money_is_exact_to_the_cent() -> None:
    dear = decision(value=Decimal("12345678901234.56"))
    assert '"value":12345678901234.56}' in written(plan(POLICY, dear))


def test_evidence_is_passed_on_as_it_came() -> None:
    exact = decision(facts='{"value": 0.1000000000000000055511151231257827}')
    assert '"evidence":{"facts": {"value": 0.1000000000000000055511151231257827}' in written(plan(POLICY, exact))


def test_a_move_names_the_owner_it_ends_up_with() -> None:
    owners = {move["account_id"]: move["to_owner_id"] for move in valid(written(a_monday(POLICY)))["moves"]}
    assert (owners["A-0001"], owners["A-0002"], owners["A-0007"]) == ("C-2", "C-1", None)


def test_odd_ids_are_escaped() -> None:
    odd = decision('A"\\\n\u2028\x07', facts={"value": 1})
    assert valid(written(plan(POLICY, odd)))["moves"][0]["account_id"] == 'A"\\\n\u2028\x07'


def test_the_same_plan_gives_the_same_bytes() -> None:
    assert written(a_monday(POLICY)) == written(a_monday(POLICY))


def test_many_moves_need_no_more_memory_than_few() -> None:
    many = plan(POLICY, *(decision(f"A-{number:06}") for number in range(5_000)))
    assert many.sha256  # made once and kept, whatever the length

    class Nowhere(io.StringIO):
        characters = 0

        def write(self, text: str) -> int:
            Nowhere.characters += len(text)
            return len(text)

        def writelines(self, lines: Iterator[str]) -> None:  # type: ignore[override] # an iterator is what it is given
            for line in lines:
                self.write(line)

    tracemalloc.start()
    try:
        write_json(Nowhere(), POLICY, many, run_id=None, status="planned")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert Nowhere.characters > 1_500_000
    assert peak < 500_000
