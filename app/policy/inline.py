"""Derived facts disappear: each is replaced by its expression, within the limits of size and depth."""

from dataclasses import replace

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
from app.policy.parts import LARGEST, levels
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
            case Compare(left=left, right=right) | Arithmetic(left=left, right=right):
                return replace(expression, left=self.put_in(left), right=self.put_in(right))
            case And(items=items) | Or(items=items):
                return replace(expression, items=tuple(map(self.put_in, items)))
            case Not(item=item) | IsNull(item=item) | Negative(item=item) | In(item=item):
                return replace(expression, item=self.put_in(item))
            case Call(arguments=arguments):
                return replace(expression, arguments=tuple(map(self.put_in, arguments)))
            case Case(branches=branches, otherwise=otherwise):
                pairs = tuple((self.put_in(when), self.put_in(then)) for when, then in branches)
                expression = replace(expression, branches=pairs, otherwise=self.put_in(otherwise))
        return expression

    def _extent(self, expression: Expression) -> Extent:
        if isinstance(expression, Fact) and expression.name in self._extents:
            return self._extents[expression.name]
        inside = [self._extent(child) for child in children(expression)]
        return 1 + sum(size for size, _ in inside), levels(expression) + max((depth for _, depth in inside), default=0)
