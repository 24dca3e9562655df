"""What needs no choosing: who left, what the pool serves, pins, and owners who keep what they have.

The desk also writes everything down: every change with its reason in words, and every pin that counts for nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from app.figures import day
from app.owners.books import OpenBook
from app.owners.eligibility import serves
from app.owners.model import Claim, Csm, Why
from app.plan import OwnerChange

SERVES = "{csm} serves {band} and has room"
WITH_FAMILY = "{csm} serves {band} and owns its family"
HAD_IT_BEFORE = "{csm} serves {band} and had it before"


class Desk:
    """The open books by CSM id, the changes so far, and the notes with their accounts."""

    def __init__(self, csms: Sequence[Csm], pooled: AbstractSet[str]) -> None:
        self.books: Mapping[str, OpenBook] = {
            csm.csm_id: OpenBook(csm) for csm in sorted(csms, key=lambda csm: csm.csm_id)
        }
        self.changes: list[OwnerChange] = []
        self.notes: list[tuple[str, str]] = []
        self._pooled = pooled
        self._reasons: dict[str, str] = {}

    def settle(self, claims: Iterable[Claim]) -> list[Claim]:
        """The claims that need a CSM chosen for them; their present owners' books are without them.

        All others are written down, or kept by their owners.
        """
        queue = [claim for claim in claims if not self._settled(claim)]
        for claim in queue:
            self._release(claim)
        return queue

    def hand_over(self, claim: Claim, csm_id: str, because: str) -> None:
        """The account of the queue goes to this CSM; `because` is one of the sentences above."""
        self.books[csm_id].add(claim)
        self._write(claim, csm_id, claim.why, self._past(claim) + because.format(csm=csm_id, band=claim.band))

    def leave_waiting(self, claim: Claim, *, served: bool) -> None:
        """The account of the queue waits with the pool; its owner, if it had one, has it no more.

        `served` says whether anybody active serves its kind at all.
        """
        if claim.owner_id is not None:
            nobody = f"nobody who serves {claim.band} has room"
            if not served:
                nobody = f"nobody serves {claim.band} for accounts of its kind"
            self._write(claim, None, claim.why, f"{self._past(claim)}{nobody}, so it waits with the pool")

    def _settled(self, claim: Claim) -> bool:
        if claim.band is None:
            self._move(claim, None, "left", "it is no longer an active customer")
            return True
        if claim.band in self._pooled:
            self._note_pin(claim, f"the pool serves {claim.band}")
            self._move(claim, None, "band_change", f"the pool serves {claim.band}")
            return True
        pin = self._pin(claim)
        if pin is not None:
            self._move(claim, pin, "pin", f"it is pinned to {pin.csm.csm_id}")
            return True
        owner = self._book(claim.owner_id)
        return owner is not None and owner.csm.active and (claim.locked or serves(owner.csm, claim))

    def _move(self, claim: Claim, book: OpenBook | None, why: Why, reason: str) -> None:
        """The account goes to this book, or to the pool, unless it is there already."""
        to_owner_id = book.csm.csm_id if book is not None else None
        if claim.owner_id == to_owner_id:
            return
        self._release(claim)
        if book is not None:
            book.add(claim)
        self._write(claim, to_owner_id, why, reason)

    def _release(self, claim: Claim) -> None:
        """The present owner's book is without the account."""
        owner = self._book(claim.owner_id)
        if owner is not None:
            owner.drop(claim)

    def _pin(self, claim: Claim) -> OpenBook | None:
        """The book that a pin sends the account to; what cannot be obeyed is noted."""
        book = self._book(claim.pinned_to)
        if book is None:
            self._note_pin(claim, "there is no such CSM")
        elif not book.csm.active:
            self._note_pin(claim, "they have left")
        else:
            return book
        return None

    def _note_pin(self, claim: Claim, problem: str) -> None:
        if claim.pinned_to is not None:
            ignored = f"the pin of {claim.account_id} to {claim.pinned_to} counts for nothing: {problem}"
            self.notes.append((claim.account_id, ignored))

    def _past(self, claim: Claim) -> str:
        """What brought the account here, as the first half of a reason."""
        if claim.why == "departure":
            return f"{claim.owner_id} has left; "
        if claim.waiting_since is not None:
            return f"it has waited since {day(claim.waiting_since)}; "
        if claim.owner_id is None:
            return ""
        owner = self._book(claim.owner_id)
        if owner is None or not owner.csm.active:
            return f"{claim.owner_id} has left; "
        return f"{claim.owner_id} does not serve it in {claim.band}; "

    def _write(self, claim: Claim, to_owner_id: str | None, why: Why, reason: str) -> None:
        reason = self._reasons.setdefault(reason, reason)  # one string for the many accounts that share it
        self.changes.append(
            OwnerChange(claim.account_id, claim.owner_id, to_owner_id, why, reason, claim.band, claim.value)
        )

    def _book(self, csm_id: str | None) -> OpenBook | None:
        return self.books.get(csm_id) if csm_id is not None else None
