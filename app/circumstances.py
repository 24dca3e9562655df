"""What else there is to know of the accounts whose owner is in question: who had them, since when, and how they fare.

Claims pass through in batches, so that a first run over a million accounts holds no more than one. Nothing is read of
an account that the pool serves after the run.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import ARRAY, Connection, Select, any_, case, func, literal, select, true
from sqlalchemy.dialects.postgresql import aggregate_order_by

from app.decide.book import Lens, Question, joined, measured, placed, valued
from app.decide.expressions import holds
from app.decide.layers import Rows
from app.decide.sources import LIVE, Sources
from app.owners import Claim
from app.policy.expressions import Type
from app.policy.model import Policy
from app.tables import Id, accounts, coverage, owner_history

AT_RISK = "at_risk"
"""The fact of a policy that says which accounts are at risk; without it none is."""

_AT_ONCE = 50_000
_AT_RISK_COUNTS = ("departure", "rebalance")


def completed(connection: Connection, policy: Policy, as_of: datetime, bare: Iterable[Claim]) -> Iterator[Claim]:
    """The claims in their order, each with its former owners, when it got its owner, its renewal, and its lock.

    Whether it is at risk is asked of those whose CSM left, who are many at once and cannot all be first, and of those
    that could be moved for balance.
    """
    pooled = {band.name for band in policy.bands if band.pooled}
    remaining = iter(bare)
    while batch := list(islice(remaining, _AT_ONCE)):
        asked = [claim for claim in batch if claim.band is not None and claim.band not in pooled]
        known = {row.account_id: row for row in connection.execute(select_history([one.account_id for one in asked]))}
        at_risk = read_at_risk(
            connection, policy, as_of, [one.account_id for one in asked if one.why in _AT_RISK_COUNTS]
        )
        for claim in batch:
            row = known.get(claim.account_id)
            yield claim if row is None else _completed(policy, as_of, claim, row, claim.account_id in at_risk)


def select_history(account_ids: Sequence[str]) -> Select[Any]:
    """These accounts with their renewal, `owner_since`, and the owners they had before, the latest first."""
    asked = _among(account_ids)
    order = owner_history.c.changed_at.desc(), owner_history.c.run_id.desc()
    former = (
        select(
            owner_history.c.account_id,
            func.array_agg(aggregate_order_by(owner_history.c.from_owner_id, *order), type_=ARRAY(Id)).label("owners"),
        )
        .where(owner_history.c.from_owner_id.is_not(None), owner_history.c.account_id == any_(asked))
        .group_by(owner_history.c.account_id)
        .subquery("former")
    )
    renewal = case((func.isfinite(accounts.c.renewal_on), accounts.c.renewal_on)).label("renewal_on")
    return (
        select(accounts.c.account_id, renewal, coverage.c.owner_since, former.c.owners)
        .select_from(
            accounts.outerjoin(coverage, coverage.c.account_id == accounts.c.account_id).outerjoin(
                former, former.c.account_id == accounts.c.account_id
            )
        )
        .where(accounts.c.account_id == any_(asked))
    )


def read_at_risk(connection: Connection, policy: Policy, as_of: datetime, account_ids: Sequence[str]) -> frozenset[str]:
    """Those of the accounts that the policy's fact `at_risk` is true of, read as its rules read it now."""
    fact = policy.facts.get(AT_RISK)
    if fact is None or fact.type is not Type.BOOLEAN or not account_ids:
        return frozenset()
    asked = _among(account_ids)

    def these(table: Any) -> Any:
        return select(table).where(table.c.account_id == any_(asked)).subquery(table.name)

    few = Sources(these(LIVE.accounts), these(LIVE.account_signals), these(LIVE.coverage), LIVE.pins)
    ask = Question(policy, as_of, few, also=frozenset({AT_RISK}))
    book = Rows(joined(ask).subquery("book"))
    book = book.plus(lambda rows: valued(ask, rows), name="valued", fenced=False)
    book = book.plus(lambda rows: placed(ask, rows), name="placed", fenced=False)
    known = Rows(measured(ask, book.where(true()).cte("known")).subquery("measured"))
    lens = Lens(ask, known, "now", known["own_rank"])
    statement = select(known["account_id"]).select_from(known.source).where(holds(fact, lens.reader))
    return frozenset(connection.execute(statement).scalars())


def is_locked(policy: Policy, as_of: datetime, owner_since: datetime | None) -> bool:
    """Whether an owner of so long is one that must not change yet."""
    return owner_since is not None and owner_since > as_of - timedelta(days=policy.owners.stable_days)


def _completed(policy: Policy, as_of: datetime, claim: Claim, row: Any, at_risk: bool) -> Claim:  # noqa: FBT001
    former = tuple(name for name in dict.fromkeys(row.owners or ()) if name != claim.owner_id)
    owned = claim.owner_id is not None
    return replace(
        claim,
        former_owners=former,
        owner_since=row.owner_since,
        at_risk=at_risk,
        renewal_on=row.renewal_on,
        locked=owned and is_locked(policy, as_of, row.owner_since),
    )


def _among(account_ids: Sequence[str]) -> Any:
    return literal(list(account_ids), ARRAY(Id))
