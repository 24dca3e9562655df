"""What the server refuses each role: all that is not its work."""

from collections.abc import Mapping

import psycopg
import pytest
from sqlalchemy import text

from app.roles.grants import FACTS
from tests.roles.guarded import Guarded, rights

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
