"""What an expression is worth over one account's facts, computed the slow and obvious way.

The counterpart of the compiler in `app.decide`, written from the docstrings of `app.policy.expressions` only. A missing
value is None throughout. Numbers are exact Decimals; a band is a `Rung`, so that bands compare as the policy lists
them.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from fractions import Fraction
from typing import Any, Protocol

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

EXACT = Context(prec=2000)
"""More digits than any product of the facts can have, so that only division rounds."""

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, order=True)
class Rung:
    """A band as a value that knows its rank."""

    rank: int
    name: str


Value = Decimal | str | bool | date | datetime | Rung | None


class Facts(Protocol):
    """What an expression may ask about one account, through one lens."""

    as_of: datetime
    today: date

    def read(self, name: str) -> Value:
        """The fact of this name, None when it is missing."""

    def rung(self, band: str) -> Rung:
        """The band of this name, with its rank."""


def divide(left: Decimal, right: Decimal) -> Decimal | None:
    """The quotient at six decimals, halves away from zero; None for a division by zero."""
    if right == 0:
        return None
    millionths = Fraction(left) / Fraction(right) * 1_000_000
    rounded = (abs(millionths) * 2 + 1) // 2
    return Decimal(rounded if millionths > 0 else -rounded).scaleb(-6, EXACT)


def whole_days(since: date | datetime, facts: Facts) -> int:
    """`days_since`: floor((as_of - x) / 1 day) for a timestamp, today - x for a date."""
    if isinstance(since, datetime):
        return (facts.as_of - since) // DAY
    return (facts.today - since).days


def whole_days_until(until: date | datetime, facts: Facts) -> int:
    """`days_until`: likewise with x first."""
    if isinstance(until, datetime):
        return (until - facts.as_of) // DAY
    return (until - facts.today).days


def evaluate(expression: Expression, facts: Facts) -> Value:
    """What `expression` is worth; None when it is unknown."""
    evaluated: Value = NODES[type(expression)](expression, facts)
    return evaluated


def is_true(expression: Expression | None, facts: Facts) -> bool:
    """Whether a condition is there and TRUE; unknown is not."""
    return expression is not None and evaluate(expression, facts) is True


def _constant(node: Constant, facts: Facts) -> Value:
    if node.type is Type.BAND and node.value is not None:
        return facts.rung(str(node.value))
    return node.value


def _fact(node: Fact, facts: Facts) -> Value:
    return facts.read(node.name)


def _compare(node: Compare, facts: Facts) -> Value:
    left: Any = evaluate(node.left, facts)
    right: Any = evaluate(node.right, facts)
    if left is None or right is None:
        return None
    return bool(COMPARISONS[node.op](left, right))


COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _and(node: And, facts: Facts) -> Value:
    """False as soon as one is; else unknown if any is."""
    unknown = False
    for item in node.items:
        found = evaluate(item, facts)
        if found is False:
            return False
        unknown = unknown or found is None
    return None if unknown else True


def _or(node: Or, facts: Facts) -> Value:
    """True as soon as one is; else unknown if any is."""
    unknown = False
    for item in node.items:
        found = evaluate(item, facts)
        if found is True:
            return True
        unknown = unknown or found is None
    return None if unknown else False


def _not(node: Not, facts: Facts) -> Value:
    found = evaluate(node.item, facts)
    return None if found is None else not found


def _is_null(node: IsNull, facts: Facts) -> Value:
    return evaluate(node.item, facts) is None


def _in(node: In, facts: Facts) -> Value:
    item = evaluate(node.item, facts)
    if item is None:
        return None
    return any(item == evaluate(choice, facts) for choice in node.choices)


def _arithmetic(node: Arithmetic, facts: Facts) -> Value:
    left, right = evaluate(node.left, facts), evaluate(node.right, facts)
    if left is None or right is None:
        return None
    assert isinstance(left, Decimal)
    assert isinstance(right, Decimal)
    if node.op == "/":
        return divide(left, right)
    return EXACTLY[node.op](left, right)


EXACTLY: Mapping[str, Callable[[Decimal, Decimal], Decimal]] = {
    "+": EXACT.add,
    "-": EXACT.subtract,
    "*": EXACT.multiply,
}


def _negative(node: Negative, facts: Facts) -> Value:
    item = evaluate(node.item, facts)
    assert item is None or isinstance(item, Decimal)
    return None if item is None else item.copy_negate()


def _case(node: Case, facts: Facts) -> Value:
    for condition, result in node.branches:
        if evaluate(condition, facts) is True:
            return evaluate(result, facts)
    return evaluate(node.otherwise, facts)


def _coalesce(*arguments: Value) -> Value:
    return next((argument for argument in arguments if argument is not None), None)


def _greatest(*arguments: Any) -> Value:
    known = [argument for argument in arguments if argument is not None]
    return max(known) if known else None


def _least(*arguments: Any) -> Value:
    known = [argument for argument in arguments if argument is not None]
    return min(known) if known else None


def _nullif(left: Value, right: Value) -> Value:
    return None if left == right else left


def _absolute(number: Any) -> Value:
    return None if number is None else number.copy_abs()


def _round(number: Any, decimals: Any = Decimal(0)) -> Value:
    """Halves away from zero, which is what the decimal module calls HALF_UP."""
    if number is None or decimals is None:
        return None
    with localcontext(EXACT):
        rounded: Decimal = number.quantize(Decimal(1).scaleb(-int(decimals)), rounding=ROUND_HALF_UP)
    return rounded


def _lower(text: Any) -> Value:
    return None if text is None else text.lower()


FUNCTIONS: Mapping[str, Callable[..., Value]] = {
    "coalesce": _coalesce,
    "greatest": _greatest,
    "least": _least,
    "nullif": _nullif,
    "abs": _absolute,
    "round": _round,
    "lower": _lower,
}


def _call(node: Call, facts: Facts) -> Value:
    arguments = [evaluate(argument, facts) for argument in node.arguments]
    if node.name in ("days_since", "days_until"):
        (moment,) = arguments
        if moment is None:
            return None
        assert isinstance(moment, date)
        return Decimal((whole_days if node.name == "days_since" else whole_days_until)(moment, facts))
    return FUNCTIONS[node.name](*arguments)


NODES: Mapping[type, Callable[[Any, Facts], Value]] = {
    Constant: _constant,
    Fact: _fact,
    Compare: _compare,
    And: _and,
    Or: _or,
    Not: _not,
    IsNull: _is_null,
    In: _in,
    Arithmetic: _arithmetic,
    Negative: _negative,
    Case: _case,
    Call: _call,
}


def parts(expression: Expression) -> list[Expression]:
    """The expression itself and everything in it, depth first."""
    match expression:
        case Constant() | Fact():
            inner: tuple[Expression, ...] = ()
        case Compare(left=left, right=right) | Arithmetic(left=left, right=right):
            inner = (left, right)
        case And(items=items) | Or(items=items):
            inner = items
        case Not(item=item) | IsNull(item=item) | Negative(item=item):
            inner = (item,)
        case In(item=item, choices=choices):
            inner = (item, *choices)
        case Case(branches=branches, otherwise=otherwise):
            inner = (*(part for branch in branches for part in branch), otherwise)
        case Call(arguments=arguments):
            inner = arguments
    return [expression, *(part for item in inner for part in parts(item))]
