"""The health of the inputs, for the guards: whether what used to arrive every week still does.

A feed is a kind of signal that the policy reads, or the dates of last engagement. It was weekly when it brought
something in at least six of the eight weeks before the span in which it should have brought something again. Each
question to `account_signals` is a probe of the index on (kind, occurred_at).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Select, cast, func, literal, select, union_all
from sqlalchemy.sql.expression import CompoundSelect

from app.decide.facts import FactsRead
from app.policy.model import Policy
from app.tables import Instant, account_signals, accounts

WEEKS = 8
WEEKLY = 6

ENGAGEMENT = "last_engaged_at"


@dataclass(frozen=True, slots=True)
class Feed:
    """One feed.

    `newest` is the latest instant it brought by `as_of` (None: never anything), `weeks` in how many of the eight weeks
    before the stale span it brought something.
    """

    name: str
    newest: datetime | None
    weeks: int

    @property
    def is_weekly(self) -> bool:
        """Whether it used to bring something nearly every week."""
        return self.weeks >= WEEKLY


def read_feeds(connection: Connection, policy: Policy, as_of: datetime) -> tuple[Feed, ...]:
    """The feeds that the policy reads: kinds of signal by name, then engagement; none when the guard is off."""
    days = policy.guards.stale_after_days
    if days is None:
        return ()
    facts = FactsRead(policy)
    feeds = []
    kinds = sorted({fact.kind for fact in facts.signals})
    if kinds:
        rows = connection.execute(select_signal_feeds(kinds, days, as_of))
        feeds += sorted((Feed(row.kind, row.newest, row.weeks) for row in rows), key=lambda feed: feed.name)
    if ENGAGEMENT in facts.account_columns:
        row = connection.execute(select_engagement(days, as_of)).one()
        feeds.append(Feed(ENGAGEMENT, row.newest, row.weeks))
    return tuple(feeds)


def select_signal_feeds(kinds: Iterable[str], days: int, as_of: datetime) -> CompoundSelect[Any]:
    """A row per kind of signal: its newest instant and the weeks in which it arrived."""
    return union_all(*(_signal_feed(kind, days, as_of) for kind in kinds))


def select_engagement(days: int, as_of: datetime) -> Select[Any, Any]:
    """One row: the newest engagement of any active account, and the weeks in which some account was last engaged."""
    engaged, active = accounts.c.last_engaged_at, accounts.c.status == "active"
    newest = select(func.max(engaged)).where(active, engaged <= literal(as_of, Instant), func.isfinite(engaged))
    # Each week is looked for until one account is found: among customers who are alive that is soon.
    weeks: list[ColumnElement[bool]] = [
        select(literal(1)).where(active, engaged > after, engaged <= until).exists()
        for after, until in _weeks(days, as_of)
    ]
    return select(newest.scalar_subquery().label("newest"), _count(weeks).label("weeks"))


def _signal_feed(kind: str, days: int, as_of: datetime) -> Select[Any]:
    signal = account_signals.c
    newest = (
        select(signal.occurred_at)
        .where(signal.kind == kind, signal.occurred_at <= literal(as_of, Instant), func.isfinite(signal.occurred_at))
        .order_by(signal.occurred_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    weeks: list[ColumnElement[bool]] = [
        select(literal(1))
        .where(signal.kind == kind, signal.occurred_at > after, signal.occurred_at <= until)
        .exists()
        for after, until in _weeks(days, as_of)
    ]  # fmt: skip
    return select(literal(kind).label("kind"), newest.label("newest"), _count(weeks).label("weeks"))


def _weeks(days: int, as_of: datetime) -> Iterator[tuple[ColumnElement[datetime], ColumnElement[datetime]]]:
    """The bounds (after, up to) of each of the eight weeks before the stale span."""
    end = as_of - timedelta(days=days)
    for week in range(WEEKS):
        until = end - timedelta(weeks=week)
        yield literal(until - timedelta(weeks=1), Instant), literal(until, Instant)


def _count(conditions: list[ColumnElement[bool]]) -> ColumnElement[int]:
    """How many of the conditions, none of which is NULL, are true."""
    return sum((cast(condition, Integer) for condition in conditions), literal(0, Integer))
