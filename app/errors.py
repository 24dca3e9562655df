"""What can stop bandshift, and the exit code each stop leaves with.

A subclass of `BandshiftError` is an outcome we foresaw: the command line prints its message without a traceback and
leaves with its `exit_code`. Anything else is a bug and keeps its traceback.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    FAILED = 1
    MISTAKE = 2
    GUARDED = 3
    BUSY = 4
    STALE_PLAN = 5


class BandshiftError(Exception):
    """Something foreseen stopped the work; the message says what, where and what to do next."""

    exit_code = ExitCode.FAILED


class DatabaseUnavailable(BandshiftError):  # noqa: N818 - named for what happened
    """The database server cannot be reached."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with what a user gave us.

    `where` is a path into the file (`rules[3].when`), a `file:line`, or a setting's name; empty when `what` says it
    all.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class Mistake(BandshiftError):  # noqa: N818 - named for what happened
    """The user gave us something we cannot work with; nothing was written.

    `problems` holds every mistake found, in the order of the input; `heading` is the line printed above them when
    there is more than one. A mistake in a single sentence is `Mistake("...")`.
    """

    exit_code = ExitCode.MISTAKE

    def __init__(self, heading: str, problems: Sequence[Problem] = ()) -> None:
        self.heading = heading
        self.problems = tuple(problems)
        super().__init__("\n".join([heading, *(f"  {problem}" for problem in self.problems)]))


class Guarded(BandshiftError):  # noqa: N818 - named for what happened
    """A guard stopped the plan; the run is in the ledger as `blocked` and nothing moved."""

    exit_code = ExitCode.GUARDED


class Busy(BandshiftError):  # noqa: N818 - named for what happened
    """Another run is at work on this database."""

    exit_code = ExitCode.BUSY


class StalePlan(BandshiftError):  # noqa: N818 - named for what happened
    """What the plan assumed has changed since it was made; plan again."""

    exit_code = ExitCode.STALE_PLAN
