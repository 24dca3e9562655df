"""A database whose roles may log in, and what the server says of their rights."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import URL, Engine, text

from app import roles
from app.roles.grants import ROLES
from tests.conftest import engine_on

PASSWORD = "of-a-test"  # noqa: S105 - it is thrown away


@dataclass(frozen=True)
class Guarded:
    """A database whose roles may log in."""

    url: URL
    prefix: str

    def url_of(self, role: str) -> URL:
        return self.url.set(username=f"{self.prefix}_{role}", password=PASSWORD)

    @contextmanager
    def engine(self, role: str) -> Iterator[Engine]:
        with engine_on(self.url_of(role)) as engine:
            yield engine


def run_all(url: URL, *statements: str) -> None:
    with engine_on(url) as engine, engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        for statement in statements:
            connection.execute(text(statement))


def let_in(url: URL, prefix: str) -> Guarded:
    """The roles are made, by the server's own user, and may log in."""
    with engine_on(url) as engine, engine.begin() as connection:
        assert roles.apply(connection, prefix) == ()
    run_all(url, *(f"ALTER ROLE {prefix}_{role} LOGIN PASSWORD '{PASSWORD}'" for role in ROLES))
    return Guarded(url, prefix)


def owners(url: URL) -> dict[str, str]:
    """Whose each table and view of the database is."""
    with engine_on(url) as engine, engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT relname, pg_get_userbyid(relowner) FROM pg_class"
                " WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v')"
            )
        )
        return {name: owner for name, owner in rows}  # noqa: C416 - rows are no pairs to mypy


def rights(url: URL) -> list[tuple[object, ...]]:
    """Every right to a table, a column or a schema that was granted to anybody."""
    statement = text("""
        SELECT 'table', relname::text, acl.grantee::regrole::text, acl.privilege_type
        FROM pg_class, aclexplode(relacl) AS acl WHERE relnamespace = current_schema()::regnamespace
        UNION ALL
        SELECT 'column', attrelid::regclass || '.' || attname, acl.grantee::regrole::text, acl.privilege_type
        FROM pg_attribute, aclexplode(attacl) AS acl WHERE attrelid::regclass::text !~ '^pg_'
        UNION ALL
        SELECT 'schema', nspname::text, acl.grantee::regrole::text, acl.privilege_type
        FROM pg_namespace, aclexplode(nspacl) AS acl WHERE nspname = current_schema()
        ORDER BY 1, 2, 3, 4
    """)
    with engine_on(url) as engine, engine.connect() as connection:
        return [tuple(row) for row in connection.execute(statement)]
