"""The command line: `bandshift`, which is `python -m app`. Commands are thin; the modules they call do the work.

This is the only place that turns an error into an exit code. What was foreseen is told in one line (a mistake: a line
for each problem), anything else keeps its traceback.
"""

import atexit
import gc
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

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

_COMMANDS: Mapping[str, Mapping[str, Any]] = {
    "recompute": {"epilog": EXIT_CODES},
    "load": {"short_help": "Load CSV files: accounts, signals, CSMs, coverage."},
    "history": {},
    "explain": {"short_help": "Say why an account is in its band and with its owner."},
    "rebalance": {"short_help": "Even out the CSMs' books, a few accounts at a time."},
    "approve": {"in": "approvals", "epilog": EXIT_CODES, "short_help": "Approve a run that a guard stopped."},
    "reject": {"in": "approvals", "short_help": "Reject a run that a guard stopped."},
    "runs": {"short_help": "List the runs: what took effect, what waits, what failed."},
    "status": {"short_help": "Say whether all is well: slots, approvals, messages."},
    "metrics": {"short_help": "Print the metrics, for Prometheus."},
    "pin": {"in": "pins", "short_help": "Pin an account to a band or an owner, for a while."},
    "unpin": {"in": "pins", "short_help": "Take an account's pin back."},
    "pins": {"short_help": "List the pins, and which of them have lapsed."},
    "doctor": {},
    "settings": {"short_help": "Show the settings in force, secrets masked, and where each is from."},
    "demo": {"short_help": "Fill an empty database with a sample company."},
    "policy": {},
    "outbox": {},
    "db": {},
}
"""The commands in the order of the help, each in the module of its name unless it says `in` which one."""

_CYCLES_AFTER = 100_000

_PLAIN: Mapping[str, Any] = {
    "add_completion": False,
    "rich_markup_mode": None,  # plain help reads well at 80 columns, in a pipe and in a mail
    "pretty_exceptions_enable": False,  # they print local variables, which may be secrets or customers
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


class _Commands(Mapping[str, Any]):
    """The commands by name, each imported when it is asked for: to load them all takes longer than most of them run."""

    def __getitem__(self, name: str) -> Any:
        return _load(name)

    def __iter__(self) -> Iterator[str]:
        return iter(_COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)


class _Bandshift(TyperGroup):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = _Commands()  # type: ignore[assignment]  # nobody adds to it

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(_COMMANDS)


@cache
def _load(name: str) -> Any:
    """The command of this name; KeyError for none."""
    told = dict(_COMMANDS[name])
    module = import_module(f"app.cli.{told.pop('in', name)}")
    alone = typer.Typer(**_PLAIN)
    if hasattr(module, "app"):  # it has commands of its own
        alone.add_typer(module.app, name=name)
        group: Any = get_command(alone)
        return group.commands[name]
    alone.command(name, **told)(getattr(module, name))
    return get_command(alone)


app = typer.Typer(
    name="bandshift",
    cls=_Bandshift,
    help="Keeps customer-success coverage bands aligned with reality.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    **_PLAIN,
)


@app.callback()
def _everywhere(*, verbose: Verbose = False) -> None:
    """Keeps customer-success coverage bands aligned with reality."""
    del verbose  # its callback has done the work


def main(arguments: Sequence[str] | None = None) -> None:
    """The command is done and the process ends with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    # A command makes many values and hardly a cycle; to look for cycles as often as usual takes a tenth of its time.
    gc.set_threshold(_CYCLES_AFTER, 20, 100)
    atexit.register(gc.freeze)  # nor for a last time when the process ends, and its memory goes anyway
    try:
        app(arguments, prog_name="bandshift")
    except BandshiftError as error:
        tell(error)
        sys.exit(error.exit_code)


def tell(error: BandshiftError) -> None:
    """The error's message is on stderr, safe to print; its lines after the first are the problems of a mistake."""
    first, *others = str(error).splitlines() or [""]
    typer.echo("\n".join([f"bandshift: {printable(first)}", *map(printable, others)]), err=True)
