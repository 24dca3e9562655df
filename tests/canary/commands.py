"""What the commands write, the database keeps, and the logs say."""

import io
import logging
import traceback
from datetime import UTC, datetime, timedelta

import psycopg
from sqlalchemy import text

from app import database, pipeline
from app.logs import configure_logs
from app.notify import deliver_due, outbox
from app.policy.read import default_policy
from tests.canary.faults import patched, raising
from tests.canary.story import NEXT_WEEK, Story
from tests.canary.surfaces import of_command, surface, try_in_vain

WEEK = NEXT_WEEK.isoformat()
DRY = ("recompute", "--dry-run", "--as-of", WEEK, "-v")

of_command("the settings as a table", "settings", proof="channels.hook")
of_command("the settings as JSON", "settings", "--format", "json", proof='"channels.hook.secret"')
of_command("the settings as CSV", "settings", "--format", "csv", proof="channels.mail.password,***")
of_command("the help", "--help", proof="Exit codes")
of_command("the help of a command", "recompute", "--help", proof="--as-of")
of_command("a report as a table", *DRY, proof="Dry run")
of_command("a report as JSON", *DRY, "--format", "json", proof='"sha256"')
of_command("a report as CSV", *DRY, "--format", "csv", proof="account_id,from_band")
of_command("the report of a run that is stopped", *DRY, "--policy", "tight.toml", proof="would stop", code=3)
of_command("the doctor", "doctor", "-v", proof="All holds")
of_command("the story of an account", "explain", "acc-0000001", "-v", proof="acc-0000001")
of_command("the history", "history", "-v", proof="changes")
of_command("the history as JSON", "history", "--format", "json", proof='"policy_sha"')
of_command("the pins", "pins", "-v", proof="pin")
of_command("the schema's version", "db", "status", proof="2026_")
of_command("the roles' script", "db", "roles", proof="bandshift_app")
of_command("the outbox", "outbox", "list", "-v", proof="HTTP 404", before=try_in_vain)
of_command("the outbox as JSON", "outbox", "list", "--format", "json", proof="SMTP 535", before=try_in_vain)
of_command("the outbox as CSV", "outbox", "list", "--format", "csv", proof="HTTP 404", before=try_in_vain)


of_command("the runs", "runs", "-v", proof="failed")
of_command("the runs as JSON", "runs", "--format", "json", proof='"error"')
of_command("the runs as CSV", "runs", "--format", "csv", proof="OperationalError")
of_command("how things stand", "status", "-v", "--policy", "tight.toml", proof="essages")
of_command("how things stand, as JSON", "status", "--format", "json", proof='"parked"')
of_command("an approval that comes too late", "approve", "latest", "--by", "a", "-v", proof="answered already", code=2)
of_command("an answer to a run that is not there", "reject", "ffff", "--by", "a", "-v", proof="run", code=2)
of_command("the metrics", "metrics", "-v", proof="bandshift_ledger_readable 1.0")


@surface("an approval", "Dry run")
def _(story: Story) -> str:
    told = story.told["approval"]
    assert (told.code, told.bug) == (0, None), told.err
    return told.out + told.err


surface("what a delivery that fails says", "message.postponed")(try_in_vain)


@surface("the database, every table of it", "HTTP 404")
def _(story: Story) -> str:
    try_in_vain(story)
    dump = dumped(story)
    assert all(name in dump for name in ("'runs'", "'deliveries'", "'outbox'", "'band_history'", "'policies'"))
    return dump


@surface("the errors in the ledger", "OperationalError")
def _(story: Story) -> str:
    with database.open_engine(story.settings) as engine, engine.connect() as connection:
        errors = connection.scalars(text("SELECT error FROM runs WHERE status = 'failed'")).all()
    assert len(errors) == 2
    return "\n".join(errors)


@surface("the errors of deliveries", "SMTP 535")
def _(story: Story) -> str:
    try_in_vain(story)
    with database.open_engine(story.settings) as engine, engine.connect() as connection:
        return "\n".join(
            connection.scalars(text("SELECT DISTINCT last_error FROM deliveries WHERE last_error IS NOT NULL"))
        )


@surface("what the server knows of our sessions", "bandshift")
def _(story: Story) -> str:
    with database.open_engine(story.settings) as engine, engine.connect() as connection:
        return str(connection.execute(text("SELECT * FROM pg_stat_activity")).all())


@surface("the logs for programs, at debug", '"event": "message.postponed"')
def _(story: Story) -> str:
    return logged(story, io.StringIO())


@surface("the logs for people, at debug", "message.postponed")
def _(story: Story) -> str:
    return logged(story, Terminal())


@surface("what the libraries log, at debug", "sqlalchemy.engine")
def _(story: Story) -> str:
    return logged(story, io.StringIO(), of_libraries=True)


@surface("the traceback of a bug", "ZeroDivisionError")
def _(story: Story) -> str:
    with patched(pipeline, "make_plan", raising(ZeroDivisionError("of the test"))):
        ended = story.run("recompute", "--dry-run", "-v")
    assert ended.bug is not None
    return ended.out + ended.err + "".join(traceback.format_exception(ended.bug))


@surface("an error of the driver that quotes the URL", "no luck with")
def _(story: Story) -> str:
    with patched(pipeline, "make_plan", raising(psycopg.OperationalError(f"no luck with {story.dsn}"))):
        ended = story.run("recompute", "--dry-run", "-v")
    assert ended.code == 1
    return ended.err


@surface("what the channels are sent", "run.summary")
def _(story: Story) -> str:
    """The body: a secret belongs into the request's first lines, and nowhere else."""
    return "\n".join(heard.partition("\n\n")[2] for heard in story.http.heard)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def logged(story: Story, stream: io.StringIO, *, of_libraries: bool = False) -> str:
    """What is logged of a run that is applied and of deliveries that fail."""
    story.http.status = 500
    with story.surrounded(story.environ):
        configure_logs(level=logging.DEBUG, stream=stream, colors=False)
        if of_libraries:
            logging.getLogger().setLevel(logging.DEBUG)
            logging.getLogger("sqlalchemy").setLevel(logging.DEBUG)
        with database.open_engine(story.settings) as engine:
            pipeline.recompute(engine, default_policy(), datetime.now(UTC), dry_run=True)
            with engine.begin() as connection:
                outbox.retry(connection, None, datetime.now(UTC), timedelta(hours=1))
            now = datetime.now(UTC)
            deliver_due(engine, story.settings, now, deadline=now + timedelta(minutes=1))
        logging.getLogger("sqlalchemy").setLevel(logging.NOTSET)
    return stream.getvalue()


def dumped(story: Story) -> str:
    """Every row of every table, under the table's name."""
    with database.open_engine(story.settings) as engine, engine.connect() as connection:
        names = connection.scalars(
            text("SELECT tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')")
        ).all()
        return "\n".join(
            f"{name!r} {row}"
            for name in names
            for row in connection.scalars(text(f'SELECT to_jsonb(t)::text FROM "{name}" AS t'))
        )
