"""`bandshift recompute --slot`: the run of a slot, as the worker makes it, and what is to be told after it."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import typer
from sqlalchemy import Engine

from app.errors import Mistake
from app.pipeline import RunResult
from app.policy.model import Policy
from app.policy.read import load_policy
from app.settings import Settings
from app.slots import PolicyReader, require_due, run_due, run_slot
from app.tick import follow_up

LATEST = "latest"
TELLING = timedelta(minutes=5)
"""How long messages are delivered before the command ends; what is left is the next one's, or the worker's."""


class LastRead:
    """Reads the policy of a file, None for the shipped one, and remembers what it read last."""

    policy: Policy

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def __call__(self) -> Policy:
        """The policy as the file is now; raises Mistake as `load_policy` does."""
        self.policy = load_policy(self.path)
        return self.policy


def recompute_slot(
    engine: Engine, settings: Settings, read: PolicyReader, slot: date | None, now: datetime
) -> RunResult:
    """The slot's run is made, for None that of the slot whose turn it is; if it is nobody's, one line says so.

    What is due in the outbox is delivered after it, however it ended. Raises as `run_due` and `run_slot` do, and Exit
    when there is no run to report.
    """
    try:
        if slot is not None:
            return run_slot(engine, read, settings.worker, slot, now)
        outcome = run_due(engine, read, settings.worker, now)
        if outcome.result is None:
            typer.echo(f"bandshift: {outcome.told}", err=True)
            raise typer.Exit
        return outcome.result
    finally:
        after = datetime.now(UTC)
        follow_up(engine, settings, after, deadline=after + TELLING, stop=lambda: False)


def read_slot(text: str, *, as_of: str | None, demo: bool) -> date | None:
    """The date that `--slot` names, None for `latest`. Raises Mistake for anything else, or beside what excludes it."""
    if as_of is not None:
        raise Mistake("--slot decides as of now; leave --as-of out, or run without --slot")
    if demo:
        raise Mistake(
            "--slot is a run of the worker's, and the sample company of --demo has none; leave one of them out"
        )
    try:
        return None if text.strip().lower() == LATEST else date.fromisoformat(text.strip())
    except ValueError:
        raise Mistake(f"--slot {text!r} is neither `{LATEST}` nor a date (2026-03-02)") from None


def require_slot(slot: date | None, policy: Policy, now: datetime) -> None:
    """The slot is one of the policy's that has fallen due; for a dry run, which asks nothing of the ledger."""
    if slot is not None:
        require_due(slot, policy.calendar, now)
