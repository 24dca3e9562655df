"""Statements that yield what breaks an invariant, and the parts they are made of."""

from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, Text, cast, func, literal, select, union_all

from app.tables import runs

Offenders = Select[str, str]
"""A statement of two columns: the `id` of something that breaks an invariant, and `what` is wrong with it."""


def offender(id_: ColumnElement[Any], *what: ColumnElement[Any] | str) -> Offenders:
    """The start of a statement that yields offenders; `what` is put together of texts, none of them NULL."""
    parts = [literal(part, Text) if isinstance(part, str) else part for part in what]
    return select(cast(id_, Text).label("id"), func.concat(*parts, type_=Text).label("what"))


def all_of(*offenders: Offenders) -> Offenders:
    """All offenders of several statements."""
    both = union_all(*offenders).subquery("both")
    return select(both.c.id, both.c.what)


def or_none(name: ColumnElement[Any]) -> ColumnElement[Any]:
    """The name, or the word none."""
    return func.coalesce(name, "none")


def number(count: ColumnElement[Any]) -> ColumnElement[Any]:
    """The count as text; no rows are 0."""
    return cast(func.coalesce(count, 0), Text)


def per_run(run_id: ColumnElement[Any], where: ColumnElement[bool], name: str) -> FromClause:
    """How many `rows` of a table each run has `where` something is so; runs that have none are missing."""
    return select(run_id.label("run_id"), func.count().label("rows")).where(where).group_by(run_id).subquery(name)


def beside(*per_run: FromClause) -> FromClause:
    """Every run of the ledger with its row of each of these, or NULL."""
    joined: FromClause = runs
    for rows in per_run:
        joined = joined.outerjoin(rows, rows.c.run_id == runs.c.run_id)
    return joined
