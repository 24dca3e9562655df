"""A real SMTP server, which does as it is told and keeps the mails that it took."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.notify.endpoints import PATIENCE_S

USER, PASSWORD = "bandshift", "s3cr3t p@ss"
SILENCE, CUT = "silence", "cut"


@dataclass
class Mailbox:
    """What the server says, and what it was given.

    `recipients` gives the reply to a recipient, `data` that to a mail; None is a yes. SILENCE and CUT, in place of a
    reply to a mail, come after it was taken; `goodbye` answers the client's.
    """

    recipients: Callable[[str], str | None] = lambda _: None
    data: Callable[[int], str | None] = lambda _: None
    goodbye: str = "221 2.0.0 Bye"
    mails: list[EmailMessage] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)
    users: list[str | None] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    host: str = "127.0.0.1"
    port: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd looks for this name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        del server, session, options
        reply = self.recipients(address)
        if reply is None:
            envelope.rcpt_tos.append(address)
        return reply or "250 2.1.5 OK"

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        del session, envelope
        if self.goodbye == CUT:
            cast("asyncio.Transport", server.transport).abort()
        return self.goodbye

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        self.mails.append(message_from_bytes(cast("bytes", envelope.content), policy=default))
        self.envelopes.append(envelope)
        user = cast("bytes | None", session.auth_data)
        self.users.append(user.decode() if user else None)
        self.encrypted.append(session.ssl is not None)
        reply = self.data(len(self.mails))
        if reply == SILENCE:
            await asyncio.get_running_loop().run_in_executor(None, self.over.wait, PATIENCE_S)
        if reply in {SILENCE, CUT}:
            cast("asyncio.Transport", server.transport).abort()
            return "250 nobody hears this"
        return reply or "250 2.0.0 OK"


def _log_in(_: SMTP, __: Session, ___: Envelope, ____: str, given: Any) -> AuthResult:
    right = isinstance(given, LoginPassword) and given == LoginPassword(USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=right, auth_data=USER.encode())


@contextmanager
def receive(
    mailbox: Mailbox,
    *,
    starttls: ssl.SSLContext | None = None,
    tls: ssl.SSLContext | None = None,
    log_in: bool = False,
) -> Iterator[Mailbox]:
    """The server at a port of its own. With `log_in` it takes mails only of USER, and only encrypted."""
    loop = asyncio.new_event_loop()
    options: dict[str, Any] = {
        "tls_context": starttls,
        "auth_required": log_in,
        "auth_require_tls": starttls is not None,
    }

    sessions: list[SMTP] = []

    def session() -> SMTP:
        sessions.append(SMTP(mailbox, hostname="mx.example.com", authenticator=_log_in, loop=loop, **options))
        return sessions[-1]

    server = loop.run_until_complete(loop.create_server(session, mailbox.host, 0, ssl=tls))
    mailbox.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield mailbox
    finally:
        mailbox.over.set()
        asyncio.run_coroutine_threadsafe(_close(server, sessions), loop).result(PATIENCE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def _close(server: asyncio.Server, sessions: list[SMTP]) -> None:
    server.close()
    for session in sessions:
        transport = getattr(session, "transport", None)  # it has none any more when the client has hung up
        if transport is not None:
            transport.abort()
    mine = asyncio.current_task()
    for task in asyncio.all_tasks():
        if task is not mine:
            task.cancel()
    await asyncio.sleep(0)
