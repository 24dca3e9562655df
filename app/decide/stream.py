"""Rows of a statement, streamed.

A server-side cursor would keep memory flat too, but Postgres plans it for the first rows and never in parallel. The
`stream` of psycopg runs the plan of the whole result and hands the rows over in chunks.
"""

from collections.abc import Iterator
from typing import Any, cast

import psycopg
from sqlalchemy import Connection, Select

CHUNK_ROWS = 1000


def stream_rows(connection: Connection, statement: Select[Any]) -> Iterator[tuple[Any, ...]]:
    """The statement's rows as plain tuples, inside the connection's transaction."""
    compiled = statement.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
    driver: psycopg.Connection[Any] = cast("Any", connection.connection.driver_connection)
    with driver.cursor() as cursor:
        yield from cursor.stream(str(compiled), compiled.params, size=CHUNK_ROWS)
