"""What each CSM is told of a run that changes their book: one `csm.digest`, made in the database in one statement."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, Select, Text, cast, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from app.messages.message import DIGEST
from app.tables import Instant, runs

Column = ColumnElement[Any]


def select_digests(planned: FromClause, run_id: UUID, as_of: datetime) -> Select[Any]:
    """The outbox rows that tell each CSM who arrives and who departs, from the planned rows that change an owner.

    Each account comes with its bands, its value, the reason of its move (missing when only the owner changes), the
    reason of the change of owner, and the CSM on the other side. Accounts are listed by id.
    """
    arrivals = _listed(planned, planned.c.to_owner_id, planned.c.from_owner_id, "from_owner_id").subquery("arrivals")
    departures = _listed(planned, planned.c.from_owner_id, planned.c.to_owner_id, "to_owner_id").subquery("departures")
    csm_id = func.coalesce(arrivals.c.csm_id, departures.c.csm_id)
    nobody = func.jsonb_build_array()
    payload = func.jsonb_build_object(
        "csm_id", csm_id,
        "run_id", literal(str(run_id)),
        "as_of", literal(as_of.isoformat()),
        "arrivals", func.coalesce(arrivals.c.accounts, nobody),
        "departures", func.coalesce(departures.c.accounts, nobody),
        type_=JSONB,
    )  # fmt: skip
    return select(
        _digest_id(run_id, csm_id).label("message_id"),
        literal(run_id, runs.c.run_id.type).label("run_id"),
        literal(DIGEST).label("topic"),
        csm_id.label("recipient"),
        payload.label("payload"),
        literal(as_of, Instant).label("created_at"),
    ).select_from(arrivals.join(departures, arrivals.c.csm_id == departures.c.csm_id, full=True))


def _listed(planned: FromClause, csm_id: Column, other: Column, other_name: str) -> Select[Any]:
    account = func.jsonb_build_object(
        "account_id", planned.c.account_id,
        "from_band", planned.c.from_band,
        "to_band", planned.c.to_band,
        "value", planned.c.value,
        "reason", planned.c.reason,
        "why", planned.c.why,
        "owner_reason", planned.c.owner_reason,
        other_name, other,
        type_=JSONB,
    )  # fmt: skip
    return (
        select(
            csm_id.label("csm_id"), func.jsonb_agg(aggregate_order_by(account, planned.c.account_id)).label("accounts")
        )
        .where(planned.c.why.is_not(None), csm_id.is_not(None))
        .group_by(csm_id)
    )


def _digest_id(run_id: UUID, csm_id: Column) -> Column:
    """`message_id` of a digest, in SQL."""
    named = literal(f"{run_id}:{DIGEST}:", Text) + cast(csm_id, Text)
    digest = func.encode(func.sha256(func.convert_to(named, "UTF8")), "hex", type_=Text)
    return literal("msg_", Text) + func.left(digest, 32, type_=Text)
