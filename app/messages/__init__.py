"""What is told, and to whom: the rows that the outbox gets in the transaction of what they tell of.

A message's id is a hash of its run, topic and recipient, so that one that is delivered twice can be recognised. What
delivers them is `app.notify`; `docs/notifications.md` says what each payload holds.
"""

from app.messages.digest import select_digests
from app.messages.message import (
    BLOCKED,
    DIGEST,
    LAPSED,
    RUN_FAILED,
    SKIPPED,
    SLOT_FAILED,
    SUMMARY,
    TOPICS,
    Row,
    message_id,
)
from app.messages.plans import blocked, summary
from app.messages.trouble import failed, lapsed, skipped

__all__ = [
    "BLOCKED",
    "DIGEST",
    "LAPSED",
    "RUN_FAILED",
    "SKIPPED",
    "SLOT_FAILED",
    "SUMMARY",
    "TOPICS",
    "Row",
    "blocked",
    "failed",
    "lapsed",
    "message_id",
    "select_digests",
    "skipped",
    "summary",
]
