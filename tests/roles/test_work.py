"""That each role can do all of its work."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.exc import DBAPIError

from app import migrate
from app.demo import DEMO_AS_OF
from app.doctor import examine
from app.errors import Mistake
from app.explain import explain
from app.load.run import load
from app.pins import Wish, pin, unpin
from app.pipeline import rebalance, recompute
from app.policy.read import default_policy
from app.runs import new_run_id
from app.tables import account_signals, coverage, csms, runs
from tests.roles.guarded import Guarded

QUERIES = Path(__file__).parent.parent.parent / "docs" / "queries.md"
LATER = timedelta(hours=1)
"""No run may be made ahead of the clock."""


def test_the_app_does_the_whole_job(guarded: Guarded) -> None:
    policy = default_policy()
    with guarded.engine("app") as engine:
        with engine.connect() as connection:
            migrate.require_current(connection)
        first = recompute(engine, policy, DEMO_AS_OF, dry_run=False, kind="scheduled", slot=DEMO_AS_OF.date())
        assert first.status == "applied"
        with engine.begin() as connection:
            (account,) = connection.execute(select(coverage.c.account_id).where(coverage.c.band == "tech").limit(1))
            wish = Wish(account.account_id, "strategic", None, DEMO_AS_OF + timedelta(weeks=4), "a test", "somebody")
            assert pin(connection, policy, wish, DEMO_AS_OF) is None
        with guarded.engine("owner") as owner, owner.begin() as connection:
            connection.execute(
                text("DELETE FROM accounts WHERE account_id IN (SELECT account_id FROM coverage LIMIT 1)")
            )
        second = recompute(engine, policy, DEMO_AS_OF + LATER, dry_run=False)
        assert second.status == "applied"
        moves = {decision.move for decision in second.plan.of("move")}
        assert {"pin", "leave"} <= moves
        with engine.begin() as connection:
            unpin(connection, policy, account.account_id, "somebody", DEMO_AS_OF + LATER)
        assert rebalance(engine, policy, DEMO_AS_OF + LATER, max_moves=3, dry_run=False).status in (
            "applied",
            "nothing",
        )
        with engine.connect() as connection:
            assert all(finding.holds for finding in examine(connection))


def test_the_app_records_what_a_guard_stopped_and_what_failed(guarded: Guarded) -> None:
    policy = default_policy()
    with guarded.engine("app") as engine:
        assert recompute(engine, policy, DEMO_AS_OF, dry_run=False).status == "applied"
        with guarded.engine("owner") as owner, owner.begin() as connection:
            connection.execute(text("DELETE FROM accounts WHERE left(md5(account_id), 1) < 'c'"))
        assert recompute(engine, policy, DEMO_AS_OF + LATER, dry_run=False).status == "blocked"
        with guarded.engine("owner") as owner, owner.begin() as connection:
            connection.execute(text("ALTER TABLE accounts DROP COLUMN arr CASCADE"))
        with pytest.raises((Mistake, DBAPIError)):
            recompute(engine, policy, DEMO_AS_OF + 2 * LATER, dry_run=False)
        with engine.connect() as connection:
            ended = connection.execute(select(runs.c.status).where(runs.c.kind == "manual").order_by(runs.c.run_id))
            assert ended.scalars().all() == ["applied", "blocked", "failed"]


def test_the_reader_runs_the_six_queries_and_a_dry_run_and_explains(settled: Guarded) -> None:
    queries = re.findall(r"^```sql\n(.*?)^```$", QUERIES.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(queries) == 6
    with settled.engine("reader") as engine:
        with engine.connect() as connection:
            migrate.require_current(connection)
            found = [len(connection.execute(text(query)).all()) for query in queries]
            assert min(found[:5]) > 0
            account_id = connection.execute(select(coverage.c.account_id).limit(1)).scalar_one()
        assert recompute(engine, default_policy(), DEMO_AS_OF + LATER, dry_run=True).plan.census.accounts > 200
        with engine.connect() as connection:
            assert (
                explain(connection, default_policy(), account_id, DEMO_AS_OF + LATER).standing.account_id == account_id
            )


def test_the_loader_loads_facts(guarded: Guarded, tmp_path: Path) -> None:
    accounts, signals, people = (tmp_path / f"{name}.csv" for name in ("accounts", "signals", "csms"))
    accounts.write_text("account_id,name,arr,currency\nnew-1,New,100,USD\nnew-2,Newer,200,USD\n", encoding="utf-8")
    signals.write_text("account_id,signal_id,kind,occurred_at\nnew-1,s1,champion_left,2026-11-01\n", encoding="utf-8")
    people.write_text("csm_id,name,bands\ncsm-new,Somebody,low\n", encoding="utf-8")
    with guarded.engine("loader") as engine:
        for _ in range(2):  # the second time it updates
            load(
                engine,
                {"accounts": accounts, "signals": signals, "csms": people},
                instant=DEMO_AS_OF,
                run_id=new_run_id(DEMO_AS_OF),
            )
            accounts.write_text(accounts.read_text(encoding="utf-8").replace("200", "300"), encoding="utf-8")
        with engine.begin() as connection:
            assert connection.scalar(text("SELECT arr FROM accounts WHERE account_id = 'new-2'")) == 300
            connection.execute(account_signals.delete().where(account_signals.c.account_id == "new-1"))
            connection.execute(insert(csms).values(csm_id="x", name="X", bands=["low"]))


def test_coverage_is_imported_by_the_owner_and_not_by_the_loader(guarded: Guarded, tmp_path: Path) -> None:
    with guarded.engine("owner") as engine, engine.begin() as connection:
        connection.execute(text("INSERT INTO accounts (account_id, name) VALUES ('new-1', 'New')"))
    file = tmp_path / "coverage.csv"
    file.write_text("account_id,band\nnew-1,tech\n", encoding="utf-8")

    def bring(engine: Engine) -> None:
        load(engine, {"coverage": file}, instant=DEMO_AS_OF, run_id=new_run_id(DEMO_AS_OF), policy=default_policy())

    with guarded.engine("loader") as engine, pytest.raises(DBAPIError, match="permission denied"):
        bring(engine)
    with guarded.engine("owner") as engine:
        bring(engine)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT band FROM coverage WHERE account_id = 'new-1'")) == "tech"
