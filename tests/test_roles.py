"""The database's roles, as the server enforces them: what each is refused, and that each can do all of its work."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import URL, Engine, insert, select, text
from sqlalchemy.exc import DBAPIError

from app import migrate, roles
from app.demo import DEMO_AS_OF, fill
from app.doctor import examine
from app.errors import Mistake
from app.explain import explain
from app.load.run import load
from app.pins import Wish, pin, unpin
from app.pipeline import rebalance, recompute
from app.policy.read import default_policy
from app.roles.grants import FACTS, GRANTS, OURS, ROLES
from app.runs import new_run_id
from app.tables import account_signals, coverage, csms, metadata, runs
from tests.company import company_template, settled_template
from tests.conftest import create_database, database_on, drop_database, engine_on

__all__ = ["company_template", "settled_template"]

PASSWORD = "of-a-test"  # noqa: S105 - it is thrown away
QUERIES = Path(__file__).parent.parent / "docs" / "queries.md"
LATER = timedelta(hours=1)
"""No run may be made ahead of the clock."""


@dataclass(frozen=True)
class Guarded:
    """A database whose roles may log in."""

    url: URL
    prefix: str

    def url_of(self, role: str) -> URL:
        return self.url.set(username=f"{self.prefix}_{role}", password=PASSWORD)

    @contextmanager
    def engine(self, role: str) -> Iterator[Engine]:
        with engine_on(self.url_of(role)) as engine:
            yield engine


@pytest.fixture(scope="module")
def prefix(server_url: URL) -> Iterator[str]:
    """What the names of this module's roles begin with. They belong to the server, so they go at the end."""
    name = f"t{uuid4().hex[:12]}"
    yield name
    run_all(server_url, *(f"DROP ROLE IF EXISTS {name}_{role}" for role in (*ROLES, "admin", "person")))


def run_all(url: URL, *statements: str) -> None:
    with engine_on(url) as engine, engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        for statement in statements:
            connection.execute(text(statement))


def let_in(url: URL, prefix: str) -> Guarded:
    """The roles are made, by the server's own user, and may log in."""
    with engine_on(url) as engine, engine.begin() as connection:
        assert roles.apply(connection, prefix) == ()
    run_all(url, *(f"ALTER ROLE {prefix}_{role} LOGIN PASSWORD '{PASSWORD}'" for role in ROLES))
    return Guarded(url, prefix)


@pytest.fixture
def guarded(server_url: URL, company_template: str, prefix: str) -> Iterator[Guarded]:
    """The sample company before its first run, in a database of the test's own."""
    with database_on(server_url, company_template) as url:
        yield let_in(url, prefix)


@pytest.fixture(scope="module")
def settled(server_url: URL, settled_template: str, prefix: str) -> Iterator[Guarded]:
    """The sample company after its first run, for all tests that change nothing."""
    with database_on(server_url, settled_template) as url:
        guarded = let_in(url, prefix)
        run_all(
            url, "CREATE TABLE theirs (id int)", "CREATE SCHEMA elsewhere", "CREATE TABLE elsewhere.theirs (id int)"
        )
        yield guarded


HISTORIES = ("band_history", "owner_history")
FORBIDDEN: Mapping[str, tuple[str, ...]] = {
    "app": (
        # History is written once.
        *(f"UPDATE {table} SET reason = 'another'" for table in HISTORIES),
        *(f"UPDATE {table} SET changed_at = now()" for table in HISTORIES),
        *(f"DELETE FROM {table}" for table in HISTORIES),
        *(f"TRUNCATE {table}" for table in HISTORIES),
        "INSERT INTO band_history SELECT * FROM band_history ON CONFLICT (account_id, run_id) DO UPDATE SET rule = 'x'",
        (
            "MERGE INTO owner_history AS old USING coverage AS c ON c.account_id = old.account_id"
            " WHEN MATCHED THEN UPDATE SET why = 'x'"
        ),
        "MERGE INTO owner_history AS old USING coverage AS c ON c.account_id = old.account_id WHEN MATCHED THEN DELETE",
        "SELECT * FROM band_history FOR UPDATE",
        # Nor are the ledger, the policies, and the plans that were put before people.
        "DELETE FROM runs",
        "TRUNCATE runs CASCADE",
        *(
            f"UPDATE runs SET {change}"
            for change in (
                "status = 'applied'",
                "slot = NULL",
                "as_of = now()",
                "plan_sha = 'x'",
                "policy_sha = NULL",
                "counts = '{}'",
                "guards = '[]'",
                "kind = 'manual'",
                "started_at = now()",
                "error = NULL",
                "approves = NULL",
                "lapses_at = now()",
                "failure = NULL",
            )
        ),
        "UPDATE policies SET body = ''",
        "DELETE FROM policies",
        "UPDATE kept_moves SET to_band = 'strategic'",
        "DELETE FROM kept_moves",
        "UPDATE pins SET band = 'strategic'",
        "UPDATE pins SET expires_at = now()",
        "DELETE FROM pins",
        "UPDATE outbox SET payload = '{}'",
        "DELETE FROM outbox",
        "UPDATE deliveries SET channel = 'x'",
        "DELETE FROM deliveries",
        "TRUNCATE coverage",
        "UPDATE coverage_current SET band = 'tech'",
        # Facts are others'.
        *(f"DELETE FROM {table}" for table in FACTS),
        "INSERT INTO accounts (account_id) VALUES ('x')",
        "UPDATE accounts SET arr = 0",
        "INSERT INTO account_signals (account_id, signal_id, kind, occurred_at) VALUES ('x', 'x', 'x', now())",
        "UPDATE csms SET max_accounts = 0",
        "SELECT reason FROM csm_absences",
        "COPY accounts (account_id) FROM STDIN",
        # The schema, other tables, the server.
        "ALTER TABLE band_history ADD COLUMN colour text",
        "ALTER TABLE band_history DISABLE TRIGGER ALL",
        "DROP TABLE coverage",
        "DROP VIEW band_periods",
        "CREATE INDEX ON coverage (band)",
        "CREATE TABLE mine (id int)",
        "CREATE VIEW mine AS SELECT 1",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        (
            "CREATE TRIGGER mine BEFORE INSERT ON band_history FOR EACH ROW"
            " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
        ),
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "UPDATE bandshift_version SET version_num = 'x'",
        "SELECT * FROM theirs",
        "SELECT * FROM elsewhere.theirs",
        "ALTER TABLE band_history OWNER TO CURRENT_USER",
        "SET ROLE {prefix}_owner",
        "SET session_replication_role = 'replica'",
        "ALTER SYSTEM SET fsync = 'off'",
        "SELECT pg_read_file('postgresql.conf')",
        "COPY band_history TO PROGRAM 'cat'",
        "SELECT rolpassword FROM pg_authid",
    ),
    "loader": (
        *(f"SELECT * FROM {table}" for table in (*HISTORIES, "coverage", "runs", "pins", "outbox", "policies")),
        *(f"TRUNCATE {table}" for table in FACTS),
        "INSERT INTO coverage (account_id, band, band_since, band_rule) VALUES ('x', 'tech', now(), 'x')",
        "DELETE FROM band_history",
        (
            "INSERT INTO pins (account_id, pinned_at, band, reason, pinned_by, expires_at)"
            " VALUES ('x', now(), 'tech', 'x', 'x', now())"
        ),
        "ALTER TABLE accounts ADD COLUMN colour text",
        "DROP TABLE accounts",
        "CREATE TABLE mine (id int)",
        "SELECT * FROM elsewhere.theirs",
        "SET ROLE {prefix}_app",
    ),
    "reader": (
        *(f"SELECT * FROM {table}" for table in ("outbox", "deliveries", "kept_moves", "csm_absences", "theirs")),
        *(f"DELETE FROM {table}" for table in (*HISTORIES, *FACTS, "coverage", "runs", "policies", "pins")),
        "UPDATE coverage SET band = 'strategic'",
        "UPDATE coverage_current SET band = 'strategic'",
        (
            "INSERT INTO pins (account_id, pinned_at, band, reason, pinned_by, expires_at)"
            " VALUES ('x', now(), 'tech', 'x', 'x', now())"
        ),
        "UPDATE runs SET answer = 'approved'",
        "TRUNCATE band_history",
        "CREATE TABLE mine (id int)",
        "SET ROLE {prefix}_app",
    ),
    "owner": (
        "SELECT * FROM theirs",
        "SELECT * FROM elsewhere.theirs",
        "CREATE TABLE elsewhere.mine (id int)",
        "CREATE ROLE mine",
        "SELECT rolpassword FROM pg_authid",
    ),
}


@pytest.mark.parametrize(
    ("role", "statement"), [(role, statement) for role, listed in FORBIDDEN.items() for statement in listed]
)
def test_a_role_is_refused_what_is_not_its_work(settled: Guarded, role: str, statement: str) -> None:
    url = settled.url_of(role).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:  # some may not even be tried in a transaction
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
            connection.execute(statement.format(prefix=settled.prefix) if "{prefix}" in statement else statement)
        assert refused.value.sqlstate == "42501"


def test_the_app_cannot_hand_on_what_it_may_do_itself(settled: Guarded) -> None:
    before = rights(settled.url)
    with settled.engine("app") as engine, engine.begin() as connection:
        connection.execute(text("GRANT ALL ON band_history TO PUBLIC"))  # the server warns, and does nothing
    assert rights(settled.url) == before


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


def test_roles_made_first_the_owner_migrates_and_the_others_can_work(blank_url: URL, prefix: str) -> None:
    guarded = let_in(blank_url, prefix)
    with guarded.engine("owner") as engine:
        assert migrate.upgrade(engine) == migrate.revisions()
    assert set(owners(blank_url).values()) == {f"{prefix}_owner"}
    with engine_on(blank_url) as engine, engine.begin() as connection:
        fill(connection, accounts=300, seed=1, as_of=DEMO_AS_OF)
    with guarded.engine("app") as engine:
        assert recompute(engine, default_policy(), DEMO_AS_OF, dry_run=False).status == "applied"
    with guarded.engine("reader") as engine, engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM coverage_current")) > 200


def owners(url: URL) -> dict[str, str]:
    """Whose each table and view of the database is."""
    with engine_on(url) as engine, engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT relname, pg_get_userbyid(relowner) FROM pg_class"
                " WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v')"
            )
        )
        return {name: owner for name, owner in rows}  # noqa: C416 - rows are no pairs to mypy


def test_every_table_and_view_of_the_migrations_has_its_place(database_url: URL) -> None:
    assert set(owners(database_url)) == {*FACTS, *OURS}
    assert {table.name for table in metadata.sorted_tables} < {*FACTS, *OURS}
    assert set(GRANTS["app"]) == {*FACTS, *OURS}


def test_a_member_of_the_owner_migrates_for_the_owner(
    server_url: URL, template: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database_on(server_url, template) as url:
        guarded = let_in(url, prefix)
        run_all(
            url,
            f"CREATE ROLE {prefix}_person LOGIN PASSWORD '{PASSWORD}'",
            f"GRANT {prefix}_owner TO {prefix}_person",
        )
        with engine_on(url) as engine:
            step_back(engine)
        with guarded.engine("person") as engine:
            assert len(migrate.upgrade(engine)) == 1
            with engine.connect() as connection:  # the role was of the migration's connection only
                assert connection.scalar(text("SELECT current_user")) == f"{prefix}_person"
        assert set(owners(url).values()) == {f"{prefix}_owner"}
        with guarded.engine("app") as engine, engine.connect() as connection:
            assert connection.execute(text("SELECT * FROM deliveries")).all() == []


def step_back(engine: Engine) -> None:
    """The last migration is undone."""
    from alembic import command  # noqa: PLC0415 - only here

    with engine.connect() as connection:
        command.downgrade(migrate.config(connection), "-1")


def test_it_works_in_a_schema_of_its_own(blank_url: URL, prefix: str) -> None:
    run_all(blank_url, "CREATE TABLE coverage (theirs int)")
    with engine_on(blank_url) as engine, engine.begin() as connection:
        roles.apply(connection, prefix, "book")
    run_all(blank_url, *(f"ALTER ROLE {prefix}_{role} LOGIN PASSWORD '{PASSWORD}'" for role in ROLES))
    guarded = Guarded(blank_url.update_query_dict({"options": "-csearch_path=book"}), prefix)
    with guarded.engine("owner") as engine:
        migrate.upgrade(engine)
        with engine.begin() as connection:
            fill(connection, accounts=300, seed=1, as_of=DEMO_AS_OF)
    with guarded.engine("app") as engine:
        assert recompute(engine, default_policy(), DEMO_AS_OF, dry_run=False).status == "applied"
        with engine.connect() as connection, pytest.raises(DBAPIError, match="permission denied"):
            connection.execute(text("SELECT * FROM public.coverage"))
    with engine_on(blank_url) as engine, engine.connect() as connection:
        assert connection.scalar(text("SELECT relowner::regrole::text FROM pg_class WHERE oid = 'coverage'::regclass"))\
            != f"{prefix}_owner"  # fmt: skip


def test_to_run_it_again_changes_nothing_and_takes_back_what_was_granted_by_hand(guarded: Guarded) -> None:
    before = rights(guarded.url)
    run_all(
        guarded.url,
        f"GRANT UPDATE ON band_history TO {guarded.prefix}_app",
        f"GRANT UPDATE (reason) ON owner_history TO {guarded.prefix}_app",
        f"GRANT CREATE ON SCHEMA public TO {guarded.prefix}_reader",
        "GRANT SELECT ON outbox TO PUBLIC",
    )
    assert rights(guarded.url) != before
    for _ in range(2):
        let_in(guarded.url, guarded.prefix)
        assert rights(guarded.url) == before


def rights(url: URL) -> list[tuple[object, ...]]:
    """Every right to a table, a column or a schema that was granted to anybody."""
    statement = text("""
        SELECT 'table', relname::text, acl.grantee::regrole::text, acl.privilege_type
        FROM pg_class, aclexplode(relacl) AS acl WHERE relnamespace = current_schema()::regnamespace
        UNION ALL
        SELECT 'column', attrelid::regclass || '.' || attname, acl.grantee::regrole::text, acl.privilege_type
        FROM pg_attribute, aclexplode(attacl) AS acl WHERE attrelid::regclass::text !~ '^pg_'
        UNION ALL
        SELECT 'schema', nspname::text, acl.grantee::regrole::text, acl.privilege_type
        FROM pg_namespace, aclexplode(nspacl) AS acl WHERE nspname = current_schema()
        ORDER BY 1, 2, 3, 4
    """)
    with engine_on(url) as engine, engine.connect() as connection:
        return [tuple(row) for row in connection.execute(statement)]


def test_whoever_owns_the_database_and_may_create_roles_needs_to_be_no_superuser(server_url: URL, prefix: str) -> None:
    admin, name = f"{prefix}_admin", f"bandshift_test_{uuid4().hex}"
    own = f"{prefix}x"  # roles that nobody has made yet
    run_all(server_url, f"CREATE ROLE {admin} LOGIN CREATEROLE CREATEDB PASSWORD '{PASSWORD}'")
    as_admin = server_url.set(username=admin, password=PASSWORD)
    create_database(as_admin.set(database=server_url.database), name)
    url = as_admin.set(database=name)
    try:
        with engine_on(url) as engine:
            migrate.upgrade(engine)
            for _ in range(2):
                with engine.begin() as connection:
                    assert roles.apply(connection, own) == ()
            with engine.connect() as connection, pytest.raises(DBAPIError, match="permission denied"):
                connection.execute(text(f"SET ROLE {own}_owner"))  # what was lent was given back
        assert set(owners(server_url.set(database=name)).values()) == {f"{own}_owner"}
    finally:
        drop_database(server_url, name)
        run_all(server_url, *(f"DROP ROLE IF EXISTS {own}_{role}" for role in ROLES))


def test_whoever_may_not_make_roles_is_told_what_it_takes(settled: Guarded) -> None:
    told = pytest.raises(Mistake, match="it takes a superuser")
    with settled.engine("owner") as engine, told, engine.begin() as connection:
        roles.apply(connection, f"{settled.prefix}y")


def test_a_role_that_no_grant_holds_back_is_refused(guarded: Guarded) -> None:
    app = f"{guarded.prefix}_app"
    for give, take in (
        (f"ALTER ROLE {app} SUPERUSER", f"ALTER ROLE {app} NOSUPERUSER"),
        (f"GRANT {guarded.prefix}_owner TO {app}", f"REVOKE {guarded.prefix}_owner FROM {app}"),
    ):
        run_all(guarded.url, give)
        try:
            refused = pytest.raises(Mistake, match="no grant would hold it back")
            with engine_on(guarded.url) as engine, refused, engine.begin() as connection:
                roles.apply(connection, guarded.prefix)
        finally:
            run_all(guarded.url, take)


def test_facts_that_are_views_stay_whose_they_are_and_can_be_read(guarded: Guarded) -> None:
    run_all(
        guarded.url,
        "ALTER TABLE accounts RENAME TO crm_accounts",
        "CREATE VIEW accounts AS SELECT * FROM crm_accounts",
    )
    let_in(guarded.url, guarded.prefix)
    assert owners(guarded.url)["accounts"] == guarded.url.username or guarded.url.username is None
    run_all(guarded.url, f"GRANT SELECT ON crm_accounts TO {guarded.prefix}_owner")
    with guarded.engine("app") as engine:
        assert recompute(engine, default_policy(), DEMO_AS_OF, dry_run=False).status == "applied"


def test_what_the_printed_script_does_is_what_is_applied(server_url: URL, template: str, prefix: str) -> None:
    with database_on(server_url, template) as one, database_on(server_url, template) as other:
        let_in(one, prefix)
        dsn = other.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(roles.script(prefix).encode())
        assert rights(one) == rights(other)


@pytest.mark.parametrize("name", ["", "Band", "a b", 'x"; DROP TABLE runs; --', "pg_mine", "x" * 60, "1st"])
def test_a_prefix_that_is_no_plain_name_is_a_mistake(name: str) -> None:
    with pytest.raises(Mistake, match="no name for roles"):
        roles.script(name)
