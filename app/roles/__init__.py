"""The database's roles: an owner that migrates, an app that runs, a loader that writes facts, a reader that asks.

Roles belong to the server and not to one database, so a second database on it takes another prefix. They are made
without a login; whoever runs the server gives them one, or makes logins of its own members of them.

Migrations add tables, so every upgrade ends with granting anew (`grant_again`): no default privilege could tell a
history from an outbox.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

import psycopg
from psycopg import sql
from sqlalchemy import Connection, func, literal, select, text
from sqlalchemy.exc import DBAPIError

from app.errors import Mistake
from app.roles import statements
from app.roles.grants import FACTS, OURS, ROLES, Role, listed

PREFIX = "bandshift"
LOCK_KEY = 0x62616E64_6D696772
"""The advisory lock of whoever changes the schema or the rights to it: `bandmigr` in ASCII."""

_LONGEST_PREFIX = 40


def role_names(prefix: str = PREFIX) -> Mapping[Role, str]:
    """The names of the roles. Raises Mistake for a prefix that is no plain name."""
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", prefix) or len(prefix) > _LONGEST_PREFIX or prefix.startswith("pg_"):
        raise Mistake(
            f"--prefix {prefix!r} is no name for roles: lower-case letters, digits and _, at most {_LONGEST_PREFIX},"
            " and not pg_, which is PostgreSQL's own"
        )
    return {role: f"{prefix}_{role}" for role in ROLES}


def script(prefix: str = PREFIX, schema: str | None = None) -> str:
    """The SQL that makes the roles and grants them what they need, in a transaction of its own.

    It works in the first schema of the search path or, if `schema` is given, in that one, which is made if need be.
    """
    return (statements.HEAD + statements.BEGIN + _steps(prefix, schema) + statements.COMMIT).as_string()


def apply(connection: Connection, prefix: str = PREFIX, schema: str | None = None) -> tuple[str, ...]:
    """The roles are there and may do what they must; returns what somebody else has to grant. Nothing is committed.

    The session's user is a superuser, or may create roles and owns the schema and the tables in it; Mistake otherwise.
    """
    left: list[str] = []

    def note(notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            left.append(notice.message_primary or "")

    driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    driver.add_notice_handler(note)
    try:
        _run(connection, _steps(prefix, schema))
    except DBAPIError as error:
        raise _foreseen(error) from error
    finally:
        driver.remove_notice_handler(note)
    return tuple(left)


def _foreseen(error: DBAPIError) -> Exception:
    match error.orig:
        case psycopg.errors.InsufficientPrivilege():
            return Mistake(
                f"the database's user may not make the roles: {error.orig.diag.message_primary}; it takes a superuser,"
                " or one who may create roles and owns the database. `bandshift db roles` prints the SQL to hand over"
            )
        case psycopg.errors.InvalidGrantOperation() | psycopg.errors.InvalidSchemaName():
            return Mistake(f"{error.orig.diag.message_primary}; nothing was changed")
        case _:
            return error


def grant_again(connection: Connection) -> None:
    """The other roles of this owner's prefix may use every table as they should; nothing is committed here.

    Does nothing when the session's user is no owner by its name, as when nobody has made the roles.
    """
    user: str = connection.execute(select(func.current_user())).scalar_one()
    prefix = user.removesuffix("_owner")
    if prefix != user:
        _run(connection, _grants({role: f"{prefix}_{role}" for role in ROLES}))


def become_owner(connection: Connection, table: str) -> None:
    """The transaction's session acts as the role that owns `table`, if it is there and its user a member of that role.

    So whoever of them migrates, what they make belongs to the same role.
    """
    owner = connection.execute(
        text(
            "SELECT pg_get_userbyid(relowner) FROM pg_catalog.pg_class"
            " WHERE oid = to_regclass(:table) AND pg_has_role(relowner, 'MEMBER')"
        ),
        {"table": table},
    ).scalar_one_or_none()
    if owner is not None:
        connection.execute(select(func.set_config("role", owner, literal(value=False))))


def _steps(prefix: str, schema: str | None) -> sql.Composed:
    names = role_names(prefix)
    owner = sql.Literal(names["owner"])
    made = statements.MAKE.format(
        lock=sql.Literal(LOCK_KEY),
        roles=_array(names.values()),
        owner=owner,
        limited=_array(names[role] for role in ROLES if role != "owner"),
        staging=_array(names[role] for role in ROLES if role != "reader"),
        ours=_array(OURS),
        facts=_array(FACTS),
    )
    chosen = statements.IN_SCHEMA.format(schema=sql.Identifier(schema)) if schema is not None else sql.Composed([])
    return chosen + made + _grants(names) + statements.GIVE_BACK.format(owner=owner)


def _grants(names: Mapping[Role, str]) -> sql.Composed:
    rows = [
        sql.SQL("({}, {}, {})").format(*map(sql.Literal, (names[role], table, privileges)))
        for role, table, privileges in listed()
    ]
    return statements.GRANT.format(
        tables=_array((*FACTS, *OURS)),
        limited=_array(names[role] for role in ROLES if role != "owner"),
        grants=sql.SQL(",\n            ").join(rows),
    )


def _array(names: Iterable[str]) -> sql.Composed:
    return sql.SQL("ARRAY[{}]").format(sql.SQL(", ").join(map(sql.Literal, names)))


def _run(connection: Connection, composed: sql.Composed) -> None:
    connection.execution_options(no_parameters=True).exec_driver_sql(composed.as_string())
