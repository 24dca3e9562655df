"""The deliveries of messages, as the database keeps them: who is to be told, what is due, what came of it.

A message is fanned out once, to the channels that take its topic when it is first seen: a row of `deliveries` each.
Whoever claims a row has it until its lease ends; `next_attempt_at` is the lease while an attempt is under way and the
time of the next one otherwise, and `last_error` is NULL while nobody knows how an attempt ends. A claim is committed
before anything is sent, and what came of it after: no transaction is open while somebody else takes their time. Who
dies in between leaves a lease that ends, and the message is sent again under the same id.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    any_,
    case,
    cast,
    column,
    func,
    literal,
    null,
    or_,
    select,
    update,
    values,
)
from sqlalchemy.dialects.postgresql import distinct_on, insert

from app.notify.message import Message
from app.tables import Instant, csms, deliveries, outbox, runs

GONE = "HTTP 410: the endpoint is gone, and nothing more is sent to it until somebody retries"
"""The last error of all that was to go through a channel whose endpoint said so."""

_WAITING, _DELIVERED, _PARKED = "waiting", "delivered", "parked"


@dataclass(frozen=True, slots=True)
class Claim:
    """A message to send through a channel, and the how manieth attempt this is; nobody else sends it for now."""

    message: Message
    channel: str
    attempt: int
    gives_up_at: datetime


def fan_out(
    connection: Connection, routes: Mapping[str, Collection[str]], now: datetime, gives_up_after: timedelta
) -> int:
    """Every message has its deliveries: one for each channel, of `routes`, that takes its topic. Returns how many new.

    A message that is older than `gives_up_after` when it is first seen is parked: news of last month is no news. One
    whose topic no channel takes has ended.
    """
    begun = select(deliveries.c.message_id).where(deliveries.c.message_id == outbox.c.message_id).exists()
    taken = sorted({topic for topics in routes.values() for topic in topics})
    connection.execute(
        update(outbox)
        .where(outbox.c.delivered_at.is_(None), outbox.c.topic.not_in(taken), ~begun)
        .values(delivered_at=now)
    )
    pairs = [(channel, topic) for channel, topics in sorted(routes.items()) for topic in topics]
    if not pairs:
        return 0
    route = values(column("channel", Text), column("topic", Text), name="route").data(pairs)
    is_gone = route.c.channel == any_(literal(sorted(_gone(connection)), ARRAY(Text)))
    is_old = func.greatest(outbox.c.created_at, runs.c.started_at) < literal(now - gives_up_after, Instant)
    hours = round(gives_up_after.total_seconds() / 3600)
    parked = or_(is_gone, is_old)
    rows: dict[str, ColumnElement[Any]] = {
        "message_id": outbox.c.message_id,
        "channel": route.c.channel,
        "status": case((parked, _PARKED), else_=_WAITING),
        "next_attempt_at": literal(now, Instant),
        "gives_up_at": literal(now + gives_up_after, Instant),
        "last_error": case((is_gone, GONE), (is_old, f"not sent within {hours} hours"), else_=cast(null(), Text)),
        "ended_at": case((parked, literal(now, Instant)), else_=cast(null(), Instant)),
    }
    new = (
        select(*(value.label(name) for name, value in rows.items()))
        .select_from(outbox.join(runs, runs.c.run_id == outbox.c.run_id).join(route, route.c.topic == outbox.c.topic))
        .where(outbox.c.delivered_at.is_(None), ~begun)
    )
    added = insert(deliveries).from_select(list(rows), new).on_conflict_do_nothing()
    return connection.execute(added, execution_options={"preserve_rowcount": True}).rowcount


def _gone(connection: Connection) -> set[str]:
    """The channels of which the last thing heard is that they are no more."""
    last = (
        select(deliveries.c.channel, deliveries.c.last_error, deliveries.c.status)
        .ext(distinct_on(deliveries.c.channel))
        .where(deliveries.c.ended_at.is_not(None), deliveries.c.attempts > 0)
        .order_by(deliveries.c.channel, deliveries.c.ended_at.desc(), deliveries.c.status, deliveries.c.message_id)
        .subquery("last")
    )
    gone = select(last.c.channel).where(last.c.status == _PARKED, last.c.last_error == GONE)
    return set(connection.execute(gone).scalars())


def give_up_abandoned(connection: Connection, channels: Collection[str], now: datetime) -> int:
    """Deliveries through channels that are none of these are parked when their time is over. Returns how many."""
    abandoned = update(deliveries).where(
        deliveries.c.status == _WAITING, deliveries.c.channel.not_in(sorted(channels)), deliveries.c.gives_up_at < now
    )
    why = "gave up: there is no channel of this name any more"
    done = abandoned.values(status=_PARKED, ended_at=now, last_error=why)
    return connection.execute(done, execution_options={"preserve_rowcount": True}).rowcount


def claim(connection: Connection, channel: str, now: datetime, lease: timedelta) -> Claim | None:
    """The message that has been due the longest is the caller's until `now + lease`; None if none is due."""
    due = (
        select(deliveries.c.message_id)
        .where(deliveries.c.channel == channel, deliveries.c.status == _WAITING, deliveries.c.next_attempt_at <= now)
        .order_by(deliveries.c.next_attempt_at, deliveries.c.message_id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    taken = connection.execute(
        update(deliveries)
        .where(deliveries.c.message_id == due.c.message_id, deliveries.c.channel == channel)
        .values(attempts=deliveries.c.attempts + 1, next_attempt_at=now + lease, last_error=null())
        .returning(deliveries.c.message_id, deliveries.c.attempts, deliveries.c.gives_up_at)
    ).one_or_none()
    if taken is None:
        return None
    message = Message(**connection.execute(_select_message(taken.message_id)).one()._mapping)
    return Claim(message=message, channel=channel, attempt=taken.attempts, gives_up_at=taken.gives_up_at)


def _select_message(message_id: str) -> Select[Any]:
    return (
        select(
            outbox.c.message_id,
            outbox.c.topic,
            outbox.c.created_at,
            cast(outbox.c.payload, Text).label("payload_json"),
            outbox.c.recipient,
            csms.c.name.label("recipient_name"),
            csms.c.email,
            csms.c.active.label("is_active"),
        )
        .select_from(outbox.outerjoin(csms, csms.c.csm_id == outbox.c.recipient))
        .where(outbox.c.message_id == message_id)
    )


def mark_delivered(connection: Connection, claimed: Claim, now: datetime, note: str | None) -> None:
    """The delivery has ended well, whatever became of its lease, and so has the message if it was the last one.

    `note` says what part of it did not.
    """
    # Of two channels that end at once, the second has to see what the first did.
    connection.execute(
        select(outbox.c.message_id).where(outbox.c.message_id == claimed.message.message_id).with_for_update()
    )
    connection.execute(
        update(deliveries).where(_this(claimed)).values(status=_DELIVERED, ended_at=now, last_error=note)
    )
    rest = (
        select(deliveries.c.message_id)
        .where(deliveries.c.message_id == outbox.c.message_id, deliveries.c.status != _DELIVERED)
        .exists()
    )
    ended = update(outbox).where(outbox.c.message_id == claimed.message.message_id, outbox.c.delivered_at.is_(None))
    connection.execute(ended.where(~rest).values(delivered_at=now))


def mark_waiting(connection: Connection, claimed: Claim, why: str, again_at: datetime) -> None:
    """The delivery is tried again at `again_at`."""
    _mark(connection, claimed, last_error=why, next_attempt_at=again_at)


def mark_parked(connection: Connection, claimed: Claim, why: str, now: datetime) -> None:
    """The delivery is not tried again until somebody says so."""
    _mark(connection, claimed, last_error=why, status=_PARKED, ended_at=now)


def _mark(connection: Connection, claimed: Claim, **new: Any) -> None:
    """The failed attempt is marked, unless its lease ended and somebody else took it up since."""
    ours = and_(_this(claimed), deliveries.c.status == _WAITING, deliveries.c.attempts == claimed.attempt)
    connection.execute(update(deliveries).where(ours).values(**new))


def _this(claimed: Claim) -> ColumnElement[bool]:
    return and_(deliveries.c.message_id == claimed.message.message_id, deliveries.c.channel == claimed.channel)


def hold_back(connection: Connection, channel: str, until: datetime) -> None:
    """Nothing that waits goes through the channel before `until`, because it asked for that."""
    connection.execute(
        update(deliveries)
        .where(deliveries.c.channel == channel, deliveries.c.status == _WAITING, deliveries.c.next_attempt_at < until)
        .values(next_attempt_at=until)
    )


def park_channel(connection: Connection, channel: str, now: datetime) -> int:
    """All that waits for the channel is parked, because its endpoint is gone. Returns how many."""
    waiting = update(deliveries).where(deliveries.c.channel == channel, deliveries.c.status == _WAITING)
    parked = waiting.values(status=_PARKED, ended_at=now, last_error=GONE)
    return connection.execute(parked, execution_options={"preserve_rowcount": True}).rowcount
