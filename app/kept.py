"""What a run that a guard stopped would have done: kept as it was planned, for a person to say yes or no to.

A row for each account that would move or change hands, written with the ledger's row of the run. Values and facts are
not part of what is approved: they are read afresh, so that a sync that rewrites every account leaves the plan standing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, select

from app.apply import copy_rows, planned, planned_rows
from app.decide.stream import stream_rows
from app.plan import Plan
from app.policy.model import Policy
from app.tables import coverage, kept_moves


@dataclass(frozen=True, slots=True)
class Kept:
    """What a stopped run would have done with one account, and where that account stands now.

    `move` and `rule` are None where only the owner would have changed, and `why` where only the band would;
    `reason` is the sentence of the band's change, else of the owner's. `band_now` None: it is in no band now.
    """

    account_id: str
    move: str | None
    rule: str | None
    from_band: str | None
    to_band: str | None
    value: Decimal | None
    from_owner_id: str | None
    to_owner_id: str | None
    why: str | None
    reason: str
    band_now: str | None
    owner_now: str | None


_COLUMNS = tuple(field.name for field in fields(Kept) if field.name in kept_moves.c)


def keep(connection: Connection, run_id: UUID, plan: Plan, policy: Policy) -> None:
    """The plan of the run, which the ledger has, is kept."""
    copy_rows(connection, kept_moves, ("run_id", *_COLUMNS), _rows(run_id, plan, policy))


def read_kept(connection: Connection, run_id: UUID) -> dict[str, Kept]:
    """What was kept of the run, by account id, in order."""
    return {row[0]: Kept(*row) for row in stream_rows(connection, select_kept(run_id))}


def select_kept(run_id: UUID) -> Select[Any]:
    """The columns of `Kept`, by account id."""
    return (
        select(
            *(kept_moves.c[name] for name in _COLUMNS),
            coverage.c.band.label("band_now"),
            coverage.c.owner_id.label("owner_now"),
        )
        .select_from(kept_moves.outerjoin(coverage, coverage.c.account_id == kept_moves.c.account_id))
        .where(kept_moves.c.run_id == run_id)
        .order_by(kept_moves.c.account_id)
    )


def _rows(run_id: UUID, plan: Plan, policy: Policy) -> Iterator[tuple[Any, ...]]:
    for row in planned_rows(plan, policy):
        account = dict(zip(planned.c.keys(), row, strict=True))
        if account["move"] is not None or account["why"] is not None:
            account["reason"] = account["reason"] or account["owner_reason"]
            yield run_id, *(account[name] for name in _COLUMNS)
