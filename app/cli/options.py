"""What several commands' options have in common, and how their text is read."""

import logging
import os
import sys
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.errors import Mistake
from app.logs import configure_logs


class Format(StrEnum):
    """How a command writes what it found."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def _start_logs(verbose: bool) -> bool:  # noqa: FBT001 - Typer passes it so
    """Logs are told in full where nobody watches, and on a terminal only when asked."""
    quiet = sys.stderr.isatty() and not verbose
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    configure_logs(level=level, colors=False if os.environ.get("NO_COLOR") else None)
    return verbose


Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Log every step to stderr.", callback=_start_logs, is_eager=True),
]
OutputFormat = Annotated[Format, typer.Option("--format", help="How to write it.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Write to this file, which appears whole or not at all.", metavar="FILE"),
]
PolicyFile = Annotated[
    Path | None,
    typer.Option("--policy", help="The policy; default: $BANDSHIFT_POLICY, else the shipped one.", metavar="FILE"),
]

_EARLIEST, _LATEST = 1900, 2200


def read_instant(text: str, option: str, zone: tzinfo) -> datetime:
    """The instant that `text` names: an ISO instant, or a date for its first moment; without an offset, in `zone`.

    Raises Mistake that names the option for anything else.
    """
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError:
        instant = None
    if instant is None or not _EARLIEST <= instant.year < _LATEST:
        raise Mistake(
            f"{option} {text!r} is neither a date (2026-03-02) nor an instant (2026-03-02T06:00:00+01:00)"
            f" from {_EARLIEST} to {_LATEST - 1}"
        )
    return (instant if instant.tzinfo else instant.replace(tzinfo=zone)).astimezone(UTC)


def read_end(text: str, option: str, zone: tzinfo) -> datetime:
    """As `read_instant`, but a date stands for the end of its day."""
    instant = read_instant(text, option, zone)
    return instant + timedelta(days=1) if len(text.strip()) <= len("2026-03-02") else instant
