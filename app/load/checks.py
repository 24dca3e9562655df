"""Checks across rows, as set-based SQL: what no row can tell by itself.

Each check is a SELECT of (line, column_name, value, reason) over the staging table; `check` runs those of one
dataset and takes the rows they find out of it. Taking a row out can make another one bad (a child of a parent that
is bad), so the checks of parents are repeated until they find nothing.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Table,
    Text,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    union_all,
    update,
)

from app.load.cycles import rows_in_cycles
from app.load.datasets import DATASETS, Referred
from app.load.layout import Layout
from app.load.mapping import By
from app.load.stage import bad_rows, reject
from app.policy.model import Policy

Rejected = Select[Any]


def check(connection: Connection, layout: Layout, staged: Table, policy: Policy | None) -> None:
    """Every staged row that is left fits the others, the tables and the policy; the rest are bad rows."""
    dataset = layout.dataset
    for column, by in layout.lookups.items():
        _look_up(connection, layout, staged, column, by)
    reject(connection, dataset, staged, repeated(layout, staged))
    for rejected in _checks(layout, staged, policy):
        reject(connection, dataset, staged, rejected)
    if dataset.name == "accounts" and "parent_id" in staged.c:
        while _check_parents(connection, layout, staged):
            pass


def _checks(layout: Layout, staged: Table, policy: Policy | None) -> Iterator[Rejected]:
    """The checks of one dataset besides those of its ids and parents, in the order they are made."""
    match layout.dataset.name:
        case "csms":
            if "email" in staged.c:
                yield repeated_email(layout, staged)
                yield email_of_another(layout, staged)
            if policy is not None:
                yield unknown_bands(layout, staged, policy)
        case "accounts":
            if "currency" in staged.c and layout.conversion is None:
                yield minority_currencies(layout, staged)
        case "signals":
            yield unknown(layout, staged, "account_id", "accounts")
        case "absences":
            yield unknown(layout, staged, "csm_id", "csms")
            yield backwards(layout, staged)
        case "coverage":
            yield unknown(layout, staged, "account_id", "accounts")
            if "owner_id" in staged.c:
                yield unknown(layout, staged, "owner_id", "csms")


def _check_parents(connection: Connection, layout: Layout, staged: Table) -> int:
    """Rejects accounts whose parent is unknown or below them; returns how many."""
    found = reject(connection, layout.dataset, staged, own_parent(layout, staged))
    found += reject(connection, layout.dataset, staged, unknown(layout, staged, "parent_id", "accounts"))
    for rejected in rows_in_cycles(connection, layout, staged):
        found += reject(connection, layout.dataset, staged, rejected)
    return found


def bad(layout: Layout, staged: Table, column: str, reason: ColumnElement[str] | str) -> Rejected:
    """The frame of a check: line, column, value and reason, still of every staged row."""
    return select(
        staged.c.line,
        literal(layout.label(column), Text).label("column_name"),
        cast(staged.c[column], Text).label("value"),
        (literal(reason, Text) if isinstance(reason, str) else reason).label("reason"),
    )


def repeated(layout: Layout, staged: Table) -> Rejected:
    """Rows whose key stands on an earlier line already."""
    key = [staged.c[name] for name in layout.dataset.key]
    first = (
        select(*key, func.min(staged.c.line).label("first_line"))
        .group_by(*key)
        .having(func.count() > 1)
        .subquery("first")
    )
    same = and_(*(staged.c[name] == first.c[name] for name in layout.dataset.key))
    reason = literal("is already on line ", Text) + cast(first.c.first_line, Text)
    if len(key) > 1:
        reason += literal(f", with the same {layout.label(layout.dataset.key[0])}", Text)
    return (
        bad(layout, staged, layout.dataset.key[-1], reason)
        .select_from(staged.join(first, and_(same, staged.c.line > first.c.first_line)))
    )  # fmt: skip


def unknown(layout: Layout, staged: Table, column: str, referred: Referred) -> Rejected:
    """Rows that refer to an id which is neither in the tables nor, for a parent, in the file."""
    target = DATASETS[referred]
    key = target.key[0]
    value = staged.c[column]
    known: ColumnElement[bool] = exists(select(literal(1)).where(target.table.c[key] == value))
    if layout.dataset.name == referred:
        other = staged.alias("other")
        known = or_(known, exists(select(literal(1)).where(other.c[key] == value)))
    is_bad = exists(select(literal(1)).where(bad_rows.c.dataset == referred, bad_rows.c.row_id == value))
    noun = "account" if referred == "accounts" else "CSM"
    reason = case(
        (
            is_bad,
            literal(f"is an {noun} whose own row is bad" if noun == "account" else "is a CSM whose own row is bad"),
        ),
        else_=literal(f"is the id of no {noun} that is loaded"),
    )
    return bad(layout, staged, column, reason).where(value.is_not(None), not_(known))


def own_parent(layout: Layout, staged: Table) -> Rejected:
    """Accounts that are their own parent."""
    return bad(layout, staged, "parent_id", "is the account itself, which cannot be its own parent").where(
        staged.c.parent_id == staged.c.account_id
    )


def repeated_email(layout: Layout, staged: Table) -> Rejected:
    """CSMs whose e-mail address, in whatever case, an earlier line has."""
    address = func.lower(staged.c.email)
    first = select(address.label("address"), func.min(staged.c.line).label("line")).group_by(address).subquery("first")
    reason = literal("is already the e-mail address of the CSM on line ", Text) + cast(first.c.line, Text)
    return bad(layout, staged, "email", reason).select_from(
        staged.join(first, and_(first.c.address == address, staged.c.line > first.c.line))
    )


def email_of_another(layout: Layout, staged: Table) -> Rejected:
    """CSMs whose e-mail address another CSM has in the table, and keeps."""
    csms = DATASETS["csms"].table
    again = staged.alias("again")
    reason = literal("is already the e-mail address of CSM ", Text) + csms.c.csm_id
    return bad(layout, staged, "email", reason).select_from(
        staged.join(
            csms,
            and_(
                func.lower(csms.c.email) == func.lower(staged.c.email),
                csms.c.csm_id != staged.c.csm_id,
                not_(exists(select(literal(1)).where(again.c.csm_id == csms.c.csm_id))),
            ),
        )
    )


def unknown_bands(layout: Layout, staged: Table, policy: Policy) -> Rejected:
    """CSMs who serve a band that the policy does not have."""
    each = func.unnest(staged.c.bands).column_valued("band")
    names = [band.name for band in policy.bands]
    foreign = select(func.string_agg(each, "; ")).where(each.not_in(names)).scalar_subquery()
    found = bad(layout, staged, "bands", no_such_band(policy)).add_columns(foreign.label("foreign")).subquery("found")
    return select(found.c.line, found.c.column_name, found.c.foreign.label("value"), found.c.reason).where(
        found.c.foreign.is_not(None)
    )


def no_such_band(policy: Policy) -> str:
    """Why a band is bad, with those that there are."""
    return f"is no band of policy {policy.name}, which has {', '.join(band.name for band in policy.bands)}"


def minority_currencies(layout: Layout, staged: Table) -> Rejected:
    """Accounts whose currency is not the one that most of the file is in."""
    currency = staged.c.currency
    most = (
        select(currency)
        .where(currency.is_not(None))
        .group_by(currency)
        .order_by(func.count().desc(), currency)
        .limit(1)
        .scalar_subquery()
    )
    reason = (
        literal("is not the currency of most rows, ", Text)
        + most
        + literal("; give rates under accounts.currency in the mapping, or load each currency by itself", Text)
    )
    return bad(layout, staged, "currency", reason).where(currency != most)


def backwards(layout: Layout, staged: Table) -> Rejected:
    """Absences that end before they start."""
    reason = literal("is before the absence starts, on ", Text) + cast(staged.c.starts_on, Text)
    return bad(layout, staged, "ends_on", reason).where(staged.c.ends_on < staged.c.starts_on)


def _look_up(connection: Connection, layout: Layout, staged: Table, column: str, by: By) -> None:
    """The names (or e-mail addresses) in `column` are ids; rows whose name is unknown or not unique are bad."""
    dataset = layout.dataset
    referred = dataset.field[column].refers
    if referred is None:
        raise ValueError(f"{column} refers to nothing that could be looked up")
    known = _names(staged if dataset.name == referred else None, referred, by)
    value = _comparable(staged.c[column], by)
    plural = "accounts" if referred == "accounts" else "CSMs"
    noun = "e-mail address" if by == "email" else "name"
    missing = not_(exists(select(literal(1)).where(known.c.name == value)))
    what = "account" if referred == "accounts" else "CSM"
    reject(
        connection,
        dataset,
        staged,
        bad(layout, staged, column, f"is the {noun} of no {what} that is loaded").where(
            staged.c[column].is_not(None), missing
        ),
    )
    reason = literal(f"is the {noun} of ", Text) + cast(known.c.ids, Text) + literal(f" {plural}; give the id", Text)
    reject(
        connection,
        dataset,
        staged,
        bad(layout, staged, column, reason).select_from(
            staged.join(known, and_(known.c.name == value, known.c.ids > 1))
        ),
    )
    connection.execute(update(staged).where(known.c.name == value).values({column: known.c.id}))


def _names(staged: Table | None, referred: Referred, by: By) -> FromClause:
    """The known names (name, id, ids): of the file (`staged`) where it has them, else of the table."""
    target = DATASETS[referred]
    key = target.key[0]
    in_table = select(target.table.c[key].label("id"), _comparable(target.table.c[by], by).label("name"))
    sources: Sequence[Select[Any]] = [in_table]
    if staged is not None and by in staged.c:
        in_file = exists(select(literal(1)).where(staged.c[key] == target.table.c[key]))
        sources = [in_table.where(~in_file), select(staged.c[key], _comparable(staged.c[by], by))]
    every = union_all(*sources).subquery("every")
    return (
        select(every.c.name, func.min(every.c.id).label("id"), func.count().label("ids"))
        .where(every.c.name.is_not(null()))
        .group_by(every.c.name)
        .subquery("known")
    )


def _comparable(column: ColumnElement[str], by: By) -> ColumnElement[str]:
    """Names are compared as they are, e-mail addresses without regard to case."""
    return func.lower(column) if by == "email" else column
