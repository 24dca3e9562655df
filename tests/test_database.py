"""The database is found, reached and checked, or one line says what to do; its password is in no line."""

import os
import socket
import traceback
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import URL, Engine, insert, make_url, text
from sqlalchemy.exc import IntegrityError

from app import migrate
from app.database import blot_out, make_engine, open_engine, open_unchecked, parse_url, scratch_engine
from app.errors import DatabaseUnavailable, ExitCode, Mistake
from app.settings import Settings
from app.tables import accounts

CANARY = "canary/s3cr%t@x"
ENCODED = "canary%2Fs3cr%25t%40x"

MALFORMED = [
    "canary",
    "host=h password=canary dbname=d",
    "canary@host/d",
    "//u:canary@h/d",
    "postgresql:/u:canary@h/d",
    "postgresql:u:canary@h/d",
    "mysql://u:canary@h/d",
    "sqlite:///canary.db",
    "postgresql+asyncpg://u:canary@h/d",
    "canary://u:p@h/d",
    "postgres://u:p@canary@h/d",
    "postgres://u:p@can/ary@h/d",
    "postgresql://u:p@h:canary/d",
    "postgresql://u:x@h:5432canary/d",
    "postgresql://u:canary@[::1/d",
    " ",
]


def settings(url: str | URL) -> Settings:
    text = url if isinstance(url, str) else url.render_as_string(hide_password=False)
    return Settings.model_validate({"DATABASE_URL": text})


@pytest.mark.parametrize("url", MALFORMED)
def test_a_malformed_url_is_one_line_that_quotes_nothing_of_it(url: str) -> None:
    with pytest.raises(Mistake) as caught, open_engine(settings(url)):
        pytest.fail("it was opened")
    assert "DATABASE_URL" in str(caught.value)
    assert "postgresql://user:password@host:5432/database" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == ExitCode.MISTAKE
    told = "".join(traceback.format_exception(caught.value)).replace("canary://", "")
    assert "canary" not in told.replace('pytest.fail("it', "")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_way_to_write_the_scheme_is_taken(scheme: str) -> None:
    url = parse_url(SecretStr(f" {scheme}://u:{ENCODED}@h:5433/d?sslmode=require\n"))
    assert url.drivername == "postgresql+psycopg"
    assert (url.username, url.password, url.host, url.port, url.database) == ("u", CANARY, "h", 5433, "d")
    assert url.query == {"sslmode": "require"}


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{ENCODED}@127.0.0.1:1/d",
        f"postgresql://u:{ENCODED}@no-such-host.invalid/d",
        f"postgresql://u@127.0.0.1:1/d?password={ENCODED}",
        f"postgresql:///d?host=/no/such/folder&user=u&password={ENCODED}",
        f"postgresql://u:{ENCODED}@{ENCODED}.invalid/d",
    ],
)
def test_an_unreachable_server_is_one_line_without_the_password(url: str) -> None:
    unreachable = pytest.raises(DatabaseUnavailable, match=r"^the database cannot be reached: ")
    with unreachable as caught, open_engine(settings(url)):
        pytest.fail("it was opened")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == ExitCode.FAILED
    told = "".join(traceback.format_exception(caught.value))
    assert "s3cr" not in told


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.database.CONNECT_TIMEOUT_S", 2)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        with (
            pytest.raises(DatabaseUnavailable, match="timeout"),
            open_engine(settings(f"postgresql://u@127.0.0.1:{port}/d")),
        ):
            pytest.fail("it was opened")


def test_a_database_that_does_not_exist_is_named(server_url: URL) -> None:
    url = server_url.set(database="no_such_database")
    with (
        pytest.raises(DatabaseUnavailable, match='database "no_such_database" does not exist'),
        open_engine(settings(url)),
    ):
        pytest.fail("it was opened")


def test_an_unmigrated_database_is_not_migrated_unasked(blank_url: URL, blank: Engine) -> None:
    with pytest.raises(Mistake, match="run `bandshift db upgrade`"), open_engine(settings(blank_url)):
        pytest.fail("it was opened")
    with blank.connect() as connection:
        assert migrate.current(connection) is None
    with open_unchecked(settings(blank_url)) as engine:
        migrate.upgrade(engine)
    with open_engine(settings(blank_url)) as engine, engine.connect() as connection:
        assert migrate.current(connection) == migrate.head()


def test_every_session_speaks_utc_and_iso_and_is_named(database_url: URL) -> None:
    with open_engine(settings(database_url)) as engine:
        for _ in range(2):
            with engine.connect() as connection:
                rows = connection.execute(
                    text(
                        "SELECT name, setting FROM pg_settings WHERE name IN ('TimeZone', 'DateStyle', "
                        "'application_name', "
                        "'client_connection_check_interval', 'transaction_isolation', 'client_encoding', 'jit')"
                    )
                )
                found = {row.name: row.setting for row in rows}
            assert found == {
                "TimeZone": "UTC",
                "DateStyle": "ISO, YMD",
                "application_name": "bandshift",
                "client_connection_check_interval": "1000",
                "transaction_isolation": "read committed",
                "client_encoding": "UTF8",
                "jit": "off",
            }
            engine.dispose()


def test_a_users_own_defaults_do_not_change_what_we_read(database_url: URL) -> None:
    with open_engine(settings(database_url)) as engine:
        with engine.begin() as connection:
            name = database_url.database
            connection.execute(text(f"ALTER DATABASE \"{name}\" SET TimeZone = 'Asia/Kolkata'"))
            connection.execute(text(f"ALTER DATABASE \"{name}\" SET DateStyle = 'German'"))
            connection.execute(text(f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'serializable'"))
        engine.dispose()
        with engine.connect() as connection:
            assert connection.scalar(text("SHOW transaction_isolation")) == "read committed"
            shown = connection.scalar(text("SELECT timestamptz '2026-03-02 06:00+00' :: text"))
            assert shown == "2026-03-02 06:00:00+00"
            assert connection.scalar(text("SELECT date '2026-03-02'")) == datetime(2026, 3, 2, tzinfo=UTC).date()


def test_the_urls_own_application_name_and_options_are_kept(database_url: URL) -> None:
    theirs = database_url.update_query_dict({"application_name": "nightly", "options": "-c search_path=public,other"})
    with open_engine(settings(theirs)) as engine, engine.connect() as connection:
        assert connection.scalar(text("SHOW application_name")) == "nightly"
        assert connection.scalar(text("SHOW search_path")) == "public,other"


def cut_off(url: URL, database: Engine) -> None:
    with open_engine(settings(url)) as engine, engine.connect() as connection:
        victim = connection.scalar(text("SELECT pg_backend_pid()"))
        with database.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": victim})
        connection.execute(text("SELECT 1"))


def test_a_connection_that_is_cut_is_one_line(database_url: URL, database: Engine) -> None:
    with pytest.raises(DatabaseUnavailable, match="connection to the database was lost") as caught:
        cut_off(database_url, database)
    assert "\n" not in str(caught.value)


def test_a_user_who_may_not_read_is_told_so(database_url: URL, database: Engine) -> None:
    guest = f"bandshift_guest_{os.urandom(6).hex()}"
    with database.begin() as connection:
        connection.execute(text(f"CREATE ROLE {guest} LOGIN PASSWORD '{guest}'"))
    try:
        url = database_url.set(username=guest, password=guest)
        with (
            pytest.raises(Mistake, match="permission denied for table bandshift_version"),
            open_engine(settings(url)),
        ):
            pytest.fail("it was opened")
    finally:
        with database.begin() as connection:
            connection.execute(text(f"DROP ROLE {guest}"))


def insert_twice(url: URL, name: str) -> None:
    with open_engine(settings(url)) as engine, engine.begin() as connection:
        for _ in range(2):
            connection.execute(insert(accounts).values(account_id="a", name=name))


def test_a_bug_keeps_its_traceback_but_shows_no_customer(database_url: URL) -> None:
    with pytest.raises(IntegrityError) as caught:
        insert_twice(database_url, "canary")
    assert "canary" not in str(caught.value)


def test_a_password_is_blotted_out_in_every_spelling() -> None:
    url = make_url("postgresql+psycopg://u@h/d").set(password=CANARY)
    said = f"no {CANARY}, {ENCODED} or {CANARY!r} here"
    assert "s3cr" not in blot_out(said, url)
    assert blot_out("nothing to hide", make_url("postgresql+psycopg://u@h/d")) == "nothing to hide"


def test_an_engine_shows_no_password() -> None:
    engine = make_engine(make_url("postgresql+psycopg://u@h/d").set(password=CANARY))
    assert "s3cr" not in repr(engine)
    assert "s3cr" not in str(engine.url)


def test_the_embedded_database_is_migrated_and_keeps_its_data(tmp_path: Path) -> None:
    home = Settings(home=tmp_path / "home")
    with open_engine(home) as engine, engine.begin() as connection:
        connection.execute(insert(accounts).values(account_id="a"))
    with open_engine(home) as engine, engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM accounts")) == 1


def test_a_scratch_database_is_migrated_and_empty() -> None:
    with scratch_engine() as engine, engine.connect() as connection:
        migrate.require_current(connection)
        assert connection.scalar(text("SELECT count(*) FROM accounts")) == 0
