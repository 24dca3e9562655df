"""What the commands that make runs have in common: the report of a plan for people, and what a guard's stop says."""

from typing import IO
from uuid import UUID

from sqlalchemy import Engine

from app.plan import Plan
from app.policy.model import Policy
from app.report.approval import approve_command
from app.report.names import read_names
from app.report.summary import summarise
from app.report.table import write_table


def write_plan_table(
    out: IO[str], engine: Engine, policy: Policy, plan: Plan, *, title: str, ending: str, limit: int | None
) -> None:
    """The report is written, with the names of the accounts and CSMs that it shows."""
    summary = summarise(plan, policy, limit)
    with engine.connect() as connection:
        names = read_names(connection, summary.account_ids, summary.csm_ids)
    write_table(out, policy, plan, summary, names, title=title, ending=ending)


def stopped(plan: Plan, run_id: UUID | None) -> str:
    """Which guards stopped the run, or would, and why."""
    why = " ".join(f"{verdict.guard}: {verdict.detail}" for verdict in plan.tripped)
    did = "a guard would stop this plan" if run_id is None else "a guard stopped this plan and nothing moved"
    return f"{did}; {why}"


def stopped_and_how_to_go_on(plan: Plan, run_id: UUID | None) -> str:
    """As `stopped`, and of a run that can be approved the command on a line of its own."""
    told = stopped(plan, run_id)
    return told if run_id is None else f"{told} To approve it:\n  {approve_command(run_id, plan.sha256)}"
