"""The small company on a Monday on which a guard stops its run: four accounts would move, and one in ten may.

B1 goes down to the pool, A1 comes up to low and to bob, B4 goes up to high and stays with bob, C1 has left. It is all
to be approved on the Tuesday.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import URL, Engine, func, select, update

from app.approvals import ApprovalResult, approve
from app.pipeline import recompute
from app.policy.model import Policy
from app.tables import accounts, band_history, coverage, csms, kept_moves, outbox, owner_history, runs
from tests.conftest import database_on, engine_on, made_once, shared_folder
from tests.small_company import AS_OF, RESTLESS, WEEK, add_account, add_csm, contents, policy

MONDAY = AS_OF + WEEK
TUESDAY = MONDAY + timedelta(days=1)
SLOT = date(2026, 3, 9)
STRICT = RESTLESS.replace("moved_accounts = false", "moved_accounts = { share = 0.1 }")
MOVES = (coverage, band_history, owner_history)
"""The tables that no run changes but one that takes effect."""


def strict(guards: str = STRICT) -> Policy:
    """The company's policy with a guard that stops more than one move in ten accounts."""
    return policy(guards)


def found(engine: Engine) -> None:
    """Ten accounts have entered: ann and bob serve low, bob and cat high, and all of them have room for more."""
    with engine.begin() as connection:
        add_csm(connection, "ann", "low", max_accounts=4)
        add_csm(connection, "bob", "low", "high", max_accounts=5)
        add_csm(connection, "cat", "high", max_accounts=2)
        for account_id, arr in (
            ("A1", 10), ("A2", 20), ("A3", 30), ("B1", 500), ("B2", 400), ("B3", 300), ("B4", 200), ("C1", 5000),
            ("C2", 4000), ("C3", 3000),
        ):  # fmt: skip
            add_account(connection, account_id, arr)
    assert recompute(engine, strict(), AS_OF, dry_run=False).status == "applied"


@pytest.fixture(scope="session")
def stopped_template(server_url: URL, template: str, request: pytest.FixtureRequest) -> str:
    """The name of a database with the company after its first run, to clone."""
    return made_once(server_url, template, "stopped", found, shared_folder(request.config))


@pytest.fixture
def company(server_url: URL, stopped_template: str) -> Iterator[Engine]:
    """The company after its first run, in a database of the test's own."""
    with database_on(server_url, stopped_template) as url, engine_on(url) as engine:
        yield engine


@pytest.fixture
def stopped(company: Engine) -> UUID:
    """Monday's run, which a guard has stopped."""
    set_account(company, "B1", arr=50)
    set_account(company, "A1", arr=150)
    set_account(company, "B4", arr=2000)
    set_account(company, "C1", status="churned")
    return stop(company)


def stop(engine: Engine, judged: Policy | None = None, **options: Any) -> UUID:
    """A run on Monday is stopped by a guard; its id."""
    asked: dict[str, Any] = {"kind": "scheduled", "slot": SLOT, **options}
    result = recompute(engine, judged or strict(), MONDAY, dry_run=False, **asked)
    assert result.status == "blocked"
    assert result.run_id is not None
    return result.run_id


def say_yes(engine: Engine, run_id: UUID, judged: Policy | None = None, **options: Any) -> ApprovalResult:
    """The run is approved on Tuesday, by lee."""
    asked: dict[str, Any] = {"by": "lee", "now": TUESDAY, **options}
    return approve(engine, judged or strict(), run_id, **asked)


def set_account(engine: Engine, account_id: str, **fields: Any) -> None:
    with engine.begin() as connection:
        connection.execute(update(accounts).where(accounts.c.account_id == account_id).values(**fields))


def set_csm(engine: Engine, csm_id: str, **fields: Any) -> None:
    with engine.begin() as connection:
        connection.execute(update(csms).where(csms.c.csm_id == csm_id).values(**fields))


def set_coverage(engine: Engine, account_id: str, **fields: Any) -> None:
    """Something else than a run has changed where the account stands, so that its history no longer fits."""
    with engine.begin() as connection:
        connection.execute(update(coverage).where(coverage.c.account_id == account_id).values(**fields))


def ledger(engine: Engine, run_id: UUID | None) -> Any:
    """The run's row."""
    with engine.connect() as connection:
        return connection.execute(select(runs).where(runs.c.run_id == run_id)).one()


def answer_of(engine: Engine, run_id: UUID) -> tuple[str | None, str | None]:
    """The run's answer, and who gave it."""
    row = ledger(engine, run_id)
    return row.answer, row.answered_by


def left(result: ApprovalResult) -> dict[str, str]:
    """What is left of the approved, and why."""
    return {one.kept.account_id: one.changed for one in result.left}


def made_by(engine: Engine, run_id: UUID | None) -> dict[str, tuple[str | None, str | None]]:
    """The bands that the run moved accounts between."""
    columns = band_history.c.account_id, band_history.c.from_band, band_history.c.to_band
    with engine.connect() as connection:
        rows = connection.execute(select(*columns).where(band_history.c.run_id == run_id).order_by(columns[0]))
        return {row[0]: (row[1], row[2]) for row in rows}


def handed_by(engine: Engine, run_id: UUID | None) -> dict[str, tuple[str | None, str | None, str]]:
    """The owners that the run moved accounts between, and why."""
    columns = [owner_history.c[name] for name in ("account_id", "from_owner_id", "to_owner_id", "why")]
    with engine.connect() as connection:
        rows = connection.execute(select(*columns).where(owner_history.c.run_id == run_id).order_by(columns[0]))
        return {row[0]: (row[1], row[2], row[3]) for row in rows}


def told(engine: Engine, run_id: UUID | None) -> list[tuple[str, str | None]]:
    """Topic and recipient of the messages of a run."""
    columns = outbox.c.topic, outbox.c.recipient
    with engine.connect() as connection:
        rows = connection.execute(select(*columns).where(outbox.c.run_id == run_id).order_by(*columns))
        return [(row[0], row[1]) for row in rows]


def kept(engine: Engine, run_id: UUID) -> int:
    """How many accounts' changes were kept of a run."""
    with engine.connect() as connection:
        return connection.execute(select(func.count()).where(kept_moves.c.run_id == run_id)).scalar_one()


@contextmanager
def nothing_changes(engine: Engine, *tables: Any) -> Iterator[None]:
    """These tables, by default those of effect, are after it what they were before it."""

    before = contents(engine, *(tables or MOVES))
    yield
    assert contents(engine, *(tables or MOVES)) == before
