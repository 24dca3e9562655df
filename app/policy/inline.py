"""Derived facts disappear: each is replaced by its expression, within the limits of size and depth."""

from collections.abc import Mapping

from app.policy.expressions import (
    And,
    Arithmetic,
    Call,
    Case,
    Compare,
    Expression,
    Fact,
    In,
    IsNull,
    Negative,
    Not,
    Or,
    children,
)
from app.policy.parts import LARGEST
from app.policy.tokens import DEEPEST

Extent = tuple[int, int]
"""How many nodes an expression has and how deep it is."""


class Inlining:
    """Puts derived facts, themselves free of derived facts, into other expressions."""

    def __init__(self) -> None:
        self.facts: dict[str, Expression] = {}
        self._extents: dict[str, Extent] = {}

    def define(self, name: str, expression: Expression) -> None:
        """`name` stands for `expression`, which `put_in` gave, from now on."""
        self.facts[name] = expression
        self._extents[name] = self._extent(expression)

    def too_much(self, expression: Expression) -> str | None:
        """Why the expression cannot have its facts put in, or None. Measured before anything is built."""
        size, depth = self._extent(expression)
        if depth > DEEPEST:
            return f"nested {depth} levels deep once its facts are put in, and {DEEPEST} is the most"
        if size > LARGEST:
            return f"grows to {size:,} terms once its facts are put in, and {LARGEST:,} is the most"
        return None

    def put_in(self, expression: Expression) -> Expression:
        """The expression without derived facts."""
        match expression:
            case Fact(name=name):
                return self.facts.get(name, expression)
            case Compare(op=op, left=left, right=right):
                return Compare(op, self.put_in(left), self.put_in(right))
            case Arithmetic(op=sign, left=left, right=right):
                return Arithmetic(sign, self.put_in(left), self.put_in(right))
            case And(items=items):
                return And(tuple(map(self.put_in, items)))
            case Or(items=items):
                return Or(tuple(map(self.put_in, items)))
            case Not(item=item):
                return Not(self.put_in(item))
            case IsNull(item=item):
                return IsNull(self.put_in(item))
            case Negative(item=item):
                return Negative(self.put_in(item))
            case In(item=item, choices=choices):
                return In(self.put_in(item), choices)
            case Case(branches=branches, otherwise=otherwise, type=type_):
                pairs = tuple((self.put_in(when), self.put_in(then)) for when, then in branches)
                return Case(pairs, self.put_in(otherwise), type_)
            case Call(name=function, arguments=arguments, type=type_):
                return Call(function, tuple(map(self.put_in, arguments)), type_)
            case _:
                return expression

    def _extent(self, expression: Expression) -> Extent:
        if isinstance(expression, Fact) and expression.name in self._extents:
            return self._extents[expression.name]
        inside = [self._extent(child) for child in children(expression)]
        return 1 + sum(size for size, _ in inside), 1 + max((depth for _, depth in inside), default=0)
