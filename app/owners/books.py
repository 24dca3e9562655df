"""The books while accounts change hands."""

from decimal import Decimal

from app.owners.model import Claim, Csm
from app.plan import Book

NOTHING = Decimal(0)


def worth(value: Decimal | None) -> Decimal:
    """What an account counts for where value is placed or limited: an unknown or negative value is nothing."""
    return value if value is not None and value > 0 else NOTHING


class OpenBook:
    """A CSM's book while it changes."""

    __slots__ = ("accounts", "arrivals", "csm", "departures", "relatives", "value")

    def __init__(self, csm: Csm) -> None:
        self.csm, self.accounts, self.value = csm, csm.accounts, csm.value
        self.arrivals = self.departures = 0
        self.relatives: dict[str, int] = {}  # accounts more than before the run, by family

    def add(self, claim: Claim) -> None:
        """One more account is in it."""
        self.accounts += 1
        self.value += claim.value or NOTHING
        self.arrivals += 1
        self._count(claim.family, 1)

    def drop(self, claim: Claim) -> None:
        """One account less is in it; the value of one that has left was not in it."""
        self.accounts -= 1
        if claim.band is not None:
            self.value -= claim.value or NOTHING
        self.departures += 1
        self._count(claim.family, -1)

    def holds(self, family: str) -> int:
        """How many accounts of the family are in it."""
        return self.csm.families.get(family, 0) + self.relatives.get(family, 0)

    def _count(self, family: str | None, more: int) -> None:
        if family is not None:
            self.relatives[family] = self.relatives.get(family, 0) + more

    @property
    def seats(self) -> int:
        """How many more accounts it takes in this run, at least 0; a book that is full in value takes none."""
        csm = self.csm
        if not csm.active or (csm.max_book is not None and csm.max_book <= max(self.value, NOTHING)):
            return 0
        free = csm.max_accounts - self.accounts
        if csm.max_new is not None:
            free = min(free, csm.max_new - self.arrivals)
        return max(free, 0)

    @property
    def spare(self) -> Decimal | None:
        """How much more value fits, None when there is no limit."""
        return None if self.csm.max_book is None else max(self.csm.max_book - self.value, NOTHING)

    def closed(self) -> Book:
        """The book before and after."""
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
