"""How the roles are made: by whom, on what, again and again, and that migrations keep to them."""

from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import URL, Engine, text
from sqlalchemy.exc import DBAPIError

from app import migrate, roles
from app.demo import DEMO_AS_OF, fill
from app.errors import Mistake
from app.pipeline import recompute
from app.policy.read import default_policy
from app.roles.grants import FACTS, GRANTS, OURS, ROLES
from app.tables import metadata
from tests.conftest import create_database, database_on, drop_database, engine_on
from tests.roles.guarded import PASSWORD, Guarded, let_in, owners, rights, run_all


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
            f"DROP ROLE IF EXISTS {prefix}_person",
            f"CREATE ROLE {prefix}_person LOGIN PASSWORD '{PASSWORD}' IN ROLE {prefix}_owner",
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


def test_a_member_makes_the_first_migration_as_the_owner_if_its_url_says_so(blank_url: URL, prefix: str) -> None:
    guarded = let_in(blank_url, prefix)
    run_all(
        blank_url,
        f"DROP ROLE IF EXISTS {prefix}_person",
        f"CREATE ROLE {prefix}_person LOGIN PASSWORD '{PASSWORD}' IN ROLE {prefix}_owner",
    )
    with engine_on(guarded.url_of("person").update_query_dict({"options": f"-crole={prefix}_owner"})) as engine:
        migrate.upgrade(engine)
    assert set(owners(blank_url).values()) == {f"{prefix}_owner"}
    with guarded.engine("app") as engine, engine.connect() as connection:
        migrate.require_current(connection)


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
