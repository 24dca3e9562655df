"""How a condition can come true, before any account is read: the reasoning under `bandshift policy check`.

A condition is written out as its *ways*: each way is a set of literals that hold together (an account that has all of
them makes the condition true), and the condition is true in no other way. `true`, `false` and `missing` write out each
of the three outcomes of SQL's logic, so that `false or missing` is everything in which a rule does not fire. A way is
*possible* unless its literals exclude each other: a fact both known and missing, two different texts, numbers that no
value satisfies.

All of it leans to one side: a way may be thought possible that no account can take (products of facts, texts that are
ordered, conditions too large to write out), never the reverse. So "never true", "always true" and "implies" are
proofs, and a lint that rests on them raises no false alarm.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from itertools import product
from typing import Literal, TypeVar

from app.policy.domains import Situation, constants, natural, never_missing, segments_named, whole
from app.policy.expressions import (
    And,
    Arithmetic,
    Call,
    Case,
    Compare,
    Constant,
    Expression,
    Fact,
    In,
    IsNull,
    Not,
    Or,
    Type,
    children,
)
from app.policy.intervals import AtMost, Interval, Linear, possible, range_of
from app.policy.model import Policy
from app.policy.terms import numbers_of
from app.policy.ways import ALWAYS, NEVER, Among, Holds, Missing, Way, Ways, agrees, both, bound, either, hull

T = TypeVar("T")

_ASKED = Fact("the number asked for", Type.NUMBER)
_Op = Literal["=", "<>", "<", "<=", ">", ">="]
_OPPOSITE: Mapping[_Op, _Op] = {"=": "<>", "<>": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_VALUE = Fact("value", Type.NUMBER)
_WITH_VALUE = ("earned_band", "value_rank")


@dataclass(frozen=True)
class Reasoning:
    """What can be said of a policy's conditions in one situation.

    With `expanded` the value of an account is known by how it is computed, so that `value < 100 and arr > 200` is seen
    to be never true; without, it is a number of its own.
    """

    policy: Policy
    situation: Situation
    expanded: bool = True

    @cached_property
    def constants(self) -> Mapping[str, Constant]:
        """The facts whose value the situation settles."""
        return constants(self.policy, self.situation)

    # ---- What may hold ---------------------------------------------------------------------------------------------

    def possible(self, ways: Ways) -> Ways:
        """Those of the ways that some account might take."""
        return tuple(way for way in ways if agrees(way) and possible(self.bounds_of(way), self._whole(way)))

    def some(self, ways: Ways) -> bool:
        """Whether some account might take one of the ways."""
        return any(agrees(way) and possible(self.bounds_of(way), self._whole(way)) for way in ways)

    def range_of(self, number: Expression, ways: Ways) -> Interval | None:
        """An interval with every value the number has in these ways; None if there is no way."""
        pinned = [
            way
            for guard, form in self.numbers(number)
            for way in both(ways, guard, bound("=", Linear.term(_ASKED).minus(form)))
        ]
        found = [range_of(_ASKED, self.bounds_of(way), self._whole(way)) for way in pinned]
        return hull([each for each in found if each is not None])

    def bounds_of(self, way: Way) -> list[AtMost]:
        """The bounds among the literals, with the natural ones of every fact in them."""
        bounds = [literal for literal in way if isinstance(literal, AtMost)]
        facts = {term for bound in bounds for term, _ in bound.form.terms if isinstance(term, Fact)}
        return [*bounds, *(each for fact in facts for each in self._natural(fact).bounds(fact))]

    def _natural(self, fact: Fact) -> Interval:
        if fact.name == "value" and not self.expanded:
            return self._value_range
        if fact.type is Type.BAND:
            return Interval(Fraction(0), Fraction(len(self.policy.bands) - 1))
        return natural(self.policy, fact.name)

    @cached_property
    def _value_range(self) -> Interval:
        """At least nothing, if that follows from how the value is computed."""
        computed = Reasoning(self.policy, self.situation)
        shortfall = computed.some(computed.true(Compare("<", _VALUE, Constant(Decimal(0), Type.NUMBER))))
        return Interval() if shortfall else Interval(low=Fraction(0))

    def _whole(self, way: Way) -> frozenset[Expression]:
        terms = {term for literal in way if isinstance(literal, AtMost) for term, _ in literal.form.terms}
        return frozenset(term for term in terms if whole(self.policy, term))

    # ---- The three outcomes of a condition ------------------------------------------------------------------------

    def true(self, condition: Expression) -> Ways:
        """The ways in which the condition is true."""
        return self._settled(condition, truth=True)

    def false(self, condition: Expression) -> Ways:
        """The ways in which the condition is false."""
        return self._settled(condition, truth=False)

    def not_true(self, condition: Expression) -> Ways:
        """The ways in which a rule with this condition does not fire."""
        return either(self.false(condition), self.missing(condition))

    def _settled(self, condition: Expression, *, truth: bool) -> Ways:  # noqa: PLR0911 - a case for each kind of node
        match condition:
            case Constant(value):
                return ALWAYS if value is truth else NEVER
            case And(items) | Or(items):
                together = both if isinstance(condition, And) is truth else either
                return together(*(self._settled(item, truth=truth) for item in items))
            case Not(item):
                return self._settled(item, truth=not truth)
            case IsNull(item):
                return self.missing(item) if truth else self.known(item)
            case Compare(op, left, right):
                return self.compared(condition if truth else Compare(_OPPOSITE[op], left, right))
            case In(item, choices):
                ways = (self.compared(Compare("=" if truth else "<>", item, choice)) for choice in choices)
                return either(*ways) if truth else both(*ways)
            case Case() | Call("coalesce"):
                chosen = self._choices(condition)
                return either(*(both(guard, self._settled(result, truth=truth)) for guard, result in chosen))
            case _:
                return both(self.known(condition), (frozenset({Holds(condition, truth)}),))

    def missing(self, expression: Expression) -> Ways:
        """The ways in which the expression is missing, or unknown."""
        match expression:
            case Constant(value):
                return ALWAYS if value is None else NEVER
            case Fact(name):
                return self._fact(name, missing=True)
            case IsNull():
                return NEVER
            case Case():
                return either(*(both(guard, self.missing(result)) for guard, result in self._choices(expression)))
            case Call("coalesce" | "greatest" | "least", arguments):
                return both(*map(self.missing, arguments))
            case _:
                ways = either(*map(self.missing, children(expression)))
                return ALWAYS if _may_lose_its_value(expression) else ways

    def known(self, expression: Expression) -> Ways:  # noqa: PLR0911 - a case for each kind of node
        """The ways in which the expression is not missing."""
        match expression:
            case Constant(value):
                return NEVER if value is None else ALWAYS
            case Fact(name):
                return self._fact(name, missing=False)
            case IsNull():
                return ALWAYS
            case And() | Or():
                return either(self.true(expression), self.false(expression))
            case Case():
                return either(*(both(guard, self.known(result)) for guard, result in self._choices(expression)))
            case Call("coalesce" | "greatest" | "least", arguments):
                return either(*map(self.known, arguments))
            case Call("nullif", (item, _)):
                return self.known(item)
            case _:
                return both(*map(self.known, children(expression)))

    def _fact(self, name: str, *, missing: bool) -> Ways:
        """The ways in which a fact is missing, or known."""
        if name in self.constants:
            return ALWAYS if (self.constants[name].value is None) is missing else NEVER
        if name in _WITH_VALUE:
            name = "value"
        if never_missing(self.policy, name):
            return NEVER if missing else ALWAYS
        return (frozenset({Missing(name, missing)}),)

    def _choices(self, expression: Expression) -> list[tuple[Ways, Expression]]:
        """What CASE or coalesce comes to, each result with the ways in which it is taken."""
        found, before = [], ALWAYS
        if isinstance(expression, Case):
            for condition, result in expression.branches:
                found.append((both(before, self.true(condition)), result))
                before = both(before, self.not_true(condition))
            return [*found, (before, expression.otherwise)]
        for argument in children(expression):
            found.append((both(before, self.known(argument)), argument))
            before = both(before, self.missing(argument))
        return found

    # ---- Comparisons ----------------------------------------------------------------------------------------------

    def compared(self, comparison: Compare) -> Ways:
        """The ways in which a comparison is true."""
        if comparison.left.type is Type.TEXT:
            return self._compared_texts(comparison)
        if comparison.left.type is Type.BOOLEAN:
            return self._compared_booleans(comparison)
        pairs = product(self.numbers(comparison.left), self.numbers(comparison.right))
        return either(
            *(both(guard, other, bound(comparison.op, left.minus(right))) for (guard, left), (other, right) in pairs)
        )

    def _compared_booleans(self, comparison: Compare) -> Ways:
        left, right = comparison.left, comparison.right
        if comparison.op == "=":
            return either(both(self.true(left), self.true(right)), both(self.false(left), self.false(right)))
        if comparison.op == "<>":
            return either(both(self.true(left), self.false(right)), both(self.false(left), self.true(right)))
        return both(self.known(left), self.known(right), (frozenset({Holds(comparison, truth=True)}),))

    def _compared_texts(self, comparison: Compare) -> Ways:
        op, pairs = comparison.op, product(self.texts(comparison.left), self.texts(comparison.right))
        return either(*(both(guard, other, _texts_compared(op, one, two)) for (guard, one), (other, two) in pairs))

    def texts(self, expression: Expression) -> list[tuple[Ways, Expression]]:
        """The texts the expression can be, each with the ways in which it is that; none where it is missing."""
        match expression:
            case Constant(value):
                return [] if value is None else [(ALWAYS, expression)]
            case Fact(name) if name in self.constants:
                return self.texts(self.constants[name])
            case Fact("segment"):
                # A segment that is not settled is one that the policy does not name.
                others: Way = frozenset({Among(expression, frozenset(segments_named(self.policy)), truth=False)})
                return [(both(self.known(expression), (others,)), expression)]
            case Case() | Call("coalesce"):
                return self.chosen(expression, self.texts)
            case Call("lower", (item,)):
                return [(guard, _lower(text)) for guard, text in self.texts(item)]
            case _:
                return [(self.known(expression), expression)]

    def chosen(
        self, expression: Expression, reading: Callable[[Expression], list[tuple[Ways, T]]]
    ) -> list[tuple[Ways, T]]:
        """What the result of CASE or coalesce can be, each with the ways in which it is that."""
        return [
            (both(guard, other), each) for guard, result in self._choices(expression) for other, each in reading(result)
        ]

    def numbers(self, expression: Expression) -> list[tuple[Ways, Linear]]:
        """The sums the expression can be, each with the ways in which it is that; none where it is missing."""
        return numbers_of(expression, self)


def _may_lose_its_value(expression: Expression) -> bool:
    """Whether the expression can be missing though all of its parts are known."""
    match expression:
        case Arithmetic("/", _, Constant(value)):
            return not value
        case Arithmetic("/") | Call("nullif"):
            return True
        case _:
            return False


def _texts_compared(op: str, left: Expression, right: Expression) -> Ways:
    """The ways in which two texts, each a constant or something known by no more than its name, compare so."""
    one, other = sorted((left, right), key=lambda text: (isinstance(text, Constant), repr(text)))
    equal = op == "="
    if op not in ("=", "<>"):
        return (frozenset({Holds(Compare(">", left, right), truth=True)}),)
    if one == other or isinstance(one, Constant):
        return ALWAYS if (one == other) is equal else NEVER
    if isinstance(other, Constant):
        return (frozenset({Among(one, frozenset({str(other.value)}), equal)}),)
    return (frozenset({Holds(Compare("=", one, other), equal)}),)


def _lower(text: Expression) -> Expression:
    if isinstance(text, Constant):
        return Constant(str(text.value).lower(), Type.TEXT)
    return Call("lower", (text,), Type.TEXT)
