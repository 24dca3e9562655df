"""Signal facts: a pass over `account_signals`, one row per account.

Every fact is an aggregate with a FILTER in the same GROUP BY. An event fact is read in two ways: `fresh` (signals newer
than the account's last band change) and `all` (every signal of its window); which a policy needs, the caller says.

The latest value of a kind is the second element of the greatest [seconds, value]: one hash aggregate instead of a sort
per fact, exact, and total, since of two values at one instant the larger wins.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import ARRAY, ColumnElement, FromClause, Numeric, Select, and_, cast, extract, func, literal, select
from sqlalchemy.dialects.postgresql import array

from app.decide.expressions import DAY_S
from app.policy.model import SignalFact
from app.tables import Instant

Reading = Literal["fresh", "all"]
Column = ColumnElement[Any]

_VALUE_LIMIT = Decimal(10) ** 14
"""Values beyond this size are no seats, usage or money: missing."""


def column_of(fact: SignalFact, reading: Reading) -> str:
    """The name of the column that holds the fact; only event facts tell the readings apart."""
    return f"{fact.name}__{reading}" if fact.event else fact.name


@dataclass(frozen=True)
class Pass:
    """What a pass reads: these facts in these readings, of signals of these kinds up to `as_of`."""

    wanted: tuple[tuple[SignalFact, Reading], ...]
    kinds: tuple[str, ...]
    as_of: datetime

    def over_all(self, signals: FromClause, standing: FromClause) -> Select[Any]:
        """One row per account that has such a signal: `account_id`, the facts, and `newest_signal_at`.

        `standing` tells the `band_since` of every account that has one.
        """
        source: Any = signals
        if any(fact.event and reading == "fresh" for fact, reading in self.wanted):
            source = signals.outerjoin(standing, standing.c.account_id == signals.c.account_id)
        columns = self._columns(signals, standing)
        return self._read(select(signals.c.account_id, *columns).select_from(source), signals).group_by(
            signals.c.account_id
        )

    def of_one(self, signals: FromClause, account: FromClause) -> Select[Any]:
        """The one row, for a LATERAL join to `account`, of its facts and `newest_signal_at`."""
        own = signals.c.account_id == account.c.account_id
        return self._read(select(*self._columns(signals, account)).correlate(account), signals).where(own)

    def _columns(self, signals: FromClause, standing: FromClause) -> list[Column]:
        signal, band_since = signals.c, standing.c.band_since
        return [
            *(
                self._aggregate(fact, reading, signal, band_since).label(column_of(fact, reading))
                for fact, reading in self.wanted
            ),
            func.max(signal.occurred_at).label("newest_signal_at"),
        ]

    def _read(self, statement: Select[Any], signals: FromClause) -> Select[Any]:
        at = signals.c.occurred_at
        # Not isfinite, of which the planner knows no statistics.
        known = and_(at <= literal(self.as_of, Instant), at > literal("-infinity", Instant))
        return statement.where(signals.c.kind.in_(self.kinds), known)

    def _aggregate(self, fact: SignalFact, reading: Reading, signal: Any, band_since: Column) -> Column:
        window = in_window(fact, signal, self.as_of)
        if fact.event and reading == "fresh":
            window.append(signal.occurred_at > band_since)
        if fact.measure == "count":
            return cast(func.count().filter(and_(*window)), Numeric)
        if fact.measure == "days_since":
            age = literal(self.as_of, Instant) - func.max(signal.occurred_at).filter(and_(*window))
            return cast(func.floor(func.date_part("epoch", age) / literal(float(DAY_S))), Numeric)
        if fact.measure in ("latest", "value_ago"):
            newest: Column = _latest(signal).filter(and_(*window))[2]
            return newest
        total: Column = getattr(func, fact.measure)(signal.value).filter(and_(*window))
        return total


def in_window(fact: SignalFact, signal: Any, as_of: datetime) -> list[Column]:
    """The conditions under which the fact counts a signal that is no later than `as_of`, freshness aside."""
    window = [signal.kind == fact.kind]
    if fact.within_days is not None:
        window.append(signal.occurred_at > literal(as_of - timedelta(days=fact.within_days), Instant))
    ends_days_ago = fact.days_ago if fact.measure == "value_ago" else fact.until_days_ago
    if ends_days_ago:
        window.append(signal.occurred_at <= literal(as_of - timedelta(days=ends_days_ago), Instant))
    if fact.measure not in ("count", "days_since"):
        # NaN is greater than every number, so this keeps it out too.
        window.append(signal.value.between(literal(-_VALUE_LIMIT, Numeric), literal(_VALUE_LIMIT, Numeric)))
    return window


def _latest(signal: Any) -> Any:
    at: Column = extract("epoch", signal.occurred_at)
    return func.max(array([at, cast(signal.value, Numeric)]), type_=ARRAY(Numeric))
