"""What every message in the outbox has: a topic, an id that says which one it is, and the run it tells of."""

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

DIGEST = "csm.digest"
SUMMARY = "run.summary"
BLOCKED = "run.blocked"
LAPSED = "run.lapsed"
RUN_FAILED = "run.failed"
SLOT_FAILED = "slot.failed"
SKIPPED = "slot.skipped"

TOPICS = (DIGEST, SUMMARY, BLOCKED, LAPSED, RUN_FAILED, SLOT_FAILED, SKIPPED)
"""Every topic. `csm.digest` is for one CSM, the others are for those who look after the runs."""

Row = dict[str, Any]
"""A row of the outbox, to insert in the transaction of what it tells of."""


def message_id(run_id: UUID, topic: str, recipient: str | None) -> str:
    """The message's stable id, free of dots."""
    return "msg_" + sha256(f"{run_id}:{topic}:{recipient or ''}".encode()).hexdigest()[:32]


def row(run_id: UUID, topic: str, payload: dict[str, Any], at: datetime) -> Row:
    """The row of a message to nobody in particular, with the run's id as the first key of its payload."""
    return {
        "message_id": message_id(run_id, topic, None),
        "run_id": run_id,
        "topic": topic,
        "recipient": None,
        "payload": {"run_id": str(run_id), **payload},
        "created_at": at,
    }


def instant(at: datetime) -> str:
    """The instant as every payload writes it: to the second, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
