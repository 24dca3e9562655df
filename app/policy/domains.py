"""What is known of facts before any account is read: which values they can have, and where a rule is asked.

A rule's condition is asked of accounts in one of its bands and of one segment. In such a `Situation` the band, its
floors and its cadence are constants, so that `quiet_days > 2 * cadence_days` in a band without a cadence is seen to be
never true.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from app.policy.expressions import Call, Compare, Constant, Expression, Fact, In, Type, children, facts_of
from app.policy.intervals import Interval
from app.policy.model import Policy, Rule

NEVER_MISSING = frozenset({"band", "floor", "demotion_floor", "weeks_in_band", "days_until_quarter_end", "standalone"})

ANY_OTHER = "any other"
"""Stands for the segments that the policy does not name."""

_AT_LEAST_0 = Interval(low=Fraction(0))
_NATURAL = {
    "arr": _AT_LEAST_0,
    "expansion_arr": _AT_LEAST_0,
    "strategic_importance": _AT_LEAST_0,
    "product_complexity": _AT_LEAST_0,
    "seats": _AT_LEAST_0,
    "adoption": Interval(Fraction(0), Fraction(1)),
    "contract_term_months": _AT_LEAST_0,
    "value_rank": Interval(low=Fraction(1)),
    "days_until_quarter_end": Interval(Fraction(0), Fraction(91)),
    "weeks_in_band": _AT_LEAST_0,
    "quiet_days": _AT_LEAST_0,
    "floor": _AT_LEAST_0,
    "demotion_floor": _AT_LEAST_0,
}
_WHOLE = frozenset(
    {
        "strategic_importance",
        "product_complexity",
        "seats",
        "contract_term_months",
        "value_rank",
        "days_until_quarter_end",
        "weeks_in_band",
        "quiet_days",
        "cadence_days",
    }
)


@dataclass(frozen=True, slots=True)
class Situation:
    """Where a condition is asked: of accounts in `band` (by rank) and `segment`, as they are or as if just entered.

    `segment` is None for accounts without one and ANY_OTHER for those the policy does not name.
    """

    band: int
    segment: str | None
    lens: Literal["now", "entry"] = "now"


def natural(policy: Policy, fact: str) -> Interval:
    """The numbers a fact can be on any account."""
    signal = policy.signals.get(fact)
    if signal is None:
        return _NATURAL.get(fact, Interval())
    if signal.measure == "count":
        return _AT_LEAST_0
    if signal.measure == "days_since":
        latest = None if signal.within_days is None else Fraction(signal.within_days)
        return Interval(Fraction(signal.until_days_ago), latest)
    return Interval()


def whole(policy: Policy, term: Expression) -> bool:
    """Whether the term is always a whole number: a count, days, a date."""
    match term:
        case Fact(name, type):
            signal = policy.signals.get(name)
            if signal is not None:
                return signal.measure in ("count", "days_since")
            return type in (Type.DATE, Type.BAND) or name in _WHOLE
        case Call(name):
            return name in ("days_since", "days_until")
    return False


def never_missing(policy: Policy, fact: str) -> bool:
    """Whether every account has the fact."""
    signal = policy.signals.get(fact)
    return fact in NEVER_MISSING or (signal is not None and signal.measure == "count")


def segments_named(policy: Policy) -> tuple[str, ...]:
    """Every segment that the policy's economics, rules or conditions name, in alphabetical order."""
    named = {segment for segment in policy.floors if segment is not None}
    for rule in policy.rules:
        named |= (rule.segments or frozenset()) | rule.except_segments
        for condition in (rule.when, rule.protect_when):
            if condition is not None:
                named |= set(_compared_with_segment(condition))
    return tuple(sorted(named))


def segments_of(policy: Policy, rule: Rule) -> tuple[str | None, ...]:
    """The segments a rule applies to, with ANY_OTHER and None where it is not restricted."""
    if rule.segments is not None:
        return tuple(sorted(rule.segments - rule.except_segments))
    return (None, ANY_OTHER, *(name for name in segments_named(policy) if name not in rule.except_segments))


def constants(policy: Policy, situation: Situation) -> Mapping[str, Constant]:
    """The facts whose value the situation settles."""
    band = policy.bands[situation.band]
    floors = policy.floors.get(situation.segment, policy.floors[None])
    cadence = None if band.cadence_days is None else Decimal(band.cadence_days)
    known = {
        "band": Constant(band.name, Type.BAND),
        "floor": Constant(floors.floor[band.rank], Type.NUMBER),
        "demotion_floor": Constant(floors.demotion[band.rank], Type.NUMBER),
        "cadence_days": Constant(cadence, Type.NUMBER),
    }
    if situation.segment != ANY_OTHER:
        known["segment"] = Constant(situation.segment, Type.TEXT)
    if situation.lens == "entry":
        known["weeks_in_band"] = Constant(Decimal(0), Type.NUMBER)
        for signal in policy.signals.values():
            if signal.event:
                nothing = Decimal(0) if signal.measure == "count" else None
                known[signal.name] = Constant(nothing, Type.NUMBER)
    return known


def _compared_with_segment(expression: Expression) -> Iterator[str]:
    """The texts that the expression compares the segment with."""
    if isinstance(expression, Compare | In):
        sides = children(expression)
        if any(facts_of(side) == {"segment"} for side in sides):
            yield from (side.value for side in sides if isinstance(side, Constant) and isinstance(side.value, str))
    for part in children(expression):
        yield from _compared_with_segment(part)
