"""The SQL decides as the oracle does: random policies over random accounts, over two runs in a row.

The seeded worlds are the volume (over 100,000 account decisions in CI, a tenth of them elsewhere: tests/examples.py);
Hypothesis's worlds are small, and shrink.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from sqlalchemy import Connection

from app.decide import decide
from app.demo import DEMO_AS_OF, DEMO_SEED, fill
from app.plan import Decision
from app.policy.catalogue import BUILT_IN
from app.policy.expressions import Arithmetic, Call, Compare, Expression, Fact, Negative, Type
from app.policy.model import EARNED, FAMILY, NEXT, PREVIOUS, Families, Measure, Policy, Rule
from app.policy.read import default_policy, load_policy
from tests import oracle
from tests.examples import seeds
from tests.in_postgres import carried_out, differences, read_world, store
from tests.oracle import Expected
from tests.oracle_expressions import parts
from tests.oracle_rows import Account
from tests.oracle_rules import what_is_read
from tests.policy_text import policy_text
from tests.random_accounts import World, crowd, seeded_world
from tests.random_expressions import AS_OFS, fact, number, seeded
from tests.random_policies import random_policy
from tests.strategies import worlds

CHUNKS, POLICIES_PER_CHUNK, ACCOUNTS = 20, 10, 260
SEEDS = range(CHUNKS * POLICIES_PER_CHUNK)


def test_the_volume_is_at_least_a_hundred_thousand_decisions() -> None:
    assert len(SEEDS) * ACCOUNTS * 2 >= 100_000
    assert len(SEEDS) >= 200


@pytest.mark.long
@pytest.mark.parametrize("chunk", seeds(CHUNKS, some=2))
def test_the_sql_decides_as_the_oracle_does(connection: Connection, chunk: int) -> None:
    for seed in SEEDS[chunk * POLICIES_PER_CHUNK : (chunk + 1) * POLICIES_PER_CHUNK]:
        compare_two_runs(connection, seeded_world(seed, ACCOUNTS), seeded(seed), f"seed {seed}")


@pytest.mark.long
@settings(
    max_examples=len(seeds(40, some=8)),
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
@given(world=worlds())
def test_the_sql_decides_small_worlds_as_the_oracle_does(connection: Connection, world: World) -> None:
    compare_two_runs(connection, world, seeded(0), "a world of Hypothesis's")


def test_division_rounds_once_and_halves_go_away_from_zero(connection: Connection) -> None:
    """Values at the edges of what Postgres's own division keeps: long quotients, halves at the sixth decimal."""
    quotient = Arithmetic("/", fact("arr"), Arithmetic("*", fact("expansion_arr"), number("1000.0000001")))
    small = Arithmetic("/", fact("arr"), Arithmetic("*", fact("expansion_arr"), number(2_000_000)))
    pairs = [("9999999999999999.99", "0.03"), ("1", "3"), ("-2", "3"), ("1", "1"), ("-1", "1"), ("3", "1"), ("1", "0")]
    pairs += [("9999999999999999", "7"), ("-9999999999999999.99", "9999999999999999.99"), ("0.01", "9999999999999999")]
    rows = [
        Account(f"a{place}", currency="USD", arr=Decimal(arr), expansion_arr=Decimal(more))
        for place, (arr, more) in enumerate(pairs)
    ]
    for value in (quotient, small, Call("round", (quotient, number(2)), Type.NUMBER), Negative(small)):
        policy = replace(default_policy(), value=value)
        compare(connection, stored(connection, World(policy, AS_OFS[0], tuple(rows), (), (), ())), "division")


def stored(connection: Connection, world: World) -> World:
    """The same world, in the tables."""
    store(connection, world)
    return world


@pytest.mark.parametrize("families", get_args(Families))
@pytest.mark.parametrize("policy", ["default", "gitlab-2026", "gitlab-fy21", "posthog-2026"])
def test_the_published_policies_decide_the_sample_company_as_the_oracle_does(
    connection: Connection, policy: str, families: Families
) -> None:
    fill(connection, accounts=len(seeds(1000, some=400)), seed=DEMO_SEED, as_of=DEMO_AS_OF)
    read = default_policy() if policy == "default" else load_policy(Path("policies", f"{policy}.toml"))
    read = replace(read, owners=replace(read.owners, families=families))
    world = read_world(connection, read, DEMO_AS_OF)
    compare_two_runs(connection, world, seeded(policy), policy)


# ---- Comparing -------------------------------------------------------------------------------------------------------


def compare_two_runs(connection: Connection, world: World, r: Random, name: str) -> None:
    """A run, its effect, a week in which some rows change, and another run: the SQL and the oracle agree on both."""
    store(connection, world)
    expected, decided = compare(connection, world, f"{name}, first run")
    before = {row.account_id: row for row in world.coverage}
    ours = oracle.apply_naively(before, expected.values())
    theirs = dict(before)
    for account_id, decision in decided.items():
        after = carried_out(before.get(account_id), decision, world.policy, world.as_of)
        theirs.pop(account_id, None)
        if after is not None:
            theirs[account_id] = after
    later = a_week_later(world, r)
    store(connection, replace(later, coverage=tuple(theirs.values())))
    compare(connection, replace(later, coverage=tuple(ours.values())), f"{name}, second run")
    connection.rollback()


def a_week_later(world: World, r: Random) -> World:
    """The same accounts six or seven days on; of some a column has changed, of others something that nobody reads."""
    drawn = crowd(r, world.policy, world.as_of)
    read = what_is_read(world.policy).columns
    accounts = []
    for account in world.accounts:
        if "arr" in read and drawn.one_in(6):
            accounts.append(replace(account, arr=drawn.money()))
        else:
            accounts.append(replace(account, name="renamed") if drawn.one_in(5) else account)
    later = world.as_of + timedelta(days=r.choice((6, 7)))
    return replace(world, as_of=later, accounts=tuple(accounts))


def compare(connection: Connection, world: World, name: str) -> tuple[dict[str, Expected], dict[str, Decision]]:
    """The decisions of both, by account id. Fails on the first account they differ on, with all known of it."""
    ordered = list(decide(connection, world.policy, world.as_of))
    decided = {decision.account_id: decision for decision in ordered}
    assert [decision.account_id for decision in ordered] == sorted(decided)
    expected = {decision.account_id: decision for decision in decisions(world)}
    for account_id in sorted(expected.keys() | decided.keys()):
        if found := differences(expected.get(account_id), decided.get(account_id)):
            both = expected.get(account_id), decided.get(account_id)
            pytest.fail(told(name, world.only(account_id), account_id, found, both), pytrace=False)
    return expected, decided


def decisions(world: World) -> list[Expected]:
    """What the oracle says of a world."""
    return oracle.decide(world.policy, world.as_of, world.accounts, world.signals, world.coverage, world.pins)


def told(
    name: str,
    world: World,
    account_id: str,
    found: list[str],
    decisions: tuple[Expected | None, Decision | None],
) -> str:
    """A mismatch, with the policy, everything known of the account, and both decisions."""
    account = next((account for account in world.accounts if account.account_id == account_id), None)
    lines = [
        f"{name}: SQL and oracle differ on {account_id}",
        *(f"  {line}" for line in found),
        "",
        policy_text(world.policy),
    ]
    lines += [f"as_of {world.as_of}", str(account), *map(str, (*world.signals, *world.coverage, *world.pins))]
    lines += ["", f"oracle: {decisions[0]}", "", f"SQL:    {decisions[1]}"]
    return "\n".join(lines)


# ---- Nothing was left out --------------------------------------------------------------------------------------------


def conditions(policy: Policy) -> list[Expression]:
    """Every node of a policy's expressions."""
    found = parts(policy.value)
    for rule in policy.rules:
        found += parts(rule.when) + (parts(rule.protect_when) if rule.protect_when else [])
    return found


@pytest.fixture(scope="module")
def policies() -> list[Policy]:
    """The policies of the seeded worlds."""
    return [random_policy(seeded(seed)) for seed in SEEDS]


@pytest.fixture(scope="module")
def nodes(policies: list[Policy]) -> list[Expression]:
    return [node for policy in policies for node in conditions(policy)]


def test_every_kind_of_expression_is_generated(nodes: list[Expression]) -> None:
    assert {type(node) for node in nodes} == set(get_args(Expression))


def test_every_function_is_generated_with_every_type_it_takes(nodes: list[Expression]) -> None:
    seen = {(node.name, node.arguments[0].type) for node in nodes if isinstance(node, Call)}
    ordered = {Type.NUMBER, Type.DATE, Type.TIMESTAMP, Type.BAND}
    wanted = {("coalesce", type_) for type_ in Type} | {("nullif", Type.NUMBER), ("nullif", Type.TEXT)}
    wanted |= {(name, type_) for name in ("greatest", "least") for type_ in ordered}
    wanted |= {("abs", Type.NUMBER), ("round", Type.NUMBER), ("lower", Type.TEXT)}
    wanted |= {(name, type_) for name in ("days_since", "days_until") for type_ in (Type.DATE, Type.TIMESTAMP)}
    assert wanted <= seen
    assert {name for name, _ in seen} == set(get_args(Call.__dataclass_fields__["name"].type))


def test_every_operator_is_generated(nodes: list[Expression]) -> None:
    assert {node.op for node in nodes if isinstance(node, Arithmetic)} == {"+", "-", "*", "/"}
    compared = {(node.op, node.left.type) for node in nodes if isinstance(node, Compare)}
    ordered = {Type.NUMBER, Type.DATE, Type.TIMESTAMP, Type.BAND}
    wanted = {(op, type_) for op in ("=", "<>", "<", "<=", ">", ">=") for type_ in ordered}
    assert compared == wanted | {(op, type_) for op in ("=", "<>") for type_ in (Type.TEXT, Type.BOOLEAN)}


def test_every_fact_is_read_by_some_rule(nodes: list[Expression]) -> None:
    read = {node.name for node in nodes if isinstance(node, Fact)}
    assert set(BUILT_IN) <= read
    assert {"nps", "plan", "sandbox", "kickoff_on", "last_login_at"} <= read


def test_every_measure_is_generated_with_and_without_each_window(policies: list[Policy]) -> None:
    signals = [signal for policy in policies for signal in policy.signals.values()]
    for measure in get_args(Measure):
        of = [signal for signal in signals if signal.measure == measure]
        assert {signal.event for signal in of} == {True, False}, measure
        assert {signal.within_days is None for signal in of} == {True, False}, measure
        assert any(signal.until_days_ago > 0 for signal in of) == (measure != "value_ago"), measure
        assert any(signal.days_ago > 0 for signal in of) == (measure == "value_ago"), measure


def test_some_kinds_of_signal_are_only_counted_and_some_are_measured_and_some_make_the_value(
    policies: list[Policy],
) -> None:
    """What is read of signals for every account and what only for those in question depends on it."""
    seen = set()
    for policy in policies:
        signals = policy.signals.values()
        state = {signal.kind for signal in signals if signal.measure in ("latest", "value_ago")}
        counted = {signal.kind for signal in signals if signal.event}
        worth = {node.name for node in parts(policy.value) if isinstance(node, Fact)} & policy.signals.keys()
        seen.add((bool(counted - state), bool(state - counted), bool(state & counted), bool(worth)))
    for place in range(4):
        assert {row[place] for row in seen} == {True, False}
    assert (True, True, True, True) in seen


def test_every_rule_option_is_generated(policies: list[Policy]) -> None:
    rules = [rule for policy in policies for rule in policy.rules]
    always = {"name", "move", "when", "because", "to", "from_bands"}
    neutral: dict[str, Any] = {
        "segments": None,
        "except_segments": frozenset(),
        "confirm_weeks": 1,
        "min_stay_weeks": 0,
        "protect_when": None,
        "overrides_hold": False,
        "despite": frozenset(),
        "grace_weeks": 0,
        "for_weeks": 0,
    }
    assert {field.name for field in fields(Rule)} == always | neutral.keys(), "a new option needs generating"
    for option, value in neutral.items():
        used = {rule.move for rule in rules if getattr(rule, option) != value}
        assert used, f"{option} was never used"
    for move in ("graduate", "demote", "intervene"):
        assert {rule.confirm_weeks for rule in rules if rule.move == move} >= {1, 2, 3}
    targets = {(rule.move, rule.to if rule.to in (EARNED, NEXT, PREVIOUS) else "band") for rule in rules}
    assert targets == {
        ("graduate", EARNED),
        ("graduate", NEXT),
        ("graduate", "band"),
        ("demote", EARNED),
        ("demote", PREVIOUS),
        ("demote", "band"),
        ("intervene", "band"),
    }
    assert {len(policy.bands) for policy in policies} == {2, 3, 4, 5}
    assert {sum(band.pooled for band in policy.bands) for policy in policies} == {1, 2}
    assert any(len(policy.floors) > 1 for policy in policies)
    assert {policy.owners.families for policy in policies} == set(get_args(Families))


@pytest.mark.long
def test_every_outcome_move_and_reason_occurs() -> None:
    outcomes: Counter[tuple[str, str]] = Counter()
    reasons: Counter[str] = Counter()
    by_family: Counter[tuple[str, str, bool]] = Counter()
    for seed in SEEDS[:100]:
        world = seeded_world(seed, ACCOUNTS)
        for decision in second_thoughts(world):
            outcomes[decision.outcome, decision.move] += 1
            reasons.update(kind_of(words) for words in decision.rules.values())
            if decision.rule == FAMILY or "its family" in decision.facts:
                by = FAMILY if decision.rule == FAMILY else "its own"
                in_place = decision.from_band == decision.to_band
                by_family[decision.move, by, in_place] += 1
    moves = ("enter", "graduate", "demote", "intervene", "return", "settle", "pin", "leave")
    assert outcomes.keys() == {
        *(("move", move) for move in moves),
        *((outcome, move) for outcome in ("pending", "review") for move in ("graduate", "demote")),
        ("pending", "intervene"),
        ("contested", "graduate"),
        ("state", ""),
    }
    assert reasons.keys() == {
        "fired",
        "review",
        "pending",
        "blocked by minimum stay",
        "blocked by grace",
        "blocked by nothing new",
        "blocked by hold",
        "blocked by a look",
        "blocked by spent",
    }
    assert min(outcomes.values()) >= 8, outcomes
    assert min(reasons.values()) >= 8, reasons
    assert by_family.keys() >= {
        ("enter", FAMILY, False),
        ("intervene", FAMILY, False),
        ("return", FAMILY, False),
        ("settle", FAMILY, True),
        ("settle", FAMILY, False),
        ("demote", "its own", False),
        ("return", "its own", False),
    }
    assert min(by_family.values()) >= 8, by_family


def second_thoughts(world: World) -> Iterator[Expected]:
    """The oracle's decisions of the two runs that are compared."""
    first = decisions(world)
    yield from first
    standing = oracle.apply_naively({row.account_id: row for row in world.coverage}, first)
    yield from decisions(replace(a_week_later(world, seeded(0)), coverage=tuple(standing.values())))


def kind_of(words: str) -> str:
    """The words of a trace without the names and numbers in them."""
    if words.startswith("pending"):
        return "pending"
    for kind in ("grace", "hold"):
        if words.startswith(f"blocked by {kind} of"):
            return f"blocked by {kind}"
    known = ("fired", "review", "blocked by minimum stay", "blocked by nothing new", "blocked by spent")
    return words if words in known else "blocked by a look"
