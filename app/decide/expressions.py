"""Expressions of the policy as SQLAlchemy column expressions, read through a lens.

`compile_expression` knows every node of `app.policy.expressions` and nothing else. What a fact is in SQL is the lens's
business: a `Reader` maps a fact's name to a column.

Bands are ranks, so that they compare as the policy orders them. All numbers are NUMERIC, so that nothing overflows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import singledispatch
from operator import add, eq, ge, gt, le, lt, mul, ne, sub
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Date,
    Integer,
    Numeric,
    Text,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    not_,
    null,
    or_,
)

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
from app.tables import Instant

Column = ColumnElement[Any]

SQL_TYPES: Mapping[Type, Any] = {
    Type.NUMBER: Numeric(),
    Type.TEXT: Text(),
    Type.BOOLEAN: Boolean(),
    Type.DATE: Date(),
    Type.TIMESTAMP: Instant,
    Type.BAND: Integer(),
}

DAY_S = 86_400

_COMPARE: Mapping[str, Callable[[Column, Column], Column]] = {
    "=": eq, "<>": ne, "<": lt, "<=": le, ">": gt, ">=": ge,
}  # fmt: skip
_ARITHMETIC: Mapping[str, Callable[[Column, Column], Column]] = {"+": add, "-": sub, "*": mul}


@dataclass(frozen=True)
class Reader:
    """What an expression needs to become SQL: each fact's column, each band's rank, and the instant of the run."""

    fact: Callable[[str], Column]
    ranks: Mapping[str, int]
    as_of: datetime
    today: date


@singledispatch
def compile_expression(expression: Expression, reader: Reader) -> Column:
    """The expression as SQL, NULL where it is unknown."""
    raise TypeError(f"no SQL for {type(expression).__name__}")


def holds(expression: Expression, reader: Reader) -> Column:
    """Whether the condition is TRUE: never NULL, false when it is unknown."""
    return func.coalesce(compile_expression(expression, reader), false())


@compile_expression.register
def _(expression: Constant, reader: Reader) -> Column:
    sql_type = SQL_TYPES[expression.type]
    if expression.value is None:
        return cast(null(), sql_type)
    if expression.type is Type.BAND:
        return literal(reader.ranks[str(expression.value)], sql_type)
    return literal(expression.value, sql_type)


@compile_expression.register
def _(expression: Fact, reader: Reader) -> Column:
    return reader.fact(expression.name)


@compile_expression.register
def _(expression: Compare, reader: Reader) -> Column:
    left, right = (compile_expression(side, reader) for side in (expression.left, expression.right))
    return _COMPARE[expression.op](left, right)


@compile_expression.register
def _(expression: And, reader: Reader) -> Column:
    return and_(*(compile_expression(item, reader) for item in expression.items))


@compile_expression.register
def _(expression: Or, reader: Reader) -> Column:
    return or_(*(compile_expression(item, reader) for item in expression.items))


@compile_expression.register
def _(expression: Not, reader: Reader) -> Column:
    return not_(compile_expression(expression.item, reader).self_group())


@compile_expression.register
def _(expression: IsNull, reader: Reader) -> Column:
    return compile_expression(expression.item, reader).is_(null())


@compile_expression.register
def _(expression: In, reader: Reader) -> Column:
    item = compile_expression(expression.item, reader)
    return or_(*(item == compile_expression(choice, reader) for choice in expression.choices))


@compile_expression.register
def _(expression: Arithmetic, reader: Reader) -> Column:
    left, right = (compile_expression(side, reader) for side in (expression.left, expression.right))
    if expression.op == "/":
        return func.round(left / func.nullif(right, literal(0, Numeric())), 6, type_=Numeric())
    return _ARITHMETIC[expression.op](left, right)


@compile_expression.register
def _(expression: Negative, reader: Reader) -> Column:
    return -compile_expression(expression.item, reader)


@compile_expression.register
def _(expression: Case, reader: Reader) -> Column:
    branches = [
        (compile_expression(condition, reader), compile_expression(result, reader))
        for condition, result in expression.branches
    ]
    return case(*branches, else_=compile_expression(expression.otherwise, reader))


@compile_expression.register
def _(expression: Call, reader: Reader) -> Column:
    arguments = [compile_expression(argument, reader) for argument in expression.arguments]
    match expression.name:
        case "days_since":
            return days_since(expression.arguments[0].type, arguments[0], reader)
        case "days_until":
            return days_until(expression.arguments[0].type, arguments[0], reader)
        case "round":
            decimals = cast(arguments[1], Integer) if len(arguments) > 1 else literal(0, Integer)
            return func.round(arguments[0], decimals, type_=Numeric())
        case name:
            called: Column = getattr(func, name)(*arguments, type_=SQL_TYPES[expression.type])
            return called


def days_since(type_: Type, moment: Column, reader: Reader) -> Column:
    """Whole days from `moment` to the run, rounded down; calendar days for a date."""
    if type_ is Type.DATE:
        return cast(literal(reader.today, Date) - moment, Numeric)
    return _whole_days(literal(reader.as_of, Instant) - moment)


def days_until(type_: Type, moment: Column, reader: Reader) -> Column:
    """Whole days from the run to `moment`, rounded down; calendar days for a date."""
    if type_ is Type.DATE:
        return cast(moment - literal(reader.today, Date), Numeric)
    return _whole_days(moment - literal(reader.as_of, Instant))


def _whole_days(span: Column) -> Column:
    # date_part is float8, exact for microseconds over 285 years and several times faster than extract's NUMERIC.
    return cast(func.floor(func.date_part("epoch", span) / literal(float(DAY_S))), Numeric)
