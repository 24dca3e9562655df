"""Random expressions of every kind, from any source of randomness.

The source is a `random.Random`: a seeded one where volume matters, Hypothesis's own where a failure should shrink.
Numbers, texts and days come from small pools, so that accounts (see `random_accounts`) often stand exactly at a
threshold.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from random import Random
from typing import Literal

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

SEGMENTS = ("enterprise", "mid_market", "self_serve", "Smb")
WHOLE = (0, 1, 2, 3, 4, 7, 10, 14, 28, 30, 50, 60, 80, 90, 180, 365, 5000, 7200, 9_999_999_999_999_999)
BROKEN = ("0.4", "0.6", "0.7", "0.0000005", "1.5", "2.5")
NUMBERS = (*map(Decimal, WHOLE), *map(Decimal, BROKEN))
TEXTS = (*SEGMENTS, "EMEA", "emea", "APAC", "en", "de", "USD", "EUR", "it's", "", "a b")
DAYS = (date(2026, 1, 1), date(2026, 3, 31), date(2026, 6, 15), date(2027, 6, 15), date(2024, 2, 29))
AS_OFS = (
    datetime(2026, 6, 15, 6, tzinfo=UTC),
    datetime(2026, 3, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2024, 2, 29, 0, tzinfo=UTC),
    datetime(2026, 11, 1, 5, 30, tzinfo=UTC),
)
COMPARISONS: Sequence[Literal["=", "<>", "<", "<=", ">", ">="]] = ("=", "<>", "<", "<=", ">", ">=")
EQUALITIES: Sequence[Literal["=", "<>"]] = ("=", "<>")
OPERATORS: Sequence[Literal["+", "-", "*", "/"]] = ("+", "-", "*", "/")


def seeded(seed: int | str) -> Random:
    """The same draws for the same seed."""
    return Random(seed)  # noqa: S311 - worlds are drawn, not secrets


def number(value: str | int | Decimal) -> Constant:
    """A number as a constant."""
    return Constant(Decimal(value), Type.NUMBER)


def fact(name: str, type_: Type = Type.NUMBER) -> Fact:
    """A fact; a number unless told otherwise."""
    return Fact(name, type_)


@dataclass(frozen=True)
class Grammar:
    """Draws expressions over the facts given, of any type, at most `depth` deep."""

    r: Random
    facts: Mapping[str, Type]
    bands: Sequence[str]

    def of(self, type_: Type, depth: int) -> Expression:
        """An expression of this type."""
        if depth <= 0 or self.r.random() < 0.2:
            return self.leaf(type_)
        common: list[Callable[[Type, int], Expression]] = [self.case, self.coalesced]
        if type_ is Type.BOOLEAN:
            return self.condition(depth)
        if type_ in (Type.NUMBER, Type.BAND, Type.DATE, Type.TIMESTAMP):
            common.append(self.extreme)
        if type_ is Type.NUMBER:
            common += [self.arithmetic, self.arithmetic, self.negative, self.shaped, self.days, self.nulled]
        if type_ is Type.TEXT:
            common += [self.lowered, self.nulled]
        return self.r.choice(common)(type_, depth - 1)

    def leaf(self, type_: Type) -> Expression:
        """A fact, or a constant from the pools."""
        known = [name for name, found in self.facts.items() if found is type_]
        if known and self.r.random() < 0.75:
            return Fact(self.r.choice(known), type_)
        return self.constant(type_)

    def constant(self, type_: Type) -> Constant:
        """A constant from the pools, never NULL."""
        match type_:
            case Type.NUMBER:
                return Constant(self.r.choice(NUMBERS), type_)
            case Type.TEXT:
                return Constant(self.r.choice(TEXTS), type_)
            case Type.BOOLEAN:
                return Constant(self.r.random() < 0.5, type_)
            case Type.DATE:
                return Constant(self.r.choice(DAYS), type_)
            case Type.TIMESTAMP:
                return Constant(self.r.choice(AS_OFS), type_)
            case Type.BAND:
                return Constant(self.r.choice(self.bands), type_)

    def condition(self, depth: int) -> Expression:
        """A boolean expression."""
        kinds = [self.compare] * 5 + [self.both] * 3 + [self.either] * 2
        kinds += [self.opposite, self.missing, self.among, self.logical]
        return self.r.choice(kinds)(depth - 1)

    def compare(self, depth: int) -> Expression:
        type_ = self.r.choice((Type.NUMBER,) * 5 + (Type.BAND, Type.TEXT, Type.DATE, Type.TIMESTAMP, Type.BOOLEAN))
        ordered = type_ not in (Type.TEXT, Type.BOOLEAN)
        left = self.of(type_, depth)
        right = (
            self.constant(type_) if self.r.random() < 0.6 and not isinstance(left, Constant) else self.of(type_, depth)
        )
        return Compare(self.r.choice(COMPARISONS if ordered else EQUALITIES), left, right)

    def items(self, depth: int) -> tuple[Expression, ...]:
        return tuple(self.of(Type.BOOLEAN, depth) for _ in range(self.r.choice((2, 2, 3))))

    def both(self, depth: int) -> Expression:
        return And(self.items(depth))

    def either(self, depth: int) -> Expression:
        return Or(self.items(depth))

    def opposite(self, depth: int) -> Expression:
        return Not(self.of(Type.BOOLEAN, depth))

    def missing(self, depth: int) -> Expression:
        return IsNull(self.of(self.r.choice(list(Type)), depth))

    def among(self, depth: int) -> Expression:
        type_ = self.r.choice((Type.NUMBER, Type.TEXT, Type.BAND, Type.DATE, Type.TIMESTAMP))
        choices = tuple(self.constant(type_) for _ in range(self.r.randint(1, 3)))
        return In(self.of(type_, depth), choices)

    def logical(self, depth: int) -> Expression:
        return self.r.choice((self.case, self.coalesced, self.nulled))(Type.BOOLEAN, depth)

    def case(self, type_: Type, depth: int) -> Expression:
        branches = tuple((self.of(Type.BOOLEAN, depth), self.of(type_, depth)) for _ in range(self.r.choice((1, 1, 2))))
        otherwise = Constant(None, type_) if self.r.random() < 0.4 else self.of(type_, depth)
        return Case(branches, otherwise, type_)

    def arguments(self, type_: Type, depth: int) -> tuple[Expression, ...]:
        return tuple(self.of(type_, depth) for _ in range(self.r.choice((2, 2, 3))))

    def coalesced(self, type_: Type, depth: int) -> Expression:
        return Call("coalesce", self.arguments(type_, depth), type_)

    def extreme(self, type_: Type, depth: int) -> Expression:
        name: Literal["greatest", "least"] = "greatest" if self.r.random() < 0.5 else "least"
        return Call(name, self.arguments(type_, depth), type_)

    def nulled(self, type_: Type, depth: int) -> Expression:
        return Call("nullif", (self.of(type_, depth), self.of(type_, depth)), type_)

    def lowered(self, type_: Type, depth: int) -> Expression:
        return Call("lower", (self.of(type_, depth),), type_)

    def arithmetic(self, type_: Type, depth: int) -> Expression:
        return Arithmetic(self.r.choice(OPERATORS), self.of(type_, depth), self.of(type_, depth))

    def negative(self, type_: Type, depth: int) -> Expression:
        return Negative(self.of(type_, depth))

    def shaped(self, type_: Type, depth: int) -> Expression:
        if self.r.random() < 0.4:
            return Call("abs", (self.of(type_, depth),), type_)
        decimals = (number(self.r.randint(0, 6)),) if self.r.random() < 0.7 else ()
        return Call("round", (self.of(type_, depth), *decimals), type_)

    def days(self, type_: Type, depth: int) -> Expression:
        name: Literal["days_since", "days_until"] = "days_since" if self.r.random() < 0.5 else "days_until"
        return Call(name, (self.of(self.r.choice((Type.DATE, Type.TIMESTAMP)), depth),), type_)
