"""Staging: rows go by COPY into a temporary table of their columns, and from there into the table proper.

A staging table has the dataset's own columns and types, with the line each row starts on as its key. Bad rows of
every dataset are kept in one more temporary table, so that memory is bounded however many there are. All of them
end with the transaction.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, cast

from psycopg import Connection as DriverConnection
from psycopg import sql
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Delete,
    Insert,
    MetaData,
    Select,
    Table,
    Text,
    Update,
    and_,
    delete,
    distinct,
    exists,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    update,
)

from app.load.convert import NULL, escaped
from app.load.datasets import Dataset, DatasetName
from app.load.layout import Layout
from app.load.outcome import BadRow
from app.tables import Id, Instant

bad_rows = Table(
    "load_bad_rows",
    MetaData(),
    Column("dataset", Text, nullable=False),
    Column("line", BigInteger, nullable=False),
    Column("column_name", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("row_id", Id),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DROP",
)

_COUNTED = {"preserve_rowcount": True}
"""SQLAlchemy counts the rows of an INSERT only when asked."""


def staging_table(layout: Layout) -> Table:
    """The staging table of one file, as a value: the line, then our columns that the file brings."""
    columns = layout.dataset.table.c
    return Table(
        f"load_{layout.dataset.name}",
        MetaData(),
        Column("line", BigInteger, primary_key=True, autoincrement=False),
        *(Column(name, columns[name].type) for name in layout.names),
        prefixes=["TEMPORARY"],
        postgresql_on_commit="DROP",
    )


def copy_rows(connection: Connection, staged: Table, block: str) -> None:
    """The rows of `block`, as COPY's text format writes them, are in `staged`."""
    _copy(connection, staged.name, staged.columns.keys(), block)


def copy_bad_rows(connection: Connection, rows: Iterable[BadRow]) -> None:
    """The bad rows are kept."""
    lines = [
        "\t".join(
            (
                row.dataset,
                str(row.line),
                escaped(row.column),
                escaped(row.value),
                escaped(row.reason),
                NULL if row.row_id is None else escaped(row.row_id),
            )
        )
        + "\n"
        for row in rows
    ]
    _copy(connection, bad_rows.name, bad_rows.columns.keys(), "".join(lines))


def _copy(connection: Connection, table: str, columns: Sequence[str], block: str) -> None:
    if not block:
        return
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    driver = cast("DriverConnection[Any]", connection.connection.driver_connection)
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(block)


def analyze(connection: Connection, table: Table) -> None:
    """The planner knows what `table` holds; autovacuum never sees what this transaction has written."""
    driver = cast("DriverConnection[Any]", connection.connection.driver_connection)
    with driver.cursor() as cursor:
        cursor.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table.name)))


def reject(connection: Connection, dataset: Dataset, staged: Table, rejected: Select[Any]) -> int:
    """The rows that `rejected` selects (line, column, value, reason) are bad and staged no more; returns how many."""
    found = rejected.subquery()
    row_id = staged.c[dataset.key[0]] if dataset.name in ("accounts", "csms") else literal(None, Id)
    names = ("dataset", "line", "column_name", "value", "reason", "row_id")
    moved = (
        select(
            literal(dataset.name, Text),
            found.c.line,
            found.c.column_name,
            func.left(func.coalesce(found.c.value, ""), 200),
            found.c.reason,
            row_id,
        )
        .select_from(found.join(staged, staged.c.line == found.c.line))
        .order_by(found.c.line)
    )  # fmt: skip
    if not connection.execute(insert(bad_rows).from_select(names, moved), execution_options=_COUNTED).rowcount:
        return 0
    return connection.execute(delete_bad(dataset.name, staged)).rowcount


def delete_bad(dataset: DatasetName, staged: Table) -> Delete:
    """Takes the bad rows of `dataset` out of its staging table."""
    return delete(staged).where(staged.c.line.in_(select(bad_rows.c.line).where(bad_rows.c.dataset == dataset)))


def merge(connection: Connection, layout: Layout, staged: Table, *, instant: datetime) -> tuple[int, int]:
    """The table holds every staged row; returns how many were inserted and how many updated.

    Rows that are equal already are not touched.
    """
    updated = connection.execute(update_differing(layout, staged, instant)).rowcount
    inserted = connection.execute(insert_missing(layout, staged, instant), execution_options=_COUNTED).rowcount
    return inserted, updated


def update_differing(layout: Layout, staged: Table, instant: datetime) -> Update:
    """Brings every row that is there already up to what is staged, where the two differ."""
    dataset = layout.dataset
    table = dataset.table
    values = {name: _new_value(layout, staged, name) for name in layout.names if name not in dataset.key}
    differs = or_(false(), *(table.c[name].is_distinct_from(value) for name, value in values.items()))
    if not values:
        # Nothing but the key: a row that is there has nothing to learn.
        values = {name: table.c[name] for name in dataset.key}
    return update(table).where(_same_row(dataset, staged), differs).values({**values, **_stamp(table, instant)})


def insert_missing(layout: Layout, staged: Table, instant: datetime) -> Insert:
    """Adds every staged row that is not there yet."""
    table = layout.dataset.table
    stamp = _stamp(table, instant)
    there = exists(select(literal(1)).select_from(table).where(_same_row(layout.dataset, staged)))
    rows = select(*(staged.c[name] for name in layout.names), *stamp.values()).where(~there)
    return insert(table).from_select([*layout.names, *stamp], rows)


def _same_row(dataset: Dataset, staged: Table) -> ColumnElement[bool]:
    return and_(*(dataset.table.c[name] == staged.c[name] for name in dataset.key))


def _stamp(table: Table, instant: datetime) -> dict[str, ColumnElement[Any]]:
    return {"synced_at": literal(instant, Instant)} if "synced_at" in table.c else {}


def _new_value(layout: Layout, staged: Table, name: str) -> ColumnElement[Any]:
    """What a column becomes. Attributes that the file does not bring stay; those it brings empty go."""
    if name != "attributes" or not layout.attributes:
        return staged.c[name]
    brought = literal([target.field.name for target in layout.attributes], ARRAY(Text))
    return cast("ColumnElement[Any]", layout.dataset.table.c.attributes.op("-")(brought)).op("||")(staged.c[name])


def count_bad(dataset: DatasetName) -> Select[int]:
    """How many rows of `dataset` are bad."""
    return select(func.count(distinct(bad_rows.c.line))).where(bad_rows.c.dataset == dataset)


def select_bad(dataset: DatasetName) -> Select[Any]:
    """What is wrong with the rows of `dataset`, in the order of its lines."""
    bad = bad_rows.c
    return select(bad_rows).where(bad.dataset == dataset).order_by(bad.line, bad.column_name, bad.reason, bad.value)


def count_rows(staged: Table) -> Select[int]:
    """How many rows are staged."""
    return select(func.count()).select_from(staged)


def views_among(connection: Connection, datasets: Iterable[Dataset]) -> list[str]:
    """The tables of these datasets in whose place the user has put a view; nothing can be loaded into those."""
    kind = text("SELECT relkind IN ('v', 'm') FROM pg_catalog.pg_class WHERE oid = to_regclass(:table)")
    names = [dataset.table.name for dataset in datasets]
    return [name for name in names if connection.scalar(kind, {"table": name})]
