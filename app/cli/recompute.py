"""`bandshift recompute`: the weekly run, by hand or from a scheduler, and its report."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Annotated

import typer
from sqlalchemy import Engine

from app import pipeline
from app.cli.options import Format, Output, OutputFormat, PolicyFile, Verbose, read_instant
from app.cli.output import open_output
from app.database import open_engine, scratch_engine
from app.demo import DEMO_ACCOUNTS, DEMO_AS_OF, DEMO_SEED, fill
from app.errors import Guarded
from app.figures import sentence
from app.pipeline import RunResult
from app.policy.model import Policy
from app.policy.read import load_policy
from app.report.csv import write_csv
from app.report.json import write_json
from app.report.names import read_names
from app.report.summary import summarise
from app.report.table import write_table
from app.settings import Settings, load_settings


def recompute(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would happen and write nothing.")] = False,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            help="Decide as of this date (its first moment) or instant, in the policy's time zone; default: now.",
            metavar="T",
        ),
    ] = None,
    policy: PolicyFile = None,
    form: OutputFormat = Format.TABLE,
    output: Output = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Use the sample company in a scratch database, deleted after.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Show so many of each list in the table.", metavar="N")] = 5,
    everything: Annotated[bool, typer.Option("--all", help="Show every list of the table whole.")] = False,
    verbose: Verbose = False,
) -> None:
    """Move the accounts that the policy moves, and report why.

    Evaluates every account, moves those whose band should change, settles who owns them, and writes it all to the
    history, in one transaction; with --dry-run it only reports.
    """
    del verbose  # its callback has done the work
    settings = load_settings()
    chosen = load_policy(policy or settings.policy)
    now = DEMO_AS_OF if demo else datetime.now(UTC)  # the one time that the clock is read
    instant = now if as_of is None else read_instant(as_of, "--as-of", chosen.calendar.time_zone)
    with open_output(output) as out, _engine(settings, demo=demo) as engine:
        result = pipeline.recompute(engine, chosen, instant, dry_run=dry_run)
        match form:
            case Format.TABLE:
                _table(out, engine, chosen, result, None if everything else limit, demo=demo)
            case Format.JSON:
                write_json(out, chosen, result.plan, run_id=result.run_id, status=result.status)
            case Format.CSV:
                write_csv(out, chosen, result.plan)
    if result.status == "blocked":
        raise Guarded(_stopped(result))


@contextmanager
def _engine(settings: Settings, *, demo: bool) -> Iterator[Engine]:
    """The database of the settings; for the demo a scratch one with the sample company in it."""
    if not demo:
        with open_engine(settings) as engine:
            yield engine
        return
    with scratch_engine() as engine:
        with engine.begin() as connection:
            fill(connection, accounts=DEMO_ACCOUNTS, seed=DEMO_SEED, as_of=DEMO_AS_OF)
        yield engine


def _table(out: IO[str], engine: Engine, policy: Policy, result: RunResult, limit: int | None, *, demo: bool) -> None:
    summary = summarise(result.plan, policy, limit)
    with engine.connect() as connection:
        names = read_names(connection, summary.account_ids, summary.csm_ids)
    of_what = "of the sample company" if demo else ""
    title = " ".join(filter(None, ["Dry run" if result.run_id is None else f"Run {result.run_id}", of_what]))
    write_table(out, policy, result.plan, summary, names, title=title, ending=_ending(result))


def _ending(result: RunResult) -> str:
    """What has come of the plan, and what to do next."""
    match result.status:
        case "planned":
            return "Nothing was written. Run the same without --dry-run to apply this plan."
        case "applied":
            return "Applied. `bandshift history ACCOUNT` tells the story of an account."
        case "nothing":
            return "Nothing to do: every account is where the policy wants it."
        case "blocked":
            stopped = sentence(_stopped(result))
            return f"{stopped} If the figures are right, raise the limit under [guards] in the policy and run again."


def _stopped(result: RunResult) -> str:
    """Which guards stopped the run, or would, and why."""
    why = " ".join(f"{verdict.guard}: {verdict.detail}" for verdict in result.plan.tripped)
    did = "a guard would stop this plan" if result.run_id is None else "a guard stopped this plan and nothing moved"
    return f"{did}; {why}"
