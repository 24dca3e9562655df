"""`bandshift outbox`, from its options to its exit codes, against a real server."""

import csv
import io
import json

import pytest
from sqlalchemy import Engine, func, insert, select

from app.demo import DEMO_AS_OF
from app.notify import deliver_due, read_backlog
from app.runs import new_run_id
from app.tables import deliveries, outbox, runs
from tests.cli.conftest import Run
from tests.notify.endpoints import answer, serve
from tests.notify.told import NOW, SECRET, deliver, settings, tell, webhook

MONDAY = ("--as-of", DEMO_AS_OF.isoformat())
"""When the company's feeds are fresh, however late it is."""


@pytest.fixture(autouse=True)
def _channel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANDSHIFT_CHANNELS__OPS__TYPE", "webhook")
    monkeypatch.setenv("BANDSHIFT_CHANNELS__OPS__SECRET", SECRET)
    monkeypatch.setenv("BANDSHIFT_CHANNELS__OPS__URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("BANDSHIFT_CHANNELS__OPS__ALLOW_PRIVATE", "true")


def messages(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(outbox)).scalar_one()


def park_all(engine: Engine) -> None:
    """The channel's endpoint has said that it is gone."""
    with serve(answer(410)) as endpoint:
        deliver(engine, settings(ops=webhook(endpoint.url)))


def test_what_is_in_the_outbox_is_delivered_and_listed(
    bandshift_settled: Run, settled: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = messages(settled)
    listed = bandshift_settled("outbox", "list", "--limit", "3")
    assert listed.code == 0
    assert listed.out.startswith("3 unseen\n")
    assert f"and {whole - 3} others; --limit shows more" in listed.out
    with serve() as endpoint:
        monkeypatch.setenv("BANDSHIFT_CHANNELS__OPS__URL", endpoint.url)
        done = bandshift_settled("outbox", "deliver")
    assert (done.code, done.out) == (0, f"delivered {whole}, to be tried again 0, parked 0\n")
    assert len(set(endpoint.ids)) == whole
    assert bandshift_settled("outbox", "list").out == "Nothing of that kind is in the outbox\n"
    assert bandshift_settled("outbox", "list", "--all").out.startswith(f"{whole} delivered\n")


def test_what_fails_is_told_by_the_exit_code_and_the_list(
    bandshift_settled: Run, settled: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(answer(500)) as endpoint:
        monkeypatch.setenv("BANDSHIFT_CHANNELS__OPS__URL", endpoint.url)
        done = bandshift_settled("outbox", "deliver")
    assert (done.code, done.out) == (1, "delivered 0, to be tried again 3, parked 0\n")
    entries = json.loads(bandshift_settled("outbox", "list", "--format", "json").out)["messages"]
    failed = [entry for entry in entries if entry["last_error"]]
    assert {(entry["state"], entry["attempts"], entry["last_error"]) for entry in failed} == {
        ("waiting", 1, "HTTP 500 Internal Server Error")
    }
    table = bandshift_settled("outbox", "list", "--state", "waiting").out
    assert "HTTP 500 Internal Server Error" in " ".join(table.split())
    assert f"{failed[0]['message_id']}, next 20" in table
    assert max(map(len, table.splitlines())) <= 80
    rows = list(csv.DictReader(io.StringIO(bandshift_settled("outbox", "list", "--format", "csv").out)))
    assert [row["message_id"] for row in rows] == [entry["message_id"] for entry in entries]
    assert list(rows[0]) == list(entries[0])


def test_what_is_parked_is_retried_one_or_all(
    bandshift_settled: Run, settled: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = messages(settled)
    park_all(settled)
    parked = json.loads(bandshift_settled("outbox", "list", "--state", "parked", "--format", "json").out)["messages"]
    assert len(parked) == min(whole, 50)
    one = parked[0]["message_id"]
    assert bandshift_settled("outbox", "retry", one).out == "1 message due now\n"
    with serve() as endpoint:
        monkeypatch.setenv("BANDSHIFT_CHANNELS__OPS__URL", endpoint.url)
        assert bandshift_settled("outbox", "deliver").out.startswith("delivered 1,")
        assert endpoint.ids == [one]
        assert bandshift_settled("outbox", "retry", "--all").out == f"{whole - 1} messages due now\n"
        assert bandshift_settled("outbox", "deliver").out.startswith(f"delivered {whole - 1},")
    assert bandshift_settled("outbox", "retry", "--all").out == "nothing waits and nothing is parked\n"


def test_what_is_parked_is_dropped_and_stays_on_record(bandshift_settled: Run, settled: Engine) -> None:
    whole = messages(settled)
    park_all(settled)
    assert bandshift_settled("outbox", "drop", "--all").out == f"{whole} messages dropped\n"
    assert bandshift_settled("outbox", "list", "--state", "dropped").out.startswith(f"{min(whole, 50)} dropped\n")
    with settled.connect() as connection:
        assert read_backlog(connection).parked == 0
        assert connection.execute(select(func.count()).select_from(deliveries)).scalar_one() == whole


def test_a_message_that_is_being_sent_is_not_made_due_again(bandshift_settled: Run, settled: Engine) -> None:
    with settled.begin() as connection:
        connection.exec_driver_sql("DELETE FROM outbox WHERE topic = 'csm.digest'")
    with serve(answer(500)) as endpoint:
        to = settings(ops=webhook(endpoint.url))
        deliver_due(settled, to, NOW, deadline=NOW)  # fans out, and sends nothing
    with settled.begin() as connection:
        connection.exec_driver_sql("UPDATE deliveries SET attempts = 1, next_attempt_at = now() + interval '1 minute'")
    assert bandshift_settled("outbox", "retry", "--all").out == "nothing waits and nothing is parked\n"


@pytest.mark.parametrize("command", ["retry", "drop"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name one message by its id, or say --all"),
        (("msg_x", "--all"), "name one message by its id, or say --all"),
        (("msg_x",), "there is no message msg_x in the outbox"),
    ],
)
def test_a_mistake_is_told(bandshift_settled: Run, command: str, arguments: tuple[str, ...], said: str) -> None:
    ended = bandshift_settled("outbox", command, *arguments)
    assert ended.code == 2
    assert said in ended.err


def test_a_message_of_which_nothing_waits_cannot_be_retried(bandshift_settled: Run) -> None:
    (entry,) = json.loads(bandshift_settled("outbox", "list", "--limit", "1", "--format", "json").out)["messages"]
    ended = bandshift_settled("outbox", "retry", entry["message_id"])
    assert (ended.code, "nothing of it waits or is parked" in ended.err) == (2, True)


@pytest.fixture
def no_channel(_channel: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TYPE", "SECRET", "URL", "ALLOW_PRIVATE"):
        monkeypatch.delenv(f"BANDSHIFT_CHANNELS__OPS__{name}")


@pytest.mark.usefixtures("no_channel")
def test_without_a_channel_there_is_nobody_to_tell(bandshift_settled: Run, settled: Engine) -> None:
    whole = messages(settled)
    ended = bandshift_settled("outbox", "deliver")
    assert (ended.code, ended.out) == (0, f"no channel is set up: {whole} messages ended untold\n")
    assert bandshift_settled("outbox", "list", "--all").out.startswith(f"{min(whole, 50)} untold\n")
    assert bandshift_settled("outbox", "deliver").out == "no channel is set up: nothing ended untold\n"


@pytest.mark.usefixtures("no_channel")
def test_who_runs_by_hand_and_has_set_up_nothing_has_no_backlog(bandshift: Run, company: Engine) -> None:
    assert bandshift("recompute", "--dry-run", *MONDAY).code == 0
    assert bandshift("recompute", *MONDAY).code == 0
    assert messages(company) > 0
    assert unseen(company) == 0


@pytest.mark.usefixtures("no_channel")
@pytest.mark.parametrize("sign", ["a slot", "a delivery"])
def test_where_somebody_else_may_deliver_a_run_by_hand_leaves_its_messages(
    bandshift: Run, company: Engine, sign: str
) -> None:
    if sign == "a slot":
        with company.begin() as connection:
            row = {"run_id": new_run_id(NOW), "kind": "scheduled", "slot": NOW.date(), "as_of": NOW, "started_at": NOW}
            connection.execute(insert(runs).values(**row, status="skipped"))
    else:
        tell(company)
        with serve() as endpoint:
            deliver(company, settings(ops=webhook(endpoint.url)))
    assert bandshift("recompute", *MONDAY).code == 0
    assert unseen(company) > 0


def unseen(engine: Engine) -> int:
    with engine.connect() as connection:
        return read_backlog(connection).unseen
