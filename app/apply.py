"""Carrying out a plan: bands, owners, histories and messages change together, inside the caller's transaction.

The plan is copied into a temporary table, a row for each account that it touches, and everything follows from that
table in a handful of set-based statements. Each statement that changes `coverage` finds its rows by the band and the
owner that the plan started from; one row fewer than planned means that somebody changed them since, and nothing of
the plan is kept.

    enter   the account gets its row in `coverage`        change  its band, its owner or both change
    leave   its row goes                                  note    neither changes; what the rules remember of it does
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any
from typing import cast as as_type
from uuid import UUID

import psycopg
from psycopg import sql
from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Executable,
    MetaData,
    Numeric,
    Table,
    Text,
    and_,
    any_,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.schema import CreateTable

from app.errors import StalePlan
from app.figures import counted
from app.messages import select_digests, summary
from app.plan import Decision, OwnerChange, Plan, Waiting
from app.policy.model import Policy
from app.reasons import reason
from app.report.names import read_names
from app.tables import Id, Instant, band_history, coverage, outbox, owner_history, runs

ENTER, LEAVE, CHANGE, NOTE = "enter", "leave", "change", "note"

planned = Table(
    "planned",
    MetaData(),
    Column("account_id", Id),
    Column("does", Text),
    Column("move", Text),
    Column("rule", Text),
    Column("from_band", Text),
    Column("to_band", Text),
    Column("reason", Text),
    Column("value", Numeric),
    Column("evidence", JSONB),
    Column("state", JSONB),
    Column("from_owner_id", Id),
    Column("to_owner_id", Id),
    Column("why", Text),
    Column("owner_reason", Text),
    Column("waiting_since", Instant),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DROP",
)
"""One row per account that the plan touches. `move` is NULL where the band stays and `why` where the owner does;
`state` is NULL where the rules remember nothing new.
"""

_REMEMBERED: Mapping[str, Any] = {
    "held_by": Text(),
    "held_from": Text(),
    "intervention": Text(),
    "intervention_from": Text(),
    "intervention_until": Instant,
    "spent_intervention": Text(),
    "fell_with": Text(),
}
"""The columns of `coverage` that a decision's state sets, but for `pending` and `has_risen`."""


def apply(connection: Connection, plan: Plan, policy: Policy, run_id: UUID) -> None:
    """Everything the plan says is written, under a run that the ledger has; nothing is committed here.

    Raises StalePlan when an account is no longer in the band or with the owner that the plan found it with: the
    caller rolls back. An account that nothing happened to costs no write.
    """
    _release_the_pool(connection, policy)
    if not (plan.decisions or plan.owner_changes or any(waiting.since == plan.as_of for waiting in plan.waitlist)):
        return
    _copy(connection, planned_rows(plan, policy))
    rows = connection.execute(select(planned.c.does, func.count().label("accounts")).group_by(planned.c.does))
    expected = {row.does: row.accounts for row in rows}
    _check(LEAVE, expected, _written(connection, delete_left()))
    _check(CHANGE, expected, _written(connection, update_changed(plan.as_of)))
    _check(ENTER, expected, _written(connection, insert_entered(plan.as_of)))
    _written(connection, update_noted())
    _check(NOTE, expected, connection.execute(count_noted()).scalar_one())
    _written(connection, insert_band_history(run_id, plan))
    _written(connection, insert_owner_history(run_id, plan.as_of))
    _tell(connection, plan, policy, run_id)


def planned_rows(plan: Plan, policy: Policy) -> Iterator[tuple[Any, ...]]:
    """A row of `planned` for each account the plan touches. Both lists of the plan are walked once, side by side."""
    waiting = {item.account_id: item for item in plan.waitlist}
    changes = iter(plan.owner_changes)
    change = next(changes, None)
    for decision in plan.decisions:
        while change is not None and change.account_id < decision.account_id:
            yield _reassigned(change, waiting.pop(change.account_id, None))
            change = next(changes, None)
        own = None
        if change is not None and change.account_id == decision.account_id:
            own, change = change, next(changes, None)
        yield _decided(policy, decision, own, waiting.pop(decision.account_id, None))
    while change is not None:
        yield _reassigned(change, waiting.pop(change.account_id, None))
        change = next(changes, None)
    yield from (_begins_to_wait(item) for item in waiting.values() if item.since == plan.as_of)


def _decided(
    policy: Policy, decision: Decision, change: OwnerChange | None, waiting: Waiting | None
) -> tuple[Any, ...]:
    moves = decision.outcome == "move"
    does = CHANGE if moves or change is not None else NOTE
    if moves and decision.from_band is None:
        does = ENTER
    elif moves and decision.to_band is None:
        does = LEAVE
    return (
        decision.account_id,
        does,
        decision.move if moves else None,
        decision.rule if moves else None,
        decision.from_band,
        decision.to_band if moves else decision.from_band,
        reason(policy, decision) if moves else None,
        decision.value,
        f'{{"facts":{decision.facts},"rules":{decision.rules}}}' if moves else None,
        decision.state,
        decision.owner_id,
        change.to_owner_id if change is not None else decision.owner_id,
        change.why if change is not None else None,
        change.reason if change is not None else None,
        waiting.since if waiting is not None else None,
    )


def _reassigned(change: OwnerChange, waiting: Waiting | None) -> tuple[Any, ...]:
    """The row of an account whose owner changes and whose band does not."""
    owners = (change.from_owner_id, change.to_owner_id, change.why, change.reason)
    since = waiting.since if waiting is not None else None
    band = change.band
    return (change.account_id, CHANGE, None, None, band, band, None, change.value, None, None, *owners, since)


def _begins_to_wait(waiting: Waiting) -> tuple[Any, ...]:
    """The row of an account that stood in a named band, unowned and not waiting."""
    nobody = (None, None, None, None)
    band = waiting.band
    return (waiting.account_id, NOTE, None, None, band, band, None, waiting.value, None, None, *nobody, waiting.since)


def _copy(connection: Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    """The rows are in `planned`, and the planner knows what it has to: the columns that nobody compares are long."""
    connection.execute(CreateTable(planned))
    copy_rows(connection, planned, planned.c.keys(), rows)
    connection.execute(text("ANALYZE planned (account_id, does, move, why, from_band, from_owner_id, to_owner_id)"))


def copy_rows(connection: Connection, table: Table, names: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> None:
    """The rows, which have these columns, are in the table."""
    into = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, names))
    )
    driver = as_type("psycopg.Connection[Any]", connection.connection.driver_connection)
    with driver.cursor() as cursor, cursor.copy(into) as copy:
        for row in rows:
            copy.write_row(row)


def _written(connection: Connection, statement: Executable) -> int:
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount


def _check(does: str, expected: Mapping[str, int], found: int) -> None:
    wanted = expected.get(does, 0)
    if found != wanted:
        raise StalePlan(
            f"{wanted - found} of {counted(wanted, 'account')} to {does} are no longer as the plan found them: nothing"
            " was written, plan again"
        )


def as_planned() -> ColumnElement[bool]:
    """Whether a row of `coverage` is the planned account's and stands where the plan found it."""
    return and_(
        coverage.c.account_id == planned.c.account_id,
        coverage.c.band == planned.c.from_band,
        coverage.c.owner_id.is_not_distinct_from(planned.c.from_owner_id),
    )


def delete_left() -> Executable:
    """Accounts that left have no coverage."""
    return delete(coverage).where(planned.c.does == LEAVE, as_planned())


def update_changed(as_of: datetime) -> Executable:
    """Accounts that move or change hands have their new band, owner, memory and place on the waitlist."""
    now = literal(as_of, Instant)
    moves, changes_hands = planned.c.move.is_not(None), planned.c.why.is_not(None)
    owned = planned.c.to_owner_id.is_not(None)
    values: dict[str, Any] = {
        "band": planned.c.to_band,
        "band_since": case((moves, now), else_=coverage.c.band_since),
        "band_rule": case((moves, planned.c.rule), else_=coverage.c.band_rule),
        "owner_id": planned.c.to_owner_id,
        "owner_since": case((not_(changes_hands), coverage.c.owner_since), (owned, now)),
        "first_owned_at": case((owned, func.coalesce(coverage.c.first_owned_at, now)), else_=coverage.c.first_owned_at),
        "waiting_since": planned.c.waiting_since,
    }
    for name, column in remembered().items():
        values[name] = case((planned.c.state.is_(None), coverage.c[name]), else_=column)
    return update(coverage).where(planned.c.does == CHANGE, as_planned()).values(values)


def update_noted() -> Executable:
    """What the rules remember of accounts that stay is as decided; a row that is so already is not written."""
    new: dict[str, Any] = {
        name: case((planned.c.state.is_(None), coverage.c[name]), else_=column) for name, column in remembered().items()
    }
    new["waiting_since"] = func.coalesce(planned.c.waiting_since, coverage.c.waiting_since)
    differs = or_(*(coverage.c[name].is_distinct_from(value) for name, value in new.items()))
    return update(coverage).where(planned.c.does == NOTE, as_planned(), differs).values(new)


def count_noted() -> Executable:
    """How many accounts with something to remember stand where the plan found them."""
    return select(func.count()).select_from(planned.join(coverage, as_planned())).where(planned.c.does == NOTE)


def insert_entered(as_of: datetime) -> Executable:
    """Accounts that enter have their coverage, unless they have one already."""
    now = literal(as_of, Instant)
    owned = case((planned.c.to_owner_id.is_not(None), now))
    values: dict[str, Any] = {
        "account_id": planned.c.account_id,
        "band": planned.c.to_band,
        "band_since": now,
        "band_rule": planned.c.rule,
        "owner_id": planned.c.to_owner_id,
        "owner_since": owned,
        "first_owned_at": owned,
        "waiting_since": planned.c.waiting_since,
        **remembered(),
    }
    entered = select(*values.values()).where(planned.c.does == ENTER)
    return upsert(coverage).from_select(list(values), entered).on_conflict_do_nothing()


def insert_band_history(run_id: UUID, plan: Plan) -> Executable:
    """Every move is history."""
    values: dict[str, Any] = {
        **{name: planned.c[name] for name in ("account_id", "from_band", "to_band", "move", "rule", "reason", "value")},
        "evidence": planned.c.evidence,
        "from_owner_id": planned.c.from_owner_id,
        "to_owner_id": planned.c.to_owner_id,
        "run_id": literal(run_id, runs.c.run_id.type),
        "changed_at": literal(plan.as_of, Instant),
        "policy_sha": literal(plan.policy_sha),
    }
    return insert(band_history).from_select(list(values), select(*values.values()).where(planned.c.move.is_not(None)))


def insert_owner_history(run_id: UUID, as_of: datetime) -> Executable:
    """Every change of owner is history."""
    values: dict[str, Any] = {
        **{name: planned.c[name] for name in ("account_id", "from_owner_id", "to_owner_id", "why")},
        "reason": planned.c.owner_reason,
        "run_id": literal(run_id, runs.c.run_id.type),
        "changed_at": literal(as_of, Instant),
    }
    return insert(owner_history).from_select(list(values), select(*values.values()).where(planned.c.why.is_not(None)))


def remembered() -> dict[str, ColumnElement[Any]]:
    """The columns of `coverage` as the planned state has them; what it leaves out is NULL, or false."""
    state = planned.c.state
    return {
        **{name: cast(state[name].astext, sql_type) for name, sql_type in _REMEMBERED.items()},
        "pending": state["pending"],
        "has_risen": func.coalesce(cast(state["has_risen"].astext, Boolean), False),
    }


def _release_the_pool(connection: Connection, policy: Policy) -> None:
    """No account of a pooled band waits for an owner, whatever the policy was when it began to."""
    pooled = literal([band.name for band in policy.bands if band.pooled], ARRAY(Text))
    waits = coverage.c.waiting_since.is_not(None)
    connection.execute(update(coverage).where(waits, coverage.c.band == any_(pooled)).values(waiting_since=None))


def _tell(connection: Connection, plan: Plan, policy: Policy, run_id: UUID) -> None:
    """The outbox has a digest for each CSM whose book changes, and a summary if anything changes at all."""
    digests = select_digests(planned, policy, run_id, plan.as_of)
    connection.execute(insert(outbox).from_select([column.name for column in digests.selected_columns], digests))
    if plan.changes:
        connection.execute(insert(outbox), [summary(plan, policy, run_id, partial(read_names, connection))])
