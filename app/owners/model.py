"""What goes into an assignment of owners and what comes out of it, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from app.plan import Book, OwnerChange, Waiting

Why = Literal["band_change", "departure", "waitlist", "pin", "left", "rebalance"]


@dataclass(frozen=True, slots=True)
class Csm:
    """A CSM and their book before the run.

    They serve the given bands, segments, regions and languages; None means all. `max_accounts` is their own limit or
    the policy's book size; `max_book` None is no limit in value. `max_new` is how many accounts they may be given in
    this run, None no limit: who is away until `away_until` comes with 0. `families` counts the accounts in the book by
    family. Somebody who owns accounts and is not known to us comes in as inactive.
    """

    csm_id: str
    bands: frozenset[str]
    segments: frozenset[str] | None
    regions: frozenset[str] | None
    languages: frozenset[str] | None
    max_accounts: int
    max_book: Decimal | None
    max_new: int | None
    active: bool
    accounts: int
    value: Decimal
    away_until: date | None = None
    families: Mapping[str, int] = field(default_factory=dict)


class Claim(Struct, frozen=True):
    """An account whose owner has to be settled, in the band it has after the run (None: it left).

    `why` says what brought it here. `owner_id` owns it now, `waiting_since` is set while it waits, and `pinned_to` is
    the CSM that a person wants for it. `family` is the account at the root of its family, None where it stands alone;
    `former_owners` are those it had before, the latest first. A `locked` account has had its owner for so short a time
    that only a departure, a pin or the pool takes it away again.
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
    family: str | None = None
    former_owners: tuple[str, ...] = ()
    owner_since: datetime | None = None
    at_risk: bool = False
    renewal_on: date | None = None
    locked: bool = False


@dataclass(frozen=True, slots=True)
class Objective:
    """What an assignment reaches, in the order of what it strives for.

    Of the accounts that needed a new owner, `placed` found one, worth `value_placed`; no assignment that obeys the same
    pins places more than `value_bound`. `changes` are all changes of owner. Of those placed, `with_family` went to the
    CSM of their family and `with_former_owner` to one who had them before. `imbalance` is the sum of the squared shares
    of the active CSMs' books, each weighed by its size: the less, the more even.
    """

    value_placed: Decimal
    value_bound: Decimal
    placed: int
    changes: int
    with_family: int
    with_former_owner: int
    imbalance: float

    @property
    def gap(self) -> Decimal:
        """The share of the bound that is not placed: 0 means that it is proven that nothing more can be."""
        return 1 - self.value_placed / self.value_bound if self.value_bound else Decimal(0)


@dataclass(frozen=True, slots=True)
class Assignment:
    """What becomes of the claims: changes by account id, the waitlist in its order, every book by CSM id.

    `notes` are sentences about pins that could not be obeyed, in the order of their accounts.
    """

    changes: tuple[OwnerChange, ...]
    waitlist: tuple[Waiting, ...]
    books: tuple[Book, ...]
    notes: tuple[str, ...]
    objective: Objective
