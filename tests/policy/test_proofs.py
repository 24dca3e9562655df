"""What `policy check` proves is never contradicted by an account.

Random conditions are evaluated over random accounts by the naive evaluator. Whatever comes out has to be among the
ways that `app.policy.logic` thinks possible; else a lint could call a rule dead that fires.
"""

from collections import defaultdict
from collections.abc import Iterator
from random import Random

import pytest

from app.policy.domains import ANY_OTHER, Situation, natural, segments_named
from app.policy.expressions import Expression, facts_of
from app.policy.intervals import Interval
from app.policy.logic import Reasoning
from app.policy.model import Policy
from app.policy.ways import TooManyWays, Ways, both
from tests.examples import seeds
from tests.oracle_expressions import evaluate
from tests.oracle_facts import Case, Entry, Lens, Now, value_of, value_ranks
from tests.oracle_rows import Signal
from tests.random_accounts import World, seeded_world

SEEDS = 240
TRIALS_OF_A_SEED = 12


def cases(world: World) -> Iterator[Case]:
    """The active accounts that stand in a band of the policy."""
    standing = {row.account_id: row for row in world.coverage}
    happened: dict[str, list[Signal]] = defaultdict(list)
    for signal in world.signals:
        if signal.occurred_at <= world.as_of:
            happened[signal.account_id].append(signal)
    active = [account for account in world.accounts if account.status == "active"]
    ranks = value_ranks({a.account_id: value_of(world.policy, world.as_of, a, happened[a.account_id]) for a in active})
    for account in active:
        covered = standing.get(account.account_id)
        if covered is None or covered.band not in world.policy.band:
            continue
        known = happened[account.account_id]
        yield Case(world.policy, world.as_of, account, known, covered, ranks.get(account.account_id))


def situation(case: Case, lens: Lens) -> Situation:
    segment = case.account.segment
    known = segment is None or segment in segments_named(case.policy)
    return Situation(lens.band.rank, segment if known else ANY_OTHER, "entry" if isinstance(lens, Entry) else "now")


def is_natural(policy: Policy, condition: Expression, lens: Lens) -> bool:
    """Whether the account's facts are such as they are outside of tests: no negative money, no engagement to come."""
    for name in facts_of(condition) | facts_of(policy.value):
        interval, found = natural(policy, name), lens.read(name)
        if interval != Interval() and found is not None:
            if interval.low is not None and found < interval.low:  # type: ignore[operator]  # it is a number
                return False
            if interval.high is not None and found > interval.high:  # type: ignore[operator]  # it is a number
                return False
    return True


def outcome_ways(reasoning: Reasoning, condition: Expression, outcome: object) -> Ways:
    match outcome:
        case True:
            return reasoning.true(condition)
        case False:
            return reasoning.false(condition)
        case _:
            return reasoning.missing(condition)


@pytest.mark.parametrize("start", [40 * part for part in seeds(SEEDS // 40, some=3)])
def test_every_outcome_of_a_condition_is_thought_possible(start: int) -> None:
    tried = 0
    for seed in range(start, start + 40):
        world = seeded_world(seed, 6)
        r = Random(seed)  # noqa: S311 - it draws, it guards no secret
        for _ in range(TRIALS_OF_A_SEED):
            case = next(iter(sorted(cases(world), key=lambda _: r.random())), None)
            if case is None:
                break
            rule = r.choice(world.policy.rules)
            condition = rule.protect_when if rule.protect_when is not None and r.random() < 0.3 else rule.when
            band = r.choice(world.policy.bands)
            lens = r.choice((Now, Entry))(case, band)
            if not is_natural(world.policy, condition, lens):
                continue
            outcome = evaluate(condition, lens)
            reasoning = Reasoning(world.policy, situation(case, lens), r.random() < 0.5)
            try:
                ways = reasoning.possible(outcome_ways(reasoning, condition, outcome))
            except TooManyWays:
                continue
            assert ways, f"seed {seed}: {rule.name} came out {outcome}"
            tried += 1
    assert tried > 200


@pytest.mark.parametrize("start", [40 * part for part in seeds(SEEDS // 40, some=3)])
def test_what_one_rule_says_beside_another_is_thought_possible(start: int) -> None:
    tried = 0
    for seed in range(1000 + start, 1000 + start + 40):
        world = seeded_world(seed, 6)
        r = Random(seed)  # noqa: S311 - it draws, it guards no secret
        for case in cases(world):
            one, other = r.choice(world.policy.rules).when, r.choice(world.policy.rules).when
            now = Now(case, r.choice(world.policy.bands))
            later = r.choice((Now, Entry))(case, r.choice(world.policy.bands))
            if not (is_natural(world.policy, one, now) and is_natural(world.policy, other, later)):
                continue
            first, second = (
                Reasoning(world.policy, situation(case, now)),
                Reasoning(world.policy, situation(case, later)),
            )
            try:
                joined = both(
                    outcome_ways(first, one, evaluate(one, now)), outcome_ways(second, other, evaluate(other, later))
                )
                assert second.possible(joined), f"seed {seed}, {case.account.account_id}"
            except TooManyWays:
                continue
            tried += 1
    assert tried > 60
