"""Why one account is in its band and with its owner, as the next run would see it. Reads only.

The band is explained by the statement that decides. The owner is explained by the books as they stand and, where the
run would settle the owner anew, by the plan of that run itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from app.circumstances import completed
from app.decide.reading import Judgement, read_judgement
from app.history import Standing, read_standing
from app.owners import Claim, Csm, why_not
from app.plan import OwnerChange, Waiting
from app.planning import make_plan
from app.policy.model import Policy
from app.report.names import Names, read_names
from app.roster import Roster, claims, read_roster
from app.tables import owner_history
from app.unsettled import select_owned


@dataclass(frozen=True, slots=True)
class Candidate:
    """A CSM, with what excludes them for the account as the books stand; None if nothing does."""

    csm: Csm
    excluded: str | None


@dataclass(frozen=True, slots=True)
class LastChange:
    """How the account came to its present owner; None of it is known of one that was never changed."""

    changed_at: datetime
    why: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ownership:
    """Who could own the account. `claim` is None where nobody has to: it left, or the pool serves it.

    `settles` tells whether a run would settle its owner anew; then `change` is what it would do, and `waiting` the
    place on the waitlist that the account has after it.
    """

    claim: Claim | None
    last: LastChange | None
    candidates: tuple[Candidate, ...]
    settles: bool
    change: OwnerChange | None
    waiting: Waiting | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything there is to say about one account."""

    as_of: datetime
    standing: Standing
    judgement: Judgement | None
    ownership: Ownership
    names: Names


def explain(connection: Connection, policy: Policy, account_id: str, as_of: datetime) -> Explanation:
    """The account as a run at `as_of` would see it. Raises Mistake, with ids that are near, for an unknown one."""
    standing = read_standing(connection, account_id)
    judgement = read_judgement(connection, policy, account_id, as_of)
    ownership = _ownership(connection, policy, account_id, as_of, judgement)
    csm_ids = {one.csm.csm_id for one in ownership.candidates} | ({standing.owner_id} if standing.owner_id else set())
    return Explanation(as_of, standing, judgement, ownership, read_names(connection, (), csm_ids))


def _ownership(
    connection: Connection, policy: Policy, account_id: str, as_of: datetime, judgement: Judgement | None
) -> Ownership:
    roster = read_roster(connection, policy, as_of)
    decided = [judgement.decision] if judgement is not None and judgement.decision is not None else []
    unsettled = next((one for one in claims(decided, roster) if one.account_id == account_id), None)
    claim = unsettled or _standing_claim(connection, policy, account_id, as_of, roster)
    if claim is None or claim.band is None or policy.band[claim.band].pooled:
        return Ownership(None, _last_change(connection, account_id), (), unsettled is not None, None, None, ())
    (claim,) = completed(connection, policy, as_of, [claim])
    change, waiting = None, None
    notes: tuple[str, ...] = ()
    if unsettled is not None:
        plan = make_plan(connection, policy, as_of)
        change = next((one for one in plan.owner_changes if one.account_id == account_id), None)
        waiting = next((one for one in plan.waitlist if one.account_id == account_id), None)
        notes = tuple(note for note in plan.notes if account_id in note)
    return Ownership(
        claim=claim,
        last=_last_change(connection, account_id),
        candidates=tuple(_candidates(roster.csms, claim)),
        settles=unsettled is not None,
        change=change,
        waiting=waiting,
        notes=notes,
    )


def _candidates(csms: Iterable[Csm], claim: Claim) -> Iterable[Candidate]:
    """Everybody, those whom nothing excludes first, then those who serve the band, each by id."""

    def order(one: Candidate) -> tuple[bool, bool, bool, str]:
        return one.excluded is not None, not one.csm.active, claim.band not in one.csm.bands, one.csm.csm_id

    return sorted((Candidate(csm, why_not(csm, claim)) for csm in csms), key=order)


def _standing_claim(
    connection: Connection, policy: Policy, account_id: str, as_of: datetime, roster: Roster
) -> Claim | None:
    """The account as it stands, if it is active, in a band of the policy, and nothing has happened to it."""
    owned = select_owned(policy, as_of).subquery("owned")
    row = connection.execute(select(owned).where(owned.c.account_id == account_id)).one_or_none()
    if row is None or row.band not in policy.band:
        return None
    return Claim(*(*row, roster.pins.get(account_id), roster.families.get(account_id)))


def _last_change(connection: Connection, account_id: str) -> LastChange | None:
    history = owner_history.c
    row = connection.execute(
        select(history.changed_at, history.why, history.reason)
        .where(history.account_id == account_id)
        .order_by(history.changed_at.desc(), history.run_id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else LastChange(*row)
