"""What numbers an expression can be: sums of terms that are not looked into, each with the ways in which it is that.

Dates and times count as days, bands as their ranks. What a sum cannot say exactly (a quotient, rounded; whole days
between instants) becomes a term of its own, held near the exact sum by bounds; a product of facts is a term of which
nothing is known. COALESCE, CASE, GREATEST and their like give one sum for each argument that they may come to.
"""

from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import product
from typing import TYPE_CHECKING, Literal

from app.policy.expressions import Arithmetic, Call, Case, Compare, Constant, Expression, Fact, Negative, Type
from app.policy.intervals import Linear
from app.policy.ways import ALWAYS, Ways, both, bound, either

if TYPE_CHECKING:
    from app.policy.logic import Reasoning

_TODAY, _NOW = Fact("today", Type.DATE), Fact("now", Type.TIMESTAMP)
_VALUE = Fact("value", Type.NUMBER)
_HALF = Fraction(1, 2)


def numbers_of(expression: Expression, reasoning: "Reasoning") -> list[tuple[Ways, Linear]]:  # noqa: PLR0911 - a case for each kind
    """The sums the expression can be, each with the ways in which it is that; none where it is missing."""
    match expression:
        case Constant(value):
            return [] if value is None else [(ALWAYS, Linear.number(_measure(reasoning, expression)))]
        case Fact(name) if name in reasoning.constants:
            return reasoning.numbers(reasoning.constants[name])
        case Fact("value") if reasoning.expanded:
            known = reasoning.known(expression)
            return [(both(known, guard), form) for guard, form in numbers_of(reasoning.policy.value, reasoning)]
        case Fact("earned_band"):
            return _earned(reasoning)
        case Fact("quiet_days") if reasoning.situation.lens == "entry":
            return [(reasoning.known(expression), Linear.number(0))]
        case Negative(item):
            return [(guard, form.times(Fraction(-1))) for guard, form in reasoning.numbers(item)]
        case Arithmetic():
            return _arithmetic(reasoning, expression)
        case Case() | Call("coalesce"):
            return reasoning.chosen(expression, reasoning.numbers)
        case Call(name, arguments):
            return _called(reasoning, expression, name, arguments)
        case _:
            return [(reasoning.known(expression), Linear.term(expression))]


def _measure(reasoning: "Reasoning", constant: Constant) -> Fraction:
    """A constant on the scale that its type is measured on: bands by rank, dates and times in days."""
    match constant.value:
        case Decimal() as number:
            return Fraction(number)
        case datetime() as moment:
            return Fraction(round(moment.timestamp() * 1_000_000), 86_400_000_000)
        case date() as day:
            return Fraction(day.toordinal())
        case name:
            return Fraction(reasoning.policy.band[str(name)].rank)


def _earned(reasoning: "Reasoning") -> list[tuple[Ways, Linear]]:
    """Each band, with the ways in which the value reaches its floor and not the next one's."""
    floors = reasoning.policy.floors.get(reasoning.situation.segment, reasoning.policy.floors[None]).floor
    found = []
    for rank, floor in enumerate(floors):
        reached = reasoning.compared(Compare(">=", _VALUE, _number(floor))) if rank else reasoning.known(_VALUE)
        above = (
            reasoning.compared(Compare("<", _VALUE, _number(floors[rank + 1]))) if rank + 1 < len(floors) else ALWAYS
        )
        found.append((both(reached, above), Linear.number(rank)))
    return found


def _arithmetic(reasoning: "Reasoning", expression: Arithmetic) -> list[tuple[Ways, Linear]]:
    found = []
    for (guard, left), (other, right) in product(
        reasoning.numbers(expression.left), reasoning.numbers(expression.right)
    ):
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


def _called(
    reasoning: "Reasoning", expression: Call, name: str, arguments: tuple[Expression, ...]
) -> list[tuple[Ways, Linear]]:
    match name:
        case "days_since" | "days_until":
            return _days(reasoning, expression, arguments[0], Fraction(1 if name == "days_since" else -1))
        case "greatest" | "least":
            return _extreme(reasoning, arguments, ">=" if name == "greatest" else "<=")
        case "abs":
            return [
                (both(guard, bound(op, form)), form.times(Fraction(sign)))
                for guard, form in reasoning.numbers(arguments[0])
                for op, sign in ((">=", 1), ("<", -1))
            ]
        case "round":
            places = next((int(str(each.value)) for each in arguments[1:] if isinstance(each, Constant)), 0)
            step = Fraction(1, 10**places)
            return [_rounded(expression, guard, form, step) for guard, form in reasoning.numbers(arguments[0])]
        case "nullif":
            different = either(reasoning.compared(Compare("<>", *arguments)), reasoning.missing(arguments[1]))
            return [(both(guard, different), form) for guard, form in reasoning.numbers(arguments[0])]
        case _:
            return [(reasoning.known(expression), Linear.term(expression))]


def _days(reasoning: "Reasoning", expression: Call, moment: Expression, sign: Fraction) -> list[tuple[Ways, Linear]]:
    """Days to or from a date are exact; of a timestamp they are rounded down."""
    found = []
    for guard, form in reasoning.numbers(moment):
        if moment.type is Type.DATE:
            found.append((guard, Linear.term(_TODAY).minus(form).times(sign)))
            continue
        exact = Linear.term(_NOW).minus(form).times(sign)
        excess = exact.minus(Linear.term(expression))
        within = both(bound(">=", excess), bound("<", excess.minus(Linear.number(1))))
        found.append((both(guard, within), Linear.term(expression)))
    return found


def _extreme(
    reasoning: "Reasoning", arguments: tuple[Expression, ...], op: Literal["<=", ">="]
) -> list[tuple[Ways, Linear]]:
    """Each argument, with the ways in which it is at the end of all that are known."""
    found = []
    for argument in arguments:
        beaten = [
            either(reasoning.missing(other), reasoning.compared(Compare(op, argument, other)))
            for other in arguments
            if other is not argument
        ]
        found += [(both(guard, *beaten), form) for guard, form in reasoning.numbers(argument)]
    return found


def _rounded(term: Expression, guard: Ways, exact: Linear, step: Fraction) -> tuple[Ways, Linear]:
    """A number that lies within half a step of the exact sum."""
    if not exact.terms:
        return guard, Linear.number(
            (abs(exact.constant) / step + _HALF).__floor__() * step * (1 if exact.constant >= 0 else -1)
        )
    excess = Linear.term(term).minus(exact)
    near = both(bound("<=", excess.minus(Linear.number(step / 2))), bound(">=", excess.plus(Linear.number(step / 2))))
    return both(guard, near), Linear.term(term)


def _number(number: Decimal | int) -> Constant:
    return Constant(Decimal(number), Type.NUMBER)
