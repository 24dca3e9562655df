"""The history behind the sample company's coverage: who was brought in when, as `load --coverage` records it."""

from collections import Counter
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, FromClause, Insert, func, insert, literal, select

from app.demo.accounts import IMPORTED_DAYS
from app.load.cover import insert_band_history, insert_owner_history
from app.tables import Instant, coverage, runs

_RUN_IDS = (UUID("00000000-0000-4000-8000-000000000001"), UUID("00000000-0000-4000-8000-000000000002"))
_FILES = ("tiering.csv", "half-year.csv")


def write_history(connection: Connection, as_of: datetime) -> Counter[str]:
    """A run for each import, and for each covered account the rows that say how its band and owner came about."""
    written: Counter[str] = Counter()
    for run_id, file, days in zip(_RUN_IDS, _FILES, IMPORTED_DAYS, strict=True):
        at = as_of - timedelta(days=days)
        new = _imported(at)
        counted = connection.execute(
            select(func.count().label("moves"), func.count(new.c.owner_id).label("owner_changes")).select_from(new)
        ).one()
        if counted.moves:
            counts = {"moves": counted.moves, "owner_changes": counted.owner_changes}
            connection.execute(_run(run_id, at, counts))
            connection.execute(insert_band_history(new, file, run_id))
            connection.execute(insert_owner_history(new, file, run_id))
            written += Counter(runs=1, band_history=counted.moves, owner_history=counted.owner_changes)
    return written


def _imported(at: datetime) -> FromClause:
    """What the file of that day said, an account per line after the head."""
    line = func.row_number().over(order_by=coverage.c.account_id) + 1
    columns = (coverage.c[name] for name in ("account_id", "band", "band_since", "owner_id", "owner_since"))
    return select(line.label("line"), *columns).where(coverage.c.band_since == literal(at, Instant)).subquery("new")


def _run(run_id: UUID, at: datetime, counts: dict[str, int]) -> Insert:
    instants = {"as_of": at, "started_at": at, "finished_at": at, "duration_ms": 0}
    return insert(runs).values(run_id=run_id, kind="import", status="applied", counts=counts, **instants)
