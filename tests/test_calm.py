"""The book is calm: what the design promises of any policy, replayed week by week on facts that do not change.

Frozen means that no row of accounts or signals is new after the first run; only the weeks go by, and what the runs
leave behind. Random policies are replayed by the oracle, which the SQL is held to; the sample company by the SQL.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from random import Random

import pytest
from sqlalchemy import Connection, Engine, select

from app.decide import decide
from app.demo import DEMO_AS_OF, DEMO_SEED, fill
from app.doctor import examine
from app.pipeline import recompute
from app.policy.expressions import And, Call, Compare, Expression, Fact
from app.policy.model import Policy, Rule, SignalFact
from app.policy.read import default_policy
from app.tables import band_history
from tests import oracle
from tests.examples import seeds
from tests.in_postgres import carried_out, read_world, store, store_coverage
from tests.oracle_expressions import parts
from tests.oracle_facts import WEEK
from tests.policy_text import policy_text
from tests.random_accounts import World, random_world, seeded_world
from tests.random_expressions import fact, number, seeded
from tests.random_policies import KINDS, NO_GUARDS, random_policy

WEEKS = 156
TIMELY = {"weeks_in_band", "quiet_days", "days_until_quarter_end", "first_owned_at"}
"""Facts that change with the weeks, or with the moves, though no row does."""


@dataclass(frozen=True, slots=True)
class Step:
    """One move of one account, in the week of the replay."""

    week: int
    move: str
    from_band: str | None
    to_band: str | None
    rule: str


Steps = Mapping[str, Sequence[Step]]


def frozen(world: World) -> World:
    """The same world without anything that happens later, and without pins."""
    return replace(world, signals=tuple(s for s in world.signals if s.occurred_at <= world.as_of), pins=())


def replay(world: World, weeks: int) -> dict[str, list[Step]]:
    """Every account's moves over so many weekly runs of the oracle."""
    steps: dict[str, list[Step]] = {}
    standing = {row.account_id: row for row in world.coverage}
    for week in range(weeks):
        as_of = world.as_of + week * WEEK
        decisions = oracle.decide(world.policy, as_of, world.accounts, world.signals, standing.values())
        for made in decisions:
            if made.outcome == "move":
                step = Step(week, made.move, made.from_band, made.to_band, made.rule)
                steps.setdefault(made.account_id, []).append(step)
        standing = oracle.apply_naively(standing, decisions)
    return steps


def direction(policy: Policy, step: Step) -> int:
    """1 up, -1 down, 0 for what is neither: entering, leaving, settling in place or out of a band that is gone."""
    if step.from_band not in policy.band or step.to_band not in policy.band:
        return 0
    by = policy.band[step.to_band or ""].rank - policy.band[step.from_band or ""].rank
    return (by > 0) - (by < 0)


def goes_up_down_and_up(policy: Policy, steps: Sequence[Step]) -> bool:
    """Whether the moves lead up, later down, and later up again."""
    seen = ""
    for step in steps:
        way = direction(policy, step)
        seen += "u" if way > 0 and seen[-1:] != "u" else "d" if way < 0 and seen.endswith("u") else ""
    return "udu" in seen


def restless(policy: Policy, steps: Steps) -> list[str]:
    """The accounts that went up, down and up again, each with its story."""
    return [f"{account}: {moves}" for account, moves in steps.items() if goes_up_down_and_up(policy, moves)]


def static(expression: Expression) -> bool:
    """Whether a condition reads nothing that the passing weeks change."""
    return not any(
        (isinstance(node, Call) and node.name in ("days_since", "days_until"))
        or (isinstance(node, Fact) and (node.name in TIMELY or node.name[:-2] in MEASURES))
        for node in parts(expression)
    )


MEASURES = ("count", "sum", "max", "min", "latest", "days_since", "value_ago")
"""How the names of random signal facts begin; their windows move with the weeks."""


def static_world(seed: int, accounts: int) -> World:
    """A world whose policy reads nothing that changes with time, frozen."""
    r = seeded(f"static {seed}")
    policy = random_policy(r, allows=static)
    while not static(policy.value):
        policy = random_policy(r, allows=static)
    return frozen(random_world(r, policy, accounts))


# ---- Never up, down and up again -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", seeds(24, some=4))
def test_on_frozen_facts_no_account_goes_up_down_and_up_again_whatever_the_policy(seed: int) -> None:
    world = frozen(seeded_world(10_000 + seed, 40))
    steps = replay(world, WEEKS)
    assert not restless(world.policy, steps), policy_text(world.policy)
    most = 3 * (len(world.policy.bands) - 1) + 2
    assert max(map(len, steps.values()), default=0) <= most, "down, up and down at the most, and in, out or settled"


def test_the_replays_see_accounts_rise_and_fall() -> None:
    """The property above is not empty: many accounts do go up and come down."""
    rose_and_fell = 0
    for seed in range(8):
        world = frozen(seeded_world(10_000 + seed, 40))
        for moves in replay(world, 40).values():
            ways = [direction(world.policy, step) for step in moves]
            rose_and_fell += 1 in ways and -1 in ways[ways.index(1) :]
    assert rose_and_fell >= 10


def test_a_restless_story_is_recognised() -> None:
    policy = default_policy()

    def story(*bands: str) -> list[Step]:
        return [Step(0, "", before, after, "") for before, after in pairwise(bands)]

    assert goes_up_down_and_up(policy, story("low", "high", "low", "high"))
    assert goes_up_down_and_up(policy, story("tech", "low", "high", "low", "tech", "low"))
    assert goes_up_down_and_up(policy, story("high", "low", "high", "high", "low", "high"))
    assert not goes_up_down_and_up(policy, story("high", "low", "high", "low", "tech"))
    assert not goes_up_down_and_up(policy, story("gone", "low", "high", "low"))


@pytest.mark.long
def test_the_sample_company_never_goes_up_down_and_up_again(connection: Connection) -> None:
    policy = default_policy()
    fill(connection, accounts=600, seed=DEMO_SEED, as_of=DEMO_AS_OF)
    steps = replay(frozen(read_world(connection, policy, DEMO_AS_OF)), WEEKS)
    assert len(steps) >= 60
    assert not restless(policy, steps)
    assert last_week(steps) < WEEKS - 52, "the book comes to rest"


@pytest.mark.long
def test_three_years_of_runs_leave_a_calm_history(database: Engine) -> None:
    policy = replace(default_policy(), guards=NO_GUARDS)
    start = datetime(2020, 1, 6, 6, tzinfo=UTC)
    with database.begin() as connection:
        fill(connection, accounts=300, seed=DEMO_SEED, as_of=start)
    for week in range(WEEKS):
        recompute(database, policy, start + week * WEEK, dry_run=False)
    with database.connect() as connection:
        rows = connection.execute(select(band_history).order_by("account_id", "changed_at")).all()
        steps: dict[str, list[Step]] = {}
        for row in rows:
            if row.changed_at >= start:
                week = (row.changed_at - start) // WEEK
                steps.setdefault(row.account_id, []).append(Step(week, row.move, row.from_band, row.to_band, row.rule))
        assert len(steps) >= 20
        assert not restless(policy, steps)
        assert last_week(steps) < WEEKS - 52
        assert [finding for finding in examine(connection) if finding.count] == []


def last_week(steps: Steps) -> int:
    """The last week in which an account moved."""
    return max(step.week for moves in steps.values() for step in moves)


# ---- A fixed point ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", seeds(12, some=3))
def test_a_second_run_at_the_same_instant_changes_nothing(connection: Connection, seed: int) -> None:
    world = seeded_world(20_000 + seed, 150)
    store(connection, world)
    standing = {row.account_id: row for row in world.coverage}
    first = {made.account_id: made for made in decide(connection, world.policy, world.as_of)}
    gone = [account for account, made in first.items() if made.to_band is None]
    after = {
        account: row
        for account, made in first.items()
        if (row := carried_out(standing.get(account), made, world.policy, world.as_of))
    }
    store_coverage(connection, after.values(), gone)
    for made in decide(connection, world.policy, world.as_of):
        assert made.outcome not in ("move", "state"), policy_text(world.policy)
        again = carried_out(after[made.account_id], made, world.policy, world.as_of)
        assert again == after[made.account_id], "counted twice"
        assert made == first[made.account_id]


@pytest.mark.parametrize("seed", seeds(12, some=3))
def test_where_nothing_changes_with_time_the_book_comes_to_rest(seed: int) -> None:
    world = static_world(seed, 60)
    steps = replay(world, 90)
    # No wait of a random policy is longer than eight weeks, and no account has more than a few moves to make.
    assert not steps or last_week(steps) < 60, policy_text(world.policy)


# ---- A signal moves an account once ----------------------------------------------------------------------------------


def on_signals_only(r: Random, policy: Policy) -> Policy:
    """The same policy, each of whose rules also asks for a signal since the last change of band."""
    counts = {f"fresh_{kind}": SignalFact(f"fresh_{kind}", kind, "count", 700, 0, 0, True) for kind in KINDS}

    def asking(rule: Rule) -> Rule:
        fresh = Compare(">", fact(r.choice(list(counts))), number(0))
        return replace(rule, when=And((fresh, rule.when)), confirm_weeks=1)

    return replace(policy, signals={**policy.signals, **counts}, rules=tuple(asking(rule) for rule in policy.rules))


@pytest.mark.parametrize("seed", seeds(12, some=3))
def test_a_signal_moves_an_account_once(seed: int) -> None:
    r = seeded(f"signals {seed}")
    world = frozen(random_world(r, on_signals_only(r, random_policy(r)), 80))
    world = replace(world, coverage=tuple(row for row in world.coverage if row.intervention is None))
    for account, moves in replay(world, 40).items():
        by_rules = [step for step in moves if step.move in ("graduate", "demote", "intervene")]
        assert len(by_rules) <= 1, f"{account}: {moves}\n{policy_text(world.policy)}"


def test_signals_do_move_accounts() -> None:
    """The property above is not empty."""
    moved = 0
    for seed in range(12):
        r = seeded(f"signals {seed}")
        world = frozen(random_world(r, on_signals_only(r, random_policy(r)), 80))
        moved += sum(step.rule in world.policy.rule for moves in replay(world, 2).values() for step in moves)
    assert moved >= 50


# ---- Look before you lift, and what is held down ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """The moves of one account where nothing changes with time."""

    policy: Policy
    account_id: str
    moves: Sequence[Step]

    def __str__(self) -> str:
        return f"{self.account_id}: {self.moves}\n{policy_text(self.policy)}"


@pytest.fixture(scope="module")
def static_stories() -> list[Told]:
    worlds = [static_world(1_000 + seed, 50) for seed in range(24)]
    return [Told(world.policy, account, moves) for world in worlds for account, moves in replay(world, 40).items()]


def test_nobody_is_lifted_only_to_be_let_go(static_stories: list[Told]) -> None:
    """Where nothing changes with time, no demotion takes away what a graduation, entering or settling gave."""
    lifted = 0
    for story in static_stories:
        for step, then in pairwise(story.moves):
            rule = story.policy.rule.get(step.rule)
            looked = step.rule == "entry" or (rule is not None and rule.move == "graduate")
            if looked and then.move == "demote":
                assert rule is not None, story
                assert then.rule in rule.despite, story
        lifted += sum(step.move == "graduate" for step in story.moves)
    assert lifted >= 50


def test_what_moved_an_account_down_keeps_it_down_while_it_is_true(static_stories: list[Told]) -> None:
    """Where nothing changes with time, only a rule that overrides the hold leads back to where an account fell from."""
    fallen = 0
    for story in static_stories:
        for place, step in enumerate(story.moves):
            if step.move != "demote":
                continue
            fallen += 1
            for then in story.moves[place + 1 :]:
                if then.move != "graduate":
                    break
                if then.to_band == step.from_band:
                    assert story.policy.rule[then.rule].overrides_hold, story
    assert fallen >= 50
