"""Naming the CSM of every account that the flow placed, so that the books are even in value too.

The flow says how many accounts of a kind each class takes and how many each CSM of it; which ones is free, and to even
out values exactly is a hard problem. The most valuable account goes first, each to the CSM whose book is the least full
in value for what it is meant to hold: `max_book` where there is one, else the average account times `max_accounts`.
"""

import heapq
from collections.abc import Iterable
from decimal import Decimal

from app.owners.books import worth
from app.owners.exact import Shares
from app.owners.market import Market

_BOUNDLESS = Decimal("Infinity")


def spread(market: Market, shares: Shares) -> dict[int, int]:
    """The CSM of every account placed, by position, but of those that no book of their share has the value for."""
    values = _Values(market)
    chosen: dict[int, int] = {}
    for account, csm in sorted(shares.settled.items()):
        if worth(market.claims[account].value) <= values.spare[csm]:
            values.take(csm, account)
            chosen[account] = csm
    seats, by_class = list(shares.seats), dict(shares.by_class)
    lines = [_Line((csm for csm in members if seats[csm]), values) for members in market.members]
    ways: dict[int, list[int]] = {}
    for kind, number in by_class:
        ways.setdefault(kind, []).append(number)
    for account in shares.open:
        kind, value = market.kinds[account], worth(market.claims[account].value)
        tops = [
            (*top, number)
            for number in ways[kind]
            if by_class[kind, number] and (top := lines[number].top(value)) is not None
        ]
        if tops:
            _, csm, number = min(tops)
            by_class[kind, number] -= 1
            seats[csm] -= 1
            values.take(csm, account)
            chosen[account] = csm
            lines[number].taken(stays=seats[csm] > 0)
    return chosen


class _Values:
    """The value in every book while it grows."""

    def __init__(self, market: Market) -> None:
        self.spare = [_BOUNDLESS if book.spare is None else book.spare for book in market.books]
        self._claims = market.claims
        total = sum(book.value for book in market.books) + sum(worth(claim.value) for claim in market.claims)
        average = total / max(sum(book.accounts for book in market.books) + len(market.claims), 1)
        self._held = [float(book.value) for book in market.books]
        self._meant = [
            float(book.csm.max_book if book.csm.max_book is not None else book.csm.max_accounts * average) or 1.0
            for book in market.books
        ]

    def take(self, csm: int, account: int) -> None:
        """The account is in the book."""
        value = worth(self._claims[account].value)
        self.spare[csm] -= value
        self._held[csm] += float(value)

    def fullness(self, csm: int) -> float:
        """The value in the book as a share of what it is meant to hold."""
        return self._held[csm] / self._meant[csm]


class _Line:
    """The CSMs of a class who have seats, the one with the least full book first, while ever smaller accounts come.

    Who has not the value for an account steps aside until one comes that is small enough; nobody else's book changes.
    """

    __slots__ = ("_aside", "_heap", "_values")

    def __init__(self, csms: Iterable[int], values: _Values) -> None:
        self._values = values
        self._heap = [(values.fullness(csm), csm) for csm in csms]
        self._aside: list[tuple[Decimal, int]] = []
        heapq.heapify(self._heap)

    def top(self, value: Decimal) -> tuple[float, int] | None:
        """Who takes an account of this value: their fullness and number."""
        while self._aside and -self._aside[0][0] >= value:
            csm = heapq.heappop(self._aside)[1]
            heapq.heappush(self._heap, (self._values.fullness(csm), csm))
        while self._heap:
            csm = self._heap[0][1]
            if self._values.spare[csm] >= value:
                return self._heap[0]
            heapq.heappop(self._heap)
            heapq.heappush(self._aside, (-self._values.spare[csm], csm))
        return None

    def taken(self, *, stays: bool) -> None:
        """The first took an account, and has more seats or not."""
        if stays:
            csm = self._heap[0][1]
            heapq.heapreplace(self._heap, (self._values.fullness(csm), csm))
        else:
            heapq.heappop(self._heap)
