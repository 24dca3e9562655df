"""Webhooks against real HTTP servers: signed as the specification says, and nothing lost whatever they do."""

import json
import socket
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from time import monotonic

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from app.notify import http, wire
from app.notify.message import Undelivered
from app.notify.webhook import sign
from tests.notify.certificates import authority, tls, trusted
from tests.notify.endpoints import Act, answer, babble, closed_port, cut, cut_within, drip, say_nothing, serve
from tests.notify.told import LATER, NOW, SECRET, deliver, has_ended, next_attempt, settings, stands, tell, webhook

__all__ = ["authority", "tls", "trusted"]


def test_the_signature_is_that_of_the_specification() -> None:
    # The example in the specification's own test vectors.
    signature = sign(SecretStr(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_an_independent_implementation_accepts_the_message_and_no_other(database: Engine) -> None:
    now = datetime.now(UTC)  # the verifier looks at the clock
    message = tell(database, at=now)
    with serve() as endpoint:
        assert deliver(database, settings(ops=webhook(endpoint.url)), now).delivered == 1
    (request,) = endpoint.requests
    verified = Verifier(SECRET).verify(request.body, request.headers)
    assert verified == json.loads(request.body)
    assert (verified["type"], verified["data"]["slot"]) == ("slot.skipped", "2026-03-02")
    assert datetime.fromisoformat(verified["timestamp"]) == now.replace(microsecond=0)
    assert request.headers["webhook-id"] == message
    assert request.headers["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        Verifier(SECRET).verify(request.body.replace(b"2026-03-02", b"2026-03-09"), request.headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(SECRET).verify(request.body, {**request.headers, "webhook-id": "msg_other"})


BAD_ANSWERS = {
    "500": (answer(500), "HTTP 500 Internal Server Error"),
    "400": (answer(400), "HTTP 400 Bad Request"),
    "a status nobody knows": (answer(599), "HTTP 599"),
    "a word of Slack's": (answer(400, b"invalid_blocks"), "HTTP 400 Bad Request: invalid_blocks"),
    "a secret echoed": (answer(403, b"bad token xoxb-123"), "HTTP 403 Forbidden"),
    "hangs up": (cut, "the connection was cut"),
    "another protocol": (babble, "the other side does not keep to the protocol (BadStatusLine)"),
}


@pytest.mark.parametrize(("act", "why"), BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_what_is_not_taken_is_sent_again_the_same_until_it_is(database: Engine, act: Act, why: str) -> None:
    message = tell(database)
    with serve(act, act, answer(204, b"")) as endpoint:
        to = settings(ops=webhook(endpoint.url))
        assert deliver(database, to).postponed == 1
        assert stands(database) == {"ops": ("waiting", 1, why)}
        assert not has_ended(database, message)
        assert deliver(database, to, NOW + timedelta(seconds=1)).postponed == 0  # not before its time
        deliver(database, to, NOW + LATER)
        assert deliver(database, to, NOW + 2 * LATER).delivered == 1
    assert has_ended(database, message)
    assert stands(database) == {"ops": ("delivered", 3, None)}
    assert endpoint.ids == [message] * 3
    assert len({request.body for request in endpoint.requests}) == 1


@pytest.mark.parametrize("act", [say_nothing, drip], ids=["silent", "a byte at a time"])
def test_who_takes_too_long_is_hung_up_on(database: Engine, act: Act) -> None:
    tell(database)
    with serve(act) as endpoint:
        began = monotonic()
        deliver(database, settings(ops=webhook(endpoint.url, timeout_s=0.3)))
        took = monotonic() - began
    assert stands(database) == {"ops": ("waiting", 1, "no answer within 0.3 s")}
    assert took < 3


def test_a_status_that_says_yes_is_enough_if_the_rest_of_the_answer_is_lost(database: Engine) -> None:
    message = tell(database)
    with serve(cut_within) as endpoint:
        deliver(database, settings(ops=webhook(endpoint.url)))
    assert has_ended(database, message)


def test_a_server_that_is_down_gets_it_when_it_is_up(database: Engine) -> None:
    message = tell(database)
    deliver(database, settings(ops=webhook(f"http://127.0.0.1:{closed_port()}/")))
    assert stands(database) == {"ops": ("waiting", 1, "no connection: the connection was refused")}
    with serve() as endpoint:
        deliver(database, settings(ops=webhook(endpoint.url)), NOW + LATER)
    assert endpoint.ids == [message]


@pytest.mark.parametrize(
    ("retry_after", "wait"),
    [
        ("1800", timedelta(minutes=30)),
        ("Mon, 02 Mar 2026 07:05:00 GMT", timedelta(hours=1)),
        ("999999999", timedelta(days=1)),
    ],
)
def test_a_channel_that_asks_to_wait_is_left_alone_until_then(
    database: Engine, retry_after: str, wait: timedelta
) -> None:
    tell(database)
    with serve(answer(429, Retry_After=retry_after), answer(200)) as endpoint:
        to = settings(ops=webhook(endpoint.url))
        deliver(database, to)
        assert stands(database) == {"ops": ("waiting", 1, "HTTP 429 Too Many Requests")}
        assert abs(next_attempt(database) - NOW - wait) < timedelta(seconds=5)
        assert deliver(database, to, NOW + wait - timedelta(minutes=1)).delivered == 0
        assert deliver(database, to, NOW + wait + timedelta(minutes=1)).delivered == 1


@pytest.mark.parametrize(
    "retry_after", ["soon", "-5", "", "Mon, 99 Foo 2026 07:05:00 GMT", "Sun, 01 Mar 2026 00:00:00 GMT"]
)
def test_a_wait_that_makes_no_sense_is_no_longer_than_usual(database: Engine, retry_after: str) -> None:
    tell(database)
    with serve(answer(503, Retry_After=retry_after)) as endpoint:
        deliver(database, settings(ops=webhook(endpoint.url)))
    assert next_attempt(database) <= NOW + timedelta(seconds=31)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(database: Engine, status: int) -> None:
    tell(database)
    with serve() as elsewhere, serve(answer(status, Location=elsewhere.url)) as endpoint:
        deliver(database, settings(ops=webhook(endpoint.url)))
    assert elsewhere.requests == []
    assert "redirects are not followed" in str(stands(database)["ops"][2])


# ---- Where it may go -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.1", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "64:ff9b::7f00:1", "2002:7f00:1::", "192.0.2.1", "198.18.0.1",
    ],
)  # fmt: skip
def test_a_private_address_is_not_public(address: str) -> None:
    assert not wire.is_public(ip_address(address))


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:93.184.215.14"])
def test_a_public_address_is_public(address: str) -> None:
    assert wire.is_public(ip_address(address))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1"])
def test_a_private_address_is_refused_in_any_writing(database: Engine, host: str) -> None:
    tell(database)
    with serve() as endpoint:
        port = endpoint.url.split(":")[2].removesuffix("/hook")
        deliver(database, settings(ops=webhook(f"https://{host}:{port}/hook", allow_private=False)))
    assert endpoint.requests == []
    assert "private address" in str(stands(database)["ops"][2])


def test_the_address_that_was_checked_is_the_one_that_is_reached(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is public when it is asked for first and private the second time is asked for once."""
    tell(database)
    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: str | bytes, *rest: object, **options: object) -> object:
        if host != "rebinding.example":
            return real(host, *rest, **options)  # type: ignore[arg-type]
        asked.append(host)
        address = "192.0.2.1" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))]

    reached: list[object] = []

    def create_connection(address: tuple[str, int], **_: object) -> socket.socket:
        reached.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(wire, "is_public", lambda address: str(address) == "192.0.2.1")
    monkeypatch.setattr(socket, "create_connection", create_connection)
    with pytest.raises(Undelivered, match="refused"):
        http.post(SecretStr("https://rebinding.example/"), b"{}", {}, NOW, timeout_s=5, allow_private=False)
    assert (asked, reached) == (["rebinding.example"], ["192.0.2.1"])


# ---- TLS -------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("trusted")
def test_tls_is_spoken_in_the_name_of_the_host(database: Engine, tls: ssl.SSLContext) -> None:
    tell(database)
    names: list[str | None] = []
    tls.sni_callback = lambda _, name, __: names.append(name)
    with serve(tls=tls) as endpoint:
        deliver(database, settings(ops=webhook(endpoint.url.replace("127.0.0.1", "localhost"))))
    assert stands(database) == {"ops": ("delivered", 1, None)}
    assert names == ["localhost"]
    assert endpoint.requests[0].headers["host"].startswith("localhost:")


@pytest.mark.usefixtures("trusted")
def test_a_certificate_for_another_host_is_refused(database: Engine, tls: ssl.SSLContext) -> None:
    tell(database)
    with serve(tls=tls) as endpoint:
        deliver(database, settings(ops=webhook(endpoint.url)))
    assert endpoint.requests == []
    assert str(stands(database)["ops"][2]).startswith("TLS: ip address mismatch")


def test_a_certificate_of_an_unknown_authority_is_refused(database: Engine, tls: ssl.SSLContext) -> None:
    tell(database)
    with serve(tls=tls) as endpoint:
        deliver(database, settings(ops=webhook(endpoint.url.replace("127.0.0.1", "localhost"))))
    assert endpoint.requests == []
    assert stands(database)["ops"][2] == "TLS: unable to get local issuer certificate"


def test_a_server_without_tls_is_told_as_such(database: Engine) -> None:
    tell(database)
    with serve() as endpoint:
        deliver(database, settings(ops=webhook(endpoint.url.replace("http:", "https:"))))
    assert stands(database)["ops"][2] == "TLS: wrong version number"


# ---- The request -----------------------------------------------------------------------------------------------------


def test_path_query_and_log_in_of_the_url_are_kept(database: Engine) -> None:
    tell(database)
    with serve() as endpoint:
        url = endpoint.url.replace("http://", "http://us%40er:pass@") + "/a%20b/ü?key=1&q=%2F"
        deliver(database, settings(ops=webhook(url)))
    (request,) = endpoint.requests
    assert request.path == "/hook/a%20b/%C3%BC?key=1&q=%2F"
    assert request.headers["authorization"] == "Basic dXNAZXI6cGFzcw=="


def test_amounts_arrive_to_the_cent(database: Engine) -> None:
    tell(database, payload={"value": 12345678901234.1, "why": "é", "slot": "2026-03-02", "at": "2026-03-02T06:05:00Z"})
    with serve() as endpoint:
        deliver(database, settings(ops=webhook(endpoint.url)))
    assert b'"value": 12345678901234.1' in endpoint.requests[0].body
    assert "é".encode() in endpoint.requests[0].body
