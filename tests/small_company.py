"""A company small enough to know by heart, for the tests of planning and applying.

Three bands: `tech` is the pool's, `low` starts at 100 and `high` at 1,000. Value decides, at once; a health signal
under 50 makes a demotion a review; `adoption` under 0.2 lifts from low to high for four weeks; three tickets lift out
of the pool when they are seen on three runs.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Engine, Table, func, insert, select

from app.doctor import examine
from app.policy.model import Policy
from app.policy.read import read_policy
from app.tables import (
    account_signals,
    accounts,
    band_history,
    coverage,
    csms,
    outbox,
    owner_history,
    pins,
    policies,
    runs,
)

AS_OF = datetime(2026, 3, 2, 6, tzinfo=UTC)
WEEK = timedelta(weeks=1)

NO_GUARDS = """
[guards]
moved_accounts = false
moved_arr = false
csm_book = false
shrunken_input = false
missing_facts = false
fewest_accounts = false
stale_after_days = false
"""

RESTLESS = (
    NO_GUARDS
    + """
[owners]
stable_days = 0
max_new_per_run = false
"""
)
"""No guards, and owners who may change every week."""

TOGETHER = RESTLESS + 'families = "highest_band"\n'
"""The same, and families stand together."""

POLICY = """
name = "small"

[[bands]]
name = "tech"
owner = "pool"
accounts_per_csm = 1000

[[bands]]
name = "low"
owner = "named"
accounts_per_csm = 3
floor = 100

[[bands]]
name = "high"
owner = "named"
accounts_per_csm = 2
floor = 1000

[economics]
value = "arr"
buffer = 0

[signals]
health = { kind = "health", measure = "latest", within_days = 30 }
tickets = { kind = "ticket", measure = "count", within_days = 30 }

[[rules]]
name = "stuck"
move = "intervene"
when = "adoption < 0.2"
to = "high"
from = ["low"]
for_weeks = 4
because = "its adoption is {adoption}"

[[rules]]
name = "shrunk"
move = "demote"
when = "value < demotion_floor"
to = "earned_band"
protect_when = "health < 50"
because = "its value of {value} is under {demotion_floor}"

[[rules]]
name = "busy"
move = "graduate"
when = "tickets > 2"
to = "next"
from = ["tech"]
confirm_weeks = 3
despite = ["shrunk"]
grace_weeks = 8
because = "it filed {tickets} tickets"

[[rules]]
name = "grown"
move = "graduate"
when = "earned_band > band"
to = "earned_band"
because = "its value of {value} carries {earned_band}"
"""


def policy(guards: str = NO_GUARDS, **replaced: str) -> Policy:
    """The company's policy, without guards unless told, and with some of its texts replaced by others."""
    text = POLICY + guards
    for old, new in replaced.items():
        text = text.replace(old, new)
    return _read(text)


@cache
def _read(text: str) -> Policy:
    return read_policy(text, source="the test's policy")


def add_account(connection: Connection, account_id: str, arr: Any = None, **fields: Any) -> None:
    connection.execute(insert(accounts).values({"account_id": account_id, "arr": arr, **fields}))


def add_signal(connection: Connection, account_id: str, kind: str, at: datetime, value: Any = None) -> None:
    row = {"account_id": account_id, "signal_id": uuid4().hex, "kind": kind, "occurred_at": at, "value": value}
    connection.execute(insert(account_signals).values(row))


def add_csm(connection: Connection, csm_id: str, *bands: str, **fields: Any) -> None:
    row = {"csm_id": csm_id, "name": csm_id.title(), "bands": list(bands or ("low", "high")), **fields}
    connection.execute(insert(csms).values(row))


def add_pin(connection: Connection, account_id: str, **fields: Any) -> None:
    row = {
        "pinned_at": AS_OF - WEEK,
        "reason": "so it is",
        "pinned_by": "lee",
        "expires_at": AS_OF + 9 * WEEK,
        **fields,
    }
    connection.execute(insert(pins).values({"account_id": account_id, **row}))


def rows(connection: Connection, table: Table, *columns: str) -> list[tuple[Any, ...]]:
    """These columns of all rows, in the order of the table's key."""
    chosen = [table.c[name] for name in columns] if columns else list(table.c)
    return [tuple(row) for row in connection.execute(select(*chosen).order_by(*table.primary_key.columns))]


def where(engine: Engine) -> dict[str, tuple[str, str | None]]:
    """Each account's band and owner."""
    with engine.connect() as connection:
        return {row[0]: (row[1], row[2]) for row in rows(connection, coverage, "account_id", "band", "owner_id")}


EFFECT = (coverage, band_history, owner_history, outbox)
"""The tables that a run changes together."""


def contents(engine: Engine, *tables: Table) -> Mapping[str, list[tuple[Any, ...]]]:
    """All rows of these tables (default: of those that a run changes, and the ledger)."""
    with engine.connect() as connection:
        return {table.name: rows(connection, table) for table in tables or (*EFFECT, runs, policies)}


def count(engine: Engine, table: Table) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def assert_sound(engine: Engine) -> None:
    """Every invariant that `bandshift doctor` knows of holds."""
    with engine.connect() as connection:
        assert [finding for finding in examine(connection) if not finding.holds] == []
