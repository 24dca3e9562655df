"""Rows of a statement, streamed.

A server-side cursor would keep memory flat too, but Postgres plans it for the first rows and never in parallel. The
`stream` of psycopg runs the plan of the whole result and hands the rows over in chunks.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, cast

import psycopg
from sqlalchemy import Compiled, Connection, Dialect, Select

CHUNK_ROWS = 1000

_NONE: Mapping[str, Any] = MappingProxyType({})


def stream_rows(
    connection: Connection, statement: Select[Any] | Compiled, parameters: Mapping[str, Any] = _NONE
) -> Iterator[tuple[Any, ...]]:
    """The statement's rows as plain tuples, in the connection's transaction; `parameters` are those it left open."""
    ready = statement if isinstance(statement, Compiled) else compiled(connection, statement)
    driver: psycopg.Connection[Any] = cast("Any", connection.connection.driver_connection)
    with driver.cursor() as cursor:
        yield from cursor.stream(str(ready), {**ready.params, **parameters}, size=CHUNK_ROWS)


def compiled(connection: Connection, statement: Select[Any]) -> Compiled:
    """The statement as text, to be streamed more than once: to make the text of a long one takes its time."""
    return _compiled(connection.dialect, statement)


@lru_cache(maxsize=16)
def _compiled(dialect: Dialect, statement: Select[Any]) -> Compiled:
    """By the statement itself, not by what it says: one that is made once is written once."""
    return statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
