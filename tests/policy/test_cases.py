"""The cases of a policy: how they are read, and what a wrong one is told."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, text

from app.errors import Mistake
from app.policy.cases import read_cases
from app.policy.model import Policy
from app.policy.read import default_policy, read_policy, toml_of
from app.rehearsal import rehearse, run_cases


def told(cases: str, policy: Policy | None = None) -> list[str]:
    """What is wrong with the cases when they are read."""
    with pytest.raises(Mistake) as caught:
        read_cases(toml_of(cases, "cases.toml")["cases"], policy or default_policy(), source="cases.toml")
    return [str(problem) for problem in caught.value.problems]


def failing(connection: Connection, cases: str, policy: Policy | None = None) -> list[str]:
    """What the cases that fail say."""
    policy = policy or default_policy()
    read = read_cases(toml_of(cases, "cases.toml")["cases"], policy, source="cases.toml")
    return [str(problem) for problem in run_cases(connection, policy, read)]


def test_every_mistake_in_a_case_is_told_with_its_path() -> None:
    cases = """
    [[cases]]
    name = "many mistakes"
    account = { ar = 5, arr = "much", renewal_on = 3, last_engaged_at = 2026-01-01, status = "gone", value_rank = 3 }
    signals = [{ kind = "seat", days_ago = 3 }]
    in = { band = "hihg", held_by = "value_gained", intervention = "usage_decline" }
    pin = "top"
    expect = { rule = "value_gaind", band = "hi" }

    [[cases]]
    name = "nothing expected"
    account = {}
    expect = {}
    """
    relative = "or days from the run, as in { days_ago = 5 } or { in_days = 40 }"
    assert told(cases) == [
        "cases[0].account.ar: unknown column or attribute; did you mean `arr`?",
        "cases[0].account.arr: should be a number, without quotes",
        f"cases[0].account.renewal_on: should be a date, as in 2026-01-31, {relative}",
        "cases[0].account.last_engaged_at: should be an instant with its zone, as in 2026-01-31T06:00:00Z, " + relative,
        "cases[0].account.status: should be 'active' or 'churned'",
        "cases[0].account.value_rank: value_rank is no column of an account; give `larger_accounts` of the case",
        "cases[0].signals[0].kind: there is no signal fact of kind 'seat'; did you mean `seats`?",
        "cases[0].in.intervention_from: is missing; it says where the intervention lifted the account from",
        "cases[0].in.band: there is no band 'hihg'; did you mean `high`?",
        "cases[0].in.held_by: there is no demotion 'value_gained'",
        "cases[0].pin: there is no band 'top'",
        "cases[0].expect.rule: there is no enabled rule 'value_gaind'; did you mean `value_gained`?",
        "cases[0].expect.band: there is no band 'hi'; did you mean `high`?",
        "cases[1].expect: says nothing; give a band, rule, outcome or move",
    ]


def test_the_shape_of_a_case_is_told_first() -> None:
    cases = """
    [[cases]]
    account = {}
    as_of = 2026-01-01
    expects = { band = "low" }
    expect = { outcome = "moved" }
    """
    assert told(cases) == [
        "cases[0].name: is missing",
        "cases[0].as_of: should be an instant with its zone, as in 2026-03-30T06:00:00Z",
        "cases[0].expects: unknown key; did you mean `expect`?",
        "cases[0].expect.outcome: should be 'move', 'pending', 'review', 'contested' or 'stay'; did you mean `move`?",
    ]


def test_a_failing_case_says_what_was_expected_what_came_and_why(connection: Connection) -> None:
    cases = """
    [[cases]]
    name = "it should rise"
    account = { arr = 60_000, last_engaged_at = { days_ago = 90 } }
    in = { band = "high" }
    expect = { band = "strategic", rule = "strategic_use_case" }

    [[cases]]
    name = "right"
    account = { arr = 60_000, last_engaged_at = { days_ago = 90 } }
    in = { band = "high" }
    expect = { band = "low", rule = "quiet" }

    [[cases]]
    name = "it should not stay"
    account = { arr = 60_000 }
    in = { band = "high" }
    expect = { outcome = "move" }
    """
    first = (
        "cases[0].expect: 'it should rise': expected band strategic, rule strategic_use_case; came band low, "
        "rule quiet, outcome move, move demote; `quiet` fired; `strategic_use_case` did not fire, as it needs "
        "strategic_use_cases > 0 and strategic_importance >= 3; with cadence_days 30, quiet_days 90"
    )
    second = (
        "cases[2].expect: 'it should not stay': expected outcome move; came band high, outcome stay; "
        "no rule had anything to say"
    )
    assert failing(connection, cases) == [first, second]


def test_cases_write_nothing_and_read_no_table(connection: Connection) -> None:
    connection.execute(text("SET TRANSACTION READ ONLY"))
    connection.execute(text("SET LOCAL search_path TO pg_catalog"))
    cases = '[[cases]]\nname = "new"\naccount = { arr = 60_000 }\nexpect = { band = "high" }'
    assert failing(connection, cases) == []


def test_a_case_may_count_larger_accounts_without_meeting_the_other_cases(connection: Connection) -> None:
    body = default_policy().body.replace("earned_band > band", "earned_band > band and value_rank = 3")
    policy = read_policy(body, source="policy.toml")
    case = """
    [[cases]]
    name = "{name}"
    account = {{ arr = 60_000, last_engaged_at = {{ days_ago = 5 }} }}
    larger_accounts = {larger}
    in = {{ band = "low" }}
    expect = {{ outcome = "{outcome}" }}
    """
    cases = "".join(
        case.format(name=f"after {larger}", larger=larger, outcome="move" if larger == 2 else "stay")
        for larger in (0, 2, 3, 2)
    )
    assert failing(connection, cases, policy) == []


def test_every_state_of_an_account_can_be_given(connection: Connection) -> None:
    cases = """
    [[cases]]
    name = "left"
    account = { status = "churned" }
    in = { band = "high" }
    expect = { move = "leave", rule = "left" }

    [[cases]]
    name = "its band is gone"
    account = { arr = 60_000 }
    in = { band = "platinum" }
    expect = { move = "settle", band = "high" }

    [[cases]]
    name = "an intervention that is spent does not begin again"
    account = { arr = 20_000, renewal_on = { in_days = 60 }, adoption = 0.2 }
    in = { band = "low", spent = "renewal_rescue" }
    expect = { outcome = "stay" }

    [[cases]]
    name = "both ways at once"
    account = { arr = 30_000, strategic_importance = 5, last_engaged_at = { days_ago = 100 } }
    signals = [{ kind = "strategic_use_case", days_ago = 10 }]
    in = { band = "high" }
    expect = { outcome = "contested", band = "high", rule = "strategic_use_case" }
    """
    assert failing(connection, cases) == []


def test_the_instant_of_a_case_is_its_own(connection: Connection) -> None:
    cases = """
    [[cases]]
    name = "before"
    as_of = 2026-03-30T06:00:00Z
    account = { arr = 20_000, renewal_on = 2026-06-30, adoption = 0.1 }
    in = { band = "low" }
    expect = { outcome = "stay" }

    [[cases]]
    name = "after"
    as_of = 2026-04-06T06:00:00+02:00
    account = { arr = 20_000, renewal_on = 2026-06-30, adoption = 0.1 }
    in = { band = "low" }
    expect = { rule = "renewal_rescue" }
    """
    policy = default_policy()
    read = read_cases(toml_of(cases, "cases.toml")["cases"], policy, source="cases.toml")
    assert [each.as_of.astimezone(UTC) for each in read] == [
        datetime(2026, 3, 30, 6, tzinfo=UTC),
        datetime(2026, 4, 6, 4, tzinfo=UTC),
    ]
    assert [result.outcome for result in rehearse(connection, policy, read)] == ["stay", "move"]
