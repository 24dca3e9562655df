"""A condition without the facts that are not at hand yet is TRUE wherever the whole condition is."""

from collections.abc import Iterator

from app.decide.relax import necessary
from app.policy.expressions import And, Compare, Expression, Fact, Not, Or, Type, facts_of
from tests.oracle_expressions import is_true
from tests.oracle_facts import Case, Lens, Now
from tests.random_accounts import World, seeded_world
from tests.random_expressions import fact, number, seeded

SEEDS = range(60)


def lenses(world: World) -> Iterator[Lens]:
    """What the accounts of a world look like, each in the band it stands in."""
    standing = {row.account_id: row for row in world.coverage if row.band in world.policy.band}
    for place, account in enumerate(world.accounts):
        if row := standing.get(account.account_id):
            known = [s for s in world.signals if s.account_id == account.account_id and s.occurred_at <= world.as_of]
            case = Case(world.policy, world.as_of, account, known, row, place + 1)
            yield Now(case, world.policy.band[row.band])


def relaxed(world: World, seed: int) -> Iterator[tuple[Expression, frozenset[str], Expression]]:
    """Conditions of the world's rules and their opposites, some of their facts, and what is left without those."""
    r = seeded(f"relax {seed}")
    for rule in world.policy.rules:
        for condition in (rule.when, Not(rule.when)):
            names = sorted(facts_of(condition))
            unknown = frozenset(name for name in names if r.random() < 0.5)
            yield condition, unknown, necessary(condition, unknown)


def test_what_is_left_reads_no_unknown_fact_and_holds_wherever_the_condition_does() -> None:
    seen_true = kept_something = ruled_out = 0
    for seed in SEEDS:
        world = seeded_world(seed, 50)
        accounts = list(lenses(world))
        for condition, unknown, left in relaxed(world, seed):
            assert facts_of(left).isdisjoint(unknown)
            kept_something += bool(unknown) and bool(facts_of(left))
            for lens in accounts:
                if is_true(condition, lens):
                    seen_true += 1
                    assert is_true(left, lens), f"{condition}\n{left}\nwithout {sorted(unknown)}"
                elif unknown and not is_true(left, lens):
                    ruled_out += 1
    assert min(seen_true, kept_something, ruled_out) >= 50


def test_with_everything_known_a_condition_is_left_as_it_is() -> None:
    for seed in SEEDS:
        for rule in seeded_world(seed, 1).policy.rules:
            assert necessary(rule.when, frozenset()) == rule.when
            assert necessary(rule.when, frozenset({"no_such_fact"})) == rule.when


def test_an_unknown_fact_leaves_what_the_others_ask_for() -> None:
    known, unknown = Compare(">", fact("arr"), number(1)), Compare(">", fact("seen"), number(1))
    standalone = Fact("standalone", Type.BOOLEAN)
    assert necessary(And((known, unknown, standalone)), frozenset({"seen"})) == And((known, standalone))
    assert necessary(Not(Or((unknown, known))), frozenset({"seen"})) == Not(known)
    assert facts_of(necessary(Or((known, unknown)), frozenset({"seen"}))) == set()
