"""`bandshift approve` and `reject`: a person's answer to a run that a guard stopped."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from app import answers, tracing
from app.approvals import ApprovalResult
from app.approvals import approve as carry_out
from app.cli.options import Format, Output, OutputFormat, PolicyFile, Verbose
from app.cli.output import open_output
from app.cli.plans import stopped, stopped_and_how_to_go_on, write_plan_table
from app.database import open_engine
from app.errors import Guarded
from app.figures import sentence
from app.policy.read import load_policy
from app.report.approval import about_approval, approval_lists, ask, named_in, write_approval
from app.report.csv import write_csv
from app.report.json import write_json
from app.report.names import read_names
from app.report.page import Page
from app.settings import load_settings

Run = Annotated[str, typer.Argument(help="The run's id, or the beginning of it, or `latest`: the last that waits.")]
By = Annotated[str, typer.Option(help="Who decides it: a name or an address.", metavar="WHO")]


def approve(
    *,
    run: Run,
    by: By,
    plan_sha: Annotated[
        str | None,
        typer.Option("--plan-sha", help="Only if this is the hash of its plan, or begins it.", metavar="SHA"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would happen and write nothing.")] = False,
    policy: PolicyFile = None,
    form: OutputFormat = Format.TABLE,
    output: Output = None,
    limit: Annotated[int, typer.Option(min=1, help="Show so many of each list in the table.", metavar="N")] = 5,
    everything: Annotated[bool, typer.Option("--all", help="Show every list of the table whole.")] = False,
    verbose: Verbose = False,
) -> None:
    """Approve a run that a guard stopped.

    Plans anew with today's facts, and makes in a run of its own what was approved and still follows; what has changed
    since is listed and left to the next run, and nothing is made that was not approved.
    """
    del verbose
    settings = load_settings()
    chosen = load_policy(policy or settings.policy)
    now = datetime.now(UTC)
    with open_output(output) as out, tracing.exported(settings), open_engine(settings) as engine:
        with engine.connect() as connection:
            wanted = answers.find(connection, run)
        result = carry_out(
            engine,
            chosen,
            wanted.run_id,
            by=by,
            now=now,
            plan_sha=plan_sha,
            dry_run=dry_run,
            answer_within=timedelta(hours=settings.worker.answer_within_hours),
        )
        match form:
            case Format.TABLE:
                shown = None if everything else limit
                with engine.connect() as connection:
                    names = read_names(connection, named_in(result, chosen, shown), ())
                write_approval(Page(out), result, chosen, names, shown)
                title = "Dry run of it" if result.run_id is None else f"Run {result.run_id}"
                ending = _ending(result)
                write_plan_table(out, engine, chosen, result.plan, title=title, ending=ending, limit=shown)
            case Format.JSON:
                more = approval_lists(result, chosen)
                about = about_approval(result)
                ended = result.status
                write_json(out, chosen, result.plan, run_id=result.run_id, status=ended, about=about, more=more)
            case Format.CSV:
                write_csv(out, chosen, result.plan)
    if result.status == "blocked":
        raise Guarded(stopped_and_how_to_go_on(result.plan, result.run_id))


def reject(
    *,
    run: Run,
    by: By,
    reason: Annotated[str | None, typer.Option(help="Why, for those who ask later.", metavar="TEXT")] = None,
    verbose: Verbose = False,
) -> None:
    """Reject a run that a guard stopped: nothing of it is made, and its slot is done with."""
    del verbose
    with open_engine(load_settings()) as engine:
        with engine.connect() as connection:
            wanted = answers.find(connection, run)
        answers.reject(engine, wanted.run_id, by=by, now=datetime.now(UTC), reason=reason)
    slot = f", of the slot {wanted.slot.isoformat()}," if wanted.slot is not None else ""
    typer.echo(f"run {wanted.run_id}{slot} is rejected; the next run decides anew")


def _ending(result: ApprovalResult) -> str:
    match result.status:
        case "planned":
            return "Nothing was written. Run the same without --dry-run to approve it."
        case "applied":
            return "Approved and applied. `bandshift history ACCOUNT` tells the story of an account."
        case "nothing":
            return "Approved. No account had to change."
        case "blocked":
            told = sentence(stopped(result.plan, result.run_id))
            if result.run_id is None or result.lapses_at is None:
                return f"{told} It is none that you approve with this run."
            return (
                f"{told} This run awaits approval instead. {ask(result.run_id, result.plan.sha256, result.lapses_at)}"
            )
