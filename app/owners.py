"""Who owns which account after a run. Pure: values in, values out.

Every account whose owner has to be settled comes in as a `Claim`: it moved, waits, lost its CSM, or is pinned to one.
Accounts that nothing happened to are no claims, and keep their owner whatever the books look like. Every claim leaves
with exactly one of: the pool, one CSM, or the pool and a place on the waitlist.

In this order:
1. An account that left, or whose band the pool serves, has no owner.
2. A pin to an active CSM is obeyed, room or not. A pin to anybody else counts for nothing and is noted.
3. The present owner keeps it while they are active and serve it, over capacity or not.
4. The others queue: those who wait first, the longest wait first; then those whose CSM has left; then those that the
   rules moved; the more valuable first, ties by account id. Each goes to the eligible CSM with the most room, ties by
   CSM id.
5. Who finds no room waits, in the same order as they are tried next time.

*Room* is the free share of a book: of its accounts, and of its value where the CSM has `max_book`, whichever is less.
All that is released is released before the first account of the queue is placed, so room only shrinks while it is
handed out; a heap of CSMs for each kind of account, put right when its top is read, therefore always yields the CSM
with the most room.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from app.plan import Book, OwnerChange, Waiting

Why = Literal["band_change", "departure", "waitlist", "pin", "left"]

_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Csm:
    """A CSM and their book before the run.

    They serve the given bands, segments, regions and languages; None means all. `max_accounts` is their own limit or
    the policy's book size; `max_book` None is no limit in value and `max_new_per_run` None none in arrivals. Somebody
    who owns accounts and is not known to us comes in as inactive.
    """

    csm_id: str
    bands: frozenset[str]
    segments: frozenset[str] | None
    regions: frozenset[str] | None
    languages: frozenset[str] | None
    max_accounts: int
    max_book: Decimal | None
    max_new_per_run: int | None
    active: bool
    accounts: int
    value: Decimal

    def serves(self, claim: "Claim") -> bool:
        """Whether they are active and take accounts of this kind; what is not known of the account is no mismatch."""
        return (
            self.active
            and claim.band in self.bands
            and _fits(claim.segment, self.segments)
            and _fits(claim.region, self.regions)
            and _fits(claim.language, self.languages)
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """An account whose owner has to be settled, in the band it has after the run (None: it left).

    `why` says what brought it here. `owner_id` owns it now, `waiting_since` is set while it waits, and `pinned_to` is
    the CSM that a person wants for it.
    """

    account_id: str
    why: Why
    band: str | None
    value: Decimal | None
    segment: str | None
    region: str | None
    language: str | None
    owner_id: str | None
    waiting_since: datetime | None
    pinned_to: str | None


@dataclass(frozen=True, slots=True)
class Assignment:
    """What becomes of the claims: changes by account id, the waitlist in its order, every book by CSM id.

    `notes` are sentences about pins that could not be obeyed, in the order of their accounts.
    """

    changes: tuple[OwnerChange, ...]
    waitlist: tuple[Waiting, ...]
    books: tuple[Book, ...]
    notes: tuple[str, ...]


def assign(pooled: AbstractSet[str], csms: Sequence[Csm], claims: Iterable[Claim], as_of: datetime) -> Assignment:
    """Every claim is settled as the module says; `pooled` names the bands that the pool serves. Raises nothing."""
    desk = _Desk(csms)
    queue: list[Claim] = []
    for claim in claims:
        if not desk.settle(claim, pooled):
            desk.release(claim)
            queue.append(claim)
    queue.sort(key=lambda claim: _turn(claim, as_of))
    waitlist = [_waiting(claim, as_of) for claim in queue if not desk.place(claim)]
    waitlist.sort(key=lambda waiting: (waiting.since, _dearest(waiting.value), waiting.account_id))
    return Assignment(
        changes=tuple(sorted(desk.changes, key=lambda change: change.account_id)),
        waitlist=tuple(waitlist),
        books=tuple(book.closed() for _, book in sorted(desk.books.items())),
        notes=tuple(note for _, note in sorted(desk.notes)),
    )


def _fits(asked: str | None, served: frozenset[str] | None) -> bool:
    return asked is None or served is None or asked in served


def _dearest(value: Decimal | None) -> Decimal:
    """Sorts the largest value first and a missing one as nothing."""
    return -(value or _NOTHING)


def _turn(claim: Claim, as_of: datetime) -> tuple[int, datetime, Decimal, str]:
    waits = claim.why == "waitlist" or claim.waiting_since is not None
    return (
        0 if waits else 1 if claim.why == "departure" else 2,
        claim.waiting_since or as_of,
        _dearest(claim.value),
        claim.account_id,
    )


def _waiting(claim: Claim, as_of: datetime) -> Waiting:
    band = claim.band or ""  # an account that left has none, but it is settled and never queues
    return Waiting(claim.account_id, band, claim.waiting_since or as_of, claim.value)


class _OpenBook:
    """A book while it changes. `room` is its free share, 0 or less when no account at all fits."""

    __slots__ = ("accounts", "arrivals", "csm", "departures", "room", "value")

    def __init__(self, csm: Csm) -> None:
        self.csm, self.accounts, self.value = csm, csm.accounts, csm.value
        self.arrivals = self.departures = 0
        self.room = self._room()

    def add(self, value: Decimal | None) -> None:
        """One more account is in it."""
        self.accounts += 1
        self.value += value or _NOTHING
        self.arrivals += 1
        self.room = self._room()

    def drop(self, value: Decimal | None) -> None:
        """One account less is in it."""
        self.accounts -= 1
        self.value -= value or _NOTHING
        self.departures += 1
        self.room = self._room()

    def takes(self, value: Decimal) -> bool:
        """Whether this much more value fits."""
        return self.csm.max_book is None or self.value + value <= self.csm.max_book

    def _room(self) -> float:
        csm = self.csm
        if self.accounts >= csm.max_accounts:
            return 0.0
        if csm.max_new_per_run is not None and self.arrivals >= csm.max_new_per_run:
            return 0.0
        free = (csm.max_accounts - self.accounts) / csm.max_accounts
        if csm.max_book is None:
            return free
        return min(free, float((csm.max_book - self.value) / csm.max_book)) if csm.max_book > 0 else 0.0

    def closed(self) -> Book:
        csm = self.csm
        return Book(
            csm_id=csm.csm_id,
            accounts_before=csm.accounts,
            accounts_after=self.accounts,
            value_before=csm.value,
            value_after=self.value,
            max_accounts=csm.max_accounts,
            max_book=csm.max_book,
            arrivals=self.arrivals,
            departures=self.departures,
        )


class _Line:
    """The CSMs who serve one kind of account, the one with the most room first."""

    __slots__ = ("heap", "refused", "served")

    def __init__(self, books: Iterable[_OpenBook]) -> None:
        self.heap = [(-book.room, book.csm.csm_id, book) for book in books]
        self.served = bool(self.heap)
        self.refused: Decimal | None = None  # the least value that nobody here had room for; it stays refused
        heapq.heapify(self.heap)

    def take(self, value: Decimal) -> _OpenBook | None:
        """The book with the most room among those that this value fits in."""
        if self.refused is not None and value >= self.refused:
            return None
        passed: list[tuple[float, str, _OpenBook]] = []
        found = None
        while self.heap and found is None:
            stated, csm_id, book = self.heap[0]
            room = book.room
            if room <= 0:
                heapq.heappop(self.heap)
            elif -stated != room:
                heapq.heapreplace(self.heap, (-room, csm_id, book))
            elif book.takes(value):
                found = book
            else:
                passed.append(heapq.heappop(self.heap))
        for entry in passed:
            heapq.heappush(self.heap, entry)
        if found is None:
            self.refused = value
        return found


class _Desk:
    """The books while accounts change hands, and what was written down about it."""

    def __init__(self, csms: Sequence[Csm]) -> None:
        self.books: Mapping[str, _OpenBook] = {csm.csm_id: _OpenBook(csm) for csm in csms}
        self.changes: list[OwnerChange] = []
        self.notes: list[tuple[str, str]] = []
        self._lines: dict[tuple[str | None, ...], _Line] = {}
        self._reasons: dict[str, str] = {}

    def settle(self, claim: Claim, pooled: AbstractSet[str]) -> bool:
        """Whether the claim needs no seat, or has one by a pin or by its present owner; that is then written down."""
        if claim.band is None:
            self._hand_over(claim, None, "left", "it is no longer an active customer")
            return True
        if claim.band in pooled:
            self._note_pin(claim, f"the pool serves {claim.band}")
            self._hand_over(claim, None, "band_change", f"the pool serves {claim.band}")
            return True
        pin = self._pin(claim)
        if pin is not None:
            self._hand_over(claim, pin, "pin", f"it is pinned to {pin.csm.csm_id}")
            return True
        owner = self._book(claim.owner_id)
        return owner is not None and owner.csm.serves(claim)

    def place(self, claim: Claim) -> bool:
        """Whether somebody had room for the claim and owns it from here on; else its former owner, if any, does not."""
        line = self._line(claim)
        book = line.take(max(claim.value or _NOTHING, _NOTHING))
        past = self._past(claim)
        if book is not None:
            book.add(claim.value)
            self._write(
                claim, book.csm.csm_id, claim.why, f"{past}{book.csm.csm_id} serves {claim.band} and has the most room"
            )
            return True
        if claim.owner_id is not None:
            nobody = "nobody who serves {} has room" if line.served else "nobody serves {} for accounts of its kind"
            self._write(claim, None, claim.why, f"{past}{nobody.format(claim.band)}, so it waits with the pool")
        return False

    def release(self, claim: Claim) -> None:
        """The present owner's book is without the account."""
        owner = self._book(claim.owner_id)
        if owner is not None:
            owner.drop(None if claim.band is None else claim.value)

    def _hand_over(self, claim: Claim, book: _OpenBook | None, why: Why, reason: str) -> None:
        """The account goes to this book, or to the pool, unless it is there already."""
        to_owner_id = book.csm.csm_id if book is not None else None
        if claim.owner_id == to_owner_id:
            return
        self.release(claim)
        if book is not None:
            book.add(claim.value)
        self._write(claim, to_owner_id, why, reason)

    def _pin(self, claim: Claim) -> _OpenBook | None:
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
            return f"it has waited since {claim.waiting_since:%Y-%m-%d}; "
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

    def _book(self, csm_id: str | None) -> _OpenBook | None:
        return self.books.get(csm_id) if csm_id is not None else None

    def _line(self, claim: Claim) -> _Line:
        kind = (claim.band, claim.segment, claim.region, claim.language)
        line = self._lines.get(kind)
        if line is None:
            line = self._lines[kind] = _Line(book for book in self.books.values() if book.csm.serves(claim))
        return line
