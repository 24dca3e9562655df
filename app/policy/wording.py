"""Numbers, ranges and lists in words, for messages about a policy."""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

from app.policy.intervals import Interval


def number(value: Fraction | Decimal | int) -> str:
    """A number with thousands marked and no more decimals than it has, at most six."""
    exact = Fraction(value)
    if exact.denominator == 1:
        return f"{exact.numerator:,}"
    return f"{Decimal(exact.numerator) / Decimal(exact.denominator):,.6f}".rstrip("0")


def range_in_words(interval: Interval) -> str:
    """An interval in words: `from 20,000 to below 25,000`."""
    low, high = interval.low, interval.high
    if low is not None and low == high:
        return f"at exactly {number(low)}"
    begins = "" if low is None else f"{'above' if interval.low_open else 'from'} {number(low)}"
    ends = "" if high is None else f"{'below' if interval.high_open else 'up to'} {number(high)}"
    if begins and ends:
        return f"{begins} {'to ' if interval.high_open else ''}{ends}"
    return begins or ends or "everywhere"


def listed(words: Iterable[str], last: str = "and") -> str:
    """Words as a list in a sentence: `a, b and c`."""
    *others, final = words
    return f"{', '.join(others)} {last} {final}" if others else final
