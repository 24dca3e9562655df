"""What the channels of the settings have in common: each has a sender."""

from datetime import datetime
from typing import Protocol, assert_never

from app.notify.message import Message
from app.notify.slack import SlackSender
from app.notify.smtp import EmailSender
from app.notify.webhook import WebhookSender
from app.settings import Channel, Email, Slack, Webhook


class Sender(Protocol):
    """Sends messages through one channel."""

    def send(self, message: Message, at: datetime) -> str | None:
        """The other side has taken the message; what it says, if not all of it was. Raises `Undelivered`."""


def sender(channel: Channel) -> Sender:
    """The channel's sender; it reaches nobody yet."""
    match channel:
        case Webhook():
            return WebhookSender(channel)
        case Slack():
            return SlackSender(channel)
        case Email():
            return EmailSender(channel)
        case _:
            assert_never(channel)
