"""`bandshift runs`: the ledger."""

from datetime import UTC, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import Format, Output, OutputFormat, PolicyFile, Verbose
from app.cli.output import open_output
from app.database import open_engine
from app.errors import Mistake
from app.figures import printable
from app.ledger import read_runs
from app.policy.read import load_policy
from app.report.page import Page
from app.report.runs import write_runs_csv, write_runs_json, write_runs_table
from app.settings import load_settings

_SHOWN = 20


class Standing(StrEnum):
    """How a run stands; `blocked` are all that a guard stopped, whatever the answer."""

    APPLIED = "applied"
    NOTHING = "nothing"
    BLOCKED = "blocked"
    AWAITING = "awaiting"
    APPROVED = "approved"
    REJECTED = "rejected"
    LAPSED = "lapsed"
    FAILED = "failed"
    SKIPPED = "skipped"


def runs(
    *,
    status: Annotated[Standing | None, typer.Option(help="Only those that stand so.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="The latest so many; default: 20 in a table, else all.", metavar="N")
    ] = None,
    policy: PolicyFile = None,
    form: OutputFormat = Format.TABLE,
    output: Output = None,
    verbose: Verbose = False,
) -> None:
    """List the runs, the latest first: what took effect, what a guard stopped and who answered, what failed.

    A run that a guard stopped is shown as `awaiting` until it is approved, rejected, or lapses. Times in the table are
    those of the policy's time zone, or of UTC while the policy cannot be read.
    """
    del verbose
    settings = load_settings()
    latest = _SHOWN if limit is None and form is Format.TABLE else limit
    with open_output(output) as out:
        with open_engine(settings) as engine, engine.connect() as connection:
            listed = read_runs(connection, status, latest)
        match form:
            case Format.TABLE:
                write_runs_table(Page(out), listed, _zone(policy or settings.policy))
            case Format.JSON:
                write_runs_json(out, listed)
            case Format.CSV:
                write_runs_csv(out, listed)


def _zone(policy: Path | None) -> tzinfo:
    """The policy's time zone; UTC, and a word on stderr, when there is no reading it."""
    try:
        return load_policy(policy).calendar.time_zone
    except Mistake as mistake:
        typer.echo(f"bandshift: {printable(mistake.heading.rstrip(':'))}; times are UTC", err=True)
        return UTC
