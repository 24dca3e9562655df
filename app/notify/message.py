"""A message on its way out: what the outbox holds of it, and for whom it is."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

_EXACT = json.JSONDecoder(parse_float=Decimal)


@dataclass(frozen=True)
class Message:
    """One row of the outbox. `payload_json` is the database's own text of it, the same at every attempt.

    `recipient` is the CSM of a digest and None for those who look after the runs. `email` and `is_active` are the
    CSM's, as they are now; `is_active` is None for one who is not among the CSMs any more.
    """

    message_id: str
    topic: str
    created_at: datetime
    payload_json: str
    recipient: str | None = None
    recipient_name: str | None = None
    email: str | None = None
    is_active: bool | None = None

    @cached_property
    def payload(self) -> Mapping[str, Any]:
        """The payload, its amounts as Decimal."""
        decoded: Mapping[str, Any] = _EXACT.decode(self.payload_json)
        return decoded


class Undelivered(Exception):  # noqa: N818 - named for what happened
    """A message was not taken, or nobody knows whether it was.

    `why` holds no address, no secret and nothing that the other side chose to say: it is kept and shown. `wait_s` is
    what the other side asked for. `is_final` says that trying again is of no use, and `is_gone` that the channel's
    endpoint is no more.
    """

    def __init__(self, why: str, *, wait_s: float | None = None, is_final: bool = False, is_gone: bool = False) -> None:
        super().__init__(why)
        self.why, self.wait_s, self.is_final, self.is_gone = why, wait_s, is_final, is_gone
