"""The cases of a policy, run through the real decision: what `bandshift policy check` rehearses.

The accounts, signals, coverage and pins of all cases are handed to the deciding statement as one JSON parameter each,
in place of the live tables, so that nothing is written and a READ ONLY transaction is enough. Cases of one instant
share a statement; only a case that counts larger accounts (`value_rank`) has one of its own, or the others would be
among them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, FromClause, Table, Text, cast, column, func, literal
from sqlalchemy.dialects.postgresql import JSONB

from app import tables
from app.decide import Sources, decide
from app.errors import Problem
from app.plan import Decision
from app.policy.cases import Case
from app.policy.describe import describe
from app.policy.expressions import facts_of
from app.policy.model import Policy

_A_WEEK_AGO = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Result:
    """What the policy makes of a case: the band after the run, and the decision unless nothing is to be said."""

    case: Case
    band: str | None
    outcome: str
    decision: Decision | None


def run_cases(connection: Connection, policy: Policy, cases: Sequence[Case]) -> tuple[Problem, ...]:
    """The cases that do not come out as they expect, in their order; nothing is written."""
    return tuple(problem for result in rehearse(connection, policy, cases) if (problem := _judged(policy, result)))


def rehearse(connection: Connection, policy: Policy, cases: Sequence[Case]) -> tuple[Result, ...]:
    """What the policy makes of each case, in their order."""
    numbered = [(f"{place:06}", case) for place, case in enumerate(cases)]
    ranked = _reads_rank(policy)

    def apart(one: tuple[str, Case]) -> tuple[datetime, str]:
        """What tells the statements apart that two cases are run in."""
        account_id, case = one
        return case.as_of, account_id if ranked else ""

    found: dict[str, Result] = {}
    for (as_of, _), group in groupby(sorted(numbered, key=apart), apart):
        together = list(group)
        decisions = {each.account_id: each for each in decide(connection, policy, as_of, _sources(policy, together))}
        found |= {account_id: _result(case, decisions.get(account_id)) for account_id, case in together}
    return tuple(found[account_id] for account_id, _ in numbered)


def _reads_rank(policy: Policy) -> bool:
    conditions = [each for rule in policy.rules for each in (rule.when, rule.protect_when) if each is not None]
    return any("value_rank" in facts_of(each) for each in conditions)


def _result(case: Case, decision: Decision | None) -> Result:
    standing = case.shape.in_.band if case.shape.in_ is not None else None
    if decision is None or decision.outcome == "state":
        return Result(case, standing, "stay", None)
    return Result(case, decision.to_band if decision.outcome == "move" else standing, decision.outcome, decision)


# ---- Stand-ins for the tables ---------------------------------------------------------------------------------------


def _sources(policy: Policy, cases: Sequence[tuple[str, Case]]) -> Sources:
    """Selectables with the rows of these cases."""
    return Sources(
        accounts=_stand_in(tables.accounts, (row for each in cases for row in _accounts(*each))),
        account_signals=_stand_in(tables.account_signals, (row for each in cases for row in _signals(*each))),
        coverage=_stand_in(tables.coverage, (row for each in cases for row in _coverage(policy, *each))),
        pins=_stand_in(tables.pins, (row for each in cases for row in _pins(*each))),
    )


def _stand_in(table: Table, rows: Iterable[Mapping[str, Any]]) -> FromClause:
    """A selectable with the table's columns and these rows, which travel as one parameter."""
    body = cast(literal(json.dumps(list(rows), default=_plain), Text), JSONB)
    columns = [column(each.name, each.type) for each in table.columns]
    return func.jsonb_to_recordset(body).table_valued(*columns, name=table.name).render_derived(with_types=True)


def _plain(value: Any) -> str:
    """A value that JSON does not have, as the text that Postgres reads it from."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"no JSON for {type(value).__name__}")


def _accounts(account_id: str, case: Case) -> Iterator[dict[str, Any]]:
    """The account, after as many of the same value as are to rank before it: ties rank by account id."""
    row = {"status": "active", "standalone": False, **case.columns, "attributes": dict(case.attributes)}
    for number in range(case.shape.larger_accounts):
        yield {**row, "account_id": f"+{account_id}-{number:06}"}
    yield {**row, "account_id": account_id}


def _signals(account_id: str, case: Case) -> Iterator[dict[str, Any]]:
    for number, given in enumerate(case.shape.signals):
        yield {
            "account_id": account_id,
            "signal_id": f"{number:06}",
            "kind": given.kind,
            "occurred_at": case.as_of - timedelta(days=given.days_ago),
            "value": given.value,
        }


def _coverage(policy: Policy, account_id: str, case: Case) -> Iterator[dict[str, Any]]:
    standing = case.shape.in_
    if standing is None:
        return
    seen = case.shape.seen_weeks
    pending = {
        rule.name: {"weeks": rule.confirm_weeks if seen is None else seen, "seen_at": case.as_of - _A_WEEK_AGO}
        for rule in policy.rules
        if rule.confirm_weeks > 1 and seen != 0
    }
    weeks_left = standing.weeks_left
    yield {
        "account_id": account_id,
        "band": standing.band,
        "band_since": case.as_of - timedelta(weeks=standing.weeks),
        "band_rule": standing.rule,
        "first_owned_at": None if standing.owned_weeks is None else case.as_of - timedelta(weeks=standing.owned_weeks),
        "held_by": standing.held_by,
        "held_from": standing.held_from,
        "intervention": standing.intervention,
        "intervention_from": standing.intervention_from,
        "intervention_until": None if weeks_left is None else case.as_of + timedelta(weeks=weeks_left),
        "spent_intervention": standing.spent,
        "pending": pending or None,
        "has_risen": False,
    }


def _pins(account_id: str, case: Case) -> Iterator[dict[str, Any]]:
    if case.shape.pin is not None:
        pinned_at, expires_at = case.as_of - _A_WEEK_AGO, case.as_of + timedelta(weeks=52)
        yield {"account_id": account_id, "pinned_at": pinned_at, "band": case.shape.pin, "expires_at": expires_at}


# ---- Expected against found -----------------------------------------------------------------------------------------


def _judged(policy: Policy, result: Result) -> Problem | None:
    """What is different from what the case expects, and why; None if nothing is."""
    expect, decision = result.case.shape.expect, result.decision
    came = {
        "band": result.band,
        "rule": decision.rule if decision else None,
        "outcome": result.outcome,
        "move": decision.move if decision else None,
    }
    wanted = expect.model_dump(exclude_none=True)
    if all(came[key] == wanted[key] for key in wanted):
        return None
    expected = ", ".join(f"{key} {wanted[key]}" for key in came if key in wanted)
    found = ", ".join(f"{key} {came[key]}" for key in came if came[key] is not None)
    what = f"{result.case.shape.name!r}: expected {expected}; came {found}; {_why(policy, result)}"
    return Problem(f"{result.case.where}.expect", what)


def _why(policy: Policy, result: Result) -> str:
    """What the rules said, and the condition of the expected rule where it said nothing."""
    decision, rule = result.decision, policy.rule.get(result.case.shape.expect.rule or "")
    evidence = decision.evidence if decision is not None else {"rules": {}, "facts": {}}
    said = [f"`{name}` {came_of}" for name, came_of in evidence["rules"].items()]
    if rule is not None and rule.name not in evidence["rules"]:
        said.append(f"`{rule.name}` did not fire, as it needs {describe(rule.when)}")
    if evidence["facts"]:
        said.append("with " + ", ".join(f"{name} {value}" for name, value in sorted(evidence["facts"].items())))
    return "; ".join(said) or "no rule had anything to say"
