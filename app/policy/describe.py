"""An expression back as text that a person can read, and that `parse` reads as the same expression."""

from datetime import date, datetime
from decimal import Decimal
from functools import singledispatch

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
)

_OR, _AND, _NOT, _COMPARE, _ADD, _MULTIPLY, _NEGATE, _ATOM = range(8)
"""How tightly each form binds, loosest first."""


def describe(expression: Expression) -> str:
    """The expression as SQL text, with no more brackets than it needs."""
    return _text(expression)[0]


def _at_least(expression: Expression, binding: int) -> str:
    """The text, in brackets if it binds more loosely than its place asks for."""
    text, own = _text(expression)
    return text if own >= binding else f"({text})"


@singledispatch
def _text(expression: Expression) -> tuple[str, int]:
    """The text and how tightly it binds."""
    raise TypeError(f"no text for {type(expression).__name__}")


@_text.register
def _(constant: Constant) -> tuple[str, int]:
    match constant.value:
        case None:
            return "null", _ATOM
        case bool(value):
            return ("true" if value else "false"), _ATOM
        case Decimal() as value:
            return format(value, "f"), _NEGATE if value.is_signed() else _ATOM
        case datetime() as value:
            return f"'{value.isoformat()}'", _ATOM
        case date() as value:
            return f"DATE '{value.isoformat()}'", _ATOM
        case str(value):
            doubled = value.replace("'", "''")
            return f"'{doubled}'", _ATOM


@_text.register
def _(fact: Fact) -> tuple[str, int]:
    return fact.name, _ATOM


@_text.register
def _(compare: Compare) -> tuple[str, int]:
    return f"{_at_least(compare.left, _ADD)} {compare.op} {_at_least(compare.right, _ADD)}", _COMPARE


@_text.register
def _(both: And) -> tuple[str, int]:
    return " and ".join(_at_least(item, _NOT) for item in both.items), _AND


@_text.register
def _(either: Or) -> tuple[str, int]:
    return " or ".join(_at_least(item, _AND) for item in either.items), _OR


@_text.register
def _(negated: Not) -> tuple[str, int]:
    match negated.item:
        case IsNull(item=item):
            return f"{_at_least(item, _ADD)} is not null", _COMPARE
        case In(item=item, choices=choices):
            return f"{_at_least(item, _ADD)} not in ({', '.join(map(describe, choices))})", _COMPARE
        case _:
            return f"not {_at_least(negated.item, _COMPARE)}", _NOT


@_text.register
def _(missing: IsNull) -> tuple[str, int]:
    return f"{_at_least(missing.item, _ADD)} is null", _COMPARE


@_text.register
def _(among: In) -> tuple[str, int]:
    return f"{_at_least(among.item, _ADD)} in ({', '.join(map(describe, among.choices))})", _COMPARE


@_text.register
def _(sum_: Arithmetic) -> tuple[str, int]:
    own = _ADD if sum_.op in ("+", "-") else _MULTIPLY
    right = _at_least(sum_.right, _ATOM if isinstance(sum_.right, (Constant, Negative)) else own + 1)
    return f"{_at_least(sum_.left, own)} {sum_.op} {right}", own


@_text.register
def _(negative: Negative) -> tuple[str, int]:
    bare = isinstance(negative.item, (Fact, Call, Case))
    return (f"-{describe(negative.item)}" if bare else f"-({describe(negative.item)})"), _NEGATE


@_text.register
def _(case: Case) -> tuple[str, int]:
    branches = " ".join(f"when {describe(condition)} then {describe(result)}" for condition, result in case.branches)
    return f"case {branches} else {describe(case.otherwise)} end", _ATOM


@_text.register
def _(call: Call) -> tuple[str, int]:
    return f"{call.name}({', '.join(map(describe, call.arguments))})", _ATOM
