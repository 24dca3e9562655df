"""How a migration runs: in a transaction of its own, and giving up on a lock before a queue forms behind it."""

from alembic import context
from sqlalchemy import Connection, text

from app.database import make_engine, parse_url
from app.errors import Mistake
from app.migrate import VERSION_TABLE
from app.settings import load_settings
from app.tables import metadata

TIMEOUTS = (
    "SET lock_timeout = '4s'",
    "SET statement_timeout = '10min'",
    "SET TimeZone = 'UTC'",
)


def run_offline() -> None:
    """The SQL is on stdout; no server was asked."""
    context.configure(
        dialect_name="postgresql",
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        transaction_per_migration=True,
    )
    for statement in TIMEOUTS:
        context.execute(statement)
    context.run_migrations()


def run_online(connection: Connection) -> None:
    """The migrations asked for are applied through `connection`, each committed before the next."""
    for statement in TIMEOUTS:
        connection.execute(text(statement))
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        transaction_per_migration=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_from_the_shell() -> None:
    """A developer ran `alembic`: the database is DATABASE_URL's."""
    url = load_settings().database_url
    if url is None:
        raise Mistake("set DATABASE_URL to the database that alembic should work on")
    engine = make_engine(parse_url(url))
    try:
        with engine.connect() as connection:
            run_online(connection)
    finally:
        engine.dispose()


if context.is_offline_mode():
    run_offline()
elif (given := context.config.attributes.get("connection")) is not None:
    run_online(given)
else:
    run_from_the_shell()
