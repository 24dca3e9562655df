"""How much of the outbox is still to be delivered."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from app.tables import deliveries, outbox


@dataclass(frozen=True, slots=True)
class Backlog:
    """What has not ended: deliveries that wait (of them `failing` have failed before) and those that are parked.

    `unseen` messages were not looked at by any deliverer yet. `oldest` is when the oldest message of all these was
    made. A parked delivery counts until somebody retries or drops it.
    """

    unseen: int
    waiting: int
    failing: int
    parked: int
    oldest: datetime | None


def read_backlog(connection: Connection) -> Backlog:
    """The backlog as the transaction sees it; messages that have ended are not read."""
    waits = deliveries.c.status == "waiting"
    row = connection.execute(
        select(
            func.count(outbox.c.message_id.distinct()).filter(deliveries.c.message_id.is_(None)),
            func.count().filter(waits),
            func.count().filter(waits, deliveries.c.attempts > 0),
            func.count().filter(deliveries.c.status == "parked"),
            func.min(outbox.c.created_at),
        )
        .select_from(outbox.outerjoin(deliveries, deliveries.c.message_id == outbox.c.message_id))
        .where(outbox.c.delivered_at.is_(None))
    ).one()
    return Backlog(*row)
