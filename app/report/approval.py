"""What came of an approval, beside the report of its run: what was not made as approved, and what nobody approved.

And what a run that a guard stopped asks for.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from app.approvals import ApprovalResult
from app.approved import Left
from app.figures import counted, sentence
from app.policy.model import Policy
from app.reasons import reason
from app.report.json import Fields
from app.report.names import Names
from app.report.page import Column, Page, Row

HASH_SHOWN = 12
"""So many characters of a plan's hash are enough to tell it from another."""

Change = Mapping[str, Any]
"""What would have become of one account: the keys of `left` and `unapproved` in docs/json.md."""


def approve_command(run_id: UUID, plan_sha: str) -> str:
    """The command that approves exactly this plan; WHO is to be filled in."""
    return f"bandshift approve {run_id} --plan-sha {plan_sha[:HASH_SHOWN]} --by WHO"


def ask(run_id: UUID, plan_sha: str, lapses_at: datetime) -> str:
    """What to do about a run that a guard stopped, in lines; the indented ones are commands."""
    return (
        f"If the figures are right, approve it by {lapses_at:%Y-%m-%d %H:%M} UTC; if they are not, reject it:\n"
        f"  {approve_command(run_id, plan_sha)}\n"
        f"  bandshift reject {run_id} --by WHO"
    )


def left(result: ApprovalResult) -> Iterator[Change]:
    """What was approved and is not made as it was, by account id; `changed` says why, `moved` if the band changes."""
    return (_left(one) for one in result.left)


def unapproved(result: ApprovalResult, policy: Policy) -> Iterator[Change]:
    """What today's facts ask for beyond what was approved: the moves, then the changes of owner alone."""
    owners = {change.account_id: change for change in result.unapproved_owners}
    for move in result.unapproved_moves:
        change = owners.pop(move.account_id, None)
        yield {
            "account_id": move.account_id,
            "move": move.move,
            "rule": move.rule,
            "from_band": move.from_band,
            "to_band": move.to_band,
            "from_owner_id": move.owner_id,
            "to_owner_id": change.to_owner_id if change is not None else move.owner_id,
            "reason": reason(policy, move),
        }
    for change in owners.values():
        yield {
            "account_id": change.account_id,
            "move": None,
            "rule": None,
            "from_band": change.band,
            "to_band": change.band,
            "from_owner_id": change.from_owner_id,
            "to_owner_id": change.to_owner_id,
            "reason": sentence(change.reason),
        }


def about_approval(result: ApprovalResult) -> Fields:
    """The key `approves` of an approval's JSON."""
    approves = {
        "run_id": str(result.approves.run_id),
        "plan_sha256": result.approves.plan_sha,
        "by": result.by,
        "kept": result.kept,
        "made": result.made,
    }
    return {"approves": approves}


def approval_lists(result: ApprovalResult, policy: Policy) -> Mapping[str, Iterator[Fields]]:
    """The lists that an approval's JSON has beyond those of a recompute."""
    return {"left": left(result), "unapproved": unapproved(result, policy)}


def write_approval(page: Page, result: ApprovalResult, policy: Policy, names: Names, limit: int | None) -> None:
    """How much of what was approved is made, what is not and why, and what else today's facts ask for."""
    did = "would make" if result.run_id is None else "made" if result.status != "blocked" else "would have made"
    approved = f"{result.made:,} of {counted(result.kept, 'approved change')}"
    page.line(f"Approval of run {result.approves.run_id} by {result.by}: {did} {approved}", style="bold")
    gone = tuple(left(result))
    _list(page, f"Approved, and not made so: {counted(len(gone), 'account')}", gone, names, limit)
    more = tuple(unapproved(result, policy))
    _list(page, f"Not approved, and left to the next run: {counted(len(more), 'account')}", more, names, limit)
    page.line()


def named_in(result: ApprovalResult, policy: Policy, limit: int | None) -> frozenset[str]:
    """The accounts that `write_approval` names."""
    return frozenset(
        change["account_id"]
        for changes in (left(result), unapproved(result, policy))
        for change in tuple(changes)[:limit]
    )


def _list(page: Page, title: str, changes: Sequence[Change], names: Names, limit: int | None) -> None:
    if not changes:
        return
    page.heading(title)
    rows = [_row(change, names) for change in changes[:limit]]
    page.table([Column("Account"), Column("Name", flexible=True), Column("Change"), Column("Owner")], rows)
    if limit is not None and len(changes) > limit:
        page.line(f"  ... and {len(changes) - limit:,} more; --all shows them")


def _row(change: Change, names: Names) -> Row:
    if change["move"] is None:
        bands = f"stays in {change['to_band']}"
    else:
        bands = f"{change['from_band'] or '(new)'} -> {change['to_band'] or '(left)'}"
    is_left = "changed" in change
    before, after = (change[name] or "none" for name in ("from_owner_id", "to_owner_id"))
    owners = after if before == after else f"{before} -> {after}"
    note = sentence(change["changed"]) if is_left else change["reason"]
    if is_left and change["moved"]:
        note = f"It moves, but waits for an owner: {change['changed']}."
    return Row((change["account_id"], names.accounts.get(change["account_id"], ""), bands, owners), note=note)


def _left(one: Left) -> Change:
    kept = one.kept
    return {
        "account_id": kept.account_id,
        "move": kept.move,
        "rule": kept.rule,
        "from_band": kept.from_band,
        "to_band": kept.to_band,
        "from_owner_id": kept.from_owner_id,
        "to_owner_id": kept.to_owner_id,
        "moved": one.moved,
        "changed": one.changed,
    }
