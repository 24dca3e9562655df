"""The census: how many accounts stand in each band, what they are worth, and how many lack a fact that a rule reads."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Select, and_, exists, func, literal, literal_column, not_, or_, select

from app.decide.book import Question, is_active, joined, valued
from app.decide.layers import Rows
from app.decide.signals import in_window
from app.decide.sources import LIVE, Sources
from app.plan import BandCount, Census
from app.policy.expressions import facts_of
from app.policy.model import Policy
from app.tables import Instant


def take_census(connection: Connection, policy: Policy, as_of: datetime, sources: Sources = LIVE) -> Census:
    """The active accounts by present band, lowest first, those without one last.

    A fact counts as missing where a rule would find it NULL: account columns, attributes, `value`, and the latest value
    of a signal kind within a window. Facts relative to a band and counts of events are never missing, and one that a
    condition only reads with a fallback (coalesce, IS NULL) is not missed.
    """
    ask = Question(policy, as_of, sources)
    names = tuple(
        name for name in ("value", *ask.facts.account_columns, *ask.facts.attributes) if name in ask.facts.missed
    )
    rows = connection.execute(_by_band(ask, names)).mappings().all()
    order: dict[str | None, int] = {band.name: band.rank for band in policy.bands}
    bands = sorted(rows, key=lambda row: (order.get(row["band"], len(order)), row["band"] or ""))
    missing = {name: sum(row["accounts"] - row[f"known_{name}"] for row in rows) for name in names}
    accounts = sum(row["accounts"] for row in rows)
    missing |= {name: max(accounts - known, 0) for name, known in _measured(connection, ask).items()}
    return Census(
        bands=tuple(BandCount(row["band"], row["accounts"], _money(row["value"]), _money(row["arr"])) for row in bands),
        missing=dict(sorted(missing.items())),
    )


def _by_band(ask: Question, names: tuple[str, ...]) -> Select[Any]:
    book = Rows(joined(ask, occasions=_value_needs_signals(ask)).subquery("book"))
    book = book.plus(lambda rows: valued(ask, rows), name="valued", fenced=False)
    counts = [func.count(book["value" if name == "value" else f"f_{name}"]).label(f"known_{name}") for name in names]
    totals = [func.count().label("accounts"), *(func.sum(book[name]).label(name) for name in ("value", "arr"))]
    return (
        select(book["band"], *totals, *counts).select_from(book.source).where(book["is_active"]).group_by(book["band"])
    )


def _value_needs_signals(ask: Question) -> bool:
    return bool(facts_of(ask.policy.value) & ask.policy.signals.keys())


def _measured(connection: Connection, ask: Question) -> Mapping[str, int]:
    """How many active accounts have each fact that is the latest value of a kind within a window."""
    expected = [
        fact
        for fact in ask.facts.signals
        if fact.measure == "latest"
        and fact.within_days is not None
        and not fact.event
        and fact.name in ask.facts.missed
    ]
    if not expected:
        return {}
    accounts, signals = ask.sources.accounts, ask.sources.account_signals
    windows = [and_(*in_window(fact, signals.c, ask.as_of)) for fact in expected]
    has = [func.bool_or(window).label(fact.name) for fact, window in zip(expected, windows, strict=True)]
    by_account = (
        select(signals.c.account_id, *has)
        .where(or_(*windows), signals.c.occurred_at <= literal(ask.as_of, Instant))
        .group_by(signals.c.account_id)
        .offset(literal_column("0"))  # a fence: else every parallel worker would aggregate all of them for itself
        .subquery("by_account")
    )
    known = [func.count().filter(by_account.c[fact.name]).label(fact.name) for fact in expected]
    # The few that left are taken out, rather than the many that stay looked up; a signal of nobody counts for somebody.
    left = exists().where(accounts.c.account_id == by_account.c.account_id, not_(is_active(accounts)))
    statement = select(*known).select_from(by_account).where(not_(left))
    return dict(connection.execute(statement).mappings().one())


def _money(amount: Decimal | None) -> Decimal:
    return amount if amount is not None else Decimal(0)
