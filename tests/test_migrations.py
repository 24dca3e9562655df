"""The schema: how it comes about, that it is the one in app/tables.py, and what its views say."""

import io
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, insert, text

from app import migrate
from app.errors import Busy, Mistake
from app.tables import accounts, band_history, coverage, metadata, runs
from tests.conftest import engine_on

FILE_NAME = re.compile(r"(20\d\d_[01]\d_[0-3]\d_[0-2]\d[0-5]\d)_[a-z]+(_[a-z]+)*\.py")
T0 = datetime(2026, 3, 2, 6, tzinfo=UTC)


def test_there_is_one_head_and_it_is_read_off_the_file_names() -> None:
    assert ScriptDirectory.from_config(migrate.config()).get_heads() == [migrate.head()]


def test_each_file_is_named_by_its_revision_and_follows_the_one_before() -> None:
    script = ScriptDirectory.from_config(migrate.config())
    chain = [script.get_revision(revision) for revision in migrate.revisions()]
    assert [revision.down_revision for revision in chain] == [None, *migrate.revisions()[:-1]]
    for revision in chain:
        name = FILE_NAME.fullmatch(Path(revision.path).name)
        assert name, revision.path
        assert name[1] == revision.revision
    assert len(list((migrate.MIGRATIONS / "versions").glob("2*.py"))) == len(chain)


def test_up_down_and_up_again_leave_what_the_first_up_left(blank: Engine) -> None:
    migrate.upgrade(blank)
    with blank.connect() as connection:
        first = described(connection)
    go(blank, "downgrade", "base")
    with blank.connect() as connection:
        assert described(connection) == [("table", "bandshift_version", "")]
        assert migrate.current(connection) is None
    assert migrate.upgrade(blank) == migrate.revisions()
    with blank.connect() as connection:
        assert described(connection) == first
        assert len(first) > 100


def test_each_step_down_undoes_exactly_its_step_up(blank: Engine) -> None:
    def state() -> list[tuple[str, str, str]]:
        with blank.connect() as connection:
            return [row for row in described(connection) if row[1] != "bandshift_version"]

    for revision in migrate.revisions():
        before = state()
        go(blank, "upgrade", revision)
        after = state()
        assert before != after
        go(blank, "downgrade", "-1")
        assert state() == before
        go(blank, "upgrade", revision)
        assert state() == after


def test_the_migrations_make_the_tables_of_the_models(database: Engine, blank: Engine) -> None:
    with database.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True, "version_table": migrate.VERSION_TABLE}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
        migrated = [row for row in described(connection) if row[1] != "bandshift_version" and row[0] != "view"]
    metadata.create_all(blank)
    with blank.connect() as connection:
        assert migrated == described(connection)


def test_an_upgraded_database_has_nothing_more_to_upgrade(database: Engine) -> None:
    assert migrate.upgrade(database) == ()
    with database.connect() as connection:
        migrate.require_current(connection)


def test_an_upgrade_goes_on_from_where_the_last_one_stopped(blank: Engine) -> None:
    go(blank, "upgrade", migrate.revisions()[2])
    with blank.connect() as connection, pytest.raises(Mistake, match="run `bandshift db upgrade`") as caught:
        migrate.require_current(connection)
    assert migrate.revisions()[2] in str(caught.value)
    assert migrate.head() in str(caught.value)
    assert migrate.upgrade(blank) == migrate.revisions()[3:]


def test_eight_upgrades_at_once_apply_each_migration_once(blank: Engine) -> None:
    applied: list[Sequence[str]] = []
    threads = [threading.Thread(target=lambda: applied.append(migrate.upgrade(blank))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(applied, key=len) == [(), (), (), (), (), (), (), migrate.revisions()]


def test_a_database_without_a_schema_is_told_which_command_to_run(blank: Engine) -> None:
    with (
        blank.connect() as connection,
        pytest.raises(Mistake, match="no bandshift schema yet: run `bandshift db upgrade`"),
    ):
        migrate.require_current(connection)


def test_a_newer_schema_is_neither_used_nor_touched(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("UPDATE bandshift_version SET version_num = '2099_01_01_0000'"))
    with database.connect() as connection, pytest.raises(Mistake, match="newer than this bandshift"):
        migrate.require_current(connection)
    with pytest.raises(Mistake, match="`bandshift db upgrade`"):
        migrate.upgrade(database)


def test_a_strangers_table_is_not_taken_for_ours(blank: Engine) -> None:
    with blank.begin() as connection:
        connection.execute(text("CREATE TABLE accounts (id int)"))
    with pytest.raises(Mistake, match=r'relation "accounts" already exists.* schema of its own'):
        migrate.upgrade(blank)
    with blank.connect() as connection:
        assert migrate.current(connection) is None


def test_the_schema_can_live_beside_anothers_alembic_in_a_schema_of_its_own(blank: Engine) -> None:
    with blank.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num text)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('theirs')"))
        connection.execute(text("CREATE TABLE accounts (id int)"))
        connection.execute(text("CREATE SCHEMA bandshift"))
        connection.execute(text(f'ALTER DATABASE "{blank.url.database}" SET search_path = bandshift'))
    blank.dispose()
    assert migrate.upgrade(blank) == migrate.revisions()
    with blank.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM public.alembic_version")) == "theirs"
        assert connection.scalar(text("SELECT count(*) FROM bandshift.band_periods")) == 0


def test_a_locked_table_stops_a_migration_instead_of_a_queue_behind_it(
    blank: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(blank, "upgrade", migrate.revisions()[4])
    script = (migrate.MIGRATIONS / "env.py").read_text(encoding="utf-8")
    assert "SET lock_timeout = '4s'" in script
    with blank.connect() as holder:
        holder.execute(text("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE"))  # the outbox refers to it
        with pytest.raises(Busy, match="keeps a table locked"):
            migrate.upgrade(blank)
    assert migrate.upgrade(blank)[-1] == migrate.head()


def test_a_user_who_may_not_make_tables_is_told_so(blank: Engine) -> None:
    guest = f"bandshift_guest_{uuid4().hex}"
    with blank.begin() as connection:
        connection.execute(text("REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
        connection.execute(text(f"CREATE ROLE {guest} LOGIN PASSWORD '{guest}'"))
    try:
        with (
            engine_on(blank.url.set(username=guest, password=guest)) as engine,
            pytest.raises(Mistake, match="may not make tables: permission denied for schema public"),
        ):
            migrate.upgrade(engine)
    finally:
        with blank.begin() as connection:
            connection.execute(text(f"DROP ROLE {guest}"))


def test_squawk_finds_nothing_in_the_sql_of_the_migrations(tmp_path: Path) -> None:
    sql = io.StringIO()
    config = migrate.config()
    config.output_buffer = sql
    command.upgrade(config, "head", sql=True)
    file = tmp_path / "migrations.sql"
    file.write_text(sql.getvalue(), encoding="utf-8")
    assert sql.getvalue().count("CREATE TABLE") == 1 + len(metadata.tables)
    squawk = Path(sys.executable).with_name("squawk")
    settings = migrate.MIGRATIONS.parent / ".squawk.toml"
    found = subprocess.run([squawk, "--config", settings, file], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
    file.write_text("ALTER TABLE accounts ADD COLUMN x int NOT NULL;", encoding="utf-8")
    assert subprocess.run([squawk, "--config", settings, file], capture_output=True, check=False).returncode == 1


def test_the_wheel_brings_the_migrations_and_the_policies(tmp_path: Path, blank_url: Any) -> None:
    checkout = migrate.MIGRATIONS.parent
    build = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(tmp_path)]
    source = tmp_path / "source"
    for folder in ("app", "migrations", "policies", "tests"):
        if (checkout / folder).is_dir():
            shutil.copytree(checkout / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        if (checkout / file).is_file():
            shutil.copy(checkout / file, source)
    subprocess.run([sys.executable, *build, str(source)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(installed)], check=True)
    program = (
        "import sys; from app import migrate; from app.database import make_engine; from sqlalchemy import make_url;"
        "print(migrate.MIGRATIONS); print(len(migrate.upgrade(make_engine(make_url(sys.argv[1])))))"
    )
    url = blank_url.render_as_string(hide_password=False)
    done = subprocess.run(
        [sys.executable, "-c", program, url],
        cwd=installed,
        capture_output=True,
        text=True,
        check=True,
    )
    found = [line for line in done.stdout.splitlines() if "schema.upgraded" not in line]
    assert found == [str(installed / "migrations"), str(len(migrate.revisions()))]
    names = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    assert {"app/policy/default.toml", "migrations/script.py.mako", "app/py.typed"} <= names
    assert {f"policies/{path.name}" for path in (checkout / "policies").glob("*.toml")} <= names
    assert not any(name.startswith(("tests/", "bench/")) for name in names)


def test_the_template_of_a_migration_warns_that_old_code_is_still_running() -> None:
    template = (migrate.MIGRATIONS / "script.py.mako").read_text(encoding="utf-8")
    assert "STILL RUNNING" in template


def test_a_new_migration_gets_its_date_from_the_template(tmp_path: Path) -> None:
    config = migrate.config()
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.set_main_option("version_locations", str(tmp_path))
    made = command.revision(config, "add colour of account", rev_id="2026_12_01_1015", head="base")
    assert made is not None
    assert not isinstance(made, list)
    path = Path(made.path)
    assert FILE_NAME.fullmatch(path.name)
    source = path.read_text(encoding="utf-8")
    compile(source, path.name, "exec")
    assert source.startswith('"""Add colour of account.')


# What the views say


def test_periods_begin_with_each_change_of_band_and_end_with_the_next(database: Engine) -> None:
    with database.begin() as connection:
        change(connection, "a", 0, None, "tech", "enter")
        change(connection, "a", 1, "tech", "low", "graduate")
        change(connection, "a", 5, "low", "tech", "demote")
        change(connection, "b", 2, None, "low", "enter")
        assert periods(connection) == [
            ("a", "tech", week(0), week(1), "enter"),
            ("a", "low", week(1), week(5), "graduate"),
            ("a", "tech", week(5), None, "demote"),
            ("b", "low", week(2), None, "enter"),
        ]


def test_an_intervention_that_settles_starts_no_period(database: Engine) -> None:
    with database.begin() as connection:
        change(connection, "a", 0, None, "tech", "enter")
        change(connection, "a", 1, "tech", "high", "intervene")
        change(connection, "a", 4, "high", "high", "settle")
        assert periods(connection) == [
            ("a", "tech", week(0), week(1), "enter"),
            ("a", "high", week(1), None, "intervene"),
        ]


def test_an_account_that_leaves_has_no_period_until_it_comes_back(database: Engine) -> None:
    with database.begin() as connection:
        change(connection, "a", 0, None, "tech", "enter")
        change(connection, "a", 3, "tech", None, "leave")
        assert periods(connection) == [("a", "tech", week(0), week(3), "enter")]
        change(connection, "a", 8, None, "low", "enter")
        assert periods(connection) == [
            ("a", "tech", week(0), week(3), "enter"),
            ("a", "low", week(8), None, "enter"),
        ]


def test_periods_of_one_account_are_found_by_its_key(database: Engine) -> None:
    with database.begin() as connection:
        for number in range(2000):
            change(connection, f"a{number:04}", 0, None, "tech", "enter")
        connection.execute(text("ANALYZE band_history"))
        plan = connection.execute(text("EXPLAIN SELECT * FROM band_periods WHERE account_id = 'a0007'")).scalars().all()
    assert "Index Cond" in "\n".join(plan)


def test_current_coverage_shows_the_stable_columns_only(database: Engine) -> None:
    row = {
        "account_id": "a",
        "band": "high",
        "band_since": T0,
        "band_rule": "entry",
        "owner_id": "c1",
        "owner_since": T0,
    }
    with database.begin() as connection:
        connection.execute(insert(coverage).values(**row, held_by="quiet"))
        (shown,) = connection.execute(text("SELECT * FROM coverage_current")).mappings()
    assert dict(shown) == {**row, "waiting_since": None}


def test_accounts_may_become_a_view_over_the_users_own_table(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(insert(accounts).values(account_id="a", arr=10))
        connection.execute(text("ALTER TABLE accounts RENAME TO crm"))
        connection.execute(text("CREATE VIEW accounts AS SELECT * FROM crm"))
        assert connection.scalar(text("SELECT count(*) FROM accounts")) == 1
    with database.connect() as connection:
        migrate.require_current(connection)


def week(number: int) -> datetime:
    return T0 + timedelta(weeks=number)


def change(  # noqa: PLR0917 - it reads as a row
    connection: Connection, account: str, at: int, before: str | None, after: str | None, move: str
) -> None:
    """One row of the history, in a run of its own."""
    run: UUID = uuid4()
    connection.execute(
        insert(runs).values(run_id=run, kind="manual", as_of=week(at), started_at=week(at), status="applied")
    )
    connection.execute(
        insert(band_history).values(
            account_id=account,
            run_id=run,
            changed_at=week(at),
            from_band=before,
            to_band=after,
            move=move,
            rule="r",
            reason="because",
            evidence={},
        )
    )


def periods(connection: Connection) -> list[tuple[Any, ...]]:
    found = connection.execute(
        text("SELECT account_id, band, valid_from, valid_to, move FROM band_periods ORDER BY account_id, valid_from")
    )
    return [tuple(row) for row in found]


def go(engine: Engine, direction: str, revision: str) -> None:
    with engine.connect() as connection:
        getattr(command, direction)(migrate.config(connection), revision)


def described(connection: Connection) -> list[tuple[str, str, str]]:
    """All that the catalogue says of our relations, in the server's own words: columns, constraints, indexes, views."""
    return sorted(tuple(row) for row in connection.execute(text(CATALOGUE)))


CATALOGUE = """
    SELECT CASE c.relkind WHEN 'v' THEN 'view' ELSE 'table' END, c.relname::text,
           CASE c.relkind WHEN 'v' THEN pg_get_viewdef(c.oid) ELSE '' END
    FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v')
    UNION ALL
    SELECT 'column', c.relname || '.' || a.attname,
           concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
                     (SELECT collname FROM pg_collation WHERE oid = a.attcollation))
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (c.oid, a.attnum)
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
      AND c.relname <> 'bandshift_version'
    UNION ALL
    SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
    FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid IS DISTINCT FROM to_regclass('bandshift_version')
    UNION ALL
    SELECT 'index', indexname, indexdef FROM pg_indexes
    WHERE schemaname = 'public' AND tablename <> 'bandshift_version'
"""
