"""The accounts that need a CSM beside the CSMs who have room, told apart by what they ask for and offer.

Accounts of one *kind* (band, segment, region, language) are served by the same CSMs; CSMs of one *class* serve the same
kinds. Kinds and classes that no chain of service joins have nothing to do with each other: each such part of the book
is a `Market` of its own, and is settled by itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from app.owners.books import OpenBook, worth
from app.owners.eligibility import serves
from app.owners.model import Claim, Csm

Profile = tuple[frozenset[str], frozenset[str] | None, frozenset[str] | None, frozenset[str] | None]
Kind = tuple[str | None, str | None, str | None, str | None]

_BOUNDLESS = Decimal("Infinity")


class Turn(NamedTuple):
    """Where an account stands in the queue, the first first; of two with the same turn neither goes before the other.

    The more valuable, then who waits the longest, then the accounts at risk, then those whose renewal is the sooner,
    then those that have an owner to lose (to place them changes one owner; to place another instead changes two).
    """

    value: Decimal
    since: datetime
    calm: bool
    renewal: date
    ownerless: bool


def turn(claim: Claim, as_of: datetime) -> Turn:
    """The account's place in the queue of a run at `as_of`."""
    return Turn(
        -worth(claim.value),
        claim.waiting_since or as_of,
        not claim.at_risk,
        claim.renewal_on or date.max,
        claim.owner_id is None,
    )


@dataclass(frozen=True, slots=True)
class Market:
    """Accounts and CSMs of one part. Accounts are in the order of their turns, then ids; CSMs by id.

    Per account its `groups` (accounts of the same turn share a number, the first is 0) and its `kinds`; per kind the
    `classes` that serve it; per class the `members` in it. All are positions in the lists beside them.
    """

    claims: Sequence[Claim]
    groups: Sequence[int]
    kinds: Sequence[int]
    classes: Sequence[Sequence[int]]
    members: Sequence[Sequence[int]]
    books: Sequence[OpenBook]

    def servers(self, kind: int) -> list[int]:
        """The CSMs who serve the kind."""
        return sorted(csm for number in self.classes[kind] for csm in self.members[number])


def markets(queue: Sequence[Claim], books: Iterable[OpenBook], as_of: datetime) -> tuple[list[Market], list[Claim]]:
    """The parts of the queue, and the claims that nobody has room for at all, in the order of their turns."""
    ordered = sorted(queue, key=lambda claim: (turn(claim, as_of), claim.account_id))
    kinds: dict[Kind, Claim] = {}
    for claim in ordered:
        kinds.setdefault(kind_of(claim), claim)
    offers = _offers(kinds, books)
    parts = _parts(kinds, offers)
    largest = _largest(offers)
    claims_of: list[list[Claim]] = [[] for _ in range(max(parts.values(), default=-1) + 1)]
    hopeless: list[Claim] = []
    for claim in ordered:
        kind = kind_of(claim)
        fits = kind in parts and worth(claim.value) <= largest[kind]
        (claims_of[parts[kind]] if fits else hopeless).append(claim)
    offers_of: list[dict[frozenset[Kind], list[OpenBook]]] = [{} for _ in claims_of]
    for offer, members in offers.items():
        offers_of[parts[min(offer, key=_sortable)]][offer] = members
    built = [_market(claims, offers, as_of) for claims, offers in zip(claims_of, offers_of, strict=True) if claims]
    return built, hopeless


def kind_of(claim: Claim) -> Kind:
    """What decides who serves it."""
    return (claim.band, claim.segment, claim.region, claim.language)


def profile_of(csm: Csm) -> Profile:
    """What decides whom they serve."""
    return (csm.bands, csm.segments, csm.regions, csm.languages)


def _offers(kinds: Mapping[Kind, Claim], books: Iterable[OpenBook]) -> dict[frozenset[Kind], list[OpenBook]]:
    """The CSMs with room by the set of kinds that they serve, where there are any."""
    offer_of: dict[Profile, frozenset[Kind]] = {}
    offers: dict[frozenset[Kind], list[OpenBook]] = {}
    for book in books:
        if book.seats <= 0:
            continue
        profile = profile_of(book.csm)
        if profile not in offer_of:
            offer_of[profile] = frozenset(kind for kind, claim in kinds.items() if serves(book.csm, claim))
        if offer_of[profile]:
            offers.setdefault(offer_of[profile], []).append(book)
    return offers


def _largest(offers: Mapping[frozenset[Kind], list[OpenBook]]) -> dict[Kind, Decimal]:
    """The largest account of each kind that somebody could take by itself."""
    largest: dict[Kind, Decimal] = {}
    for offer, members in offers.items():
        most = max(_BOUNDLESS if book.spare is None else book.spare for book in members)
        for kind in offer:
            largest[kind] = max(largest.get(kind, most), most)
    return largest


def _parts(kinds: Iterable[Kind], offers: Iterable[frozenset[Kind]]) -> dict[Kind, int]:
    """The part that each kind with a CSM belongs to."""
    leader: dict[Kind, Kind] = {}

    def find(kind: Kind) -> Kind:
        while leader[kind] != kind:
            leader[kind] = kind = leader[leader[kind]]
        return kind

    for offer in offers:
        first, *others = sorted(offer, key=_sortable)
        leader.setdefault(first, first)
        for other in others:
            leader.setdefault(other, other)
            leader[find(other)] = find(first)
    numbers: dict[Kind, int] = {}
    return {kind: numbers.setdefault(find(kind), len(numbers)) for kind in kinds if kind in leader}


def _sortable(kind: Kind) -> tuple[tuple[bool, str], ...]:
    return tuple((name is not None, name or "") for name in kind)


def _market(claims: Sequence[Claim], offers: Mapping[frozenset[Kind], list[OpenBook]], as_of: datetime) -> Market:
    books = sorted((book for members in offers.values() for book in members), key=lambda book: book.csm.csm_id)
    place = {book.csm.csm_id: number for number, book in enumerate(books)}
    members = [sorted(place[book.csm.csm_id] for book in ours) for ours in offers.values()]
    numbers: dict[Kind, int] = {}
    kinds = [numbers.setdefault(kind_of(claim), len(numbers)) for claim in claims]
    classes = [[number for number, offer in enumerate(offers) if kind in offer] for kind in numbers]
    groups: list[int] = []
    last: Turn | None = None
    for claim in claims:
        now = turn(claim, as_of)
        groups.append(0 if last is None else groups[-1] + (now != last))
        last = now
    return Market(claims, groups, kinds, classes, members, books)
