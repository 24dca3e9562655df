"""Books with limits while they are filled: who holds what, how much room is left, and simple ways to fill them."""

from bisect import bisect_left, insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np
from numpy.typing import NDArray

from app.owners.books import worth
from app.owners.flow import Numbers
from app.owners.market import Market

_LARGEST = 2**45
"""All values together are no more units than this, so that sums over all classes stay far within 64 bits."""

_BOUNDLESS = 2**60

Choose = Callable[[int, Numbers], int]
"""Of those who can take an account, at least one, the one who does; both are positions in the market's lists."""


@dataclass(frozen=True, slots=True)
class Scales:
    """A market in numbers: its values as whole units, rounded against us where they are finer.

    So the value of an account is rounded up, and what a book has to spare down.
    """

    market: Market
    unit: Decimal
    value: Numbers
    spare: Numbers
    serving: Sequence[Numbers]


def weighed(market: Market) -> Scales:
    """The market in numbers."""
    unit = _unit_of(market)
    value = np.array([in_units(worth(claim.value), unit) for claim in market.claims], dtype=np.int64)
    spares = (_BOUNDLESS if book.spare is None else _floor(book.spare, unit) for book in market.books)
    spare = np.array([min(one, _BOUNDLESS) for one in spares], dtype=np.int64)
    serving = [np.array(market.servers(kind), dtype=np.int64) for kind in range(len(market.classes))]
    return Scales(market, unit, value, spare, serving)


class Sacks:
    """A placing that honours every limit. Accounts and CSMs are positions in the market's lists."""

    def __init__(self, scales: Scales) -> None:
        self.market, self.value, self.serving = scales.market, scales.value, scales.serving
        books = scales.market.books
        self.spare = scales.spare.copy()
        self.seats = np.array([book.seats for book in books], dtype=np.int64)
        self._free = np.array([book.csm.max_accounts - book.accounts for book in books], dtype=np.int64)
        self._size = np.array([book.csm.max_accounts for book in books], dtype=np.float64)
        self._meant = np.array([float((book.csm.max_book or 0) / scales.unit) for book in books])
        self.waits: NDArray[np.bool_] = np.ones(len(self.value), dtype=np.bool_)
        self.chosen: dict[int, int] = {}
        self.held: list[list[tuple[int, int]]] = [[] for _ in books]  # value and account, ascending
        self._value_placed = 0

    @property
    def placed(self) -> tuple[int, int]:
        """What is placed: how much value and how many accounts."""
        return self._value_placed, len(self.chosen)

    def put(self, account: int, csm: int) -> None:
        """The account is in the book."""
        value = int(self.value[account])
        self.chosen[account] = csm
        self.waits[account] = False
        self._take_room(csm, value, 1)
        insort(self.held[csm], (value, account))

    def take(self, account: int) -> None:
        """The account is in no book."""
        value, csm = int(self.value[account]), self.chosen.pop(account)
        self.waits[account] = True
        self._take_room(csm, -value, -1)
        del self.held[csm][bisect_left(self.held[csm], (value, account))]

    def _take_room(self, csm: int, value: int, accounts: int) -> None:
        self.spare[csm] -= value
        self.seats[csm] -= accounts
        self._free[csm] -= accounts
        self._value_placed += value

    def able(self, account: int) -> Numbers:
        """Those who serve the account and have room for it, by id."""
        csms = self.serving[self.market.kinds[account]]
        able: Numbers = csms[(self.seats[csms] > 0) & (self.spare[csms] >= self.value[account])]
        return able

    def roomiest(self, able: Numbers) -> int:
        """Who has the most room, as a share of what they may have; ties go to the lower id."""
        by_accounts = self._free[able] / self._size[able]
        limited = self._meant[able] > 0
        by_value = np.divide(self.spare[able], self._meant[able], out=np.ones(len(able)), where=limited)
        return int(able[np.argmax(np.minimum(by_accounts, by_value))])

    def fill(self, choose: Choose | None = None) -> None:
        """Nobody waits whom somebody has room for; the earlier turn goes first, to the roomiest or as `choose` says."""
        refused: dict[int, int] = {}  # from what value on nobody has room for a kind: room only shrinks here
        for account in np.flatnonzero(self.waits).tolist():
            kind = self.market.kinds[account]
            if self.value[account] >= refused.get(kind, _LARGEST):
                continue
            able = self.able(account)
            if len(able):
                self.put(account, self.roomiest(able) if choose is None else choose(account, able))
            else:
                refused[kind] = self._least_refused(kind)

    def _least_refused(self, kind: int) -> int:
        """The least value that nobody has room for in this kind."""
        csms = self.serving[kind]
        open_to = csms[self.seats[csms] > 0]
        return int(self.spare[open_to].max()) + 1 if len(open_to) else 0


def filled(scales: Scales, chosen: Mapping[int, int]) -> Sacks:
    """The given placing, which honours the limits, and whoever else there is room for."""
    sacks = Sacks(scales)
    for account, csm in sorted(chosen.items()):
        sacks.put(account, csm)
    sacks.fill()
    return sacks


def _unit_of(market: Market) -> Decimal:
    """The finest of 0.0001, 0.001, ... in which all values together are few enough units."""
    total = sum((worth(claim.value) for claim in market.claims), Decimal(len(market.claims)))
    unit = Decimal("0.0001")
    while total / unit > _LARGEST:
        unit *= 10
    return unit


def in_units(value: Decimal, unit: Decimal) -> int:
    """The value in whole units, rounded up."""
    return int((value / unit).to_integral_value(ROUND_CEILING))


def _floor(value: Decimal, unit: Decimal) -> int:
    return int((value / unit).to_integral_value(ROUND_FLOOR))
