"""The command line: `bandshift`, which is `python -m app`. Commands are thin; the modules they call do the work.

This is the only place that turns an error into an exit code. What was foreseen is told in one line (a mistake: a line
for each problem), anything else keeps its traceback.
"""

import sys
from collections.abc import Sequence

import typer

from app.cli import db, demo, doctor, explain, history, load, outbox, pins, policy, rebalance, recompute, settings
from app.cli.options import Verbose
from app.errors import BandshiftError
from app.figures import printable

EXIT_CODES = """\b
Exit codes:
  0  done, or nothing to do
  1  failed
  2  a mistake in what was given: nothing was written
  3  stopped by a guard: nothing moved
  4  busy: another run is at work
  5  stale plan: plan again
"""

app = typer.Typer(
    name="bandshift",
    help="Keeps customer-success coverage bands aligned with reality.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help reads well at 80 columns, in a pipe and in a mail
    pretty_exceptions_enable=False,  # they print local variables, which may be secrets or customers
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(epilog=EXIT_CODES)(recompute.recompute)
app.command(short_help="Load CSV files: accounts, signals, CSMs, coverage.")(load.load)
app.command()(history.history)
app.command(short_help="Say why an account is in its band and with its owner.")(explain.explain)
app.command(short_help="Even out the CSMs' books, a few accounts at a time.")(rebalance.rebalance)
app.command(short_help="Pin an account to a band or an owner, for a while.")(pins.pin)
app.command(short_help="Take an account's pin back.")(pins.unpin)
app.command(short_help="List the pins, and which of them have lapsed.")(pins.pins)
app.command()(doctor.doctor)
app.command(short_help="Show the settings in force, secrets masked, and where each is from.")(settings.settings)
app.command(short_help="Fill an empty database with a sample company.")(demo.demo)
app.add_typer(policy.app, name="policy")
app.add_typer(outbox.app, name="outbox")
app.add_typer(db.app, name="db")


@app.callback()
def _everywhere(*, verbose: Verbose = False) -> None:
    """Keeps customer-success coverage bands aligned with reality."""
    del verbose  # its callback has done the work


def main(arguments: Sequence[str] | None = None) -> None:
    """The command is done and the process ends with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        app(arguments, prog_name="bandshift")
    except BandshiftError as error:
        tell(error)
        sys.exit(error.exit_code)


def tell(error: BandshiftError) -> None:
    """The error's message is on stderr, safe to print; its lines after the first are the problems of a mistake."""
    first, *others = str(error).splitlines() or [""]
    typer.echo("\n".join([f"bandshift: {printable(first)}", *map(printable, others)]), err=True)
