"""E-mail by SMTP: a digest goes to its CSM, every other message to the channel's own recipients.

What is refused for good (5xx) is not tried again, but for a log-in, whose password somebody may put right. Of several
recipients, some may be refused: the others have the mail, and it is on record how many have not.
"""

import re
import smtplib
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from types import TracebackType
from typing import Any

from app.figures import counted
from app.messages import DIGEST
from app.notify.compose import compose
from app.notify.mail import address, write_mail
from app.notify.message import Message, Undelivered
from app.notify.wire import Limit, describe, dial
from app.settings import Email


class EmailSender:
    """Sends messages through an SMTP server, each over a connection of its own."""

    def __init__(self, channel: Email) -> None:
        self._channel = channel

    def send(self, message: Message, at: datetime) -> str | None:
        """The server has taken the mail; which recipients it refused, if any. Raises `Undelivered`.

        Who has left is not told what they leave behind.
        """
        if message.topic == DIGEST and not message.is_active:
            return "nobody was told: the CSM has left"
        sender = address(self._channel.sender)
        mail = write_mail(message, compose(message), sender, self._recipients(message), at)
        with Limit(self._channel.timeout_s) as limit:
            try:
                with _Session(self._channel, limit) as session:
                    return _handed_in(session, mail)
            except smtplib.SMTPException as error:
                raise _undelivered(error, limit) from None
            except OSError as error:
                raise Undelivered(describe(error, limit)) from None

    def _recipients(self, message: Message) -> tuple[Address, ...]:
        if message.topic != DIGEST:
            return tuple(address(one) for one in self._channel.to)
        if not message.email:
            raise Undelivered("the CSM has no e-mail address", is_final=True)
        try:
            return (address(message.email, message.recipient_name),)
        except ValueError:
            raise Undelivered("the CSM's e-mail address cannot be used", is_final=True) from None


class _Session(smtplib.SMTP):
    """A session that has said hello and, as the channel wants it, is encrypted and logged in."""

    def __init__(self, channel: Email, limit: Limit) -> None:
        self._limit, self._tls = limit, ssl.create_default_context() if channel.tls != "none" else None
        self._at_once = channel.tls == "tls"
        # Without a name of its own it would ask the DNS for one, which may take its time.
        super().__init__(channel.host, channel.port, local_hostname=socket.gethostname(), timeout=limit.timeout_s)
        try:
            if channel.tls == "starttls":
                self.starttls(context=self._tls)
            if channel.username is not None and channel.password is not None:
                self.login(channel.username, channel.password.get_secret_value())
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """The session is over. A mail that was taken is taken, however the server says goodbye."""
        with suppress(OSError):  # as errors of smtplib are, too
            super().__exit__(kind, error, traceback)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connected = dial(host, port, self._limit, allow_private=True)
        if self._at_once and self._tls is not None:
            return self._tls.wrap_socket(connected, server_hostname=host)
        return connected


def _handed_in(session: _Session, mail: EmailMessage) -> str | None:
    """The server has the mail for at least one recipient, and refused none that it may take later."""
    refused: Mapping[str, Any] = session.send_message(mail)
    if not refused:
        return None
    codes = [code for code, _ in refused.values()]
    if min(codes) < 500:
        # Those who have it get it twice, under the same Message-ID; the others would not get it at all.
        raise Undelivered(f"{_refused(refused)}, for now")
    return _refused(refused)


def _refused(refused: Mapping[str, tuple[int, bytes]]) -> str:
    replies = ", ".join(sorted({_reply(code, text) for code, text in refused.values()}))
    return f"{counted(len(refused), 'recipient')} refused: {replies}"


def _undelivered(error: smtplib.SMTPException, limit: Limit) -> Undelivered:
    is_final = False
    match error:
        case smtplib.SMTPRecipientsRefused():
            why = _refused(error.recipients)
            is_final = min(code for code, _ in error.recipients.values()) >= 500
        case smtplib.SMTPSenderRefused() | smtplib.SMTPDataError():
            what = "the sender" if isinstance(error, smtplib.SMTPSenderRefused) else "the mail"
            why = f"{what} was refused: {_reply(error.smtp_code, error.smtp_error)}"
            is_final = error.smtp_code >= 500
        case smtplib.SMTPResponseException():
            what = "the log-in was refused" if isinstance(error, smtplib.SMTPAuthenticationError) else "the server said"
            why = f"{what}: {_reply(error.smtp_code, error.smtp_error)}"
        case smtplib.SMTPNotSupportedError():
            why = "the server cannot do what this channel or this address needs: TLS, log-in or UTF-8"
        case smtplib.SMTPServerDisconnected():
            why = describe(EOFError(), limit)
        case _:
            why = describe(error, limit)
    return Undelivered(why, is_final=is_final)


def _reply(code: int, text: bytes | str) -> str:
    """The reply's code and its enhanced code; its words often quote addresses."""
    said = text.decode("ascii", "replace") if isinstance(text, bytes) else text
    enhanced = re.match(r"\s*([245]\.\d{1,3}\.\d{1,3})\b", said)
    return f"SMTP {code} {enhanced[1]}" if enhanced else f"SMTP {code}"
