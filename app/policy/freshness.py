"""Whether a condition rests on a fresh signal: without one it can never be true.

A rule that overrides what holds an account down must not do so week after week on facts that stand still. So its
condition is folded as if there were no event since the last move: counts of events are 0, other event facts missing,
and of every other fact nothing is known. If it cannot come out TRUE then, only a fresh signal can make it so.

A truth value is folded to the set of what it may be; a number or text to one known value, or to `ANY`.
"""

from collections.abc import Mapping
from decimal import Context, Decimal, localcontext
from enum import Enum
from typing import Any

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
    children,
)
from app.policy.model import SignalFact


class _Any(Enum):
    ANY = "any"


ANY = _Any.ANY
_EXACT = Context(prec=2_000)
"""More digits than any product in a condition can have."""

Truths = frozenset[bool | None]
_EVERY: Truths = frozenset({True, False, None})
_DEFINITE: Truths = frozenset({True, False})


def needs_a_fresh_signal(condition: Expression, signals: Mapping[str, SignalFact]) -> bool:
    """Whether `condition` cannot be TRUE while no event has been seen since the last move."""
    with localcontext(_EXACT):
        return True not in _Folding(signals).truths(condition)


class _Folding:
    """Folds expressions as they stand when every event fact is empty."""

    def __init__(self, signals: Mapping[str, SignalFact]) -> None:
        self.signals = signals

    def truths(self, expression: Expression) -> Truths:  # noqa: PLR0911  a case per node
        """What a condition may come out as."""
        match expression:
            case And(items=items):
                return _both([self.truths(item) for item in items])
            case Or(items=items):
                return _opposite(_both([_opposite(self.truths(item)) for item in items]))
            case Not(item=item):
                return _opposite(self.truths(item))
            case IsNull(item=item):
                return self._missing(item)
            case Compare(op=op, left=left, right=right):
                return self._compared(op, self.value(left), self.value(right))
            case In(item=item, choices=choices):
                return self._among(self.value(item), choices)
            case Case() | Call():
                return self._chosen(expression)
            case Constant(value=bool() | None as value):
                return frozenset({value})
            case _:
                return _EVERY

    def value(self, expression: Expression) -> Any:  # noqa: PLR0911  a case per node
        """What an expression is worth: a value, None if it is surely missing, or ANY."""
        if expression.type is Type.BOOLEAN:
            truths = self.truths(expression)
            return next(iter(truths)) if len(truths) == 1 else ANY
        match expression:
            case Constant(value=value):
                return value
            case Fact(name=name):
                signal = self.signals.get(name)
                if signal is None or not signal.event:
                    return ANY
                return Decimal(0) if signal.measure == "count" else None
            case Case(branches=branches, otherwise=otherwise):
                return self._first(branches, otherwise)
            case Call(name="coalesce", arguments=arguments):
                return next((found for found in map(self.value, arguments) if found is not None), None)
            case Call(name="greatest" | "least", arguments=arguments):
                return self._extreme(expression.name, [self.value(argument) for argument in arguments])
            case _:
                return self._computed(expression, [self.value(part) for part in children(expression)])

    def _extreme(self, name: str, values: list[Any]) -> Any:
        """The greatest or the least, which pass over what is missing."""
        known = [value for value in values if value is not None]
        if len(known) < 2:
            return known[0] if known else None
        if not all(isinstance(value, Decimal) for value in known):
            return ANY
        return max(known) if name == "greatest" else min(known)

    def _computed(self, expression: Expression, values: list[Any]) -> Any:  # noqa: PLR0911  a case per operator
        """Arithmetic and the other functions: missing if what they are given surely is, exact on whole numbers."""
        if values[0] is None or (isinstance(expression, Arithmetic) and values[1] is None):
            return None
        if any(value is ANY or not isinstance(value, Decimal) for value in values):
            return ANY
        match expression:
            case Negative():
                return -values[0]
            case Call(name="abs"):
                return abs(values[0])
            case Call(name="nullif"):
                return None if values[0] == values[1] else values[0]
            case Arithmetic(op="+"):
                return values[0] + values[1]
            case Arithmetic(op="-"):
                return values[0] - values[1]
            case Arithmetic(op="*"):
                return values[0] * values[1]
            case Arithmetic(op="/") if values[1] == 0:
                return None
            case _:
                return values[0] if values[0] == 0 else ANY

    def _missing(self, item: Expression) -> Truths:
        if item.type is Type.BOOLEAN:
            return frozenset(truth is None for truth in self.truths(item))
        found = self.value(item)
        return _DEFINITE if found is ANY else frozenset({found is None})

    def _compared(self, op: str, left: Any, right: Any) -> Truths:
        if left is None or right is None:
            return frozenset({None})
        if left is ANY or right is ANY or isinstance(left, str) or isinstance(right, str):
            return _EVERY
        outcomes = {"=": left == right, "<>": left != right}
        if op not in outcomes:
            outcomes = {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}
        return frozenset({outcomes[op]})

    def _among(self, item: Any, choices: tuple[Constant, ...]) -> Truths:
        if item is ANY:
            return _EVERY
        return frozenset({None if item is None else any(item == choice.value for choice in choices)})

    def _chosen(self, expression: Case | Call) -> Truths:
        """A condition chosen by CASE, coalesce and their like."""
        match expression:
            case Case(branches=branches, otherwise=otherwise):
                found: Truths = frozenset()
                for condition, result in branches:
                    when = self.truths(condition)
                    if True in when:
                        found |= self.truths(result)
                    if when == {True}:
                        return found
                return found | self.truths(otherwise)
            case Call(name="coalesce", arguments=arguments):
                found = frozenset({None})
                for argument in arguments:
                    if None in found:
                        found = found - {None} | self.truths(argument)
                return found
            case _:
                return _EVERY

    def _first(self, branches: tuple[tuple[Expression, Expression], ...], otherwise: Expression) -> Any:
        """A value chosen by CASE, if every branch that may be taken agrees on it."""
        results: list[Any] = []
        for condition, result in branches:
            when = self.truths(condition)
            if True in when:
                results.append(self.value(result))
            if when == {True}:
                break
        else:
            results.append(self.value(otherwise))
        return results[0] if all(found is not ANY and found == results[0] for found in results) else ANY


def _both(items: list[Truths]) -> Truths:
    """AND over what each item may be."""
    found: Truths = frozenset({True})
    for item in items:
        found = frozenset(
            False if False in (one, other) else None if None in (one, other) else True
            for one in found
            for other in item
        )
    return found


def _opposite(item: Truths) -> Truths:
    return frozenset(None if truth is None else not truth for truth in item)
