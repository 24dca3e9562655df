"""Carrying out a run that a guard stopped, once a person has approved it.

That is a run of its own. It plans afresh and makes of the approved plan what still follows (`app.approved`); a guard
that had stopped the plan is waived, all others judge anew, and one that trips now leaves this run to be approved in its
turn. The approved run's row is locked from before the planning to the commit, so that only one answer can be given.
"""

import string
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine

from app import pipeline
from app.answers import (
    Newer,
    Stopped,
    answer,
    find,
    lapse_overdue,
    lineage,
    overdue,
    read_awaiting,
    read_stopped,
    reject,
    require_line,
    require_unanswered,
)
from app.approved import Followed, Left, Today, follow
from app.errors import Mistake, StalePlan
from app.figures import counted, printable
from app.guards import Findings, judge
from app.kept import read_kept
from app.pipeline import ANSWER_WITHIN, RunResult, Status
from app.plan import Decision, OwnerChange, Plan, Verdict
from app.planning import make_plan, make_rebalance
from app.policy.model import Policy
from app.rebalance import read_movable
from app.roster import read_roster, unserved
from app.schedule import latest_due_slot

__all__ = ["ApprovalResult", "Stopped", "approve", "find", "lapse_overdue", "read_awaiting", "reject"]

SHORTEST_HASH = 8
"""The fewest characters that a plan's hash may be shortened to."""

_PLAN_ANEW = "`bandshift recompute` plans anew"
_OF_MOVES = ("moved_accounts", "moved_arr", "csm_book")
"""The guards that look at what moves; the others look at the input, which is the same however little moves."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ApprovalResult:
    """What came of an approval: a run like any other, the run that it approves, and what was and was not made of that.

    `kept` counts the accounts that the approved run would have changed. `left` are those of them of whom something was
    not made, and the `unapproved` lists what today's plan has beyond what was approved; all by account id.
    """

    plan: Plan
    run_id: UUID | None
    status: Status
    lapses_at: datetime | None
    approves: Stopped
    by: str
    kept: int
    left: tuple[Left, ...]
    unapproved_moves: tuple[Decision, ...]
    unapproved_owners: tuple[OwnerChange, ...]

    @property
    def made(self) -> int:
        """Of how many accounts the approved change was made, if perhaps not the owner's."""
        return self.kept - sum(not one.moved for one in self.left)


def approve(
    engine: Engine,
    policy: Policy,
    run_id: UUID,
    *,
    by: str,
    now: datetime,
    plan_sha: str | None = None,
    dry_run: bool = False,
    answer_within: timedelta = ANSWER_WITHIN,
) -> ApprovalResult:
    """What was approved and still follows is made, in a run of its own; with `dry_run` it is only planned.

    `policy` is the one in force. Raises Mistake when the run does not await approval; StalePlan when it cannot be
    approved as it was, for the policy is another, `plan_sha` is not its plan's, or nothing of it follows; and Busy when
    another run is at work. A guard raises nothing: see the result's status.
    """
    require_line("--by", by)
    _require_hash(plan_sha)
    approval = _Approval(policy, run_id, by=by, now=now, plan_sha=plan_sha)
    if dry_run:
        with engine.connect() as connection:
            approval.admit(connection)
        return approval.result(pipeline.preview(engine, policy, now, approval.plan))
    with engine.begin() as connection:
        lapse_overdue(connection, now, latest_due_slot(now, policy.calendar))
    with engine.connect() as connection:
        stopped = approval.admit(connection)
    run = pipeline.set_out("approval", now, slot=stopped.slot, approves=run_id)
    made = pipeline.attempt(
        engine,
        policy,
        run,
        approval.plan,
        answer_within=answer_within,
        admit=approval.admit_alone,
        recorded=approval.record,
    )
    log.info("run.answered", answer="approved", answered_run_id=str(run_id), left=len(approval.followed.left))
    return approval.result(made)


class _Approval:
    """One approval, from the question whether it may be made to what came of it."""

    stopped: Stopped
    followed: Followed
    kept: int

    def __init__(self, policy: Policy, run_id: UUID, *, by: str, now: datetime, plan_sha: str | None) -> None:
        self.policy, self.run_id, self.by, self.now, self.plan_sha = policy, run_id, by, now, plan_sha

    def admit(self, connection: Connection, *, lock: bool = False) -> Stopped:
        """The run may be approved; raises Mistake or StalePlan if it may not."""
        self.stopped = stopped = read_stopped(connection, self.run_id, lock=lock)
        require_unanswered(stopped)
        why = overdue(stopped, self.now, latest_due_slot(self.now, self.policy.calendar), Newer(connection))
        if why is not None:
            raise Mistake(f"run {stopped.run_id} cannot be approved any more: {why}; {_PLAN_ANEW}")
        planned = stopped.plan_sha or ""
        if self.plan_sha is not None and not planned.startswith(self.plan_sha.strip().lower()):
            raise StalePlan(
                f"--plan-sha {self.plan_sha.strip()} is not the plan of run {stopped.run_id}, which is {planned}: look"
                " at what that plan does before you approve it"
            )
        if stopped.policy_sha != self.policy.sha256:
            raise StalePlan(
                f"run {stopped.run_id} was planned with policy {(stopped.policy_sha or '')[:12]}, and the policy in"
                f" force is {self.policy.name} ({self.policy.sha256[:12]}): {_PLAN_ANEW}"
            )
        return stopped

    def admit_alone(self, connection: Connection) -> None:
        """The run may be approved, and nobody else can answer it until this transaction ends."""
        self.admit(connection, lock=True)

    def plan(self, connection: Connection, policy: Policy, as_of: datetime, beside: Sequence[Connection] = ()) -> Plan:
        """What of the approved plan follows from today's facts, guards included; raises StalePlan if nothing does."""
        stopped = tuple(lineage(connection, self.stopped))
        of_owners = stopped[-1].kind == "rebalance"
        kept = read_kept(connection, self.run_id)
        self.kept = len(kept)
        if of_owners:
            fresh = make_rebalance(connection, policy, as_of, max_moves=0)
        else:
            fresh = make_plan(connection, policy, as_of, beside)
        roster = read_roster(connection, policy, as_of)
        claims = roster.unsettled
        if of_owners:
            claims = {claim.account_id: claim for claim in read_movable(connection, policy, as_of, roster)}
        active = {csm.csm_id for csm in roster.csms if csm.active}
        today = Today(
            plan=fresh,
            csms=roster.csms,
            claims=claims,
            pins={account_id: owner_id for account_id, owner_id in roster.pins.items() if owner_id in active},
            named=frozenset(band.name for band in policy.bands if not band.pooled),
        )
        self.followed = made = follow(today, kept)
        if kept and not made.plan.changes:
            raise StalePlan(_nothing_left(self.run_id, made.left))
        waived = {verdict["guard"] for run in stopped for verdict in run.guards if verdict["tripped"]}
        notes = (*roster.notes, *unserved(policy, roster.csms, made.plan.waitlist), *_notes(made, len(kept)))
        return replace(made.plan, notes=notes, verdicts=tuple(_verdicts(policy, made.plan, waived)))

    def record(self, connection: Connection) -> None:
        """The approved run is answered."""
        answer(connection, self.run_id, "approved", self.now, by=self.by)

    def result(self, made: RunResult) -> ApprovalResult:
        """What came of it."""
        return ApprovalResult(
            plan=made.plan,
            run_id=made.run_id,
            status=made.status,
            lapses_at=made.lapses_at,
            approves=self.stopped,
            by=self.by,
            kept=self.kept,
            left=self.followed.left,
            unapproved_moves=self.followed.unapproved_moves,
            unapproved_owners=self.followed.unapproved_owners,
        )


def _verdicts(policy: Policy, plan: Plan, waived: Set[str]) -> Iterator[Verdict]:
    """The guards' verdicts on what is left of today's plan, of those that were approved with a word of that."""
    found = Findings(
        as_of=plan.as_of,
        census=plan.census,
        decisions=plan.decisions,
        owner_changes=plan.owner_changes,
        books=plan.books,
        feeds=(),
        last_run=None,
    )
    anew = {verdict.guard: verdict for verdict in judge(policy, found)}
    for before in plan.verdicts:
        verdict = anew[before.guard] if before.guard in _OF_MOVES else before
        if verdict.tripped and verdict.guard in waived:
            yield replace(verdict, tripped=False, detail=f"{verdict.detail} Waived: it was approved.")
        else:
            yield verdict


def _notes(made: Followed, kept: int) -> Iterator[str]:
    if made.left:
        yield f"of {counted(kept, 'approved change')}, {len(made.left):,} cannot be made as approved any more"
    moves = {one.account_id for one in made.unapproved_moves}
    beyond = len(moves | {one.account_id for one in made.unapproved_owners})
    if beyond:
        yield f"{counted(beyond, 'account')} would change too; nobody approved that, so it is left to the next run"


def _nothing_left(run_id: UUID, left: Sequence[Left]) -> str:
    named = [f"{printable(one.kept.account_id)}: {one.changed}" for one in left[:3]]
    others = [f"{len(left) - len(named):,} more"] if len(left) > len(named) else []
    told = "; ".join([*named, *others])
    return (
        f"nothing of run {run_id} follows from today's facts any more, and nothing was written ({told}); {_PLAN_ANEW}"
    )


def _require_hash(plan_sha: str | None) -> None:
    text = plan_sha.strip().lower() if plan_sha is not None else "0" * SHORTEST_HASH
    if len(text) < SHORTEST_HASH or set(text) - set(string.hexdigits):
        raise Mistake(f"--plan-sha is no hash: give the {SHORTEST_HASH} or more characters that the report shows")
