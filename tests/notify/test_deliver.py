"""Every message reaches every channel at least once, and in the ordinary case once, whoever dies when."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from random import Random

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy import URL, Engine, func, select, update
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from app.notify import Backlog, read_backlog
from app.notify.deliver import deliver_due
from app.settings import Delivery, Settings, Slack
from app.tables import deliveries, outbox
from tests.conftest import engine_on
from tests.notify.endpoints import PATIENCE_S, Endpoint, answer, cut, say_nothing, serve
from tests.notify.told import LATER, NOW, deliver, has_ended, next_attempt, settings, stands, tell, webhook


def backlog(engine: Engine) -> Backlog:
    with engine.connect() as connection:
        return read_backlog(connection)


# ---- Fanning out -----------------------------------------------------------------------------------------------------


def test_a_message_goes_to_each_channel_that_takes_its_topic_and_to_no_other(database: Engine) -> None:
    message = tell(database, "slot.skipped")
    with serve() as first, serve() as second, serve() as third:
        to = settings(
            first=webhook(first.url), second=webhook(second.url), third=webhook(third.url, topics=["run.summary"])
        )
        assert deliver(database, to).delivered == 2
    assert (first.ids, second.ids, third.ids) == ([message], [message], [])
    assert has_ended(database, message)


def test_a_message_whose_topic_no_channel_takes_has_ended(database: Engine) -> None:
    message = tell(database, "run.lapsed", {"why": "so", "slot": None, "at": "2026-03-02T06:05:00Z"})
    with serve() as endpoint:
        deliver(database, settings(ops=webhook(endpoint.url, topics=["run.summary"])))
    assert has_ended(database, message)
    assert endpoint.requests == []


def test_a_message_has_ended_when_its_last_channel_has_it(database: Engine) -> None:
    message = tell(database)
    with serve() as good, serve(answer(500), answer(200)) as bad:
        to = settings(good=webhook(good.url), bad=webhook(bad.url))
        deliver(database, to)
        assert not has_ended(database, message)
        deliver(database, to, NOW + LATER)
    assert has_ended(database, message)
    assert (len(good.requests), len(bad.requests)) == (1, 2)


def test_a_channel_that_is_set_up_later_gets_what_is_told_from_then_on(database: Engine) -> None:
    tell(database)
    with serve(answer(500)) as bad, serve() as good:
        deliver(database, settings(bad=webhook(bad.url)))
        new = tell(database, at=NOW + timedelta(minutes=1))
        deliver(database, settings(bad=webhook(bad.url), good=webhook(good.url)), NOW + timedelta(minutes=1))
    assert good.ids == [new]


def test_old_news_is_parked_and_not_sent(database: Engine) -> None:
    message = tell(database, at=NOW - timedelta(hours=73))
    with serve() as endpoint:
        to = settings(ops=webhook(endpoint.url))
        deliver(database, to)
        assert stands(database) == {"ops": ("parked", 0, "not sent within 72 hours")}
        fresh = tell(database, at=NOW)
        deliver(database, to)
    assert endpoint.ids == [fresh]
    assert not has_ended(database, message)
    assert backlog(database) == Backlog(unseen=0, waiting=0, failing=0, parked=1, oldest=NOW - timedelta(hours=73))


def test_what_waits_for_a_channel_that_is_no_more_is_parked_when_its_time_is_over(database: Engine) -> None:
    tell(database)
    with serve(answer(500)) as bad, serve() as good:
        deliver(database, settings(bad=webhook(bad.url)))
        deliver(database, settings(good=webhook(good.url)), NOW + timedelta(hours=71))
        assert stands(database)["bad"][0] == "waiting"
        assert deliver(database, settings(good=webhook(good.url)), NOW + timedelta(hours=73)).parked == 1
    assert stands(database) == {"bad": ("parked", 1, "gave up: there is no channel of this name any more")}


# ---- Trying again ----------------------------------------------------------------------------------------------------


def test_waits_double_up_to_a_limit_with_up_to_half_taken_off_by_chance(database: Engine) -> None:
    tell(database)
    now, waits = NOW, []
    with serve(answer(500)) as endpoint:
        for _ in range(10):
            deliver(database, settings(ops=webhook(endpoint.url)), now)
            waits.append((next_attempt(database) - now).total_seconds())
            now = next_attempt(database) + timedelta(seconds=1)
    longest = [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert all(most / 2 <= wait <= most + 5 for wait, most in zip(waits, longest, strict=True)), waits
    assert waits[-2] != waits[-1]


def test_after_its_time_a_delivery_is_parked_and_no_longer_tried(database: Engine) -> None:
    message = tell(database)
    now, attempts = NOW, 0
    with serve(answer(500)) as endpoint:
        to = settings(ops=webhook(endpoint.url))
        while stands(database).get("ops", ("waiting",))[0] == "waiting":
            deliver(database, to, now)
            attempts += 1
            now += timedelta(hours=1)
        assert attempts == len(endpoint.requests)
        deliver(database, to, now + timedelta(days=30))
        assert attempts == len(endpoint.requests)
    assert 71 <= attempts <= 73
    assert stands(database)["ops"][::2] == ("parked", "HTTP 500 Internal Server Error")
    assert not has_ended(database, message)
    assert backlog(database).parked == 1


def test_a_deliverer_that_was_away_for_a_week_still_tries_what_it_had_begun(database: Engine) -> None:
    message = tell(database)
    with serve(answer(500), answer(200)) as endpoint:
        to = settings(ops=webhook(endpoint.url))
        deliver(database, to)
        deliver(database, to, NOW + timedelta(days=7))
    assert has_ended(database, message)


def test_an_endpoint_that_is_gone_is_sent_nothing_more(database: Engine) -> None:
    for _ in range(5):
        tell(database)
    with serve(answer(410)) as endpoint, serve() as other:
        to = settings(ops=webhook(endpoint.url), other=webhook(other.url))
        assert deliver(database, to).parked == 5
        tell(database, at=NOW + timedelta(hours=1))
        deliver(database, to, NOW + timedelta(hours=1))
        assert len(endpoint.requests) == 1
        assert len(other.requests) == 6
    assert backlog(database).parked == 6


def test_a_channel_that_fails_three_times_in_a_row_is_left_alone_until_the_next_call(database: Engine) -> None:
    for _ in range(8):
        tell(database)
    with serve(answer(500)) as endpoint:
        to = settings(ops=webhook(endpoint.url))
        deliver(database, to)
        assert len(endpoint.requests) == 3
        deliver(database, to, NOW + timedelta(seconds=1))
        assert len(endpoint.requests) == 6
        assert len(set(endpoint.ids)) == 6  # those that were not tried yet come first


def test_a_channel_that_hangs_keeps_no_other_waiting(database: Engine) -> None:
    messages = {tell(database) for _ in range(5)}
    with serve(say_nothing) as slow, serve() as fast:
        to = settings(slow=webhook(slow.url, timeout_s=30), fast=webhook(fast.url))
        done = threading.Thread(target=deliver, args=(database, to))
        done.start()
        deadline = threading.Event()
        while len(fast.requests) < 5 and not deadline.wait(0.01):
            assert done.is_alive()
        slow.over.set()
        slow.acts = (answer(200),)
        done.join(PATIENCE_S)
    assert set(fast.ids) == messages


def test_nothing_is_begun_after_the_deadline_or_when_told_to_stop(database: Engine) -> None:
    for _ in range(3):
        tell(database)
    with serve() as endpoint:
        to = settings(ops=webhook(endpoint.url))
        deliver_due(database, to, NOW, deadline=NOW)
        assert endpoint.requests == []
        deliver_due(database, to, NOW, deadline=NOW + timedelta(minutes=5), stop=lambda: len(endpoint.requests) == 2)
        assert len(endpoint.requests) == 2


def test_a_message_that_nobody_can_put_into_words_holds_up_no_other(database: Engine) -> None:
    tell(database, "run.failed", {"nothing": "of what such a message has"})
    good = tell(database)
    with serve() as endpoint:
        slack = Slack(type="slack", url=SecretStr(endpoint.url), allow_private=True)
        with capture_logs() as logs:
            deliver(database, settings(chat=slack))
    assert len(endpoint.requests) == 1
    assert has_ended(database, good)
    assert backlog(database).failing == 1
    assert any(log["event"] == "message.unsendable" and "KeyError" in log["error"] for log in logs)


def test_logs_tell_ids_and_no_content(database: Engine) -> None:
    tell(database, "slot.skipped", {"slot": "2026-03-02", "why": "Acme GmbH", "at": "2026-03-02T06:05:00Z"})
    with serve(answer(500), answer(200)) as endpoint, capture_logs() as logs:
        to = settings(ops=webhook(endpoint.url + "/a-secret-path"))
        deliver(database, to)
        deliver(database, to, NOW + LATER)
    assert [log["event"] for log in logs] == ["message.postponed", "message.delivered"]
    assert "Acme" not in str(logs)
    assert "secret-path" not in str(logs)


# ---- Many at once ----------------------------------------------------------------------------------------------------


def test_deliverers_at_once_deliver_each_message_once(database_url: URL) -> None:
    with engine_on(database_url) as engine:
        messages = {tell(engine) for _ in range(60)}
        with serve() as endpoint, serve() as other:
            to = settings(ops=webhook(endpoint.url), other=webhook(other.url))
            threads = [threading.Thread(target=deliver, args=(engine, to)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert sorted(endpoint.ids) == sorted(messages) == sorted(other.ids)
        assert all(has_ended(engine, message) for message in messages)


def test_two_channels_that_end_at_once_end_the_message(database: Engine) -> None:
    for _ in range(20):
        tell(database)
    together = threading.Barrier(2, timeout=PATIENCE_S)

    def meet(_: Endpoint, handler: BaseHTTPRequestHandler) -> None:
        together.wait()
        answer(200)(_, handler)

    with serve(meet) as first, serve(meet) as second:
        assert deliver(database, settings(a=webhook(first.url), b=webhook(second.url))).delivered == 40
    with database.connect() as connection:
        assert connection.execute(select(func.count()).where(outbox.c.delivered_at.is_(None))).scalar_one() == 0


DELIVERER = """
import sys
from datetime import datetime, timedelta
from pydantic import SecretStr
from app.database import make_engine, parse_url
from tests.notify.told import settings, webhook
from app.notify import deliver_due

database, url, now = sys.argv[1], sys.argv[2], datetime.fromisoformat(sys.argv[3])
deliver_due(make_engine(parse_url(SecretStr(database))), settings(ops=webhook(url, timeout_s=30)), now,
    deadline=now + timedelta(minutes=5))
"""


def test_who_is_killed_after_sending_and_before_marking_leaves_it_to_be_sent_again_under_the_same_id(
    database_url: URL, database: Engine
) -> None:
    message = tell(database)
    taken = threading.Event()

    def take_and_be_slow(endpoint: Endpoint, _: BaseHTTPRequestHandler) -> None:
        taken.set()
        endpoint.over.wait(PATIENCE_S)

    with serve(take_and_be_slow) as endpoint:
        dsn = database_url.set(drivername="postgresql").render_as_string(hide_password=False)
        child = subprocess.Popen([sys.executable, "-c", DELIVERER, dsn, endpoint.url, NOW.isoformat()])
        try:
            assert taken.wait(PATIENCE_S)
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
    assert stands(database) == {"ops": ("waiting", 1, None)}
    with serve() as again:
        to = settings(ops=webhook(again.url, timeout_s=30))
        deliver(database, to, NOW + timedelta(seconds=60))  # the lease is not over
        assert again.requests == []
        deliver(database, to, NOW + timedelta(seconds=180))
    assert endpoint.ids == again.ids == [message]
    assert endpoint.requests[0].body == again.requests[0].body
    assert has_ended(database, message)


@contextmanager
def unreachable(server: URL, name: str) -> Iterator[None]:
    """Nobody can connect to the database, and nobody stays connected."""

    def execute(statement: str) -> None:
        dsn = server.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(name=sql.Identifier(name), text=sql.Literal(name)))

    execute("ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {text}")
    try:
        yield
    finally:
        execute("ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def test_a_database_that_is_lost_between_sending_and_marking_loses_no_message(
    server_url: URL, database_url: URL, database: Engine
) -> None:
    message = tell(database)
    gone = unreachable(server_url, str(database_url.database))

    def take_and_lose(_: Endpoint, handler: BaseHTTPRequestHandler) -> None:
        gone.__enter__()
        answer(200)(_, handler)

    with serve(take_and_lose, answer(200)) as endpoint:
        to = settings(ops=webhook(endpoint.url))
        with pytest.raises(OperationalError):
            deliver(database, to)
        gone.__exit__(None, None, None)
        assert stands(database) == {"ops": ("waiting", 1, None)}
        deliver(database, to, NOW + LATER)
    assert endpoint.ids == [message, message]
    assert has_ended(database, message)


def test_who_comes_late_does_not_undo_what_another_did_since(database: Engine) -> None:
    """Its lease over, its attempt fails when another has delivered the message."""
    message = tell(database)

    def be_overtaken(_: Endpoint, handler: BaseHTTPRequestHandler) -> None:
        with database.begin() as connection:
            connection.execute(update(deliveries).values(status="delivered", attempts=2, ended_at=NOW))
            connection.execute(update(outbox).values(delivered_at=NOW))
        answer(500)(_, handler)

    with serve(be_overtaken) as endpoint:
        deliver(database, settings(ops=webhook(endpoint.url)))
    assert stands(database) == {"ops": ("delivered", 2, None)}
    assert has_ended(database, message)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_between_servers_that_fail_as_they_like(database: Engine, seed: int) -> None:
    draw = Random(seed)  # noqa: S311 - it has to be the same every time
    acts = [answer(200), answer(500), answer(429, Retry_After="60"), cut, answer(404)]
    messages = {tell(database) for _ in range(25)}
    quick = Settings(delivery=Delivery(give_up_hours=5000, first_retry_s=1, last_retry_s=2))
    with serve(*draw.choices(acts, k=60), answer(200)) as one, serve(*draw.choices(acts, k=60), answer(200)) as two:
        to = quick.model_copy(update={"channels": {"one": webhook(one.url), "two": webhook(two.url)}})
        now = NOW
        for _ in range(200):
            deliver(database, to, now)
            now += timedelta(minutes=2)
            if all(has_ended(database, message) for message in messages):
                break
    assert set(one.ids) == messages == set(two.ids)
    assert backlog(database) == Backlog(unseen=0, waiting=0, failing=0, parked=0, oldest=None)
