"""`bandshift rebalance`: even out the books, when somebody asks for it."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from app import pipeline, tracing
from app.cli.options import Format, Output, OutputFormat, PolicyFile, Verbose, read_instant
from app.cli.output import open_output
from app.cli.plans import stopped_and_how_to_go_on
from app.database import open_engine
from app.errors import Guarded
from app.policy.read import load_policy
from app.report.names import read_names
from app.report.page import Page
from app.report.rebalance import write_rebalance_csv, write_rebalance_json, write_rebalance_table
from app.settings import load_settings

MAX_MOVES = 20


def rebalance(
    *,
    max_moves: Annotated[
        int, typer.Option("--max-moves", min=0, help="Change the owner of so many accounts at most.", metavar="N")
    ] = MAX_MOVES,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would happen and write nothing.")] = False,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="As of this date or instant; default: now.", metavar="T")
    ] = None,
    policy: PolicyFile = None,
    form: OutputFormat = Format.TABLE,
    output: Output = None,
    verbose: Verbose = False,
) -> None:
    """Move accounts between CSMs so that their books are more even, and nothing else.

    Never touches accounts that are pinned, at risk, near their renewal, or have a new owner. Guards apply.
    """
    del verbose
    settings = load_settings()
    chosen = load_policy(policy or settings.policy)
    now = datetime.now(UTC)
    instant = now if as_of is None else read_instant(as_of, "--as-of", chosen.calendar.time_zone)
    with open_output(output) as out, tracing.exported(settings), open_engine(settings) as engine:
        answer_within = timedelta(hours=settings.worker.answer_within_hours)
        result = pipeline.rebalance(
            engine, chosen, instant, max_moves=max_moves, dry_run=dry_run, answer_within=answer_within
        )
        match form:
            case Format.JSON:
                write_rebalance_json(out, result.plan, run_id=result.run_id, status=result.status)
            case Format.CSV:
                write_rebalance_csv(out, result.plan)
            case Format.TABLE:
                changes = result.plan.owner_changes
                with engine.connect() as connection:
                    csm_ids = {book.csm_id for book in result.plan.books}
                    names = read_names(connection, {change.account_id for change in changes}, csm_ids)
                write_rebalance_table(Page(out), chosen, result.plan, names, status=result.status)
    if result.status == "blocked":
        raise Guarded(stopped_and_how_to_go_on(result.plan, result.run_id))
