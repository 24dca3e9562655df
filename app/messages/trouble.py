"""The messages that something did not happen: an attempt failed, a slot was given up or passed over, a plan lapsed."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from app.messages.message import LAPSED, RUN_FAILED, SKIPPED, SLOT_FAILED, Row, instant, row


def failed(run_id: UUID, slot: date | None, *, attempt: int, of: int, error: str, failure: str, at: datetime) -> Row:
    """The message that an attempt failed (`run.failed`) or, of a slot's last one, that it is given up (`slot.failed`).

    `error` is the ledger's, which holds no data of customers; `failure` is transient, mistake or bug.
    """
    given_up = slot is not None and attempt >= of
    payload = {**_slot(slot), "attempt": attempt, "attempts": of, "failure": failure, "error": error, "at": instant(at)}
    return row(run_id, SLOT_FAILED if given_up else RUN_FAILED, payload, at)


def skipped(run_id: UUID, slot: date, why: str, at: datetime) -> Row:
    """The message that a slot is passed over; `run_id` is the ledger's row that says so, `why` its sentence."""
    return row(run_id, SKIPPED, {**_slot(slot), "why": why, "at": instant(at)}, at)


def lapsed(run_id: UUID, slot: date | None, why: str, at: datetime) -> Row:
    """The message that nobody answered for a blocked run in time, and that it can no longer be approved."""
    return row(run_id, LAPSED, {**_slot(slot), "why": why, "at": instant(at)}, at)


def _slot(slot: date | None) -> dict[str, Any]:
    return {"slot": slot.isoformat() if slot is not None else None}
