"""How figures are written for people: $45,000, $1.2M, 31%, 1,234. Pure, and free of the machine's locale."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from app.policy.model import Policy

UNKNOWN = "unknown"
"""How a missing fact reads."""

_SYMBOLS: Mapping[str, str] = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹"}
_LONGEST_TEXT = 80
_UNITS = tuple(Decimal(1).scaleb(-decimals) for decimals in range(5))
"""The last place of a number with so many decimals."""


def printable(text: str) -> str:
    """`text` on one line and safe to print: control, escape and direction characters become spaces or `?`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)


def sentence(clause: str) -> str:
    """The clause as a sentence of its own; a name or an id at its start keeps its letters."""
    first = clause.split(" ", 1)[0]
    capital = clause[:1].upper() if first.isalpha() else clause[:1]
    said = f"{capital}{clause[1:]}".rstrip(".")
    return said if said.endswith("?") else f"{said}."


def number(value: Decimal | int, decimals: int = 4) -> str:
    """`value` with thousands separators and at most `decimals` decimals, none of them a trailing zero."""
    rounded = Decimal(value).quantize(_UNITS[decimals], ROUND_HALF_UP) + 0  # + 0 turns -0 into 0
    text = f"{rounded:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def money(value: Decimal | int, currency: str) -> str:
    """An amount to the cent, the cents left out where there are none: $45,000, -$12.50, CHF 900."""
    cents = Decimal(value).quantize(_UNITS[2], ROUND_HALF_UP)
    digits = f"{abs(cents):,f}"
    return _with_currency(digits.removesuffix(".00"), currency, negative=cents < 0)


def short_money(value: Decimal | int, currency: str) -> str:
    """An aggregate at a glance, in three figures: $950, $9,999, $45K, $1.2M, $12.3M, $3.1B."""
    amount = abs(Decimal(value))
    for unit, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        scaled = _three_figures(amount / unit)
        if scaled >= (10 if letter == "K" else 1):
            return _with_currency(number(scaled) + letter, currency, negative=value < 0)
    return money(Decimal(value).quantize(Decimal(1), ROUND_HALF_UP), currency)


def _three_figures(amount: Decimal) -> Decimal:
    """`amount` rounded to three figures, but never to less than a whole one."""
    decimals = max(2 - amount.adjusted(), 0) if amount else 0
    return amount.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)


def _with_currency(digits: str, currency: str, *, negative: bool) -> str:
    symbol = _SYMBOLS.get(currency, f"{currency} ")
    return f"{'-' if negative else ''}{symbol}{digits}"


def percent(share: Decimal) -> str:
    """A share as a percentage with at most two decimals: 0.4 is 40%, 0.3996 is 39.96%."""
    return f"{number(share * 100, 2)}%"


def day(instant: date | datetime) -> str:
    """The date of an instant as it stands, in its own zone."""
    return f"{instant:%Y-%m-%d}"


def counted(count: int, noun: str) -> str:
    """`1 account`, `1,234 accounts`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def fact(policy: Policy, name: str, value: Any) -> str:
    """A fact's value as people read it, by its unit in the policy; a missing one reads `unknown`.

    `value` is what JSON keeps of the fact: a number (Decimal or int), a string (text, a band, an ISO date or instant),
    a boolean or None.
    """
    match value:
        case None:
            return UNKNOWN
        case bool():
            return "yes" if value else "no"
        case int() | Decimal():
            return _figure(policy, policy.units.get(name), Decimal(value))
        case _:
            text = printable(str(value)[:10] if policy.units.get(name) == "date" else str(value))
            return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 3] + "..."


def _figure(policy: Policy, unit: str | None, value: Decimal) -> str:
    match unit:
        case "money":
            return money(value, policy.currency)
        case "percent":
            return percent(value)
        case _:
            return number(value)
