"""The doctor finds nothing after a run, and each invariant that somebody breaks by hand."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from app.doctor import SHOWN, Finding, examine
from tests.company import company, company_template, company_url, settled, settled_template, settled_url

__all__ = ["company", "company_template", "company_url", "settled", "settled_template", "settled_url"]


CODES = ["schema", "policies", "I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9"]


def findings(connection: Connection) -> dict[str, Finding]:
    return {finding.code: finding for finding in examine(connection)}


def test_after_a_run_everything_holds(settled: Engine) -> None:
    with settled.connect() as connection:
        found = findings(connection)
    assert list(found) == CODES
    assert {code: finding.count for code, finding in found.items()} == dict.fromkeys(CODES, 0)


def test_before_the_first_run_the_invariants_of_a_run_are_not_looked_at(company: Engine) -> None:
    with company.connect() as connection:
        found = findings(connection)
    assert [code for code in CODES if found[code].count is None] == ["I5", "I6", "I7"]
    assert all(finding.holds for finding in found.values())


def test_another_schema_is_all_that_is_said(blank: Engine) -> None:
    with blank.connect() as connection:
        (finding,) = examine(connection)
    assert not finding.holds
    assert "bandshift db upgrade" in finding.offenders[0].what


A_MOVED_ACCOUNT = """
    (SELECT account_id FROM band_history
     WHERE move = 'demote' AND to_owner_id IS NOT NULL AND from_owner_id IS DISTINCT FROM to_owner_id
     ORDER BY account_id LIMIT 1)
"""
A_BUSY_CSM = "(SELECT max(to_owner_id) FROM owner_history WHERE why = 'band_change')"
THE_RUN = "(SELECT run_id FROM runs WHERE kind = 'manual')"
BREAKAGES: Sequence[tuple[str, list[str], set[str], str]] = [
    (
        "a policy that nobody can read any more",
        ["UPDATE policies SET body = 'name ='"],
        {"policies"},
        "",
    ),
    (
        "two runs for a slot",
        [
            "DROP INDEX runs_slot_key",
            """
            INSERT INTO runs (run_id, kind, slot, as_of, started_at, status, counts)
            SELECT gen_random_uuid(), 'scheduled', '2026-11-16', now(), now(), 'nothing',
                '{"moves": 0, "owner_changes": 0}'
            FROM generate_series(1, 2)
            """,
        ],
        {"I1"},
        "has 2 runs that took effect",
    ),
    (
        "a band changed by hand",
        [f"UPDATE coverage SET band = 'high' WHERE account_id = {A_MOVED_ACCOUNT} AND band <> 'high'"],
        {"I2"},
        "is in high and its history ends in low",
    ),
    (
        "coverage that was deleted",
        [f"DELETE FROM coverage WHERE account_id = {A_MOVED_ACCOUNT}"],
        {"I2", "I4"},
        "is in none and its history ends in low",
    ),
    (
        "a history that was edited",
        [f"UPDATE band_history SET from_band = 'tech' WHERE move = 'demote' AND account_id = {A_MOVED_ACCOUNT}"],
        {"I3"},
        "went from tech",
    ),
    (
        "an owner changed by hand",
        [f"UPDATE coverage SET owner_id = 'nobody' WHERE account_id = {A_MOVED_ACCOUNT}"],
        {"I4"},
        "belongs to nobody, its history says csm-",
    ),
    (
        "a change of owner that was never told",
        [f"DELETE FROM owner_history WHERE run_id = {THE_RUN} AND account_id = {A_MOVED_ACCOUNT}"],
        {"I4", "I8"},
        "untold",
    ),
    (
        "a book that the run overfilled",
        [f"UPDATE csms SET max_accounts = 1 WHERE csm_id = {A_BUSY_CSM}"],
        {"I5"},
        "accounts of at most 1",
    ),
    (
        "an owner in a pooled band",
        [
            """
            UPDATE coverage SET owner_id = 'csm-0001'
            WHERE account_id = (SELECT min(account_id) FROM coverage WHERE band = 'tech')
            """
        ],
        {"I4", "I6"},
        "is the pool's and has an owner, csm-0001",
    ),
    (
        "an account that nobody serves and that does not wait",
        [
            f"UPDATE coverage SET waiting_since = NULL, owner_id = NULL WHERE account_id = {A_MOVED_ACCOUNT}",
        ],
        {"I4", "I6"},
        "has no owner and waits for none",
    ),
    (
        "a pin that was not obeyed",
        [
            f"""
            INSERT INTO pins (account_id, pinned_at, band, reason, pinned_by, expires_at)
            VALUES ({A_MOVED_ACCOUNT}, '2026-01-01', 'strategic', 'so', 'me', '2027-01-01')
            """
        ],
        {"I7"},
        "pinned to strategic",
    ),
    (
        "counts that are wrong",
        ["UPDATE runs SET counts = jsonb_set(counts, '{moves}', '7') WHERE kind = 'manual'"],
        {"I8"},
        "counted 7 moves and has ",
    ),
    (
        "rows of a run that was blocked",
        [
            "UPDATE runs SET status = 'blocked' WHERE kind = 'manual'",
            "DELETE FROM outbox",
        ],
        {"I8", "I9"},
        "counted 0 moves and has ",
    ),
    (
        "a digest that is missing",
        [f"DELETE FROM outbox WHERE topic = 'csm.digest' AND recipient = {A_BUSY_CSM}"],
        {"I9"},
        "has no digest for csm-",
    ),
    (
        "a digest too many",
        [
            f"""
            INSERT INTO outbox (message_id, run_id, topic, recipient, payload, created_at)
            VALUES ('x', {THE_RUN}, 'csm.digest', 'nobody', '{{}}', now())
            """
        ],
        {"I9"},
        "has a digest too many for nobody",
    ),
    (
        "a run that told nobody",
        ["DELETE FROM outbox WHERE topic = 'run.summary'"],
        {"I9"},
        "has 0 summaries to send",
    ),
    (
        "a run that asked nobody for approval",
        ["UPDATE runs SET status = 'blocked', counts = '{}', lapses_at = now() WHERE kind = 'import'"],
        {"I8", "I9"},
        "has 0 messages run.blocked to send",
    ),
    (
        "a message of something that did not happen",
        [
            f"""
            INSERT INTO outbox (message_id, run_id, topic, payload, created_at)
            VALUES ('x', {THE_RUN}, 'slot.failed', '{{}}', now())
            """
        ],
        {"I9"},
        "has 1 messages slot.failed to send",
    ),
]


@pytest.mark.parametrize(("what", "statements", "broken", "said"), BREAKAGES, ids=[each[0] for each in BREAKAGES])
def test_the_doctor_finds(settled: Engine, what: str, statements: list[str], broken: set[str], said: str) -> None:
    del what
    with settled.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
        found = findings(connection)
    assert {code for code in CODES if not found[code].holds} == broken
    assert any(said in offender.what for code in broken for offender in found[code].offenders)


def test_many_offenders_are_counted_and_the_first_are_named(settled: Engine) -> None:
    with settled.connect() as connection:
        all_of_them: Any = connection.execute(text("UPDATE coverage SET band = 'nowhere'"))
        finding = findings(connection)["I2"]
    assert finding.count == all_of_them.rowcount
    assert len(finding.offenders) == SHOWN
    assert [offender.id for offender in finding.offenders] == sorted(offender.id for offender in finding.offenders)


def test_a_pin_made_after_the_run_is_the_next_runs_business(settled: Engine) -> None:
    with settled.connect() as connection:
        connection.execute(
            text(
                "INSERT INTO pins (account_id, pinned_at, band, reason, pinned_by, expires_at)"
                f" VALUES ({A_MOVED_ACCOUNT}, now() + interval '1 hour', 'strategic', 'so', 'me', '2100-01-01')"
            )
        )
        assert findings(connection)["I7"].holds
