"""Ways in which a condition comes true: sets of literals that hold together, and the algebra on them.

A `Way` is a conjunction; `Ways` are alternatives. `ALWAYS` is one way that asks for nothing, `NEVER` is no way at all.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from app.policy.expressions import Arithmetic, Constant, Expression, Fact
from app.policy.intervals import AtMost, Interval, Linear

MOST_WAYS = 600


@dataclass(frozen=True, slots=True)
class Missing:
    """A fact is missing, or (`truth` False) known."""

    fact: str
    truth: bool


@dataclass(frozen=True, slots=True)
class Holds:
    """Something that is not looked into is true, or false: a boolean fact, or a comparison of ordered texts."""

    what: Expression
    truth: bool


@dataclass(frozen=True, slots=True)
class Among:
    """A text is one of `choices`, or (`truth` False) none of them."""

    text: Expression
    choices: frozenset[str]
    truth: bool


Way = frozenset[AtMost | Missing | Holds | Among]
Ways = tuple[Way, ...]

ALWAYS: Ways = (frozenset(),)
NEVER: Ways = ()


class TooManyWays(Exception):  # noqa: N818 - nothing is wrong, there is only too much of it
    """A condition has more ways than are worth writing out; nothing can be proved of it."""


def both(*several: Ways) -> Ways:
    """The ways in which all of them hold, without those that contradict themselves at first sight."""
    found: Ways = ALWAYS
    for ways in several:
        if len(found) * len(ways) > MOST_WAYS:
            raise TooManyWays
        found = tuple(dict.fromkeys(joined for one in found for other in ways if agrees(joined := one | other)))
    return found


def either(*several: Ways) -> Ways:
    """The ways in which at least one holds."""
    found = tuple(dict.fromkeys(way for ways in several for way in ways))
    if len(found) > MOST_WAYS:
        raise TooManyWays
    return found


def opaque(ways: Iterable[Way]) -> bool:
    """Whether the ways rest on something that is not looked into, so that a possible one may not be."""
    for literal in (literal for way in ways for literal in way):
        if isinstance(literal, Holds) and not isinstance(literal.what, Fact):
            return True
        if isinstance(literal, AtMost) and any(_unknown(term) for term, _ in literal.form.terms):
            return True
    return False


def _unknown(term: Expression) -> bool:
    """Whether the number is a product or a quotient of facts, of which nothing is known."""
    return isinstance(term, Arithmetic) and not (term.op == "/" and isinstance(term.right, Constant))


def agrees(way: Way) -> bool:
    """Whether no two literals, other than on numbers, exclude each other."""
    allowed: dict[Expression, frozenset[str]] = {}
    for literal in way:
        match literal:
            case Missing(fact, truth):
                if Missing(fact, not truth) in way:
                    return False
            case Holds(what, truth):
                if Holds(what, not truth) in way:
                    return False
            case Among(text, choices, True):
                allowed[text] = allowed.get(text, choices) & choices
            case AtMost() if literal.settled is False:
                return False
    for literal in way:
        if isinstance(literal, Among) and not literal.truth and literal.text in allowed:
            allowed[literal.text] -= literal.choices
    return all(allowed.values())


def bound(op: str, form: Linear) -> Ways:
    """The ways in which a sum compares so with nothing."""
    negative = form.times(Fraction(-1))
    less, more = AtMost(form, strict=True), AtMost(negative, strict=True)
    at_most, at_least = AtMost(form, strict=False), AtMost(negative, strict=False)
    match op:
        case "<":
            ways: Ways = (frozenset({less}),)
        case ">":
            ways = (frozenset({more}),)
        case "<=":
            ways = (frozenset({at_most}),)
        case ">=":
            ways = (frozenset({at_least}),)
        case "=":
            ways = (frozenset({at_most, at_least}),)
        case _:
            ways = (frozenset({less}), frozenset({more}))
    return tuple(_unsettled(way) for way in ways if agrees(way))


def _unsettled(way: Way) -> Way:
    """The way without the bounds that hold anyway."""
    return frozenset(literal for literal in way if not (isinstance(literal, AtMost) and literal.settled))


def hull(intervals: list[Interval]) -> Interval | None:
    """The smallest interval around all of them."""
    if not intervals:
        return None
    low = high = None
    lows = [(each.low, each.low_open) for each in intervals if each.low is not None]
    highs = [(each.high, not each.high_open) for each in intervals if each.high is not None]
    if len(lows) == len(intervals):
        low = min(lows)
    if len(highs) == len(intervals):
        high = max(highs)
    return Interval(low and low[0], high and high[0], bool(low and low[1]), bool(high and not high[1]))
