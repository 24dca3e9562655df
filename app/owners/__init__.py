"""Who owns which account after a run. Pure: values in, values out.

Every account whose owner has to be settled comes in as a `Claim`: it moved, waits, lost its CSM, or is pinned to one.
Accounts that nothing happened to are no claims, and keep their owner whatever the books look like. Every claim leaves
with exactly one of: the pool, one CSM, or the pool and a place on the waitlist.

What it strives for, each only among what is best by those before it (there are no weights to trade one for another):

1. Pins to active CSMs are obeyed, room or not. An account that left, or whose band the pool serves, has no owner.
2. As much value is placed as capacity allows: the more valuable goes first; of equals who has waited the longest, then
   accounts at risk, then the sooner renewal. As many accounts as possible are placed too, those of no value last.
3. As few owners change as possible. The present owner keeps an account while they are active and serve it, over
   capacity or not; within the time that an owner is to stay (`locked`) even if they do not serve it. Among the equals
   of 2, those that had an owner go first.
4. As many accounts as possible go to the CSM of their family, then as many as possible to one who had them before.
5. The books are even: the least sum of size times squared share, a book's share being that of its accounts, or before
   anything is placed that of its value if it is more. Which accounts of a kind go where then evens out the values.
6. What is still equal goes by ids.

Exact, for any number of accounts: 1 to 4 (given which CSM a family without one goes to, see `company`), and 5 for
accounts, to a millionth of a share. To even out values is a rule of thumb. Where CSMs have a `max_book`, 2 is a
knapsack with many sacks: if the flow fits it is still exact. Otherwise it is a search (`limits`) and a bound: no less
than round robin and most room first place, no more than `Objective.value_bound`, which is proven; and 3 to 5 are as the
search finds them. The tests hold it to every assignment there is of up to seven accounts, and it may miss the best of
one in two hundred. Of large queues the gap to the bound is what is known: see `docs/ownership.md`.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import TYPE_CHECKING

from app.owners.books import NOTHING
from app.owners.desk import Desk
from app.owners.eligibility import serves, why_not
from app.owners.market import Market, kind_of, markets, profile_of
from app.owners.model import Assignment, Claim, Csm, Objective, Why
from app.plan import Waiting

if TYPE_CHECKING:
    from app.owners.placing import Placing

__all__ = ["Assignment", "Claim", "Csm", "Objective", "Why", "assign", "serves", "why_not"]


def assign(pooled: AbstractSet[str], csms: Sequence[Csm], claims: Iterable[Claim], as_of: datetime) -> Assignment:
    """Every claim is settled as the module says; `pooled` names the bands that the pool serves. Raises nothing."""
    desk = Desk(csms, pooled)
    queue = desk.settle(claims)
    parts, waiting = markets(queue, desk.books.values(), as_of)
    placings = _place(parts, desk, as_of)
    waiting.extend(claim for placing in placings for claim in placing.waiting)
    _leave(waiting, desk)
    waitlist = [
        Waiting(claim.account_id, claim.band or "", claim.waiting_since or as_of, claim.value) for claim in waiting
    ]
    waitlist.sort(key=lambda one: (one.since, -(one.value or NOTHING), one.account_id))
    return Assignment(
        changes=tuple(sorted(desk.changes, key=lambda change: change.account_id)),
        waitlist=tuple(waitlist),
        books=tuple(book.closed() for book in desk.books.values()),
        notes=tuple(note for _, note in sorted(desk.notes)),
        objective=_objective(placings, desk),
    )


def _place(parts: Sequence[Market], desk: Desk, as_of: datetime) -> "Sequence[Placing]":
    """The markets are settled; the solver is loaded only here, when there is work for it."""
    if not parts:
        return ()
    from app.owners.placing import place  # noqa: PLC0415 - it and numpy are a second and 50 MB

    return place(parts, desk, as_of)


def _objective(placings: Sequence["Placing"], desk: Desk) -> Objective:
    """What has been reached, with the books as they are now."""
    return Objective(
        value_placed=sum((placing.value for placing in placings), NOTHING),
        value_bound=sum((placing.bound for placing in placings), NOTHING),
        placed=sum(placing.placed for placing in placings),
        changes=len(desk.changes),
        with_family=sum(placing.with_family for placing in placings),
        with_former_owner=sum(placing.with_former_owner for placing in placings),
        imbalance=sum(
            book.accounts**2 / book.csm.max_accounts
            for book in desk.books.values()
            if book.csm.active and book.csm.max_accounts > 0
        ),
    )


def _leave(waiting: Iterable[Claim], desk: Desk) -> None:
    """The accounts wait with the pool, and those who lose their owner are told why nobody else has them."""
    profiles = {profile_of(book.csm): book.csm for book in desk.books.values() if book.csm.active}
    served: dict[tuple[str | None, ...], bool] = {}
    for claim in waiting:
        kind = kind_of(claim)
        if kind not in served:
            served[kind] = any(serves(csm, claim) for csm in profiles.values())
        desk.leave_waiting(claim, served=served[kind])
