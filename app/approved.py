"""What of a plan that a person approved still follows from today's facts. Pure.

The plan is made afresh, and of it only what was approved is taken:

- A move is made if today's plan has the same one (kind, bands and rule), the account is with the owner that it was with
  then, and nobody has pinned it to somebody else since. Its value and its facts may be others.
- Its new owner is the one approved, if they still serve it and have room; else it moves, and waits. An owner who keeps
  it keeps it.
- A change of owner alone is made if the account still has to be settled for the same reason, and the CSM can have it;
  else everything stays as it is.
- What the rules remember of the accounts that do not move is written as today's facts say.

Where several accounts were approved for one CSM who has less room now, pins come first, then the more valuable. A
change that is not made leaves its account in the book it is in, which may cost another account its room there; books
are gone over until nothing changes.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from app.kept import Kept
from app.owners import Claim, Csm, serves, why_not
from app.owners.books import NOTHING, OpenBook, worth
from app.owners.desk import SERVES
from app.plan import Book, Decision, OwnerChange, Plan, Waiting


@dataclass(frozen=True, slots=True)
class Today:
    """Today's whole plan, and what it rests on.

    `claims` are the accounts whose owner has to be settled while their band stays, or of a rebalance those that may
    change hands; `pins` are the active CSMs whom accounts are pinned to, and `named` the bands that have owners.
    """

    plan: Plan
    csms: Sequence[Csm]
    claims: Mapping[str, Claim]
    pins: Mapping[str, str]
    named: frozenset[str]


@dataclass(frozen=True, slots=True)
class Left:
    """Something approved that is not made, and half a sentence on what has changed; `moved`: its band changes still."""

    kept: Kept
    moved: bool
    changed: str


@dataclass(frozen=True, slots=True)
class Followed:
    """What is made, what of the approved is not, and what today's plan has beyond it. All by account id."""

    plan: Plan
    left: tuple[Left, ...]
    unapproved_moves: tuple[Decision, ...]
    unapproved_owners: tuple[OwnerChange, ...]


@dataclass(slots=True)
class _Handover:
    """An approved change of owner; `refused` says in half a sentence why it cannot be made as approved."""

    kept: Kept
    claim: Claim
    refused: str | None = None

    @property
    def to(self) -> str:
        return self.kept.to_owner_id or ""

    @property
    def departs(self) -> bool:
        """Whether the account leaves its owner: with its band it does so in any case."""
        return self.kept.move is not None or self.refused is None

    @property
    def pinned(self) -> bool:
        return self.kept.why == "pin"

    @property
    def turn(self) -> tuple[object, ...]:
        return -worth(self.claim.value), self.kept.account_id


def follow(today: Today, kept: Mapping[str, Kept]) -> Followed:
    """What is made of the approved plan `kept`; the verdicts of its guards are still those of today's plan."""
    fresh = {decision.account_id: decision for decision in today.plan.decisions}
    left: list[Left] = []
    moving: dict[str, Decision] = {}
    handovers: list[_Handover] = []
    for one in kept.values():
        decision = fresh.get(one.account_id)
        changed = _move_changed(today, one, decision) if one.move is not None else _owner_changed(today, one)
        if changed is not None:
            left.append(Left(one, moved=False, changed=changed))
            continue
        if one.move is not None and decision is not None:
            moving[one.account_id] = decision
        if one.from_owner_id != one.to_owner_id:
            claim = _claim(today, one, decision) if one.move is not None else today.claims[one.account_id]
            handovers.append(_Handover(one, claim))
    _refuse(today.csms, handovers)
    left += [Left(one.kept, one.kept.move is not None, f"{one.to} {one.refused}") for one in handovers if one.refused]
    changes = tuple(_changes(today, handovers))
    made = {change.account_id for change in changes} | moving.keys()
    plan = replace(
        today.plan,
        decisions=tuple(one for one in today.plan.decisions if one.outcome != "move" or one.account_id in moving),
        owner_changes=changes,
        waitlist=_waitlist(today, moving, changes),
        books=_books(today.csms, handovers, changes),
    )
    return Followed(
        plan=plan,
        left=tuple(sorted(left, key=lambda one: one.kept.account_id)),
        unapproved_moves=tuple(
            one for one in today.plan.of("move") if one.account_id not in kept or kept[one.account_id].move is None
        ),
        unapproved_owners=tuple(
            one for one in today.plan.owner_changes if one.account_id not in kept and one.account_id not in made
        ),
    )


# ---- What has changed since ------------------------------------------------------------------------------------------


_HELD_BACK = {
    "state": "nothing asks for it any more",
    "pending": "{rule} has to hold for more runs now",
    "review": "it is protected now, and for a person to decide",
    "contested": "rules pull both ways now",
}


def _move_changed(today: Today, kept: Kept, decision: Decision | None) -> str | None:
    """Why an approved move no longer follows; None if it does."""
    stands = _stands_elsewhere(kept)
    if stands is not None or decision is None:
        return stands or _HELD_BACK["state"]
    if decision.outcome != "move":
        return _HELD_BACK[decision.outcome].format(rule=decision.rule)
    pinned = today.pins.get(kept.account_id)
    if kept.to_band in today.named and pinned not in {None, kept.to_owner_id}:
        return f"it is pinned to {pinned} now"
    return _moves_otherwise(kept, decision)


def _moves_otherwise(kept: Kept, decision: Decision) -> str | None:
    if decision.to_band is None and kept.to_band is not None:
        return "it is no longer an active customer"
    if (decision.from_band, decision.owner_id) != (kept.from_band, kept.from_owner_id):
        return "its band or its owner has just changed"
    if (decision.move, decision.to_band) != (kept.move, kept.to_band):
        return f"{decision.rule} would take it to {decision.to_band} now"
    return f"{decision.rule} is what moves it now" if decision.rule != kept.rule else None


def _owner_changed(today: Today, kept: Kept) -> str | None:
    """Why an approved change of owner, of an account that stays in its band, no longer follows; None if it does."""
    stands = _stands_elsewhere(kept)
    if stands is not None:
        return stands
    pinned, claim = today.pins.get(kept.account_id), today.claims.get(kept.account_id)
    if pinned is not None and pinned != kept.to_owner_id and kept.to_band in today.named:
        return f"it is pinned to {pinned} now"
    if kept.why == "pin" and pinned is None:
        return f"it is no longer pinned to {kept.to_owner_id}"
    if claim is None or (kept.why not in {"pin", claim.why}):
        return "nothing asks for another owner any more"
    return None


def _stands_elsewhere(kept: Kept) -> str | None:
    if kept.band_now != kept.from_band:
        return f"it is in {kept.band_now} now" if kept.band_now is not None else "it is in no band now"
    if kept.owner_now != kept.from_owner_id:
        return f"{kept.owner_now} owns it now" if kept.owner_now is not None else "nobody owns it now"
    return None


def _claim(today: Today, kept: Kept, decision: Decision | None) -> Claim:
    """The claim of an account that moves."""
    assert decision is not None, "what moves has a decision"  # noqa: S101 - narrows the type
    standing = today.claims.get(kept.account_id)
    return Claim(
        account_id=kept.account_id,
        why="left" if decision.to_band is None else "band_change",
        band=decision.to_band,
        value=decision.value,
        segment=decision.segment,
        region=decision.region,
        language=decision.language,
        owner_id=decision.owner_id,
        waiting_since=standing.waiting_since if standing is not None else None,
        pinned_to=today.pins.get(kept.account_id),
    )


# ---- Who still has room ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Queue:
    """Who was approved for one CSM, and who leaves them."""

    arriving: list[_Handover] = field(default_factory=list)
    departing: list[_Handover] = field(default_factory=list)


def _refuse(csms: Sequence[Csm], handovers: Sequence[_Handover]) -> None:
    """The handovers that cannot be made as approved are refused."""
    known = {csm.csm_id: csm for csm in csms}
    queues: dict[str, _Queue] = defaultdict(_Queue)
    for one in handovers:
        if one.kept.from_owner_id is not None:
            queues[one.kept.from_owner_id].departing.append(one)
        if one.kept.to_owner_id is not None:
            one.refused = _unfit(known.get(one.to), one)
            queues[one.to].arriving.append(one)
    again = sorted(csm_id for csm_id in queues if csm_id in known)
    while again:
        queue = queues[csm_id := again.pop(0)]
        for refused in _overflow(known[csm_id], queue):
            giver = refused.kept.from_owner_id
            if refused.kept.move is None and giver in known and giver not in again:
                again.append(giver)


def _unfit(csm: Csm | None, handover: _Handover) -> str | None:
    if csm is None:
        return "is none of the CSMs any more"
    if handover.pinned:
        return None if csm.active else "has left"
    return None if serves(csm, handover.claim) else why_not(csm, handover.claim)


def _overflow(csm: Csm, queue: _Queue) -> Iterator[_Handover]:
    """Those for whom there is no room any more, refused one by one."""
    book = OpenBook(csm)
    for one in queue.departing:
        if one.departs:
            book.drop(one.claim)
    coming = [one for one in queue.arriving if one.refused is None]
    for one in coming:
        if one.pinned:
            book.add(one.claim)
    for one in sorted((one for one in coming if not one.pinned), key=lambda one: one.turn):
        if book.seats and (book.spare is None or worth(one.claim.value) <= book.spare):
            book.add(one.claim)
        else:
            one.refused = why_not(_as_it_fills(csm, book), one.claim) or "has no room"
            yield one


def _as_it_fills(csm: Csm, book: OpenBook) -> Csm:
    taken = None if csm.max_new is None else csm.max_new - book.arrivals
    return replace(csm, accounts=book.accounts, value=book.value, max_new=taken)


# ---- What is made ----------------------------------------------------------------------------------------------------


def _changes(today: Today, handovers: Sequence[_Handover]) -> Iterator[OwnerChange]:
    """The changes of owner, by account id."""
    proposed = {change.account_id: change for change in today.plan.owner_changes}
    for one in handovers:
        kept, to = one.kept, one.kept.to_owner_id
        if one.refused is None:
            reason = _reason(today, one, proposed.get(kept.account_id))
        elif kept.move is not None and kept.from_owner_id is not None:
            to, reason = None, f"{one.to}, for whom it was approved, {one.refused}, so it waits with the pool"
        else:
            continue
        yield OwnerChange(
            kept.account_id, kept.from_owner_id, to, kept.why or one.claim.why, reason, one.claim.band, one.claim.value
        )


def _reason(today: Today, handover: _Handover, proposed: OwnerChange | None) -> str:
    """Today's reason where today's plan would do the same, else that of the plan that was approved, or a plain one."""
    kept, band = handover.kept, handover.claim.band
    if proposed is not None and proposed.to_owner_id == kept.to_owner_id:
        return proposed.reason
    if kept.move is None:
        return kept.reason
    if band is None:
        return "it is no longer an active customer"
    if band not in today.named:
        return f"the pool serves {band}"
    if kept.to_owner_id is None:
        return f"nobody who serves {band} had room when this was approved, so it waits with the pool"
    return f"it is pinned to {handover.to}" if handover.pinned else SERVES.format(csm=handover.to, band=band)


def _waitlist(today: Today, moving: Mapping[str, Decision], changes: Sequence[OwnerChange]) -> tuple[Waiting, ...]:
    """Who has no owner after the run and should have one: those who wait the longest first, then the most valuable."""
    owner_after = {change.account_id: change.to_owner_id for change in changes}
    as_of, waiting = today.plan.as_of, []
    for decision in moving.values():
        if owner_after.get(decision.account_id, decision.owner_id) is None and decision.to_band in today.named:
            standing = today.claims.get(decision.account_id)
            since = standing.waiting_since if standing is not None else None
            waiting.append(Waiting(decision.account_id, decision.to_band or "", since or as_of, decision.value))
    for claim in today.claims.values():
        stays = claim.account_id not in moving and claim.band in today.named
        if stays and owner_after.get(claim.account_id, claim.owner_id) is None:
            waiting.append(Waiting(claim.account_id, claim.band or "", claim.waiting_since or as_of, claim.value))
    return tuple(sorted(waiting, key=lambda one: (one.since, -(one.value or NOTHING), one.account_id)))


def _books(csms: Sequence[Csm], handovers: Sequence[_Handover], changes: Sequence[OwnerChange]) -> tuple[Book, ...]:
    """Every book before and after, by CSM id."""
    books = {csm.csm_id: OpenBook(csm) for csm in sorted(csms, key=lambda csm: csm.csm_id)}
    claims = {one.kept.account_id: one.claim for one in handovers}
    for change in changes:
        if change.from_owner_id in books:
            books[change.from_owner_id].drop(claims[change.account_id])
        if change.to_owner_id in books:
            books[change.to_owner_id].add(claims[change.account_id])
    return tuple(book.closed() for book in books.values())
