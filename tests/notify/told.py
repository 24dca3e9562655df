"""Messages to deliver, and how their deliveries stand."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, insert, select

from app.messages import message_id
from app.notify import Delivered, deliver_due
from app.runs import new_run_id
from app.settings import Channel, Settings, Webhook
from app.tables import csms, deliveries, outbox, runs

NOW = datetime(2026, 3, 2, 6, 5, tzinfo=UTC)
LATER = timedelta(hours=2)
"""More than the longest wait between two attempts, and than any lease."""

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - the one of the specification's examples


def settings(**channels: Channel) -> Settings:
    return Settings(channels=channels)


def webhook(url: str, **fields: Any) -> Webhook:
    given: dict[str, Any] = {"type": "webhook", "url": url, "secret": SECRET, "allow_private": True, "timeout_s": 5}
    return Webhook(**given | fields)


def tell(
    engine: Engine,
    topic: str = "slot.skipped",
    payload: Mapping[str, Any] | None = None,
    *,
    recipient: str | None = None,
    at: datetime = NOW,
) -> str:
    """The outbox has a message of a run of its own; its id."""
    run_id = new_run_id(at)
    row = {
        "message_id": message_id(run_id, topic, recipient),
        "run_id": run_id,
        "topic": topic,
        "recipient": recipient,
        "payload": {"run_id": str(run_id), **(payload or SKIPPED)},
        "created_at": at,
    }
    with engine.begin() as connection:
        add_run(connection, run_id, at)
        connection.execute(insert(outbox).values(row))
    return str(row["message_id"])


SKIPPED = {"slot": "2026-03-02", "why": "it was 130 hours late, and 120 are allowed", "at": "2026-03-02T06:05:00Z"}


def add_run(connection: Any, run_id: UUID, at: datetime) -> None:
    row = {"run_id": run_id, "kind": "scheduled", "as_of": at, "started_at": at, "status": "skipped"}
    connection.execute(insert(runs).values(row))


def add_csm(engine: Engine, csm_id: str, **fields: Any) -> None:
    with engine.begin() as connection:
        connection.execute(insert(csms).values({"csm_id": csm_id, "name": csm_id.title(), "bands": ["low"], **fields}))


def deliver(engine: Engine, to: Settings, now: datetime = NOW) -> Delivered:
    """One call of the deliverer at `now`, with all the time it needs."""
    return deliver_due(engine, to, now, deadline=now + timedelta(minutes=5))


def stands(engine: Engine) -> dict[str, tuple[str, int, str | None]]:
    """Each channel's delivery: its status, attempts and last error. For tests with one message."""
    with engine.connect() as connection:
        rows = connection.execute(
            select(deliveries.c.channel, deliveries.c.status, deliveries.c.attempts, deliveries.c.last_error)
        ).all()
    assert len({row.channel for row in rows}) == len(rows)
    return {row.channel: tuple(row)[1:] for row in rows}


def next_attempt(engine: Engine) -> datetime:
    """When the only delivery is due."""
    with engine.connect() as connection:
        due: datetime = connection.execute(select(deliveries.c.next_attempt_at)).scalar_one()
    return due


def has_ended(engine: Engine, message: str) -> bool:
    with engine.connect() as connection:
        ended = select(outbox.c.delivered_at.is_not(None)).where(outbox.c.message_id == message)
        return bool(connection.execute(ended).scalar_one())
