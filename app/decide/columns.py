"""The policy against the live columns: every mistake told before anything runs."""

from collections.abc import Iterable

from sqlalchemy import Column as TableColumn
from sqlalchemy import Connection, Table, inspect
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.engine.reflection import ObjectKind, ObjectScope

from app import tables
from app.errors import Mistake, Problem

_DIALECT = psycopg.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves its dialects untyped

_KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("number", ("INTEGER", "BIGINT", "SMALLINT", "NUMERIC", "DOUBLE PRECISION", "REAL", "FLOAT", "DECIMAL")),
    ("text", ("TEXT", "VARCHAR", "CHAR", "BPCHAR", "UUID", "NAME")),
    ("instant", ("TIMESTAMP",)),
    ("date", ("DATE",)),
    ("boolean", ("BOOLEAN",)),
    ("jsonb", ("JSONB",)),
)


def check_columns(connection: Connection) -> None:
    """`accounts`, `account_signals`, `csms` and `csm_absences` have every column, of a type that we can read.

    They may be views over a user's own tables. Raises Mistake with every column that is missing or of another kind.
    """
    read = (tables.accounts, tables.account_signals, tables.csms, tables.csm_absences)
    names = [table.name for table in read]
    live = inspect(connection).get_multi_columns(filter_names=names, kind=ObjectKind.ANY, scope=ObjectScope.ANY)
    problems = [problem for table in read for problem in _compare(table, live.get((None, table.name)))]
    if problems:
        raise Mistake(
            "the tables that bandshift reads do not have the columns it needs (see docs/loading.md):", problems
        )


def _compare(table: Table, columns: Iterable[ReflectedColumn] | None) -> Iterable[Problem]:
    if columns is None:
        yield Problem(table.name, "there is no such table or view")
        return
    live = {column["name"]: str(column["type"]) for column in columns}
    for column in table.columns:
        if column.name not in live:
            yield Problem(f"{table.name}.{column.name}", "this column is missing")
        elif (has := _kind(live[column.name])) != (wants := _kind(_type_of(column))):
            yield Problem(
                f"{table.name}.{column.name}", f"is of type {live[column.name]} ({has}); it must be a {wants}"
            )


def _type_of(column: "TableColumn[object]") -> str:
    return str(column.type.compile(dialect=_DIALECT))


def _kind(sql_type: str) -> str:
    """The family of an SQL type, by the start of its name; the name itself when it is in none."""
    if sql_type.endswith("[]") or sql_type == "ARRAY":
        return "list"
    return next((kind for kind, starts in _KINDS if sql_type.startswith(starts)), sql_type)
