"""The ledger as people read it: every run that set out to write, the latest first. Reads only."""

from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, and_, select

from app.tables import runs


@dataclass(frozen=True, slots=True)
class Entry:
    """A run of the ledger. `error` says what stopped it, and why it was answered as it was."""

    run_id: UUID
    kind: str
    slot: date | None
    as_of: datetime
    started_at: datetime
    finished_at: datetime | None
    duration_ms: int | None
    status: str
    policy_sha: str | None
    plan_sha: str | None
    counts: dict[str, Any]
    error: str | None
    failure: str | None
    approves: UUID | None
    lapses_at: datetime | None
    answer: str | None
    answered_at: datetime | None
    answered_by: str | None

    @property
    def standing(self) -> str:
        """The run's status; of one that a guard stopped the answer, or that it awaits one."""
        return self.status if self.status != "blocked" else self.answer or "awaiting"


def read_runs(connection: Connection, standing: str | None, latest: int | None) -> tuple[Entry, ...]:
    """The runs that stand so (None: all), the latest first, and no more than `latest` of them."""
    return tuple(Entry(**row._mapping) for row in connection.execute(select_runs(standing).limit(latest)))


def select_runs(standing: str | None) -> Select[Any]:
    """The columns of `Entry`, the latest run first."""
    statement = select(*(runs.c[field.name] for field in fields(Entry)))
    if standing in {"approved", "rejected", "lapsed"}:
        statement = statement.where(runs.c.answer == standing)
    elif standing == "awaiting":
        statement = statement.where(and_(runs.c.status == "blocked", runs.c.answer.is_(None)))
    elif standing is not None:
        statement = statement.where(runs.c.status == standing)
    return statement.order_by(runs.c.started_at.desc(), runs.c.run_id.desc())
