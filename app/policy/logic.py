"""How a condition can come true, before any account is read: the reasoning under `bandshift policy check`.

A condition is written out as its *ways*: each way is a set of literals that hold together (an account that has all of them
makes the condition true), and the condition is true in no other way. `true`, `false` and `missing` write out each of the
three outcomes of SQL's logic, so that `false or missing` is everything in which a rule does not fire. A way is *possible*
unless its literals exclude each other: a fact both known and missing, two different texts, numbers that no value satisfies.

All of it leans to one side: a way may be thought possible that no account can take (products of facts, texts that are
ordered, conditions too large to write out), never the reverse. So "never true", "always true" and "implies" are proofs, and a
lint that rests on them raises no false alarm.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from itertools import product
from typing import TypeVar

from app.policy.domains import ANY_OTHER, Situation, constants, natural, never_missing, segments_named, whole
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
    Negative,
    Not,
    Or,
    Type,
)
from app.policy.intervals import AtMost, Interval, Linear, possible, range_of
from app.policy.model import Policy
from app.policy.ways import ALWAYS, NEVER, Among, Holds, Missing, Way, Ways, agrees, both, bound, either, hull

T = TypeVar("T")

_TODAY, _NOW = Fact("today", Type.DATE), Fact("now", Type.TIMESTAMP)
_ASKED = Fact("the number asked for", Type.NUMBER)
_OPPOSITE = {"=": "<>", "<>": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_VALUE = Fact("value", Type.NUMBER)
_WITH_VALUE = ("earned_band", "value_rank")
_HALF = Fraction(1, 2)


@dataclass(frozen=True)
class Reasoning:
    """What can be said of a policy's conditions in one situation.

    With `expanded` the value of an account is known by how it is computed, so that `value < 100 and arr > 200` is seen to
    be never true; without, it is a number of its own.
    """

    policy: Policy
    situation: Situation
    expanded: bool = True

    @cached_property
    def _constants(self) -> dict[str, Constant]:
        return dict(constants(self.policy, self.situation))

    # ---- What may hold ------------------------------------------------------------------------------------------------

    def possible(self, ways: Ways) -> Ways:
        """Those of the ways that some account might take."""
        return tuple(way for way in ways if agrees(way) and possible(self.bounds_of(way), self._whole(way)))

    def range_of(self, number: Expression, ways: Ways) -> Interval | None:
        """An interval with every value the number has in these ways; None if there is no way."""
        found = []
        for guard, form in self.numbers(number):
            for way in both(ways, guard, bound("=", Linear.term(_ASKED).minus(form))):
                found.append(range_of(_ASKED, self.bounds_of(way), self._whole(way)))
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
        shortfall = computed.possible(computed.true(Compare("<", _VALUE, _number(0))))
        return Interval() if shortfall else Interval(low=Fraction(0))

    def _whole(self, way: Way) -> frozenset[Expression]:
        terms = {term for literal in way if isinstance(literal, AtMost) for term, _ in literal.form.terms}
        return frozenset(term for term in terms if whole(self.policy, term))

    # ---- The three outcomes of a condition ------------------------------------------------------------------------------

    def not_true(self, condition: Expression) -> Ways:
        """The ways in which a rule with this condition does not fire."""
        return either(self.false(condition), self.missing(condition))

    def true(self, condition: Expression) -> Ways:
        """The ways in which the condition is true."""
        match condition:
            case Constant(value):
                return ALWAYS if value is True else NEVER
            case And(items):
                return both(*(self.true(item) for item in items))
            case Or(items):
                return either(*(self.true(item) for item in items))
            case Not(item):
                return self.false(item)
            case IsNull(item):
                return self.missing(item)
            case Compare():
                return self._compared(condition)
            case In(item, choices):
                return either(*(self._compared(Compare("=", item, choice)) for choice in choices))
            case Case() | Call("coalesce"):
                return either(*(both(guard, self.true(result)) for guard, result in self._choices(condition)))
            case _:
                return both(self.known(condition), (frozenset({Holds(condition, True)}),))

    def false(self, condition: Expression) -> Ways:
        """The ways in which the condition is false."""
        match condition:
            case Constant(value):
                return ALWAYS if value is False else NEVER
            case And(items):
                return either(*(self.false(item) for item in items))
            case Or(items):
                return both(*(self.false(item) for item in items))
            case Not(item):
                return self.true(item)
            case IsNull(item):
                return self.known(item)
            case Compare(op, left, right):
                return self._compared(Compare(_OPPOSITE[op], left, right))  # type: ignore[arg-type]  # a table of the six
            case In(item, choices):
                return both(*(self._compared(Compare("<>", item, choice)) for choice in choices))
            case Case() | Call("coalesce"):
                return either(*(both(guard, self.false(result)) for guard, result in self._choices(condition)))
            case _:
                return both(self.known(condition), (frozenset({Holds(condition, False)}),))

    def missing(self, expression: Expression) -> Ways:
        """The ways in which the expression is missing, or unknown."""
        match expression:
            case Constant(value):
                return ALWAYS if value is None else NEVER
            case Fact(name):
                if name in self._constants:
                    return self.missing(self._constants[name])
                if name in _WITH_VALUE:
                    return self.missing(_VALUE)
                if never_missing(self.policy, name):
                    return NEVER
                return (frozenset({Missing(expression, True)}),)
            case IsNull():
                return NEVER
            case Arithmetic("/", _, right) if not (isinstance(right, Constant) and right.value):
                return ALWAYS
            case Call("coalesce" | "greatest" | "least", arguments):
                return both(*(self.missing(argument) for argument in arguments))
            case Case():
                return either(*(both(guard, self.missing(result)) for guard, result in self._choices(expression)))
            case Call("nullif"):
                return ALWAYS
            case And(items) | Or(items):
                return either(*(self.missing(item) for item in items))
            case Compare(_, left, right) | Arithmetic(_, left, right):
                return either(self.missing(left), self.missing(right))
            case In(item) | Not(item) | Negative(item):
                return self.missing(item)
            case Call(_, arguments):
                return either(*(self.missing(argument) for argument in arguments))

    def known(self, expression: Expression) -> Ways:
        """The ways in which the expression is not missing."""
        match expression:
            case Constant(value):
                return NEVER if value is None else ALWAYS
            case Fact(name):
                if name in self._constants:
                    return self.known(self._constants[name])
                if name in _WITH_VALUE:
                    return self.known(_VALUE)
                if never_missing(self.policy, name):
                    return ALWAYS
                return (frozenset({Missing(expression, False)}),)
            case IsNull():
                return ALWAYS
            case Call("coalesce" | "greatest" | "least", arguments):
                return either(*(self.known(argument) for argument in arguments))
            case Case():
                return either(*(both(guard, self.known(result)) for guard, result in self._choices(expression)))
            case And() | Or():
                return either(self.true(expression), self.false(expression))
            case Compare(_, left, right) | Arithmetic(_, left, right):
                return both(self.known(left), self.known(right))
            case In(item) | Not(item) | Negative(item):
                return self.known(item)
            case Call("nullif", arguments):
                return self.known(arguments[0])
            case Call(_, arguments):
                return both(*(self.known(argument) for argument in arguments))

    def _choices(self, expression: Expression) -> list[tuple[Ways, Expression]]:
        """What CASE or coalesce comes to, each result with the ways in which it is taken."""
        found, before = [], ALWAYS
        if isinstance(expression, Case):
            for condition, result in expression.branches:
                found.append((both(before, self.true(condition)), result))
                before = both(before, self.not_true(condition))
            return [*found, (before, expression.otherwise)]
        assert isinstance(expression, Call)
        for argument in expression.arguments:
            found.append((both(before, self.known(argument)), argument))
            before = both(before, self.missing(argument))
        return found

    # ---- Comparisons ----------------------------------------------------------------------------------------------------

    def _compared(self, comparison: Compare) -> Ways:
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
        return both(self.known(left), self.known(right), (frozenset({Holds(comparison, True)}),))

    def _compared_texts(self, comparison: Compare) -> Ways:
        equal = comparison.op == "="
        found = []
        for (guard, left), (other, right) in product(self.texts(comparison.left), self.texts(comparison.right)):
            ways: Ways
            if isinstance(left, Constant) and not isinstance(right, Constant):
                left, right = right, left
            if comparison.op not in ("=", "<>"):
                ways = (frozenset({Holds(comparison, True)}),)
            elif isinstance(left, Constant) and isinstance(right, Constant):
                ways = ALWAYS if (left.value == right.value) is equal else NEVER
            elif isinstance(right, Constant):
                ways = (frozenset({Among(left, frozenset({str(right.value)}), equal)}),)
            elif left == right:
                ways = ALWAYS if equal else NEVER
            else:
                ways = (frozenset({Holds(Compare("=", *sorted((left, right), key=repr)), equal)}),)
            found.append(both(guard, other, ways))
        return either(*found)

    def texts(self, expression: Expression) -> list[tuple[Ways, Expression]]:
        """The texts the expression can be, each with the ways in which it is that; none where it is missing."""
        match expression:
            case Constant(value):
                return [] if value is None else [(ALWAYS, expression)]
            case Fact(name) if name in self._constants:
                return self.texts(self._constants[name])
            case Fact("segment"):
                others: Way = frozenset({Among(expression, frozenset(segments_named(self.policy)), False)})
                named = (others,) if self.situation.segment == ANY_OTHER else ALWAYS
                return [(both(self.known(expression), named), expression)]
            case Case() | Call("coalesce"):
                return self._chosen(expression, self.texts)
            case Call("lower", (item,)):
                return [(guard, _lower(text)) for guard, text in self.texts(item)]
            case _:
                return [(self.known(expression), expression)]

    def _chosen(
        self, expression: Expression, reading: Callable[[Expression], list[tuple[Ways, T]]]
    ) -> list[tuple[Ways, T]]:
        """What the result of CASE or coalesce can be, each with the ways in which it is that."""
        return [
            (both(guard, other), each)
            for guard, result in self._choices(expression)
            for other, each in reading(result)
        ]

    # ---- Numbers, dates, times and bands ----------------------------------------------------------------------------------

    def numbers(self, expression: Expression) -> list[tuple[Ways, Linear]]:
        """The sums the expression can be, each with the ways in which it is that; none where it is missing."""
        match expression:
            case Constant(value):
                return [] if value is None else [(ALWAYS, Linear.number(self._measure(expression)))]
            case Fact(name) if name in self._constants:
                return self.numbers(self._constants[name])
            case Fact("value") if self.expanded:
                known = self.known(expression)
                return [(both(known, guard), form) for guard, form in self.numbers(self.policy.value)]
            case Fact("earned_band"):
                return self._earned()
            case Fact("quiet_days") if self.situation.lens == "entry":
                return [(self.known(expression), Linear.number(0))]
            case Negative(item):
                return [(guard, form.times(Fraction(-1))) for guard, form in self.numbers(item)]
            case Arithmetic():
                return self._arithmetic(expression)
            case Case() | Call("coalesce"):
                return self._chosen(expression, self.numbers)
            case Call(name, arguments):
                return self._called(expression, name, arguments)
            case _:
                return [(self.known(expression), Linear.term(expression))]

    def _measure(self, constant: Constant) -> Fraction:
        """A constant on the scale that its type is measured on: bands by rank, dates and times in days."""
        match constant.value:
            case Decimal() as number:
                return Fraction(number)
            case datetime() as moment:
                return Fraction(round(moment.timestamp() * 1_000_000), 86_400_000_000)
            case date() as day:
                return Fraction(day.toordinal())
            case name:
                return Fraction(self.policy.band[str(name)].rank)

    def _earned(self) -> list[tuple[Ways, Linear]]:
        """Each band, with the ways in which the value reaches its floor and not the next one's."""
        floors = self.policy.floors.get(self.situation.segment, self.policy.floors[None]).floor
        found = []
        for rank, floor in enumerate(floors):
            reached = self._compared(Compare(">=", _VALUE, _number(floor))) if rank else self.known(_VALUE)
            above = self._compared(Compare("<", _VALUE, _number(floors[rank + 1]))) if rank + 1 < len(floors) else ALWAYS
            found.append((both(reached, above), Linear.number(rank)))
        return found

    def _arithmetic(self, expression: Arithmetic) -> list[tuple[Ways, Linear]]:
        found = []
        for (guard, left), (other, right) in product(self.numbers(expression.left), self.numbers(expression.right)):
            ways = both(guard, other)
            match expression.op:
                case "+":
                    found.append((ways, left.plus(right)))
                case "-":
                    found.append((ways, left.minus(right)))
                case "*" if not right.terms or not left.terms:
                    scaled = left.times(right.constant) if not right.terms else right.times(left.constant)
                    found.append((ways, scaled))
                case "/" if not right.terms:
                    if right.constant:
                        quotient = left.times(1 / right.constant)
                        found.append(_rounded(expression, ways, quotient, Fraction(1, 10**6)))
                case _:
                    found.append((ways, Linear.term(expression)))
        return found

    def _called(self, expression: Call, name: str, arguments: tuple[Expression, ...]) -> list[tuple[Ways, Linear]]:
        match name:
            case "days_since" | "days_until":
                return self._days(expression, arguments[0], Fraction(1 if name == "days_since" else -1))
            case "greatest" | "least":
                return self._extreme(arguments, ">=" if name == "greatest" else "<=")
            case "abs":
                return [
                    (both(guard, bound(op, form)), form.times(Fraction(sign)))
                    for guard, form in self.numbers(arguments[0])
                    for op, sign in ((">=", 1), ("<", -1))
                ]
            case "round":
                decimals = int(self._measure(arguments[1])) if isinstance(arguments[1:], tuple) and arguments[1:] else 0  # type: ignore[arg-type]  # the parser lets only a constant through
                step = Fraction(1, 10**decimals)
                return [_rounded(expression, guard, form, step) for guard, form in self.numbers(arguments[0])]
            case "nullif":
                different = either(self._compared(Compare("<>", *arguments)), self.missing(arguments[1]))
                return [(both(guard, different), form) for guard, form in self.numbers(arguments[0])]
            case _:
                return [(self.known(expression), Linear.term(expression))]

    def _days(self, expression: Call, moment: Expression, sign: Fraction) -> list[tuple[Ways, Linear]]:
        """Days to or from a date are exact; of a timestamp they are rounded down."""
        found = []
        for guard, form in self.numbers(moment):
            if moment.type is Type.DATE:
                found.append((guard, Linear.term(_TODAY).minus(form).times(sign)))
                continue
            exact = Linear.term(_NOW).minus(form).times(sign)
            excess = exact.minus(Linear.term(expression))
            within = both(bound(">=", excess), bound("<", excess.minus(Linear.number(1))))
            found.append((both(guard, within), Linear.term(expression)))
        return found

    def _extreme(self, arguments: tuple[Expression, ...], op: str) -> list[tuple[Ways, Linear]]:
        """Each argument, with the ways in which it is at the end of all that are known."""
        found = []
        for argument in arguments:
            beaten = [
                either(self.missing(other), self._compared(Compare(op, argument, other)))  # type: ignore[arg-type]  # one of two
                for other in arguments
                if other is not argument
            ]
            found += [(both(guard, *beaten), form) for guard, form in self.numbers(argument)]
        return found


def _rounded(term: Expression, guard: Ways, exact: Linear, step: Fraction) -> tuple[Ways, Linear]:
    """A number that lies within half a step of the exact sum."""
    if not exact.terms:
        return guard, Linear.number((abs(exact.constant) / step + _HALF).__floor__() * step * (1 if exact.constant >= 0 else -1))
    excess = Linear.term(term).minus(exact)
    near = both(bound("<=", excess.minus(Linear.number(step / 2))), bound(">=", excess.plus(Linear.number(step / 2))))
    return both(guard, near), Linear.term(term)


def _lower(text: Expression) -> Expression:
    if isinstance(text, Constant):
        return Constant(str(text.value).lower(), Type.TEXT)
    return Call("lower", (text,), Type.TEXT)


def _number(number: Decimal | int) -> Constant:
    return Constant(Decimal(number), Type.NUMBER)
