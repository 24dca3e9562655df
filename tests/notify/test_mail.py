"""Mail through a real SMTP server: to whom, with what in it, and what becomes of it when the server says no."""

import ssl
from collections.abc import Callable
from datetime import timedelta
from time import monotonic
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, update

from app.settings import Email
from app.tables import csms
from tests.notify.certificates import authority, tls, trusted
from tests.notify.endpoints import closed_port
from tests.notify.mailboxes import CUT, PASSWORD, SILENCE, USER, Mailbox, receive
from tests.notify.told import LATER, NOW, add_csm, deliver, has_ended, settings, stands, tell

__all__ = ["authority", "tls", "trusted"]

DIGEST = {
    "as_of": "2026-03-02T06:00:00Z",
    "time_zone": "Europe/Paris",
    "currency": "EUR",
    "csm_id": "ann",
    "csm_name": "Ann",
    "arrivals": [
        {
            "account_id": "A-1",
            "name": "Société <script>alert(1)</script> & Fils",
            "from_band": "tech",
            "to_band": "low",
            "value": 12345.6,
            "renewal_on": "2026-09-01",
            "champion": {"name": None, "event": "champion_left", "at": "2026-01-31T23:30:00Z", "detail": "to a rival"},
            "last_engaged_at": "2026-02-28T23:30:00Z",
            "reason": "Graduated from tech to low: its value of €12,345.60 carries low.",
            "why": "band_change",
            "owner_reason": "Ann has the most room",
            "from_owner_id": None,
            "from_owner_name": None,
        }
    ],
    "departures": [],
}


def email(mailbox: Mailbox, **fields: Any) -> Email:
    given: dict[str, Any] = {
        "type": "email",
        "host": mailbox.host,
        "port": mailbox.port,
        "tls": "none",
        "sender": "bandshift <bandshift@example.com>",
        "to": ["ops@example.com", "Data Team <data@example.com>"],
        "timeout_s": 5,
    }
    return Email(**given | fields)


def test_what_is_for_ops_goes_to_the_recipients_of_the_channel(database: Engine) -> None:
    message = tell(database)
    with receive(Mailbox()) as mailbox:
        assert deliver(database, settings(mail=email(mailbox))).delivered == 1
    (mail,) = mailbox.mails
    assert mailbox.envelopes[0].rcpt_tos == ["ops@example.com", "data@example.com"]
    assert mailbox.envelopes[0].mail_from == "bandshift@example.com"
    assert mail["From"] == "bandshift <bandshift@example.com>"
    assert mail["To"] == "ops@example.com, Data Team <data@example.com>"
    assert mail["Subject"] == "Skipped: the run of 2026-03-02"
    assert mail["Message-ID"] == f"<{message}@example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"].datetime - NOW < timedelta(minutes=1)
    assert has_ended(database, message)


def test_a_digest_goes_to_its_csm_as_they_are_now(database: Engine) -> None:
    add_csm(database, "ann", name="Ann Ørsted", email="old@example.com")
    tell(database, "csm.digest", DIGEST, recipient="ann")
    with database.begin() as connection:
        connection.execute(update(csms).values(email="ann@example.com"))
    with receive(Mailbox()) as mailbox:
        deliver(database, settings(mail=email(mailbox)))
    assert mailbox.envelopes[0].rcpt_tos == ["ann@example.com"]
    assert mailbox.mails[0]["To"] == "Ann Ørsted <ann@example.com>"


def test_text_and_html_say_what_a_csm_needs_to_take_over(database: Engine) -> None:
    add_csm(database, "ann", email="ann@example.com")
    tell(database, "csm.digest", DIGEST, recipient="ann")
    with receive(Mailbox()) as mailbox:
        deliver(database, settings(mail=email(mailbox)))
    (mail,) = mailbox.mails
    parts = {part.get_content_type(): part.get_content() for part in mail.iter_parts()}
    assert list(parts) == ["text/plain", "text/html"]
    for written in parts.values():
        plain = written.replace("&amp;", "&")
        for fact in (
            "A-1", "tech → low", "€12,345.60", "2026-09-01", "2026-03-01", "the pool",
            "Graduated from tech to low", "Ann has the most room", "Champion left on 2026-02-01 (to a rival)", "& Fils",
        ):  # fmt: skip
            assert fact in " ".join(plain.split()), fact
    assert "<script>" not in parts["text/html"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; Fils" in parts["text/html"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"email": None}, "the CSM has no e-mail address"),
        ({"email": "ann at example"}, "the CSM's e-mail address cannot be used"),
        ({"email": "ann@example.com\nBcc: all@example.com"}, "the CSM's e-mail address cannot be used"),
        ({"email": "ann@example.com, bob@example.com"}, "the CSM's e-mail address cannot be used"),
    ],
)
def test_a_digest_that_has_no_address_is_parked(database: Engine, fields: dict[str, Any], why: str) -> None:
    add_csm(database, "ann", **fields)
    tell(database, "csm.digest", DIGEST, recipient="ann")
    other = tell(database)
    with receive(Mailbox()) as mailbox:
        assert deliver(database, settings(mail=email(mailbox))).parked == 1
    with database.connect() as connection:
        errors = [
            str(row[0])
            for row in connection.exec_driver_sql("SELECT last_error FROM deliveries WHERE status = 'parked'")
        ]
    assert errors == [why]
    assert has_ended(database, other)


@pytest.mark.parametrize("vanished", [False, True])
def test_who_has_left_is_not_written_to(database: Engine, vanished: bool) -> None:
    if not vanished:
        add_csm(database, "ann", email="ann@example.com", active=False)
    message = tell(database, "csm.digest", DIGEST, recipient="ann")
    with receive(Mailbox()) as mailbox:
        assert deliver(database, settings(mail=email(mailbox))).delivered == 1
    assert stands(database) == {"mail": ("delivered", 1, "nobody was told: the CSM has left")}
    assert has_ended(database, message)
    assert mailbox.mails == []


def test_a_name_cannot_add_a_header(database: Engine) -> None:
    add_csm(database, "ann", name="Ann\r\nBcc: all@example.com", email="ann@example.com")
    tell(database, "csm.digest", DIGEST, recipient="ann")
    with receive(Mailbox()) as mailbox:
        deliver(database, settings(mail=email(mailbox)))
    assert mailbox.mails[0]["Bcc"] is None
    assert mailbox.envelopes[0].rcpt_tos == ["ann@example.com"]


# ---- When the server says no -----------------------------------------------------------------------------------------

REFUSALS: dict[str, tuple[Callable[[Mailbox], None], str]] = {
    "busy": (lambda box: setattr(box, "data", lambda _: "451 4.3.0 try later"), "the mail was refused: SMTP 451 4.3.0"),
    "greylisted": (
        lambda box: setattr(box, "recipients", lambda one: f"450 4.7.1 <{one}>: greylisted"),
        "2 recipients refused: SMTP 450 4.7.1",
    ),
    "cuts after taking it": (lambda box: setattr(box, "data", lambda _: CUT), "the connection was cut"),
    "silent after taking it": (lambda box: setattr(box, "data", lambda _: SILENCE), "no answer within 0.5 s"),
    "takes one recipient later": (
        lambda box: setattr(box, "recipients", lambda one: "450 4.2.2 full" if "data" in one else None),
        "1 recipient refused: SMTP 450 4.2.2, for now",
    ),
}


@pytest.mark.parametrize(("refuse", "why"), REFUSALS.values(), ids=REFUSALS)
def test_what_is_refused_for_now_is_sent_again_under_the_same_id(
    database: Engine, refuse: Callable[[Mailbox], None], why: str
) -> None:
    message = tell(database)
    mailbox = Mailbox()
    refuse(mailbox)
    # Only silence has to last as long as the limit; who does answer may do so late, on a machine that is busy.
    limit = 0.5 if why == "no answer within 0.5 s" else 5
    began = monotonic()
    with receive(mailbox):
        assert deliver(database, settings(mail=email(mailbox, timeout_s=limit))).postponed == 1
    assert monotonic() - began < 5
    assert stands(database) == {"mail": ("waiting", 1, why)}
    with receive(Mailbox()) as again:
        assert deliver(database, settings(mail=email(again)), NOW + LATER).delivered == 1
    assert {mail["Message-ID"] for mail in (*mailbox.mails, *again.mails)} == {f"<{message}@example.com>"}


FINAL: dict[str, tuple[Callable[[Mailbox], None], str]] = {
    "no such user": (
        lambda box: setattr(box, "recipients", lambda one: f"550 5.1.1 <{one}>: no such user"),
        "2 recipients refused: SMTP 550 5.1.1",
    ),
    "not this mail": (
        lambda box: setattr(box, "data", lambda _: "554 5.7.1 spam"),
        "the mail was refused: SMTP 554 5.7.1",
    ),
}


@pytest.mark.parametrize(("refuse", "why"), FINAL.values(), ids=FINAL)
def test_what_is_refused_for_good_is_parked(database: Engine, refuse: Callable[[Mailbox], None], why: str) -> None:
    tell(database)
    mailbox = Mailbox()
    refuse(mailbox)
    with receive(mailbox):
        assert deliver(database, settings(mail=email(mailbox))).parked == 1
    assert stands(database) == {"mail": ("parked", 1, why)}


def test_a_recipient_that_is_no_more_does_not_keep_the_mail_from_the_others(database: Engine) -> None:
    message = tell(database)
    mailbox = Mailbox(recipients=lambda one: "550 5.1.1 no such user" if "data" in one else None)
    with receive(mailbox):
        assert deliver(database, settings(mail=email(mailbox))).delivered == 1
    assert stands(database) == {"mail": ("delivered", 1, "1 recipient refused: SMTP 550 5.1.1")}
    assert has_ended(database, message)
    assert mailbox.envelopes[0].rcpt_tos == ["ops@example.com"]


@pytest.mark.parametrize("goodbye", ["421 4.3.2 going down", CUT])
def test_a_mail_that_was_taken_is_not_sent_again_for_want_of_a_goodbye(database: Engine, goodbye: str) -> None:
    message = tell(database)
    with receive(Mailbox(goodbye=goodbye)) as mailbox:
        assert deliver(database, settings(mail=email(mailbox))).delivered == 1
    assert has_ended(database, message)
    assert len(mailbox.mails) == 1


def test_a_server_that_is_down_gets_it_when_it_is_up(database: Engine) -> None:
    message = tell(database)
    deliver(database, settings(mail=email(Mailbox(port=closed_port()))))
    assert stands(database) == {"mail": ("waiting", 1, "no connection: the connection was refused")}
    with receive(Mailbox()) as mailbox:
        deliver(database, settings(mail=email(mailbox)), NOW + LATER)
    assert has_ended(database, message)


# ---- TLS and log-in --------------------------------------------------------------------------------------------------

LOG_IN = {"host": "localhost", "username": USER, "password": SecretStr(PASSWORD)}


@pytest.mark.usefixtures("trusted")
def test_starttls_and_log_in(database: Engine, tls: ssl.SSLContext) -> None:
    tell(database)
    with receive(Mailbox(), starttls=tls, log_in=True) as mailbox:
        deliver(database, settings(mail=email(mailbox, tls="starttls", **LOG_IN)))
    assert stands(database) == {"mail": ("delivered", 1, None)}
    assert (mailbox.users, mailbox.encrypted) == ([USER], [True])


@pytest.mark.usefixtures("trusted")
def test_tls_from_the_first_byte(database: Engine, tls: ssl.SSLContext) -> None:
    tell(database)
    with receive(Mailbox(), tls=tls) as mailbox:
        deliver(database, settings(mail=email(mailbox, tls="tls", host="localhost")))
    assert stands(database) == {"mail": ("delivered", 1, None)}


def test_a_server_that_cannot_encrypt_is_given_neither_password_nor_mail(database: Engine) -> None:
    tell(database)
    with receive(Mailbox()) as mailbox:
        deliver(database, settings(mail=email(mailbox, tls="starttls", **LOG_IN)))
    assert mailbox.mails == []
    assert "cannot do what this channel" in str(stands(database)["mail"][2])


@pytest.mark.parametrize("kind", ["starttls", "tls"])
def test_a_certificate_that_nobody_vouches_for_is_refused(database: Engine, tls: ssl.SSLContext, kind: str) -> None:
    tell(database)
    how = {"starttls": {"starttls": tls}, "tls": {"tls": tls}}[kind]
    with receive(Mailbox(), **how) as mailbox:  # type: ignore[arg-type]
        deliver(database, settings(mail=email(mailbox, tls=kind, host="localhost")))
    assert mailbox.mails == []
    assert stands(database)["mail"][2] == "TLS: unable to get local issuer certificate"


@pytest.mark.usefixtures("trusted")
def test_a_wrong_password_is_tried_again_for_somebody_may_put_it_right(database: Engine, tls: ssl.SSLContext) -> None:
    message = tell(database)
    with receive(Mailbox(), starttls=tls, log_in=True) as mailbox:
        wrong = LOG_IN | {"password": SecretStr("wrong")}
        deliver(database, settings(mail=email(mailbox, tls="starttls", **wrong)))
        assert stands(database)["mail"] == ("waiting", 1, "the log-in was refused: SMTP 535 5.7.8")
        deliver(database, settings(mail=email(mailbox, tls="starttls", **LOG_IN)), NOW + LATER)
    assert has_ended(database, message)
