"""A signed webhook, by the Standard Webhooks specification (https://www.standardwebhooks.com).

The body is the same, byte for byte, at every attempt; the signature covers the message's id, the time of the attempt
and the body.
"""

import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from datetime import datetime

from pydantic import SecretStr

from app.messages.message import instant
from app.notify.http import post
from app.notify.message import Message
from app.settings import Webhook


class WebhookSender:
    """Posts messages to a webhook."""

    def __init__(self, channel: Webhook) -> None:
        self._channel = channel

    def send(self, message: Message, at: datetime) -> None:
        """The endpoint has taken the message. Raises `Undelivered`."""
        payload = body(message)
        sent_at = str(int(at.timestamp()))
        headers = {
            "webhook-id": message.message_id,
            "webhook-timestamp": sent_at,
            "webhook-signature": sign(self._channel.secret, message.message_id, sent_at, payload),
        }
        channel = self._channel
        post(channel.url, payload, headers, at, timeout_s=channel.timeout_s, allow_private=channel.allow_private)


def body(message: Message) -> bytes:
    """`type`, `timestamp` (of what is told, not of the attempt) and `data`, the payload as the outbox has it."""
    kind, at = json.dumps(message.topic), json.dumps(instant(message.created_at))
    return f'{{"type": {kind}, "timestamp": {at}, "data": {message.payload_json}}}'.encode()


def sign(secret: SecretStr, message_id: str, sent_at: str, payload: bytes) -> str:
    """The value of `webhook-signature`: version 1, HMAC-SHA256 in base64."""
    key = b64decode(secret.get_secret_value().removeprefix("whsec_"))
    signed = f"{message_id}.{sent_at}.".encode() + payload
    return "v1," + b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
