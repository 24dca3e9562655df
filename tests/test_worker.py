"""The worker as a process: woken, stopped, killed, raced, cut off; whatever happens, each slot takes effect once."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psycopg
import pytest
from apscheduler.triggers.interval import IntervalTrigger
from pydantic import SecretStr
from sqlalchemy import URL, Engine, select, text, update
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from app import runs, slots, worker
from app.errors import Mistake
from app.notify import Delivered
from app.settings import Settings
from app.settings import Worker as WorkerSettings
from app.slots import run_due
from app.tables import accounts, deliveries, outbox
from app.tables import runs as ledger
from tests import processes
from tests.conftest import engine_on
from tests.forked import Forks
from tests.notify import endpoints
from tests.notify.told import SECRET, tell, webhook
from tests.processes import until
from tests.proxy import Cut, Proxy, proxy_to
from tests.small_company import (
    AS_OF,
    EFFECT,
    NO_GUARDS,
    POLICY,
    WEEK,
    add_account,
    add_csm,
    assert_sound,
    contents,
    count,
    policy,
    where,
)

ROOT = Path(__file__).parent.parent
RACERS = 32
NOW = AS_OF + WEEK + timedelta(minutes=1)


@pytest.fixture
def company(database: Engine) -> Engine:
    """Three accounts, of which B1 is to be demoted since the slot of 2 March was run."""
    with database.begin() as connection:
        add_csm(connection, "ann", "low", max_accounts=3)
        add_csm(connection, "cat", "high", max_accounts=3)
        for account_id, arr in (("A1", 10), ("B1", 500), ("C1", 5000)):
            add_account(connection, account_id, arr)
    look(database, AS_OF, first_slot="latest")
    shrink(database, 50)
    return database


def shrink(engine: Engine, arr: int) -> None:
    with engine.begin() as connection:
        connection.execute(update(accounts).where(accounts.c.account_id == "B1").values(arr=arr))


def look(engine: Engine, now: datetime = NOW, **settings: Any) -> slots.Outcome:
    chosen = policy()
    return run_due(engine, lambda: chosen, WorkerSettings(**settings), now)


def dsn(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def statuses(engine: Engine) -> list[tuple[str, str | None]]:
    """How the runs since the first ended, and of what kind their failures are."""
    with engine.connect() as connection:
        found = connection.execute(select(ledger.c.status, ledger.c.failure).order_by(ledger.c.run_id)).all()
    return [tuple(row) for row in found[1:]]


def locks(engine: Engine) -> int:
    """How many hold one of our advisory locks on this database."""
    held = text(
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
        " WHERE locktype = 'advisory' AND datname = current_database()"
    )
    with engine.connect() as connection:
        return int(connection.execute(held).scalar_one())


def blocked(engine: Engine) -> int:
    """How many sessions on this database wait for a lock."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with engine.connect() as connection:
        return int(connection.execute(waiting).scalar_one())


@contextmanager
def held_up(engine: Engine) -> Iterator[None]:
    """Whoever writes a run's effect waits meanwhile, in the middle of a statement."""
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE"))
        yield


# ---- A process of its own --------------------------------------------------------------------------------------------


class Process:
    """A worker, as it is started in production."""

    def __init__(self, url: URL, folder: Path, python: Sequence[str] = (sys.executable,), **environ: str) -> None:
        self.log = folder / "worker.log"
        policy_file = folder / "policy.toml"
        policy_file.write_text(POLICY + NO_GUARDS)
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": dsn(url),
            "BANDSHIFT_POLICY": str(policy_file),
            "BANDSHIFT_WORKER__MAX_LATENESS_HOURS": "8760",
            **environ,
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*python, "-m", "app.worker"], cwd=folder, env=environ, stdout=log, stderr=log
            )

    def events(self) -> list[str]:
        """What it has logged."""
        return [json.loads(line)["event"] for line in self.log.read_text().splitlines()]

    def await_event(self, name: str) -> None:
        until(lambda: self.process.poll() is not None or name in self.events())
        assert name in self.events()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Told to stop, it does; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def started(url: URL, folder: Path, python: Sequence[str] = (sys.executable,), **environ: str) -> Iterator[Process]:
    process = Process(url, folder, python, **environ)
    try:
        yield process
    finally:
        process.process.kill()
        process.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_runs_the_due_slot_when_it_starts_and_stops_when_told(
    company: Engine, tmp_path: Path, number: int
) -> None:
    with started(company.url, tmp_path) as process:
        process.await_event("run.applied")
        assert process.stop(number) == 0
        assert [one for one in process.events() if one.startswith("worker.")] == [
            "worker.started", "worker.stopping", "worker.stopped",
        ]  # fmt: skip
    assert where(company)["B1"] == ("tech", None)
    assert statuses(company)[-1] == ("applied", None)
    assert_sound(company)
    with started(company.url, tmp_path) as process:  # again: there is nothing more to do this week
        process.await_event("worker.started")
        assert process.stop() == 0
        assert "run.applied" not in process.events()


def test_a_worker_that_is_told_to_stop_in_the_middle_of_a_run_ends_it_first(
    company: Engine, tmp_path: Path, forks: Forks
) -> None:
    with started(company.url, tmp_path, forks.python) as process:
        with held_up(company):
            until(lambda: blocked(company))
            process.process.send_signal(signal.SIGTERM)
            process.await_event("worker.stopping")
            assert process.process.poll() is None
        assert process.process.wait(30) == 0
        assert process.events()[-1] == "worker.stopped"
    assert where(company)["B1"] == ("tech", None)
    assert statuses(company)[-1] == ("applied", None)
    assert_sound(company)


def test_a_worker_that_is_told_twice_stops_at_once_and_leaves_nothing_half_done(
    company: Engine, tmp_path: Path
) -> None:
    before = contents(company, *EFFECT)
    with started(company.url, tmp_path) as process, held_up(company):
        until(lambda: blocked(company))
        process.process.send_signal(signal.SIGTERM)
        process.await_event("worker.stopping")
        assert process.stop() == -signal.SIGTERM
        until(lambda: locks(company) == 0, 2)
    assert [contents(company, table)[table.name] for table in EFFECT[:3]] == [
        before[table.name] for table in EFFECT[:3]
    ]
    assert look(company).standing == "done"
    assert_sound(company)


def test_a_failing_run_does_not_end_the_worker(company: Engine, tmp_path: Path, forks: Forks) -> None:
    with company.begin() as connection:
        connection.execute(text("ALTER TABLE accounts DROP COLUMN standalone"))
    with started(company.url, tmp_path, forks.python) as process:
        process.await_event("tick.failed")
        assert process.process.poll() is None
        assert process.stop() == 0
    assert statuses(company)[-1] == ("failed", "mistake")


def test_a_worker_waits_for_a_database_that_is_away_when_it_starts(
    company: Engine, tmp_path: Path, forks: Forks
) -> None:
    with proxy_to(company.url) as proxy:
        proxy.close()
        with started(proxy.url, tmp_path, forks.python) as process:
            process.await_event("database.unavailable")
            proxy.open()
            process.await_event("run.applied")
            assert process.stop() == 0


def telling(url: str, topics: str = "run.summary") -> dict[str, str]:
    """The variables of a worker that tells a webhook, delivers every second, and looks at the ledger once."""
    return {
        "BANDSHIFT_WORKER__DELIVERY_SECONDS": "1",
        "BANDSHIFT_DELIVERY__FIRST_RETRY_S": "1",
        "BANDSHIFT_CHANNELS__OPS__TYPE": "webhook",
        "BANDSHIFT_CHANNELS__OPS__URL": url,
        "BANDSHIFT_CHANNELS__OPS__SECRET": SECRET,
        "BANDSHIFT_CHANNELS__OPS__ALLOW_PRIVATE": "true",
        "BANDSHIFT_CHANNELS__OPS__TOPICS": topics,
    }


def forget(engine: Engine) -> None:
    """Nobody has to be told of anything so far."""
    with engine.begin() as connection:
        connection.execute(update(outbox).values(delivered_at=NOW))


def undelivered(engine: Engine) -> list[str]:
    """The ids of the messages that have not ended."""
    with engine.connect() as connection:
        return list(connection.execute(select(outbox.c.message_id).where(outbox.c.delivered_at.is_(None))).scalars())


def test_a_worker_tries_again_to_tell_between_its_looks(company: Engine, tmp_path: Path, forks: Forks) -> None:
    forget(company)
    hook = endpoints.serve(endpoints.answer(500), endpoints.cut, endpoints.answer(204))
    with hook as endpoint, started(company.url, tmp_path, forks.python, **telling(endpoint.url)) as process:
        until(lambda: len(endpoint.requests) == 3 and not undelivered(company))
        assert process.stop() == 0
        assert process.events().count("run.applied") == 1
        assert process.events().count("message.postponed") == 2
        assert "tick.failed" not in process.events()
    assert len(endpoint.ids) == 3
    assert len(set(endpoint.ids)) == 1


def test_workers_that_deliver_beside_each_other_tell_everything_once(
    company: Engine, tmp_path: Path, forks: Forks
) -> None:
    forget(company)
    with endpoints.serve() as endpoint, ExitStack() as stack:
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            process = stack.enter_context(
                started(company.url, tmp_path / name, forks.python, **telling(endpoint.url, "slot.skipped"))
            )
            process.await_event("worker.started")
        told = {tell(company, at=datetime.now(UTC)) for _ in range(20)}
        # Beside those they tell, once, of the slots that were missed since the company's last run.
        until(lambda: len(endpoint.requests) > 20 and not undelivered(company))
    assert told < set(endpoint.ids)
    assert len(endpoint.ids) == 21


def test_a_worker_that_is_told_to_stop_while_it_delivers_ends_that_first(
    company: Engine, tmp_path: Path, forks: Forks
) -> None:
    forget(company)
    go_on = Event()

    def wait(endpoint: endpoints.Endpoint, handler: BaseHTTPRequestHandler) -> None:
        go_on.wait(endpoints.PATIENCE_S)
        endpoints.answer(204)(endpoint, handler)

    with endpoints.serve(endpoints.answer(500), wait) as endpoint:
        with started(company.url, tmp_path, forks.python, **telling(endpoint.url)) as process:
            until(lambda: len(endpoint.requests) == 2)  # the second is the other job's, between two looks
            process.process.send_signal(signal.SIGTERM)
            process.await_event("worker.stopping")
            assert process.process.poll() is None
            go_on.set()
            assert process.process.wait(30) == 0
            assert process.events()[-2:] == ["outbox.delivered", "worker.stopped"]
        assert len(endpoint.requests) == 2
    with company.connect() as connection:
        ended = select(deliveries.c.status).where(deliveries.c.message_id == endpoint.ids[1])
        assert connection.execute(ended).scalar_one() == "delivered"


@pytest.mark.parametrize(
    ("environ", "code", "said"),
    [
        ({"BANDSHIFT_WORKER__TICK_MINUTE": "1"}, 2, "TICK_MINUTE"),
        ({"BANDSHIFT_POLICY": "no_such_policy.toml"}, 2, "no_such_policy.toml"),
        ({"DATABASE_URL": "mysql://x"}, 2, "not a PostgreSQL URL"),
    ],
)
def test_a_worker_that_cannot_work_at_all_says_so_and_ends(
    database: Engine, tmp_path: Path, environ: dict[str, str], code: int, said: str
) -> None:
    with started(database.url, tmp_path, **environ) as process:
        assert process.process.wait(30) == code
        (line,) = process.log.read_text().splitlines()
    assert json.loads(line)["event"] == "worker.refused"
    assert said in line


# ---- Ticks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def settings(database_url: URL, tmp_path: Path) -> Settings:
    (tmp_path / "policy.toml").write_text(POLICY + NO_GUARDS)
    return Settings(database_url=SecretStr(dsn(database_url)), policy=tmp_path / "policy.toml")


def tick(engine: Engine, settings: Settings, now: datetime = NOW, stopping: Event | None = None) -> list[str]:
    """A tick is made; the events that it logged."""
    with capture_logs() as logs:
        worker.tick(engine, settings, stopping or Event(), clock=lambda: now)
    return [one["event"] for one in logs]


def test_what_fails_in_a_tick_keeps_no_other_step_from_being_done(
    company: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivered: list[datetime] = []

    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("Acme Ltd pays 5000")

    def undeliverable(engine: Engine, settings: Settings, now: datetime, **_: Any) -> Any:
        delivered.append(now)
        broken()

    monkeypatch.setattr(worker, "run_due", broken)
    monkeypatch.setattr("app.tick.deliver_due", undeliverable)
    with capture_logs() as logs:
        worker.tick(company, settings, Event(), clock=lambda: NOW)
    assert [(one["event"], one["step"], one["failure"]) for one in logs] == [
        ("tick.failed", "slots", "bug"),
        ("tick.failed", "deliver", "bug"),
    ]
    assert delivered == [NOW]
    assert logs[0]["frames"][-1].endswith(" broken")
    assert "Acme" not in str(logs)


def test_a_tick_survives_that_all_its_connections_are_gone(company: Engine, settings: Settings) -> None:
    assert tick(company, settings, NOW - WEEK) == []
    with psycopg.connect(dsn(company.url), autocommit=True) as killer:
        killer.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert tick(company, settings) == ["run.applied"]


def test_a_tick_without_a_database_is_logged_and_the_next_one_works(company: Engine, settings: Settings) -> None:
    with proxy_to(company.url) as proxy, engine_on(proxy.url) as engine:
        assert tick(engine, settings, NOW - WEEK) == []
        proxy.close()
        with capture_logs() as logs:
            worker.tick(engine, settings, Event(), clock=lambda: NOW)
        assert [(one["event"], one["step"], one["failure"]) for one in logs] == [("tick.failed", "schema", "transient")]
        proxy.open()
        assert tick(engine, settings) == ["run.applied"]
    assert_sound(company)


def test_a_tick_leaves_a_database_of_another_schema_alone(company: Engine, settings: Settings) -> None:
    with company.begin() as connection:
        connection.execute(text("UPDATE bandshift_version SET version_num = '2099_01_01_0000'"))
    with capture_logs() as logs:
        worker.tick(company, settings, Event(), clock=lambda: NOW)
    assert [(one["event"], one["step"], one["failure"]) for one in logs] == [("tick.failed", "schema", "mistake")]
    assert statuses(company) == []


def test_a_signal_that_comes_just_before_the_worker_waits_for_it_stops_it() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        stopping = worker.set_when_told_to_stop()
        with stopping._cond:  # type: ignore[attr-defined]  # as `wait` holds it on its way
            signal.raise_signal(signal.SIGTERM)
            assert not stopping.is_set()
        assert stopping.wait(20)
        assert {signal.getsignal(number) for number in before} == {signal.SIG_DFL}
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_worker_that_was_told_to_stop_begins_nothing(company: Engine, settings: Settings) -> None:
    stopping = Event()
    stopping.set()
    assert tick(company, settings, stopping=stopping) == []
    assert statuses(company) == []


def test_a_delivery_is_made_without_a_look_at_the_slots(company: Engine, settings: Settings) -> None:
    forget(company)
    told = tell(company, at=NOW)
    with endpoints.serve() as endpoint:
        telling = settings.model_copy(update={"channels": {"ops": webhook(endpoint.url)}})
        worker.deliver(company, telling, Event(), clock=lambda: NOW)
        assert endpoint.ids == [told]
    assert undelivered(company) == []
    assert statuses(company) == [("skipped", None)]  # what was told of; nobody ran the slot that is due


def test_a_delivery_begins_nothing_once_told_to_stop_nor_with_another_schema(
    company: Engine, settings: Settings
) -> None:
    before = undelivered(company)
    assert before
    stopping = Event()
    stopping.set()
    worker.deliver(company, settings, stopping, clock=lambda: NOW)
    with company.begin() as connection:
        connection.execute(text("UPDATE bandshift_version SET version_num = '2099_01_01_0000'"))
    with capture_logs() as logs:
        worker.deliver(company, settings, Event(), clock=lambda: NOW)
    assert [(one["event"], one["step"], one["failure"]) for one in logs] == [("tick.failed", "schema", "mistake")]
    assert undelivered(company) == before


def test_of_two_that_deliver_in_one_process_the_second_leaves_it_to_the_first(
    company: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[datetime] = []

    def meanwhile(engine: Engine, settings: Settings, now: datetime, **_: Any) -> Delivered:
        calls.append(now)
        worker.deliver(company, settings, Event(), clock=lambda: NOW + WEEK)
        return Delivered()

    monkeypatch.setattr("app.tick.deliver_due", meanwhile)
    worker.deliver(company, settings, Event(), clock=lambda: NOW)
    worker.deliver(company, settings, Event(), clock=lambda: NOW + 2 * WEEK)
    assert calls == [NOW, NOW + 2 * WEEK]


def test_a_tick_reads_the_policy_as_it_is_then(company: Engine, settings: Settings) -> None:
    assert settings.policy is not None
    right = settings.policy.read_text()
    settings.policy.write_text(right.replace("value < demotion_floor", "valu < demotion_floor"))
    assert tick(company, settings) == ["tick.failed"]
    assert statuses(company) == [("failed", "mistake")]
    settings.policy.write_text(right)
    assert tick(company, settings) == ["run.applied"]


def test_the_scheduler_ticks_on_whatever_a_tick_raises(
    company: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks: list[BaseException | None] = []
    raising = [SystemExit(1), ValueError("a bug"), KeyboardInterrupt(), None]
    stopping = Event()

    def wild(*_: Any, **__: Any) -> None:
        ticks.append(error := raising[len(ticks)])
        if error is None:
            stopping.set()
            return
        raise error

    monkeypatch.setattr(worker, "tick", wild)
    monkeypatch.setattr(worker, "IntervalTrigger", lambda **_: IntervalTrigger(seconds=0.05, timezone=UTC))
    working = Thread(target=partial(worker.work, settings, stopping, clock=partial(datetime.now, UTC)))
    working.start()
    working.join(30)
    assert not working.is_alive()
    assert ticks == raising


# ---- Races -----------------------------------------------------------------------------------------------------------


def test_of_32_processes_that_race_for_a_slot_one_runs_it_and_the_others_leave_at_once(company: Engine) -> None:
    forks = processes.context()
    gate, results = forks.Barrier(RACERS + 1), forks.SimpleQueue()
    nows = [NOW, NOW + WEEK, NOW + 2 * WEEK]
    racers = [forks.Process(target=processes.race, args=(company.url, nows, gate, results)) for _ in range(RACERS)]
    for racer in racers:
        racer.start()
    try:
        # The first slot's winner is held up in the middle of its run, until all others have left.
        with held_up(company):
            gate.wait(60)
            losers = [results.get() for _ in range(RACERS - 1)]
        winner, _ = results.get()
        assert (winner, {ended for ended, _ in losers}) == ("applied", {"busy"})
        assert max(seconds for _, seconds in losers) < 2
        for arr, expected in ((500, "applied"), (500, "nothing")):
            shrink(company, arr)
            gate.wait(60)
            ends = [results.get()[0] for _ in range(RACERS)]
            assert ends.count(expected) == 1
            assert set(ends) <= {expected, "busy", "found it done"}
    finally:
        for racer in racers:
            racer.join(10)
            racer.kill()
    assert statuses(company) == [("applied", None), ("applied", None), ("nothing", None)]
    assert_sound(company)


# ---- kill -9 ---------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_worker_killed_before_any_statement_or_commit_leaves_nothing_half_done(
    company: Engine, statements: Path
) -> None:
    forks = processes.context()
    before = contents(company)
    effects = deaths = 0
    for step in range(1, 200):
        process = forks.Process(target=processes.look, args=(company.url, NOW, step, statements))
        process.start()
        process.join(60)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        deaths += 1
        until(lambda: locks(company) == 0, 2)
        if statuses(company):  # it died after its commit
            assert statuses(company) == [("applied", None)]
            assert where(company)["B1"] == ("tech", None)
            effects += 1
        else:
            assert contents(company) == before, step
    assert deaths > 30
    assert effects > 0
    assert look(company).standing == "done"
    assert statuses(company) == [("applied", None)]
    assert_sound(company)


def test_the_locks_of_a_worker_killed_in_the_middle_of_a_statement_are_gone_in_two_seconds(
    company: Engine, statements: Path
) -> None:
    process = processes.context().Process(target=processes.look, args=(company.url, NOW, 0, statements))
    with held_up(company):
        process.start()
        until(lambda: blocked(company))
        assert locks(company) == 2
        process.kill()
        until(lambda: locks(company) == 0, 2)
        process.join(10)
    assert count(company, ledger) == 1
    assert look(company).standing == "done"
    assert_sound(company)


# ---- A COMMIT whose answer is lost -----------------------------------------------------------------------------------


@pytest.fixture
def proxied(company: Engine) -> Iterator[tuple[Engine, Proxy]]:
    with proxy_to(company.url) as proxy, engine_on(proxy.url) as engine:
        yield engine, proxy


@pytest.mark.parametrize("cut", ["after", "late"])
def test_a_commit_whose_answer_is_lost_is_looked_up_and_not_made_again(
    company: Engine, proxied: tuple[Engine, Proxy], cut: Cut
) -> None:
    engine, proxy = proxied
    proxy.cut = cut

    def let_through() -> None:  # the commit reaches the server when the run is being looked up already
        until(lambda: blocked(company))
        proxy.let_through.set()

    if cut == "late":
        Thread(target=let_through).start()
    outcome = look(engine)
    assert (proxy.cuts, outcome.standing) == (1, "done")
    assert outcome.result is not None
    assert outcome.result.status == "applied"
    assert statuses(company) == [("applied", None)]
    assert where(company)["B1"] == ("tech", None)
    assert look(engine).result is None
    assert_sound(company)


def test_a_commit_that_never_came_is_a_try_that_failed(company: Engine, proxied: tuple[Engine, Proxy]) -> None:
    engine, proxy = proxied
    before = contents(company, *EFFECT)
    proxy.cut = "before"
    with pytest.raises(DBAPIError):
        look(engine)
    assert (proxy.cuts, statuses(company)) == (1, [("failed", "transient")])
    assert contents(company, *EFFECT) == before
    assert look(engine, NOW + timedelta(minutes=15)).standing == "done"
    assert statuses(company) == [("failed", "transient"), ("applied", None)]
    assert_sound(company)


def test_a_failure_that_cannot_be_recorded_costs_no_try(
    company: Engine, proxied: tuple[Engine, Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, proxy = proxied
    real = runs.open_run

    def cut_off(*arguments: Any) -> Any:
        proxy.close()
        return real(*arguments)

    monkeypatch.setattr(runs, "open_run", cut_off)
    with capture_logs() as logs, pytest.raises(DBAPIError):
        look(engine)
    assert [one["event"] for one in logs][:2] == ["run.unrecorded", "run.failed"]
    monkeypatch.undo()
    proxy.open()
    assert statuses(company) == []
    until(lambda: locks(company) == 0)
    assert look(engine).standing == "done"
    assert_sound(company)


def test_a_worker_needs_a_policy_to_go_by(database: Engine, settings: Settings) -> None:
    assert settings.policy is not None
    settings.policy.write_text("name = 1")
    with pytest.raises(Mistake):
        worker.work(settings, Event(), clock=lambda: NOW)
