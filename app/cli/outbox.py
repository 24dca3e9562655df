"""`bandshift outbox`: what people are told of the runs, and what keeps it from them."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from app.cli.options import Format, Output, OutputFormat, Verbose
from app.cli.output import open_output
from app.database import open_engine
from app.errors import ExitCode, Mistake
from app.figures import counted
from app.notify import deliver_due, outbox
from app.notify.outbox import OPEN, State
from app.report.outbox import write_outbox_csv, write_outbox_json, write_outbox_table
from app.report.page import Page
from app.settings import load_settings

app = typer.Typer(help="What people are told of the runs.", no_args_is_help=True, rich_markup_mode=None)

MessageId = Annotated[str | None, typer.Argument(help="The message's id.", metavar="[ID]")]
Everything = Annotated[bool, typer.Option("--all", help="All of them.")]


@app.command("list", short_help="List the messages that have not arrived, and why.")
def list_(
    *,
    state: Annotated[
        list[State] | None, typer.Option(help="In this state; may be given again. Default: what has not ended.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="In any state.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Show so many, the newest first.", metavar="N")] = 50,
    form: OutputFormat = Format.TABLE,
    output: Output = None,
    verbose: Verbose = False,
) -> None:
    """List the messages that are not delivered yet, or others, and what went wrong with them."""
    del verbose
    states = tuple(State) if everything else tuple(state or OPEN)
    with open_output(output) as out:
        with open_engine(load_settings()) as engine, engine.connect() as connection:
            entries = outbox.read_entries(connection, states, limit)
            total = outbox.count_entries(connection, states) if len(entries) == limit else len(entries)
        match form:
            case Format.JSON:
                write_outbox_json(out, entries)
            case Format.CSV:
                write_outbox_csv(out, entries)
            case Format.TABLE:
                write_outbox_table(Page(out), entries, total - len(entries))


@app.command(short_help="Make a message, or all of them, due at once.")
def retry(*, message_id: MessageId = None, everything: Everything = False, verbose: Verbose = False) -> None:
    """Make a message, or with --all everything that waits or is parked, due at once, with its whole time before it.

    It is the worker that sends it, at its next look, or `bandshift outbox deliver`.
    """
    del verbose
    _one_or_all(message_id, everything)
    settings = load_settings()
    whole = timedelta(hours=settings.delivery.give_up_hours)
    with open_engine(settings) as engine, engine.begin() as connection:
        due = outbox.retry(connection, message_id, datetime.now(UTC), whole)
    typer.echo(f"{counted(due, 'message')} due now" if due else "nothing waits and nothing is parked")


@app.command(short_help="Let a parked message go, or all of them.")
def drop(*, message_id: MessageId = None, everything: Everything = False, verbose: Verbose = False) -> None:
    """Let a parked message go, or with --all every parked one: nobody is told of it any more."""
    del verbose
    _one_or_all(message_id, everything)
    with open_engine(load_settings()) as engine, engine.begin() as connection:
        dropped = outbox.drop(connection, message_id, datetime.now(UTC))
    typer.echo(f"{counted(dropped, 'message')} dropped" if dropped else "nothing is parked")


@app.command(short_help="Deliver what is due now.")
def deliver(
    *,
    minutes: Annotated[int, typer.Option(min=1, help="Begin nothing after so many.", metavar="N")] = 10,
    verbose: Verbose = False,
) -> None:
    """Deliver what is due now, as the worker does by itself; exit code 1 if something could not be delivered."""
    del verbose
    settings = load_settings()
    if not settings.channels:
        raise Mistake("no channel is set up, so that there is nobody to tell: see docs/notifications.md")
    now = datetime.now(UTC)  # the one time that the clock is read
    with open_engine(settings) as engine:
        done = deliver_due(engine, settings, now, deadline=now + timedelta(minutes=minutes))
    typer.echo(f"delivered {done.delivered:,}, to be tried again {done.postponed:,}, parked {done.parked:,}")
    if done.postponed or done.parked:
        raise typer.Exit(ExitCode.FAILED)


def _one_or_all(message_id: str | None, everything: bool) -> None:  # noqa: FBT001 - it is an option's value
    if (message_id is None) is not everything:
        raise Mistake("name one message by its id, or say --all; `bandshift outbox list` shows what there is")
