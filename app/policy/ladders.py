"""Ladders: rules of one move whose conditions differ only in how much money they ask for.

Three mistakes hide in such thresholds, and all three only show on the accounts they hit: a *gap* between two ranges,
where no rule fires; an *overlap*, where two do and the order in the file decides; and ranges that end, so that an
account with *more money gets a lower band* than one with less. Between a graduation and a demotion an overlap means
that an account is not lifted, because it would fall at once.

A rule's condition is written out as its ways (see `app.policy.logic`); a way with bounds on one money fact, or on one
sum of them, is a `Rung`: the range it asks for, and the rest of what it asks for. Rungs with the same rest form a
ladder. What a ladder suggests is then proved against all rules: a gap that another rule fills is none.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import combinations, pairwise

from app.errors import Problem
from app.policy.describe import describe
from app.policy.domains import Situation
from app.policy.expressions import Arithmetic, Constant, Expression, Fact, Type
from app.policy.firing import Firing
from app.policy.intervals import AtMost, Interval, Linear, range_of
from app.policy.model import EARNED, Policy, Rule
from app.policy.ways import Missing, TooManyWays, Way, Ways, both, bound, opaque
from app.policy.wording import number, range_in_words

_NOT_MONEY_OF_THE_ACCOUNT = ("floor", "demotion_floor")
_VALUE = Fact("value", Type.NUMBER)


@dataclass(frozen=True, slots=True)
class Rung:
    """One way for a rule to fire: a range of money, and the rest of its literals."""

    rule: Rule
    target: int
    money: Linear
    range: Interval
    rest: Way

    @property
    def name(self) -> str:
        """The money as a user would write it."""
        return _written(self.money)

    def ways_in(self, interval: Interval) -> Ways:
        """The rest of the rung, with money in another range."""
        limits: list[Ways] = []
        if interval.low is not None:
            op = ">" if interval.low_open else ">="
            limits.append(bound(op, self.money.minus(Linear.number(interval.low))))
        if interval.high is not None:
            op = "<" if interval.high_open else "<="
            limits.append(bound(op, self.money.minus(Linear.number(interval.high))))
        return both((self.rest,), *limits)


def ladder_problems(firing: Firing, paths: Mapping[str, str]) -> tuple[Problem, ...]:
    """Gaps, overlaps and falling bands among the thresholds of the rules in `paths`, each once, in the rules' order."""
    found: dict[tuple[str, ...], Problem] = {}
    for situation in dict.fromkeys(each for rule in firing.policy.rules for each in firing.situations(rule)):
        try:
            for key, problem in _in_situation(firing, paths, situation):
                found.setdefault(key, problem)
        except TooManyWays:
            continue
    places = list(paths.values())
    return tuple(sorted(found.values(), key=lambda problem: places.index(problem.where.removesuffix(".when"))))


def _in_situation(
    firing: Firing, paths: Mapping[str, str], situation: Situation
) -> Iterator[tuple[tuple[str, ...], Problem]]:
    """What the ladders of one situation show, each with what it is about."""
    gapped: set[str] = set()
    rungs = [rung for rule in firing.policy.rules if rule.name in paths for rung in _rungs(firing, rule, situation)]
    for move in ("graduate", "demote"):
        own = [rung for rung in rungs if rung.rule.move == move]
        for ladder in _ladders([rung for rung in own if rung.rule.to != EARNED]):
            for lower, upper, gap in _gaps(firing, ladder, situation):
                gapped |= {lower.rule.name, upper.rule.name}
                what = f"a gap: with {lower.name} {range_in_words(gap)} neither this rule nor `{lower.rule.name}` fires"
                problem = Problem(f"{paths[upper.rule.name]}.when", f"{what}; let the two ranges meet")
                yield ("gap", lower.rule.name, upper.rule.name), problem
            for lower, upper, overlap in _overlaps(ladder):
                gapped |= {lower.rule.name, upper.rule.name}
                what = f"an overlap: with {lower.name} {range_in_words(overlap)} both this rule and `{lower.rule.name}`"
                problem = Problem(f"{paths[upper.rule.name]}.when", f"{what} fire; let the two ranges meet")
                yield ("overlap", lower.rule.name, upper.rule.name), problem
        for rung in own:
            region = _beyond(firing, rung, situation)
            if region is not None and rung.rule.name not in gapped:
                where = f"{paths[rung.rule.name]}.when"
                yield ("falls", rung.rule.name), Problem(where, _falls(firing.policy, rung, situation, region))
    for rung in rungs:
        if rung.rule.move == "graduate":
            yield from _taken_back(firing, paths, rung, situation)


def _rungs(firing: Firing, rule: Rule, situation: Situation) -> list[Rung]:
    """The rule's ways to fire that ask for a range of money."""
    if rule.move == "intervene" or not firing.applies(rule, Situation(situation.band, situation.segment)):
        return []
    reasoning = firing.reasoning(situation, expanded=False)
    condition = firing.condition(rule, situation.band)
    target = firing.target(rule, situation.band)
    found = []
    for way in reasoning.possible(reasoning.true(condition)):
        bounds = [literal for literal in way if isinstance(literal, AtMost) and _is_money(firing.policy, literal)]
        for money in dict.fromkeys(_direction(literal) for literal in bounds):
            own = [literal for literal in bounds if _direction(literal) == money]
            # The range is that of the bounds alone: an end of it is a threshold somebody wrote.
            interval = _alone(money, own)
            if interval is not None:
                found.append(Rung(rule, target, money, interval, way.difference(own)))
    return found


def _is_money(policy: Policy, literal: AtMost) -> bool:
    """Whether the bound is about nothing but money of the account."""
    return all(
        isinstance(term, Fact)
        and policy.units.get(term.name) == "money"
        and term.name not in _NOT_MONEY_OF_THE_ACCOUNT
        and term.name not in policy.signals
        for term, _ in literal.form.terms
    )


def _direction(literal: AtMost) -> Linear:
    """The sum a bound is about, whichever way it limits it."""
    form = Linear(literal.form.terms, Fraction(0))
    return form.times(1 / form.terms[0][1])


def _alone(money: Linear, bounds: Iterable[AtMost]) -> Interval | None:
    """The range that bounds on one sum leave it."""
    asked = Fact("money", Type.NUMBER)
    stand_ins = []
    for own in bounds:
        factor = own.form.terms[0][1] / money.terms[0][1]
        stand_ins.append(AtMost(Linear.of({asked: factor}, own.form.constant), own.strict))
    return range_of(asked, stand_ins, ())


def _ladders(rungs: list[Rung]) -> list[list[Rung]]:
    """Rungs that ask for the same but for the range of one sum, each ladder from the least money up."""
    ladders: dict[tuple[Linear, Way], list[Rung]] = {}
    for rung in rungs:
        ladders.setdefault((rung.money, rung.rest), []).append(rung)
    return [sorted(ladder, key=_from) for ladder in ladders.values() if len(ladder) > 1]


def _from(rung: Rung) -> tuple[bool, Fraction, bool]:
    return rung.range.low is not None, rung.range.low or Fraction(0), rung.range.low_open


def _gaps(firing: Firing, ladder: list[Rung], situation: Situation) -> Iterator[tuple[Rung, Rung, Interval]]:
    """Ranges between two neighbours in which no rule of their move fires."""
    for lower, upper in pairwise(ladder):
        gap = Interval(lower.range.high, upper.range.low, not lower.range.high_open, not upper.range.low_open)
        if gap.low is None or gap.high is None or gap.empty or lower.rule is upper.rule:
            continue
        ways = _left_over(firing, lower.ways_in(gap), lower.rule, situation, None)
        if ways and not opaque(ways):
            yield lower, upper, gap


def _overlaps(ladder: list[Rung]) -> Iterator[tuple[Rung, Rung, Interval]]:
    """Ranges in which two rules with different targets fire, where each also has one to itself."""
    for lower, upper in combinations(ladder, 2):
        if lower.rule is upper.rule or lower.target == upper.target or lower.range.high is None:
            continue
        begins_later = _from(upper) > _from(lower)
        reaches = upper.range.high is None or upper.range.high > lower.range.high
        overlap = Interval(upper.range.low, lower.range.high, upper.range.low_open, lower.range.high_open)
        if begins_later and reaches and not overlap.empty:
            yield lower, upper, overlap


def _left_over(firing: Firing, ways: Ways, rule: Rule, situation: Situation, reaching: int | None) -> Ways:
    """Those of the ways in which no rule of the same move takes the account as far as `reaching`."""
    reasoning = firing.reasoning(situation)
    # Money in another currency has no value, and no threshold was meant for it.
    ways = both(ways, reasoning.known(_VALUE))
    if firing.takes_value_apart and _reads_value(ways):
        # The rungs take the value as a number of its own; here it has to agree with what the other rules read.
        worth = [both(guard, bound("=", Linear.term(_VALUE).minus(form))) for guard, form in reasoning.numbers(_VALUE)]
        ways = tuple(way for own in worth for way in both(ways, own))
    left = reasoning.possible(ways)
    for peer in firing.policy.rules:
        if peer.move != rule.move or not left:
            continue
        if reaching is None or firing.reaches(peer, situation, reaching):
            left = firing.uncovered(left, peer, situation, reaching if peer.to == EARNED else None)
    return left


def _reads_value(ways: Ways) -> bool:
    return any(
        term == _VALUE
        for way in ways
        for literal in way
        if isinstance(literal, AtMost)
        for term, _ in literal.form.terms
    )


def _beyond(firing: Firing, rung: Rung, situation: Situation) -> Interval | None:
    """The money above a graduation's range, or below a demotion's, where nothing takes an account as far; else None."""
    if rung.rule.move == "graduate":
        if rung.range.high is None:
            return None
        other_side = Interval(low=rung.range.high, low_open=not rung.range.high_open)
    else:
        if rung.range.low is None or rung.range.low < 0 or (rung.range.low == 0 and rung.range.low_open):
            return None
        other_side = Interval(high=rung.range.low, high_open=not rung.range.low_open)
    left = _left_over(firing, rung.ways_in(other_side), rung.rule, situation, rung.target)
    return None if not left or opaque(left) else other_side


def _falls(policy: Policy, rung: Rung, situation: Situation, region: Interval) -> str:
    """The sentence that says where more money gives a lower band."""
    band, target = policy.bands[situation.band].name, policy.bands[rung.target].name
    if rung.rule.move == "graduate":
        where = f"{range_in_words(region)} no graduation takes an account from `{band}` to `{target}` or above"
        return f"more {rung.name} gives a lower band: {where}; drop the upper limit or add a rule that goes on from it"
    where = f"it demotes {range_in_words(rung.range)}, and {range_in_words(region)} nothing demotes as far"
    return f"more {rung.name} gives a lower band: {where}; turn the comparison round"


def _taken_back(
    firing: Firing, paths: Mapping[str, str], rung: Rung, situation: Situation
) -> Iterator[tuple[tuple[str, ...], Problem]]:
    """Ranges in which a graduation's account would be demoted at once from the band it enters."""
    if rung.rule.to == EARNED or rung.range.low is None:
        return
    entry = Situation(rung.target, situation.segment, "entry")
    reasoning = firing.reasoning(entry, expanded=False)
    for demotion in firing.policy.demotions:
        if demotion.name in rung.rule.despite or demotion.name not in paths:
            continue
        if not firing.applies(demotion, Situation(rung.target, situation.segment)):
            continue
        for way in reasoning.possible(reasoning.true(firing.condition(demotion, rung.target))):
            own = [each for each in way if isinstance(each, AtMost) and _is_money(firing.policy, each)]
            if {_direction(each) for each in own} != {rung.money}:
                continue
            interval = _alone(rung.money, own)
            if interval is None or not _known_or_in(way.difference(own), rung.rest):
                continue
            both_fire = _intersection(rung.range, interval)
            if interval.high is not None and not both_fire.empty:
                target = firing.policy.bands[rung.target].name
                what = f"an overlap: with {rung.name} {range_in_words(both_fire)} this rule lifts to `{target}`"
                what += (
                    f", and `{demotion.name}` would demote from there at once, so that the account stays where it is"
                )
                yield ("back", rung.rule.name, demotion.name), Problem(f"{paths[rung.rule.name]}.when", what)


def _known_or_in(rest: Way, other: Way) -> bool:
    """Whether a rest asks for nothing that the other does not ask for too."""
    return all(literal in other or (isinstance(literal, Missing) and not literal.truth) for literal in rest)


def _intersection(one: Interval, other: Interval) -> Interval:
    lows = [(each.low, each.low_open) for each in (one, other) if each.low is not None]
    highs = [(each.high, not each.high_open) for each in (one, other) if each.high is not None]
    low, low_open = max(lows, default=(None, False))
    high, high_closed = min(highs, default=(None, True))
    return Interval(low, high, low_open, not high_closed)


def _written(money: Linear) -> str:
    """A sum of facts as a user would write it."""
    (first, _), *others = money.terms
    found: Expression = first
    for term, factor in others:
        scaled: Expression = term
        if abs(factor) != 1:
            scaled = Arithmetic("*", Constant(Decimal(number(abs(factor)).replace(",", "")), Type.NUMBER), term)
        found = Arithmetic("+" if factor > 0 else "-", found, scaled)
    return describe(found)
