"""The census: how many accounts stand in each band, what they are worth, and how many lack a fact that a rule reads."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Select, func, select

from app.decide.book import Question, joined, valued
from app.decide.layers import Rows
from app.decide.signals import Reading
from app.decide.sources import LIVE, Sources
from app.plan import BandCount, Census
from app.policy.model import Policy, SignalFact

_EXPECTED = ("latest", "value_ago")
"""Measures of a state that every account has: to lack one is news. To lack an event is not."""


def take_census(connection: Connection, policy: Policy, as_of: datetime, sources: Sources = LIVE) -> Census:
    """The active accounts by present band, lowest first, those without one last.

    A fact counts as missing where the rules would find it NULL: account columns, attributes, `value`, and signal facts
    that describe a state. Facts relative to a band and counts of events have no missing.
    """
    ask = Question(policy, as_of, sources)
    expected = tuple(fact for fact in ask.facts.signals if fact.measure in _EXPECTED and not fact.event)
    names = ("value", *ask.facts.account_columns, *ask.facts.attributes, *(fact.name for fact in expected))
    rows = connection.execute(_census_statement(ask, expected, names)).mappings().all()
    order: dict[str | None, int] = {band.name: band.rank for band in policy.bands}
    bands = sorted(rows, key=lambda row: (order.get(row["band"], len(order)), row["band"] or ""))
    return Census(
        bands=tuple(BandCount(row["band"], row["accounts"], _money(row["value"]), _money(row["arr"])) for row in bands),
        missing=_missing(names, rows),
    )


def _census_statement(ask: Question, expected: tuple[SignalFact, ...], names: tuple[str, ...]) -> Select[Any]:
    readings: tuple[tuple[SignalFact, Reading], ...] = tuple((fact, "all") for fact in expected)
    book = Rows(joined(ask, readings).subquery("book"))
    book = book.plus(lambda rows: valued(ask, rows), name="valued", fenced=False)
    counts = [func.count(book["value" if name == "value" else f"f_{name}"]).label(f"known_{name}") for name in names]
    return (
        select(
            book["band"],
            func.count().label("accounts"),
            func.sum(book["value"]).label("value"),
            func.sum(book["arr"]).label("arr"),
            *counts,
        )
        .select_from(book.source)
        .where(book["is_active"])
        .group_by(book["band"])
    )


def _missing(names: tuple[str, ...], rows: Any) -> Mapping[str, int]:
    return {name: sum(row["accounts"] - row[f"known_{name}"] for row in rows) for name in sorted(set(names))}


def _money(amount: Decimal | None) -> Decimal:
    return amount if amount is not None else Decimal(0)
