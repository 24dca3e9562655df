"""What each CSM is told of a run that changes their book: one `csm.digest`, made in the database in one statement."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Boolean,
    ColumnElement,
    FromClause,
    Select,
    Subquery,
    Text,
    any_,
    case,
    cast,
    column,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
    values,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by, distinct_on

from app.messages.message import DIGEST, instant
from app.policy.model import Policy
from app.tables import Instant, account_signals, accounts, csms, runs

Column = ColumnElement[Any]


def select_digests(planned: FromClause, policy: Policy, run_id: UUID, as_of: datetime) -> Select[Any]:
    """The outbox rows that tell each CSM who arrives and who departs, from the planned rows that change an owner.

    Each account comes with what its next owner needs to know: its name, bands, value, renewal, champion and last
    engagement, the reason of its move (missing when only the owner changes), the reason of the change of owner, and
    the CSM on the other side. Accounts are listed by id; one that has left may be known by its id alone.
    """
    books = _listed(_changed(planned, policy, as_of)).subquery("books")
    csm_id = books.c.csm_id
    nobody = func.jsonb_build_array()
    payload = func.jsonb_build_object(
        "run_id", literal(str(run_id)),
        "as_of", literal(instant(as_of)),
        "time_zone", literal(policy.calendar.time_zone.key),
        "currency", literal(policy.currency),
        "csm_id", csm_id,
        "csm_name", csms.c.name,
        "arrivals", func.coalesce(books.c.arrivals, nobody),
        "departures", func.coalesce(books.c.departures, nobody),
        type_=JSONB,
    )  # fmt: skip
    return select(
        _digest_id(run_id, csm_id).label("message_id"),
        literal(run_id, runs.c.run_id.type).label("run_id"),
        literal(DIGEST).label("topic"),
        csm_id.label("recipient"),
        payload.label("payload"),
        literal(as_of, Instant).label("created_at"),
    ).select_from(books.outerjoin(csms, csms.c.csm_id == csm_id))


def _changed(planned: FromClause, policy: Policy, as_of: datetime) -> Subquery:
    """The planned changes of owner, with what is known of their accounts."""
    heard = _heard_of_champions(planned, policy, as_of).subquery("heard")
    attribute = accounts.c.attributes["champion"]
    name = case((func.jsonb_typeof(attribute) == "string", attribute.astext))
    champion = func.jsonb_build_object(
        "name", name, "event", heard.c.kind, "at", _instant(heard.c.occurred_at), "detail", heard.c.detail, type_=JSONB
    )
    known = accounts.c.account_id == planned.c.account_id
    return (
        select(
            planned,
            accounts.c.name,
            accounts.c.renewal_on,
            _instant(accounts.c.last_engaged_at).label("last_engaged_at"),
            case((or_(name.is_not(None), heard.c.kind.is_not(None)), champion)).label("champion"),
        )
        .select_from(planned.outerjoin(accounts, known).outerjoin(heard, heard.c.account_id == planned.c.account_id))
        .where(planned.c.why.is_not(None))
        .subquery("changed")
    )


def _heard_of_champions(planned: FromClause, policy: Policy, as_of: datetime) -> Select[Any]:
    """Each account's latest signal of the kinds that the policy reads and whose name begins with `champion`."""
    kinds = sorted({fact.kind for fact in policy.signals.values() if fact.kind.startswith("champion")})
    signals = account_signals.c
    return (
        select(signals.account_id, signals.kind, signals.occurred_at, signals.detail)
        .ext(distinct_on(signals.account_id))
        .where(
            signals.kind == any_(literal(kinds, ARRAY(Text))),
            signals.occurred_at <= literal(as_of, Instant),
            signals.account_id.in_(select(planned.c.account_id).where(planned.c.why.is_not(None))),
        )
        .order_by(signals.account_id, signals.occurred_at.desc(), signals.signal_id.desc())
    )


def _listed(changed: Subquery) -> Select[Any]:
    """A row per CSM with the accounts that come to them, and those that leave them."""
    sides = (
        values(column("csm_id", Text), column("other_id", Text), column("arrives", Boolean), name="side")
        .data(
            [
                (changed.c.to_owner_id, changed.c.from_owner_id, true()),
                (changed.c.from_owner_id, changed.c.to_owner_id, false()),
            ]
        )
        .lateral()
    )
    csm_id, arrives = sides.c.csm_id, sides.c.arrives
    return (
        select(
            csm_id.label("csm_id"),
            _accounts(changed, "from_owner", sides.c.other_id).filter(arrives).label("arrivals"),
            _accounts(changed, "to_owner", sides.c.other_id).filter(not_(arrives)).label("departures"),
        )
        .select_from(changed.join(sides, true()).outerjoin(csms, csms.c.csm_id == sides.c.other_id))
        .where(csm_id.is_not(None))
        .group_by(csm_id)
    )


def _accounts(changed: Subquery, other: str, other_id: Column) -> Any:
    """The accounts by id, as an aggregate; `other` is who had, or has, them otherwise."""
    account = func.jsonb_build_object(
        "account_id", changed.c.account_id,
        "name", changed.c.name,
        "from_band", changed.c.from_band,
        "to_band", changed.c.to_band,
        "value", changed.c.value,
        "renewal_on", changed.c.renewal_on,
        "champion", changed.c.champion,
        "last_engaged_at", changed.c.last_engaged_at,
        "reason", changed.c.reason,
        "why", changed.c.why,
        "owner_reason", changed.c.owner_reason,
        f"{other}_id", other_id,
        f"{other}_name", csms.c.name,
        type_=JSONB,
    )  # fmt: skip
    return func.jsonb_agg(aggregate_order_by(account, changed.c.account_id))


def _instant(at: Column) -> Column:
    """`instant`, in SQL."""
    return func.to_char(func.timezone("UTC", at), 'YYYY-MM-DD"T"HH24:MI:SS"Z"', type_=Text)


def _digest_id(run_id: UUID, csm_id: Column) -> Column:
    """`message_id` of a digest, in SQL."""
    named = literal(f"{run_id}:{DIGEST}:", Text) + cast(csm_id, Text)
    digest = func.encode(func.sha256(func.convert_to(named, "UTF8")), "hex", type_=Text)
    return literal("msg_", Text) + func.left(digest, 32, type_=Text)
