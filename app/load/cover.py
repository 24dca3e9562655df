"""The coverage file: the bands and owners that a team has today become coverage, with their history.

bandshift owns coverage from the moment an account has it. So the file only ever adds: an account that has none gets
its row, an `enter` row in `band_history` with rule `import`, and (if somebody owns it) a row in `owner_history`,
all under one run of kind `import`. An account that stands as the file says costs nothing; one that stands otherwise
is a bad row.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    FromClause,
    Insert,
    Select,
    Table,
    Text,
    and_,
    any_,
    case,
    cast,
    exists,
    func,
    insert,
    literal,
    not_,
    null,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.load.checks import Rejected, bad, no_such_band
from app.load.layout import Layout
from app.load.stage import count_rows, reject
from app.policy.model import Policy
from app.tables import Id, Instant, band_history, coverage, owner_history, runs

RULE = "import"
WHY = "import"


def check_coverage(connection: Connection, layout: Layout, staged: Table, policy: Policy, instant: datetime) -> None:
    """Every staged row that is left can be imported or is so already; the rest are bad rows."""
    for rejected in _checks(layout, staged, policy, instant):
        reject(connection, layout.dataset, staged, rejected)


def import_coverage(
    connection: Connection, layout: Layout, staged: Table, policy: Policy, *, run_id: UUID, instant: datetime
) -> int:
    """The staged accounts that had no coverage have it, with their history, under one run; returns how many.

    Without any there is no run either.
    """
    new = _new(layout, staged, instant)
    counted = connection.execute(
        select(func.count().label("moves"), func.count(new.c.owner_id).label("owner_changes")).select_from(new)
    ).one()
    if not counted.moves:
        return 0
    counts = {"moves": counted.moves, "owner_changes": counted.owner_changes}
    connection.execute(insert(runs).values(_run(run_id, instant, counts)))
    connection.execute(insert_band_history(new, layout.file, run_id))
    connection.execute(insert_owner_history(new, layout.file, run_id))
    # Last: what is new is told by having no coverage.
    connection.execute(insert_coverage(new, policy, instant))
    return int(counted.moves)


def count_standing(staged: Table) -> Select[int]:
    """How many staged accounts have coverage already."""
    return count_rows(staged).where(_covered(staged))


def _checks(layout: Layout, staged: Table, policy: Policy, instant: datetime) -> Iterator[Rejected]:
    names = literal([band.name for band in policy.bands], ARRAY(Text))
    pooled = literal([band.name for band in policy.bands if band.pooled], ARRAY(Text))
    yield bad(layout, staged, "band", no_such_band(policy)).where(not_(staged.c.band == any_(names)))
    if "owner_id" in staged.c:
        reason = literal("owns an account of ", Text) + staged.c.band + literal(", a band that the pool serves", Text)
        yield bad(layout, staged, "owner_id", reason).where(
            staged.c.owner_id.is_not(None), staged.c.band == any_(pooled)
        )
    yield standing_otherwise(layout, staged)
    if "owner_since" in staged.c:
        owner = staged.c.owner_id if "owner_id" in staged.c else null()
        yield bad(layout, staged, "owner_since", "is the date of an owner that the row does not name").where(
            staged.c.owner_since.is_not(None), owner.is_(None)
        )
    for column, history in (("band_since", band_history), ("owner_since", owner_history)):
        if column in staged.c:
            yield bad(
                layout, staged, column, f"lies after the moment of loading, {instant.isoformat(timespec='seconds')}"
            ).where(staged.c[column] > literal(instant, Instant), not_(_covered(staged)))
            yield before_history(layout, staged, column, history)


def standing_otherwise(layout: Layout, staged: Table) -> Rejected:
    """Accounts that have coverage in another band, or (where the file has owners) with another owner."""
    differs: list[ColumnElement[bool]] = [coverage.c.band != staged.c.band]
    if "owner_id" in staged.c:
        differs.append(coverage.c.owner_id.is_distinct_from(staged.c.owner_id))
    reason = (
        literal("is not where the account stands, ", Text)
        + coverage.c.band
        + func.coalesce(literal(" with ", Text) + coverage.c.owner_id, literal(" with no owner", Text))
        + literal(": bandshift keeps its coverage now; to move it, use a pin", Text)
    )
    return bad(layout, staged, "band", reason).select_from(
        staged.join(coverage, and_(coverage.c.account_id == staged.c.account_id, or_(*differs)))
    )


def before_history(layout: Layout, staged: Table, column: str, history: Table) -> Rejected:
    """Accounts that had coverage once, and would have it again from before it ended."""
    last = (
        select(history.c.account_id, func.max(history.c.changed_at).label("changed_at"))
        .where(history.c.account_id.in_(select(staged.c.account_id)))
        .group_by(history.c.account_id)
        .subquery("last")
    )
    reason = (
        literal("is before the last change in the account's history, on ", Text)
        + func.to_char(last.c.changed_at, "YYYY-MM-DD")
        + literal("; leave it empty", Text)
    )
    return bad(layout, staged, column, reason).select_from(
        staged.join(
            last,
            and_(
                last.c.account_id == staged.c.account_id, staged.c[column] < last.c.changed_at, not_(_covered(staged))
            ),
        )
    )


def _covered(staged: Table) -> ColumnElement[bool]:
    return exists(select(literal(1)).where(coverage.c.account_id == staged.c.account_id))


def _new(layout: Layout, staged: Table, instant: datetime) -> FromClause:
    """The accounts to import: account, band, owner, and since when each; what the file does not date begins now.

    An owner that has no date of its own came with the band.
    """
    now = literal(instant, Instant)

    def column(name: str, type_: Any) -> ColumnElement[Any]:
        return staged.c[name] if name in layout.names else literal(None, type_)

    band_since = func.coalesce(column("band_since", Instant), now)
    owner_id = column("owner_id", Id)
    owner_since = case((owner_id.is_not(None), func.coalesce(column("owner_since", Instant), band_since)))
    return (
        select(
            staged.c.line,
            staged.c.account_id,
            staged.c.band,
            band_since.label("band_since"),
            owner_id.label("owner_id"),
            owner_since.label("owner_since"),
        )
        .where(not_(_covered(staged)))
        .subquery("new")
    )


def _run(run_id: UUID, instant: datetime, counts: dict[str, int]) -> dict[str, Any]:
    """The ledger's row: no policy decided anything here, so it names none."""
    return {
        "run_id": run_id,
        "kind": "import",
        "as_of": instant,
        "started_at": instant,
        "finished_at": instant,
        "duration_ms": 0,
        "status": "applied",
        "counts": counts,
    }


def insert_band_history(new: FromClause, file: str, run_id: UUID) -> Insert:
    """An `enter` row for each imported account."""
    owner = func.coalesce(literal(" with ", Text) + new.c.owner_id, literal(" with no owner", Text))
    values: dict[str, Any] = {
        "account_id": new.c.account_id,
        "run_id": literal(run_id, runs.c.run_id.type),
        "changed_at": new.c.band_since,
        "to_band": new.c.band,
        "move": literal("enter", Text),
        "rule": literal(RULE, Text),
        "reason": literal(f"it was imported from {file}, in ", Text) + new.c.band + owner,
        "evidence": cast(
            func.jsonb_build_object(
                "facts", func.jsonb_build_object(), "rules", func.jsonb_build_object(), "line", new.c.line
            ),
            JSONB,
        ),
        "to_owner_id": new.c.owner_id,
    }
    return insert(band_history).from_select(list(values), select(*values.values()))


def insert_owner_history(new: FromClause, file: str, run_id: UUID) -> Insert:
    """A row for each imported account that somebody owns."""
    values: dict[str, Any] = {
        "account_id": new.c.account_id,
        "run_id": literal(run_id, runs.c.run_id.type),
        "changed_at": new.c.owner_since,
        "to_owner_id": new.c.owner_id,
        "why": literal(WHY, Text),
        "reason": literal(f"it was theirs when {file} was imported", Text),
    }
    return insert(owner_history).from_select(list(values), select(*values.values()).where(new.c.owner_id.is_not(None)))


def insert_coverage(new: FromClause, policy: Policy, instant: datetime) -> Insert:
    """Where each imported account stands. In a named band without an owner it waits, from now on."""
    named = literal([band.name for band in policy.bands if not band.pooled], ARRAY(Text))
    waits = and_(new.c.owner_id.is_(None), new.c.band == any_(named))
    values: dict[str, Any] = {
        "account_id": new.c.account_id,
        "band": new.c.band,
        "band_since": new.c.band_since,
        "band_rule": literal(RULE, Text),
        "owner_id": new.c.owner_id,
        "owner_since": new.c.owner_since,
        "first_owned_at": new.c.owner_since,
        "waiting_since": case((waits, literal(instant, Instant))),
    }
    return insert(coverage).from_select(list(values), select(*values.values()))
