"""The history behind the sample company's coverage: who was brought in when, as `load --coverage` records it."""

from collections import Counter
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, Insert, Text, Uuid, func, insert, literal, null, select
from sqlalchemy.dialects.postgresql import JSONB

from app.demo.accounts import IMPORTED_DAYS
from app.tables import Instant, band_history, coverage, owner_history, runs

IMPORT = "import"
"""The rule that brought an account in."""

_RUN_IDS = (UUID("00000000-0000-4000-8000-000000000001"), UUID("00000000-0000-4000-8000-000000000002"))
_REASON = "brought in by the coverage file"


def write_history(connection: Connection, as_of: datetime) -> Counter[str]:
    """A run for each import, and for each covered account the rows that say how its band and owner came about."""
    written: Counter[str] = Counter()
    for run_id, days in zip(_RUN_IDS, IMPORTED_DAYS, strict=True):
        at = as_of.replace(second=0, microsecond=0) - timedelta(days=days)
        entered = select(func.count()).select_from(coverage).where(coverage.c.band_since == literal(at, Instant))
        counts = {"entered": connection.execute(entered).scalar_one()}
        if counts["entered"]:
            _write_run(connection, run_id, at, counts)
            written["runs"] += 1
            written["band_history"] += _write_bands(connection, run_id, at)
            written["owner_history"] += _write_owners(connection, run_id, at)
    return written


def _write_run(connection: Connection, run_id: UUID, at: datetime, counts: dict[str, int]) -> None:
    instants = {"as_of": at, "started_at": at, "finished_at": at, "duration_ms": 0}
    connection.execute(
        insert(runs).values(run_id=run_id, kind="import", status="applied", counts=counts, **instants)
    )  # fmt: skip


def _write_bands(connection: Connection, run_id: UUID, at: datetime) -> int:
    rows = {
        "account_id": coverage.c.account_id,
        "run_id": literal(run_id, Uuid),
        "changed_at": coverage.c.band_since,
        "to_band": coverage.c.band,
        "move": literal("enter", Text),
        "rule": coverage.c.band_rule,
        "reason": literal(_REASON, Text),
        "evidence": func.jsonb_build_object(type_=JSONB),
        "to_owner_id": coverage.c.owner_id,
    }
    brought_in = (
        select(*rows.values()).where(coverage.c.band_since == literal(at, Instant)).order_by(coverage.c.account_id)
    )
    return _insert(connection, insert(band_history).from_select(list(rows), brought_in))


def _write_owners(connection: Connection, run_id: UUID, at: datetime) -> int:
    rows = {
        "account_id": coverage.c.account_id,
        "run_id": literal(run_id, Uuid),
        "changed_at": coverage.c.owner_since,
        "from_owner_id": null(),
        "to_owner_id": coverage.c.owner_id,
        "why": literal(IMPORT, Text),
        "reason": literal(_REASON, Text),
    }
    brought_in = (
        select(*rows.values())
        .where(coverage.c.band_since == literal(at, Instant), coverage.c.owner_id.is_not(None))
        .order_by(coverage.c.account_id)
    )
    return _insert(connection, insert(owner_history).from_select(list(rows), brought_in))


def _insert(connection: Connection, statement: Insert) -> int:
    """How many rows the statement inserted."""
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount
