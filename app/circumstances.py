"""What else there is to know of the accounts whose owner is in question: who had them, since when, and how they fare.

Claims pass through in batches, so that a first run over a million accounts holds no more than one. Nothing is read of
an account that the pool serves after the run.
"""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from functools import cache
from itertools import islice
from typing import Any

from sqlalchemy import ARRAY, Connection, Select, and_, any_, bindparam, case, func, select, true
from sqlalchemy.dialects.postgresql import aggregate_order_by

from app.decide.book import Lens, Question, joined, measured, placed, valued
from app.decide.expressions import holds
from app.decide.layers import Rows
from app.decide.sources import of_accounts
from app.decide.stream import stream_rows
from app.owners import Claim
from app.policy.expressions import Type
from app.policy.model import Policy
from app.tables import Id, accounts, coverage, owner_history

AT_RISK = "at_risk"
"""The fact of a policy that says which accounts are at risk; without it none is."""

_AT_ONCE = 50_000
_ASKED = "asked_ids"
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
        history = stream_rows(connection, select_history(), {_ASKED: [one.account_id for one in asked]})
        known = {account_id: rest for account_id, *rest in history}
        at_risk = read_at_risk(
            connection, policy, as_of, [one.account_id for one in asked if one.why in _AT_RISK_COUNTS]
        )
        for claim in batch:
            row = known.get(claim.account_id)
            yield claim if row is None else _completed(policy, as_of, claim, row, at_risk)


@cache
def select_history() -> Select[Any]:
    """The asked accounts with their renewal, `owner_since`, and the owners they had before, the latest first."""
    asked = bindparam(_ASKED, type_=ARRAY(Id))
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
    # Asked of both tables, or Postgres would pass over the whole of the second.
    own = and_(coverage.c.account_id == accounts.c.account_id, coverage.c.account_id == any_(asked))
    return (
        select(accounts.c.account_id, renewal, coverage.c.owner_since, former.c.owners)
        .select_from(accounts.outerjoin(coverage, own).outerjoin(former, former.c.account_id == accounts.c.account_id))
        .where(accounts.c.account_id == any_(asked))
    )


def read_at_risk(connection: Connection, policy: Policy, as_of: datetime, account_ids: Sequence[str]) -> frozenset[str]:
    """Those of the accounts that the policy's fact `at_risk` is true of, read as its rules read it now."""
    fact = policy.facts.get(AT_RISK)
    if fact is None or fact.type is not Type.BOOLEAN or not account_ids:
        return frozenset()
    ask = Question(policy, as_of, of_accounts(account_ids), also=frozenset({AT_RISK}))
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


def _completed(
    policy: Policy, as_of: datetime, claim: Claim, history: Sequence[Any], at_risk: AbstractSet[str]
) -> Claim:
    renewal_on, owner_since, owners = history
    return Claim(  # not `replace`, which takes four times as long, for each of very many
        account_id=claim.account_id,
        why=claim.why,
        band=claim.band,
        value=claim.value,
        segment=claim.segment,
        region=claim.region,
        language=claim.language,
        owner_id=claim.owner_id,
        waiting_since=claim.waiting_since,
        pinned_to=claim.pinned_to,
        family=claim.family,
        former_owners=tuple(name for name in dict.fromkeys(owners or ()) if name != claim.owner_id),
        owner_since=owner_since,
        at_risk=claim.account_id in at_risk,
        renewal_on=renewal_on,
        locked=claim.owner_id is not None and is_locked(policy, as_of, owner_since),
    )
