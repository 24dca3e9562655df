"""Cycles among parents, found by pointer doubling.

Every account with a parent points at it. In each round an account whose pointer leaves the set is finished (its
chain ends), and every other pointer jumps to where the account it points at points: chains of any depth are
followed in about log2(depth) rounds, so that a file whose accounts all hang in one long chain costs no more than a
flat one. What is left when a round finishes nobody leads into a cycle. After as many more jumps as it takes to pass
every account left, all pointers point into cycles, and each account of a cycle is pointed at.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    Select,
    Table,
    Text,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    union_all,
    update,
)

from app.load.layout import Layout
from app.tables import Id, accounts


def rows_in_cycles(connection: Connection, layout: Layout, staged: Table) -> Iterator[Select[Any]]:
    """A check that finds the staged accounts that would be in a cycle of parents after the load; none without one."""
    hops = _make_hops(connection, staged)
    try:
        found = _follow(connection, hops)
        if found:
            yield _cyclic(layout, staged, hops)
    finally:
        hops.drop(connection)


def _make_hops(connection: Connection, staged: Table) -> Table:
    """A temporary table with every account that will have a parent, and that parent."""
    hops = Table(
        "load_hops",
        MetaData(),
        Column("account_id", Id, primary_key=True),
        Column("up", Id, nullable=False),
        prefixes=["TEMPORARY"],
        postgresql_on_commit="DROP",
    )
    hops.create(connection)
    in_file = exists(select(literal(1)).where(staged.c.account_id == accounts.c.account_id))
    edges = union_all(
        select(staged.c.account_id, staged.c.parent_id).where(staged.c.parent_id.is_not(None)),
        select(accounts.c.account_id, accounts.c.parent_id).where(accounts.c.parent_id.is_not(None), ~in_file),
    )
    connection.execute(insert(hops).from_select(["account_id", "up"], edges))
    return hops


def _follow(connection: Connection, hops: Table) -> bool:
    """Whether there is a cycle; then every account left points into one, and each account of a cycle is pointed at."""
    ahead = hops.alias("ahead")
    finished = delete(hops).where(~exists(select(literal(1)).where(ahead.c.account_id == hops.c.up)))
    jump = update(hops).where(ahead.c.account_id == hops.c.up).values(up=ahead.c.up)
    while connection.execute(finished).rowcount:
        connection.execute(jump)
    left = connection.scalar(select(func.count()).select_from(hops)) or 0
    for _ in range(left.bit_length()):
        connection.execute(jump)
    return left > 0


def _cyclic(layout: Layout, staged: Table, hops: Table) -> Select[Any]:
    in_cycle = exists(select(literal(1)).where(hops.c.up == staged.c.account_id))
    return select(
        staged.c.line,
        literal(layout.label("parent_id"), Text).label("column_name"),
        cast(staged.c.parent_id, Text).label("value"),
        (literal("closes a cycle: it has ", Text) + staged.c.account_id + literal(" above itself", Text)).label(
            "reason"
        ),
    ).where(in_cycle)
