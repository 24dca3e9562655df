"""The census: how many accounts stand in each band, what they are worth, and how many lack a fact that a rule reads."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, literal, literal_column, not_, or_, select, true

from app.decide.book import Question, is_active, joined, valued
from app.decide.layers import Rows
from app.decide.signals import in_window
from app.decide.sources import LIVE, Sources
from app.decide.spans import EVERYBODY, Span, within
from app.plan import BandCount, Census
from app.policy.expressions import facts_of
from app.policy.model import Policy, SignalFact
from app.readers import Task
from app.tables import Instant

Column = ColumnElement[Any]

_KNOWN = "known_"


@dataclass(frozen=True, slots=True)
class Tally:
    """The accounts counted once for all who ask: a row per band, owner and whether they are active, or several.

    A row has `band` and `owner_id` (NULL: none), `is_active`, `accounts`, `value` and `arr` (NULL: nothing known), and
    `known_<fact>`: how many have each fact of their own.
    """

    rows: Sequence[Mapping[str, Any]]

    def books(self) -> dict[str, tuple[int, Decimal]]:
        """Every owner with the number of accounts they own and the known value of those that are active."""
        books: dict[str, tuple[int, Decimal]] = {}
        for row in self.rows:
            if row["owner_id"] is not None:
                accounts, value = books.get(row["owner_id"], (0, Decimal(0)))
                worth = _money(row["value"]) if row["is_active"] else 0
                books[row["owner_id"]] = (accounts + row["accounts"], value + worth)
        return books


def take_census(connection: Connection, policy: Policy, as_of: datetime, sources: Sources = LIVE) -> Census:
    """The active accounts by present band, lowest first, those without one last.

    A fact counts as missing where a rule would find it NULL: account columns, attributes, `value`, and the latest value
    of a signal kind within a window. Facts relative to a band and counts of events are never missing, and one that a
    condition only reads with a fallback (coalesce, IS NULL) is not missed.
    """
    ask = Question(policy, as_of, sources)
    return census_of(ask, take_tally(connection, ask), count_measured(connection, ask))


def census_of(ask: Question, tally: Tally, measured: Mapping[str, int]) -> Census:
    """The census from the tally and the number of active accounts that have each measurement."""
    active = [row for row in tally.rows if row["is_active"]]
    accounts = sum(row["accounts"] for row in active)
    missing = {name: sum(row["accounts"] - row[_KNOWN + name] for row in active) for name in _own_facts(ask)}
    missing |= {name: max(accounts - known, 0) for name, known in measured.items()}
    return Census(bands=tuple(_bands(ask, active)), missing=dict(sorted(missing.items())))


def _bands(ask: Question, active: Sequence[Mapping[str, Any]]) -> Iterator[BandCount]:
    order: dict[str | None, int] = {band.name: band.rank for band in ask.policy.bands}
    names: set[str | None] = {row["band"] for row in active}
    for name in sorted(names, key=lambda name: (order.get(name, len(order)), name or "")):
        here = [row for row in active if row["band"] == name]
        value, arr = (sum((_money(row[column]) for row in here), Decimal(0)) for column in ("value", "arr"))
        yield BandCount(name, sum(row["accounts"] for row in here), value, arr)


def tally_in_parts(ask: Question, spans: Sequence[Span]) -> list[Task]:
    """The work of `take_tally` as tasks, one for each of the spans: put one behind the other, all rows of a tally."""
    statement = _select_tally(replace(ask, sources=within(ask.sources, spans)))
    return [partial(_read_tally, statement, span) for span in spans]


def take_tally(connection: Connection, ask: Question) -> Tally:
    """All accounts that are known to `accounts` or `coverage`, counted in one pass."""
    return Tally(_read_tally(_select_tally(ask), EVERYBODY, connection))


def _read_tally(statement: Select[Any], span: Span, connection: Connection) -> Sequence[Mapping[str, Any]]:
    return [dict(row) for row in connection.execute(statement, span.parameters).mappings()]


def _select_tally(ask: Question) -> Select[Any]:
    book = Rows(joined(ask, signals=_value_needs_signals(ask), pinned=False).subquery("book"))
    book = book.plus(lambda rows: valued(ask, rows), name="valued", fenced=False)
    facts = {name: book["value" if name == "value" else f"f_{name}"] for name in _own_facts(ask)}
    counts = [func.count(column).label(_KNOWN + name) for name, column in facts.items()]
    totals = [func.count().label("accounts"), *(func.sum(book[name]).label(name) for name in ("value", "arr"))]
    alike = [book[name] for name in ("band", "owner_id", "is_active")]
    return select(*alike, *totals, *counts).select_from(book.source).group_by(*alike)


def _own_facts(ask: Question) -> list[str]:
    """The facts of an account's own row that can be missing, `value` among them."""
    return [name for name in ("value", *ask.facts.account_columns, *ask.facts.attributes) if name in ask.facts.missed]


def _value_needs_signals(ask: Question) -> bool:
    return bool(facts_of(ask.policy.value) & ask.policy.signals.keys())


def count_measured(connection: Connection, ask: Question) -> Mapping[str, int]:
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
    # Those who left are few: to count them apart costs less than to look everybody up. A signal of nobody counts.
    everybody, left = (_having(ask, expected, only_left=only).subquery() for only in (False, True))
    known = [(everybody.c[fact.name] - left.c[fact.name]).label(fact.name) for fact in expected]
    return dict(connection.execute(select(*known).join_from(everybody, left, true())).mappings().one())


def _having(ask: Question, facts: Sequence[SignalFact], *, only_left: bool) -> Select[Any]:
    """One row: how many accounts have a signal in the window of each fact, of all accounts or of those that left."""
    accounts, signals = ask.sources.accounts, ask.sources.account_signals
    windows = [and_(*in_window(fact, signals.c, ask.as_of)) for fact in facts]
    # All that is read lies in the window of some fact: of its own, where no other fact is of its kind.
    kinds = Counter(fact.kind for fact in facts)
    told = [
        signals.c.kind == fact.kind if kinds[fact.kind] == 1 else window
        for fact, window in zip(facts, windows, strict=True)
    ]
    has = [func.bool_or(condition).label(fact.name) for fact, condition in zip(facts, told, strict=True)]
    by_account = (
        select(signals.c.account_id, *has)
        .where(or_(*windows), signals.c.occurred_at <= literal(ask.as_of, Instant))
        .group_by(signals.c.account_id)
        .offset(literal_column("'0'"))  # a fence: else every parallel worker would aggregate all of them for itself
    )
    if only_left:
        own = accounts.c.account_id == signals.c.account_id
        by_account = by_account.join_from(signals, accounts, own).where(not_(is_active(accounts)))
    rows = by_account.subquery("by_account")
    known: list[Column] = [func.count().filter(rows.c[fact.name]).label(fact.name) for fact in facts]
    return select(*known).select_from(rows)


def _money(amount: Decimal | None) -> Decimal:
    return amount if amount is not None else Decimal(0)
