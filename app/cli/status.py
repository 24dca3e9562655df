"""`bandshift status`: whether all is well, for a person, a monitor, or a container's health check."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from app.cli.options import Output, PolicyFile, Verbose
from app.cli.output import open_output
from app.database import open_engine, open_unchecked
from app.errors import ExitCode
from app.policy.read import load_policy
from app.report.page import Page
from app.report.status import write_status_json, write_status_table
from app.settings import load_settings
from app.status import read_status


class StatusFormat(StrEnum):
    """How to write it."""

    TABLE = "table"
    JSON = "json"


def status(
    *,
    policy: PolicyFile = None,
    form: Annotated[StatusFormat, typer.Option("--format", help="How to write it.")] = StatusFormat.TABLE,
    output: Output = None,
    verbose: Verbose = False,
) -> None:
    """Say how things stand; exit code 1 if something is wrong.

    That is: a slot is late or given up, messages are parked, the schema is of another version, or the database cannot
    be reached. A run that awaits approval is nothing wrong. Times in the table are those of the policy's time zone.
    """
    del verbose
    settings = load_settings()
    chosen = load_policy(policy or settings.policy)
    # The schema of the user's database is one of the things to look at; the embedded one is always migrated.
    opened = open_engine if settings.database_url is None else open_unchecked
    with (
        open_output(output) as out,
        opened(settings) as engine,
        engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True) as connection,
    ):
        found = read_status(connection, chosen, settings.worker, datetime.now(UTC))
        if form is StatusFormat.JSON:
            write_status_json(out, found)
        else:
            write_status_table(Page(out), found, chosen.calendar.time_zone)
    if found.problems:
        raise typer.Exit(ExitCode.FAILED)
