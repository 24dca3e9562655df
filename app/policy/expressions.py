"""The language of conditions, as values: what a parsed and type-checked SQL expression over facts is.

A tree of these nodes is all that the rest of the program sees; the text that a user wrote never travels further than
`parse`. Nodes are frozen and hashable. Every node has one `type`, decided when it is built.

NULL works as in SQL: comparisons and arithmetic with a missing fact are unknown, AND, OR and NOT are three-valued,
and a rule fires only when its condition is TRUE. Division by zero is a missing value, and division rounds to six
decimals.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Literal as OneOf


class Type(Enum):
    """The types of facts and expressions. BAND is ordered as the policy lists its bands, lowest first."""

    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"
    BAND = "band"


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal. `value` is a Decimal, str, bool, date, datetime (aware), a band's name, or None for NULL."""

    value: Decimal | str | bool | date | datetime | None
    type: Type


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact by name. Derived facts (`[facts]` of the policy) are already replaced by their expressions."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Compare:
    """`left op right`; both sides have the same type."""

    op: OneOf["=", "<>", "<", "<=", ">", ">="]
    left: "Expression"
    right: "Expression"
    type: Type = field(default=Type.BOOLEAN, init=False)


@dataclass(frozen=True, slots=True)
class And:
    """All of `items` (two or more)."""

    items: tuple["Expression", ...]
    type: Type = field(default=Type.BOOLEAN, init=False)


@dataclass(frozen=True, slots=True)
class Or:
    """Any of `items` (two or more)."""

    items: tuple["Expression", ...]
    type: Type = field(default=Type.BOOLEAN, init=False)


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite; unknown stays unknown."""

    item: "Expression"
    type: Type = field(default=Type.BOOLEAN, init=False)


@dataclass(frozen=True, slots=True)
class IsNull:
    """Whether `item` is missing; never unknown. IS NOT NULL is `Not(IsNull(...))`."""

    item: "Expression"
    type: Type = field(default=Type.BOOLEAN, init=False)


@dataclass(frozen=True, slots=True)
class In:
    """Whether `item` equals one of `choices`, which are constants of its type and never NULL."""

    item: "Expression"
    choices: tuple[Constant, ...]
    type: Type = field(default=Type.BOOLEAN, init=False)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`left op right` on numbers."""

    op: OneOf["+", "-", "*", "/"]
    left: "Expression"
    right: "Expression"
    type: Type = field(default=Type.NUMBER, init=False)


@dataclass(frozen=True, slots=True)
class Negative:
    """`-item`, a number."""

    item: "Expression"
    type: Type = field(default=Type.NUMBER, init=False)


@dataclass(frozen=True, slots=True)
class Case:
    """The result of the first branch whose condition is TRUE, else `otherwise`. All results have the same type."""

    branches: tuple[tuple["Expression", "Expression"], ...]
    otherwise: "Expression"
    type: Type


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the list in `FUNCTIONS`.

    coalesce, greatest and least take two or more arguments of one type (greatest and least ignore missing ones);
    nullif two; abs one number; round a number and an optional constant count of decimals 0 to 6, halves away from
    zero; lower one text; days_since and days_until one date or timestamp, giving whole days (a number, negative on
    the other side of `as_of`).
    """

    name: OneOf["coalesce", "greatest", "least", "nullif", "abs", "round", "lower", "days_since", "days_until"]
    arguments: tuple["Expression", ...]
    type: Type


Expression = Constant | Fact | Compare | And | Or | Not | IsNull | In | Arithmetic | Negative | Case | Call


def children(expression: Expression) -> tuple[Expression, ...]:  # noqa: PLR0911 - a case per kind of node
    """The expressions directly inside this one, left to right."""
    match expression:
        case Compare() | Arithmetic():
            return (expression.left, expression.right)
        case And() | Or():
            return expression.items
        case Not() | IsNull() | Negative():
            return (expression.item,)
        case In():
            return (expression.item, *expression.choices)
        case Case():
            return (*(part for branch in expression.branches for part in branch), expression.otherwise)
        case Call():
            return expression.arguments
        case _:
            return ()


def facts_of(expression: Expression) -> frozenset[str]:
    """The names of the facts that the expression reads."""
    if isinstance(expression, Fact):
        return frozenset({expression.name})
    return frozenset().union(*(facts_of(child) for child in children(expression)))
