"""The accounts whose owner has to be settled whatever the rules say of their band.

They wait, lost their CSM, are pinned to another one, or stand against the rule that pooled bands have no owner and
named bands have one who serves them. That is seen in `coverage`, so that what `accounts` knows is asked of those few.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    any_,
    case,
    func,
    literal,
    not_,
    or_,
    select,
)

from app.decide.book import Question, joined, valued
from app.decide.layers import Rows
from app.decide.sources import LIVE, Sources, of_accounts
from app.policy.expressions import facts_of
from app.policy.model import Policy
from app.tables import Instant, coverage, csms, pins

_AT_ONCE = 50_000

Column = ColumnElement[Any]


def select_pins(as_of: datetime) -> Select[Any]:
    """The accounts that are pinned to an owner, by account id."""
    return (
        select(pins.c.account_id, pins.c.owner_id)
        .where(pins.c.owner_id.is_not(None), pins.c.unpinned_at.is_(None))
        .where(pins.c.expires_at > literal(as_of, Instant))
        .order_by(pins.c.account_id)
    )


def read_unsettled(connection: Connection, policy: Policy, as_of: datetime) -> Sequence[tuple[Any, ...]]:
    """The active accounts whose owner has to be settled whatever the rules say, by id, as `Claim` lists them."""
    due = {row.account_id: row.why for row in connection.execute(select_due(policy, as_of))}
    account_ids, unsettled = list(due), []
    for start in range(0, len(due), _AT_ONCE):
        some = of_accounts(account_ids[start : start + _AT_ONCE])
        rows = connection.execute(select_owned(policy, as_of, some))
        unsettled += [(account_id, due[account_id], *rest) for account_id, _, *rest in rows]
    return unsettled


def select_due(policy: Policy, as_of: datetime) -> Select[Any]:
    """The accounts whose coverage alone says that their owner has to be settled, by id, and why."""
    owned = coverage.c.owner_id.is_not(None)
    named = _in_bands(policy, "named")
    misplaced = and_(_in_bands(policy, "pool"), owned)
    without = and_(named, not_(owned))
    lost = and_(owned, csms.c.active.is_not(True))
    # Whoever kept an account into a band that they do not serve, because they had just got it, hands it over in time.
    stays = coverage.c.owner_since > literal(as_of - timedelta(days=policy.owners.stable_days), Instant)
    serves = or_(not_(csms.c.active), coverage.c.band == any_(csms.c.bands))
    overdue = and_(named, not_(func.coalesce(serves, True)), not_(func.coalesce(stays, False)))
    pinned = coverage.c.account_id.in_(select_pins(as_of).order_by(None).with_only_columns(pins.c.account_id))
    why = case(
        (misplaced, "band_change"), (without, "waitlist"), (lost, "departure"), (overdue, "band_change"), else_="pin"
    )
    return (
        select(coverage.c.account_id, why.label("why"))
        .select_from(coverage.outerjoin(csms, csms.c.csm_id == coverage.c.owner_id))
        .where(or_(misplaced, without, lost, overdue, pinned))
        .order_by(coverage.c.account_id)
    )


def select_owned(policy: Policy, as_of: datetime, sources: Sources = LIVE) -> Select[Any]:
    """Every active account that has coverage, by id, as `Claim` lists them; nothing has happened to them."""
    ask = Question(policy, as_of, sources)
    needs_signals = bool(facts_of(policy.value) & policy.signals.keys())
    book = Rows(joined(ask, signals=needs_signals, pinned=False, also=("waiting_since",)).subquery("book"))
    book = book.plus(lambda rows: valued(ask, rows), name="valued", fenced=False)
    listed = ("band", "value", "segment", "region", "language", "owner_id", "waiting_since")
    columns: list[Column] = [book["account_id"], literal("rebalance", Text).label("why")]
    return (
        select(*columns, *(book[name] for name in listed))
        .where(book["is_active"], book["covered_id"].is_not(None))
        .order_by(book["account_id"])
    )


def _in_bands(policy: Policy, served_by: Literal["pool", "named"]) -> Column:
    """Whether a row of `coverage` is in a band that is served so."""
    names = [band.name for band in policy.bands if band.pooled == (served_by == "pool")]
    return coverage.c.band == any_(literal(names, ARRAY(Text)))
