"""The outbox for people to look at and to step in: what is in it, what is tried again, what is let go."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    case,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    true,
    update,
)

from app.errors import Mistake
from app.tables import deliveries, outbox


class State(StrEnum):
    """How a message stands in a channel."""

    UNSEEN = "unseen"
    """No deliverer has looked at it yet."""
    WAITING = "waiting"
    PARKED = "parked"
    DELIVERED = "delivered"
    DROPPED = "dropped"
    """It was parked, and somebody let it go."""
    UNTOLD = "untold"
    """No channel took its topic."""


OPEN = (State.UNSEEN, State.WAITING, State.PARKED)
"""The states of what has not ended."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A message in one channel; of one that no channel has, `channel` and what follows are missing.

    `next_attempt_at` is only of one that waits; while an attempt is under way, it is when that is given up for lost.
    """

    message_id: str
    topic: str
    recipient: str | None
    run_id: UUID
    created_at: datetime
    state: State
    channel: str | None
    attempts: int
    next_attempt_at: datetime | None
    last_error: str | None
    ended_at: datetime | None


def read_entries(connection: Connection, states: Sequence[State], limit: int | None) -> tuple[Entry, ...]:
    """The entries in one of these states, the newest first, at most `limit` of them."""
    rows = connection.execute(_select_entries(states, limit))
    return tuple(Entry(**{**row._mapping, "state": State(row.state)}) for row in rows)


def _select_entries(states: Sequence[State], limit: int | None) -> Select[Any]:
    state = _state()
    waits = deliveries.c.status == "waiting"
    return (
        select(
            outbox.c.message_id,
            outbox.c.topic,
            outbox.c.recipient,
            outbox.c.run_id,
            outbox.c.created_at,
            state.label("state"),
            deliveries.c.channel,
            func.coalesce(deliveries.c.attempts, 0).label("attempts"),
            case((waits, deliveries.c.next_attempt_at)).label("next_attempt_at"),
            deliveries.c.last_error,
            deliveries.c.ended_at,
        )
        .select_from(outbox.outerjoin(deliveries, deliveries.c.message_id == outbox.c.message_id))
        .where(state.in_(states), or_(outbox.c.delivered_at.is_(None), literal(value=not {*states} <= {*OPEN})))
        .order_by(outbox.c.created_at.desc(), outbox.c.message_id, deliveries.c.channel)
        .limit(limit)
    )


def count_entries(connection: Connection, states: Sequence[State]) -> int:
    """How many entries are in one of these states."""
    entries = _select_entries(states, None).order_by(None).subquery()
    return connection.execute(select(func.count()).select_from(entries)).scalar_one()


def _state() -> ColumnElement[Any]:
    ended = outbox.c.delivered_at.is_not(None)
    return case(
        (deliveries.c.message_id.is_(None), case((ended, State.UNTOLD.value), else_=State.UNSEEN.value)),
        (and_(deliveries.c.status == "parked", ended), State.DROPPED.value),
        else_=deliveries.c.status,
    )


def retry(connection: Connection, message_id: str | None, now: datetime, gives_up_after: timedelta) -> int:
    """What waits or is parked, of this message or (None) of all, is due now, with its whole time before it.

    What is being sent at this moment is left alone. Returns how many deliveries that are. Raises Mistake when the
    message is not in the outbox, or there is nothing of it to retry.
    """
    under_way = and_(
        deliveries.c.status == "waiting",
        deliveries.c.attempts > 0,
        deliveries.c.last_error.is_(None),
        deliveries.c.next_attempt_at > now,
    )
    again = (
        update(deliveries)
        .where(deliveries.c.message_id == outbox.c.message_id, _open(message_id))
        .where(deliveries.c.status.in_(("waiting", "parked")), not_(under_way))
        .values(status="waiting", attempts=0, next_attempt_at=now, gives_up_at=now + gives_up_after, ended_at=null())
    )
    done = connection.execute(again, execution_options={"preserve_rowcount": True}).rowcount
    if message_id is not None and not done:
        _refuse(connection, message_id, "nothing of it waits or is parked")
    return done


def drop(connection: Connection, message_id: str | None, now: datetime) -> int:
    """What is parked, of this message or (None) of all, is let go: it counts as ended, and is not sent.

    A message that still waits in another channel is left alone. Returns how many messages that are; raises Mistake as
    `retry` does.
    """
    let_go = update(outbox).where(_open(message_id), _has("parked"), not_(_has("waiting"))).values(delivered_at=now)
    done = connection.execute(let_go, execution_options={"preserve_rowcount": True}).rowcount
    if message_id is not None and not done:
        _refuse(connection, message_id, "it is not parked, or still waits in another channel")
    return done


def _open(message_id: str | None) -> ColumnElement[bool]:
    """Whether a row of the outbox has not ended and, unless that is None, is this message."""
    ours = outbox.c.message_id == message_id if message_id is not None else true()
    return and_(outbox.c.delivered_at.is_(None), ours)


def _has(status: str) -> ColumnElement[bool]:
    """Whether a message has a delivery of this status."""
    theirs = deliveries.c.message_id == outbox.c.message_id, deliveries.c.status == status
    return select(deliveries.c.message_id).where(*theirs).exists()


def _refuse(connection: Connection, message_id: str, why: str) -> None:
    known = connection.execute(select(outbox.c.message_id).where(outbox.c.message_id == message_id)).one_or_none()
    what = f"message {message_id}: {why}" if known else f"there is no message {message_id} in the outbox"
    raise Mistake(f"{what}; `bandshift outbox list --all` shows them all")
