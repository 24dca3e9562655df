"""How accounts are handed out elsewhere, to compare with: round robin, and most room first.

Both are given what the assignment gives itself: the accounts in the best order there is for placing value, who serves
whom, and every limit. Neither looks further than the account in its hand.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from app.owners import Claim, Csm, serves
from app.owners.books import worth
from app.owners.market import Kind, kind_of, turn

Numbers = NDArray[np.int64]


class Table:
    """The CSMs in the order of their ids while accounts are handed out, and who owns what. Money is in cents."""

    def __init__(self, csms: Sequence[Csm]) -> None:
        self.csms = sorted(csms, key=lambda csm: csm.csm_id)
        self.accounts = np.array([csm.accounts for csm in self.csms], dtype=np.int64)
        self.size = np.array([csm.max_accounts for csm in self.csms], dtype=np.int64)
        self.value = np.array([int(csm.value * 100) for csm in self.csms], dtype=np.int64)
        self.limited = np.array([csm.max_book is not None for csm in self.csms], dtype=bool)
        self.limit = np.array([int((csm.max_book or 0) * 100) for csm in self.csms], dtype=np.int64)
        self.full = self.limited & (self.value >= self.limit)
        intake = [csm.max_accounts if csm.max_new is None else csm.max_new for csm in self.csms]
        self.intake = np.array(intake, dtype=np.int64)
        self.owners: dict[str, str] = {}
        self.placed = Decimal(0)
        self.next = 0
        self._serving: dict[Kind, Numbers] = {}

    def able(self, claim: Claim) -> Numbers:
        """Those who serve the account and have room for it."""
        kind = kind_of(claim)
        if kind not in self._serving:
            numbers = [number for number, csm in enumerate(self.csms) if serves(csm, claim)]
            self._serving[kind] = np.array(numbers, dtype=np.int64)
        who, cents = self._serving[kind], int(worth(claim.value) * 100)
        in_value = self.value[who] + cents <= self.limit[who]
        in_accounts = (self.accounts[who] < self.size[who]) & (self.intake[who] > 0) & ~self.full[who]
        able: Numbers = who[in_accounts & (in_value | ~self.limited[who])]
        return able

    def room(self, who: Numbers) -> NDArray[np.float64]:
        """The free share of these books: of accounts or of value, whichever is less."""
        by_accounts = (self.size[who] - self.accounts[who]) / self.size[who]
        spare = self.limit[who] - self.value[who]
        by_value = np.divide(spare, self.limit[who], out=np.ones(len(who)), where=self.limited[who])
        least: NDArray[np.float64] = np.minimum(by_accounts, by_value)
        return least

    def hand(self, claim: Claim, number: int) -> None:
        """The account is in this book."""
        self.accounts[number] += 1
        self.intake[number] -= 1
        self.value[number] += int(worth(claim.value) * 100)
        self.owners[claim.account_id] = self.csms[number].csm_id
        self.placed += worth(claim.value)


Choose = Callable[[Table, Numbers], int]


def round_robin(table: Table, able: Numbers) -> int:
    """The next in the circle of those who can take it."""
    number = int(able[np.searchsorted(able, table.next) % len(able)])
    table.next = number + 1
    return number


def most_room(table: Table, able: Numbers) -> int:
    """Who has the most room; of equals the lower id."""
    return int(able[np.argmax(table.room(able))])


def hand_out(choose: Choose, csms: Sequence[Csm], claims: Sequence[Claim], as_of: datetime) -> Table:
    """Every account that somebody has room for when its turn comes is with whom `choose` names."""
    table = Table(csms)
    for claim in sorted(claims, key=lambda claim: (turn(claim, as_of), claim.account_id)):
        able = table.able(claim)
        if len(able):
            table.hand(claim, choose(table, able))
    return table
