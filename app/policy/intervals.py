"""Which numbers linear inequalities leave possible: the arithmetic under `bandshift policy check`.

A bound says that a sum of terms is at most nothing: `arr < 5000` is `arr - 5000 < 0`. Whether a set of bounds can hold
is decided by Fourier-Motzkin elimination: to remove a term, every bound that limits it from below is added to every
bound that limits it from above, until only plain numbers are left, and those are true or false. The sums grow fast, so
beyond `MOST_BOUNDS` a term's bounds are dropped instead. Dropping a bound only allows more, so "cannot hold" is always
a proof, while "can hold" is not. Fractions are exact; there is no rounding anywhere.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm

from app.policy.expressions import Expression

MOST_BOUNDS = 300


@dataclass(frozen=True, slots=True)
class Linear:
    """A sum of terms, each a number that is not known, with a constant. Terms are in a fixed order and never zero."""

    terms: tuple[tuple[Expression, Fraction], ...]
    constant: Fraction

    @classmethod
    def of(cls, terms: Mapping[Expression, Fraction], constant: Fraction) -> "Linear":
        """The sum with its zero terms left out."""
        kept = [(term, factor) for term, factor in terms.items() if factor]
        return cls(tuple(sorted(kept, key=lambda pair: repr(pair[0]))), constant)

    @classmethod
    def number(cls, constant: Fraction | int) -> "Linear":
        """A plain number."""
        return cls((), Fraction(constant))

    @classmethod
    def term(cls, term: Expression) -> "Linear":
        """One unknown number by itself."""
        return cls(((term, Fraction(1)),), Fraction(0))

    def times(self, factor: Fraction) -> "Linear":
        """The sum with every part multiplied."""
        return Linear.of({term: own * factor for term, own in self.terms}, self.constant * factor)

    def plus(self, other: "Linear") -> "Linear":
        """Both sums added."""
        terms = dict(self.terms)
        for term, factor in other.terms:
            terms[term] = terms.get(term, Fraction(0)) + factor
        return Linear.of(terms, self.constant + other.constant)

    def minus(self, other: "Linear") -> "Linear":
        """The other sum taken from this one."""
        return self.plus(other.times(Fraction(-1)))


@dataclass(frozen=True, slots=True)
class AtMost:
    """`form <= 0`, or `form < 0` when strict."""

    form: Linear
    strict: bool

    @property
    def settled(self) -> bool | None:
        """Whether it holds, when it is about plain numbers only."""
        if self.form.terms:
            return None
        return self.form.constant < 0 if self.strict else self.form.constant <= 0

    def opposite(self) -> "AtMost":
        """The bound that holds where this one does not."""
        return AtMost(self.form.times(Fraction(-1)), not self.strict)


@dataclass(frozen=True, slots=True)
class Interval:
    """The numbers between `low` and `high`; None is no limit, and an open end is not included."""

    low: Fraction | None = None
    high: Fraction | None = None
    low_open: bool = False
    high_open: bool = False

    @property
    def empty(self) -> bool:
        """Whether there is no number in it."""
        if self.low is None or self.high is None:
            return False
        return self.low > self.high or (self.low == self.high and (self.low_open or self.high_open))

    def bounds(self, term: Expression) -> tuple[AtMost, ...]:
        """The same, said of a term."""
        found = []
        if self.low is not None:
            found.append(AtMost(Linear.number(self.low).minus(Linear.term(term)), self.low_open))
        if self.high is not None:
            found.append(AtMost(Linear.term(term).minus(Linear.number(self.high)), self.high_open))
        return tuple(found)


def possible(bounds: Iterable[AtMost], whole: Collection[Expression]) -> bool:
    """False only if no numbers satisfy all of `bounds`; the terms in `whole` are whole numbers."""
    left = _tightest(bounds, whole)
    while left is not None and (terms := _terms(left)):
        left = _without(_cheapest(terms, left), left, whole)
    return left is not None


def range_of(term: Expression, bounds: Iterable[AtMost], whole: Collection[Expression]) -> Interval | None:
    """An interval that holds every value `term` can take under `bounds`; None if they cannot hold."""
    left = _tightest(bounds, whole)
    while left is not None and (terms := _terms(left) - {term}):
        left = _without(_cheapest(terms, left), left, whole)
    if left is None:
        return None
    found = Interval()
    for bound in left:
        (_, factor), *_ = bound.form.terms
        limit = -bound.form.constant / factor
        if factor > 0:
            found = Interval(found.low, limit, found.low_open, bound.strict)
        else:
            found = Interval(limit, found.high, bound.strict, found.high_open)
    return None if found.empty else found


def _terms(bounds: Iterable[AtMost]) -> set[Expression]:
    return {term for bound in bounds for term, _ in bound.form.terms}


def _cheapest(terms: Iterable[Expression], bounds: Iterable[AtMost]) -> Expression:
    """The term whose removal makes the fewest sums."""

    def cost(term: Expression) -> tuple[int, str]:
        factors = [factor for bound in bounds for each, factor in bound.form.terms if each == term]
        above = sum(factor > 0 for factor in factors)
        return above * (len(factors) - above), repr(term)

    return min(terms, key=cost)


def _without(term: Expression, bounds: list[AtMost], whole: Collection[Expression]) -> list[AtMost] | None:
    """The bounds that are left when nothing more is said of a term; None if they cannot hold."""
    above: list[AtMost] = []
    below: list[AtMost] = []
    others: list[AtMost] = []
    for bound in bounds:
        factor = dict(bound.form.terms).get(term)
        if factor is None:
            others.append(bound)
        else:
            (above if factor > 0 else below).append(AtMost(bound.form.times(1 / abs(factor)), bound.strict))
    if not above or not below or len(others) + len(above) * len(below) > MOST_BOUNDS:
        return others
    sums = [AtMost(high.form.plus(low.form), high.strict or low.strict) for high in above for low in below]
    return _tightest(sums, whole, others)


def _tightest(
    bounds: Iterable[AtMost], whole: Collection[Expression], known: Iterable[AtMost] = ()
) -> list[AtMost] | None:
    """Of all bounds on the same sum only the tightest, and none that say nothing; None if one cannot hold.

    Those in `known` have been through this before.
    """
    kept = {bound.form.terms: bound for bound in known}
    for bound in bounds:
        if bound.settled is False:
            return None
        if bound.settled:
            continue
        scaled = _scaled(bound, whole)
        other = kept.get(scaled.form.terms)
        if other is None or (scaled.form.constant, scaled.strict) > (other.form.constant, other.strict):
            kept[scaled.form.terms] = scaled
    return list(kept.values())


def _scaled(bound: AtMost, whole: Collection[Expression]) -> AtMost:
    """The same bound with a first factor of 1 or -1; on whole numbers, rounded to the next that is possible."""
    terms = bound.form.terms
    if all(term in whole for term, _ in terms):
        scale = lcm(*(factor.denominator for _, factor in terms))
        common = gcd(*(int(factor * scale) for _, factor in terms))
        form = bound.form.times(Fraction(scale, common))
        limit = -form.constant
        highest = limit.__ceil__() - 1 if bound.strict else limit.__floor__()
        bound = AtMost(Linear(form.terms, Fraction(-highest)), strict=False)
    return AtMost(bound.form.times(1 / abs(bound.form.terms[0][1])), bound.strict)
