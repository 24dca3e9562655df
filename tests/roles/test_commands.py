"""Every command of the job, run by the role whose it is; and what it is told by one whose it is not."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import URL, func, select, text

from app import worker
from app.demo import fill
from app.settings.model import Settings, Worker
from app.tables import deliveries, runs
from tests.cli.conftest import Run, dsn, run
from tests.conftest import database_on, engine_on
from tests.notify.endpoints import answer, serve
from tests.notify.told import webhook
from tests.roles.guarded import Guarded, let_in

__all__ = ["run"]


@pytest.fixture
def company(server_url: URL, template: str, prefix: str) -> Iterator[Guarded]:
    """A company as of now, which no run has been made for yet."""
    with database_on(server_url, template) as url:
        with engine_on(url) as engine, engine.begin() as connection:
            fill(connection, accounts=300, seed=1, as_of=datetime.now(UTC))
        yield let_in(url, prefix)


@pytest.fixture
def as_role(company: Guarded, run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Run]:
    """Runs commands as a role, on the company."""

    def become(role: str) -> Run:
        monkeypatch.setenv("DATABASE_URL", dsn(company.url_of(role)))
        return run

    return become


def facts(company: Guarded, statement: str) -> None:
    """Somebody else changes the facts."""
    with company.engine("loader") as engine, engine.begin() as connection:
        connection.execute(text(statement))


@pytest.mark.long
def test_the_app_runs_every_command_of_the_job(
    company: Guarded, as_role: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    app = as_role("app")
    monkeypatch.setenv("BANDSHIFT_WORKER__FIRST_SLOT", "latest")
    monkeypatch.setenv("BANDSHIFT_WORKER__MAX_LATENESS_HOURS", "8760")
    first = app("recompute", "--slot", "latest")
    assert (first.code, first.err.count("permission denied")) == (0, 0)
    with company.engine("reader") as engine, engine.connect() as connection:
        account_id: str = connection.scalar(text("SELECT min(account_id) FROM coverage WHERE band = 'tech'"))
        assert connection.scalar(select(runs.c.status).where(runs.c.kind == "scheduled")) == "applied"
    until = f"{datetime.now(UTC).year + 1}-01-01"
    for command in (
        ("pin", account_id, "--band", "high", "--until", until, "--reason", "a test", "--by", "me"),
        ("pins",),
        ("recompute",),
        ("unpin", account_id, "--by", "me"),
        ("rebalance", "--max-moves", "2"),
        ("explain", account_id),
        ("history", account_id),
        ("runs",),
        ("status",),
        ("metrics",),
        ("doctor",),
        ("policy", "check", "app/policy/default.toml"),
        ("db", "status"),
        ("outbox", "list", "--all"),
        ("outbox", "retry", "--all"),
    ):
        ended = app(*command)
        assert ended.code == 0, (command, ended.err)
    assert "bandshift_ledger_readable 1.0" in app("metrics").out


@pytest.mark.parametrize("reply", ["approve", "reject"])
def test_the_app_puts_a_run_before_people_and_carries_out_their_answer(
    company: Guarded, as_role: Callable[[str], Run], reply: str
) -> None:
    app = as_role("app")
    assert app("recompute").code == 0
    facts(company, "DELETE FROM accounts WHERE left(md5(account_id), 1) < 'a'")
    assert app("recompute").code == 3
    why = ("--reason", "the feed is broken") if reply == "reject" else ()
    ended = app(reply, "latest", "--by", "me", *why)
    assert ended.code == 0, ended.err
    with company.engine("app") as engine, engine.connect() as connection:
        answered = connection.execute(select(runs).where(runs.c.status == "blocked")).one()
        assert (answered.answer, answered.answered_by) == ({"approve": "approved", "reject": "rejected"}[reply], "me")
        made = connection.scalar(select(func.count()).where(runs.c.approves == answered.run_id))
    assert made == (reply == "approve")


def test_the_worker_as_the_app_runs_the_slot_and_delivers_what_is_to_be_told(company: Guarded) -> None:
    with serve(answer(500), answer(200)) as endpoint, company.engine("app") as engine:
        settings = Settings(
            worker=Worker(first_slot="latest", max_lateness_hours=8760), channels={"ops": webhook(endpoint.url)}
        )
        looked: list[datetime] = []

        def clock() -> datetime:
            return datetime.now(UTC)

        worker.tick(engine, settings, Event(), clock=clock, looked=looked.append)
        assert len(looked) == 1
        with engine.connect() as connection:
            assert connection.scalar(select(runs.c.status).where(runs.c.kind == "scheduled")) == "applied"
            by_status = select(deliveries.c.status, func.count()).group_by(deliveries.c.status)
            stand = {status: count for status, count in connection.execute(by_status)}  # noqa: C416
        assert stand["waiting"] == 1  # the one that was answered 500
        assert stand["delivered"] == len(endpoint.requests) - 1 > 1


def test_the_reader_asks_and_previews_and_can_do_nothing(as_role: Callable[[str], Run]) -> None:
    assert as_role("app")("recompute").code == 0
    reader = as_role("reader")
    for command in (("recompute", "--dry-run"), ("runs",), ("pins",), ("history", "--limit", "3")):
        ended = reader(*command)
        assert ended.code == 0, (command, ended.err)
    refused = reader("recompute")
    assert refused.code != 0
    assert "permission denied" in refused.err
    assert "Traceback" not in refused.err


def test_who_may_not_make_roles_is_told_so_in_a_line(as_role: Callable[[str], Run]) -> None:
    ended = as_role("owner")("db", "roles", "--apply", "--prefix", "nobody")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    assert "it takes a superuser" in ended.err


def test_the_command_makes_the_roles_and_prints_what_it_would_run(
    company: Guarded, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    printed = run("db", "roles", "--prefix", company.prefix)  # needs no database
    assert printed.code == 0
    assert printed.out.startswith("-- bandshift's roles")
    assert f"'{company.prefix}_app'" in printed.out
    monkeypatch.setenv("DATABASE_URL", dsn(company.url))
    made = run("db", "roles", "--apply", "--prefix", company.prefix)
    assert made.out.splitlines() == [
        f"granted {company.prefix}_{role}" for role in ("owner", "app", "loader", "reader")
    ]
