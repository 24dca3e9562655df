"""Where books are limited in value, placing is a knapsack with many sacks, and what is best is not known in general.

Three things are done about it. What the flow placed and no book has the value for is placed elsewhere where it can be.
Most room first is tried too, so that the result is never worth less. Both are then improved, step by step, as long as
a step places more: an account that waits takes a free seat, takes the seat of a less valuable one, or takes the room
that another one leaves by going to a third CSM. The more valuable result counts; the flow's where they are equal.
Everything is tried in a fixed order and a bounded number of times, so the result is the same every time.

`bound` is what nobody could exceed, so the gap is known: the least of what the flow places when values have no limit,
and of what the books could hold if accounts could be split.
"""

from bisect import bisect_left, insort
from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np

from app.owners.books import worth
from app.owners.flow import Network, Numbers
from app.owners.market import Market

_ROUNDS = 3
_LOOK_AT = 8
_TRIES = 20_000
_RELOCATIONS = 10_000
_LARGEST = 2**45
"""All values together are no more units than this, so that sums over all classes stay far within 64 bits."""


class Sacks:
    """A placing that honours every limit, while it is improved. Accounts and CSMs are positions in the market's lists.

    Values are whole numbers of `unit`, rounded against us where they are finer: an account up, a book's limit down.
    """

    def __init__(self, market: Market) -> None:
        self.market = market
        values = [worth(claim.value) for claim in market.claims]
        self._unit = _unit(market)
        self.value = [_whole(value, self._unit, ROUND_CEILING) for value in values]
        boundless = sum(self.value) + 1
        self.spare = np.array(
            [
                boundless if book.spare is None else min(_whole(book.spare, self._unit, ROUND_FLOOR), boundless)
                for book in market.books
            ],
            dtype=np.int64,
        )
        self.seats = np.array([book.seats for book in market.books], dtype=np.int64)
        self.serving = [np.array(market.servers(kind), dtype=np.int64) for kind in range(len(market.classes))]
        self._size = np.array([book.csm.max_accounts for book in market.books], dtype=np.float64)
        self._meant = np.array([float(book.csm.max_book or 0) / float(self._unit) for book in market.books])
        self.chosen: dict[int, int] = {}
        self.held: list[list[tuple[int, int]]] = [[] for _ in market.books]  # value and account, ascending
        self._tries, self._moves = _TRIES, _RELOCATIONS

    @property
    def placed(self) -> tuple[int, int]:
        """What is placed: how much value and how many accounts."""
        return sum(self.value[account] for account in self.chosen), len(self.chosen)

    def put(self, account: int, csm: int) -> None:
        """The account is in the book."""
        self.chosen[account] = csm
        self.seats[csm] -= 1
        self.spare[csm] -= self.value[account]
        insort(self.held[csm], (self.value[account], account))

    def take(self, account: int) -> None:
        """The account is in no book."""
        csm = self.chosen.pop(account)
        self.seats[csm] += 1
        self.spare[csm] += self.value[account]
        del self.held[csm][bisect_left(self.held[csm], (self.value[account], account))]

    def roomiest(self, account: int, *, but: int = -1) -> int | None:
        """The CSM with the most room among those who serve and can take the account; ties go to the lower id."""
        csms = self.serving[self.market.kinds[account]]
        able = csms[(self.seats[csms] > 0) & (self.spare[csms] >= self.value[account]) & (csms != but)]
        if not len(able):
            return None
        by_accounts = self.seats[able] / self._size[able]
        limited = self._meant[able] > 0
        by_value = np.divide(self.spare[able], self._meant[able], out=np.ones(len(able)), where=limited)
        return int(able[np.argmax(np.minimum(by_accounts, by_value))])

    def fill(self) -> None:
        """Nobody waits whom somebody has room for; the earlier turn goes first, to who has the most room."""
        refused: dict[int, int] = {}  # from what value on nobody has room for a kind: room only shrinks here
        for account, (value, kind) in enumerate(zip(self.value, self.market.kinds, strict=True)):
            if account not in self.chosen and value < refused.get(kind, _LARGEST):
                csm = self.roomiest(account)
                if csm is not None:
                    self.put(account, csm)
                else:
                    refused[kind] = self._least_refused(kind)

    def improve(self) -> None:
        """The placing is worth more where a step of the kinds above makes it so."""
        for _ in range(_ROUNDS):
            before = self.placed
            self.fill()
            self._step()
            self.fill()
            if self.placed == before:
                return

    def _least_refused(self, kind: int) -> int:
        """The least value that nobody has room for in this kind."""
        csms = self.serving[kind]
        open_to = csms[self.seats[csms] > 0]
        return int(self.spare[open_to].max()) + 1 if len(open_to) else 0

    def _step(self) -> None:
        """Every account that waits has been tried once, the earlier turn first, while there are tries left."""
        least = min((held[0][0] for held in self.held if held), default=0)
        for account, value in enumerate(self.value):
            if account in self.chosen:
                continue
            if self._tries <= 0 or (value <= least and not self.seats.any()):
                return
            self._tries -= 1
            if not self._relocate(account):
                self._replace(account)

    def _promising(self, account: int) -> Numbers:
        """Those who serve the account and have the most value to spare."""
        csms = self.serving[self.market.kinds[account]]
        return csms[np.argsort(-self.spare[csms], kind="stable")[:_LOOK_AT]]

    def _replace(self, account: int) -> None:
        """The account has the seat of a less valuable one, where that is possible: the one that gains the most."""
        value, best = self.value[account], (0, -1)
        for csm in self._promising(account).tolist():
            held = self.held[csm]
            at = bisect_left(held, (value - int(self.spare[csm]), -1))
            if at < len(held):
                best = max(best, (value - held[at][0], held[at][1]))
        if best[0] > 0:
            csm = self.chosen[best[1]]
            self.take(best[1])
            self.put(account, csm)

    def _relocate(self, account: int) -> bool:
        """Whether the account found room in a book that another account could leave for a third CSM's."""
        for csm in self._promising(account).tolist():
            held = self.held[csm]
            at = bisect_left(held, (self.value[account] - int(self.spare[csm]), -1))
            for _, other in held[at : at + _LOOK_AT // 2]:
                if self._moves <= 0:
                    return False
                self._moves -= 1
                third = self.roomiest(other, but=csm)
                if third is not None:
                    self.take(other)
                    self.put(other, third)
                    self.put(account, csm)
                    return True
        return False


def within_limits(market: Market, chosen: Mapping[int, int]) -> dict[int, int]:
    """The better of two placings: the given one, completed and improved, and most room first, improved."""
    ours, theirs = Sacks(market), Sacks(market)
    for account, csm in sorted(chosen.items()):
        ours.put(account, csm)
    ours.improve()
    theirs.improve()
    return ours.chosen if ours.placed >= theirs.placed else theirs.chosen


def bound(market: Market, placed_without_limits: Decimal) -> Decimal:
    """What no placing in this market exceeds in value."""
    return min(placed_without_limits, _split(market))


def _split(market: Market) -> Decimal:
    """The value placed if accounts could be split among CSMs, each holding no more than the best their seats allow."""
    unit = _unit(market)
    values = np.array([_whole(worth(claim.value), unit, ROUND_CEILING) for claim in market.claims], dtype=np.int64)
    total = np.zeros(len(market.classes), dtype=np.int64)
    np.add.at(total, np.array(market.kinds), values)
    holds = _most_held(market, values, unit)
    first_class, network = 2 + len(total), Network(objectives=1)
    network.add(0, 1, total.sum(keepdims=True), 1)
    network.add(0, 2 + np.arange(len(total)), total)
    served = np.array([(kind, number) for kind, classes in enumerate(market.classes) for number in classes])
    network.add(2 + served[:, 0], first_class + served[:, 1], total[served[:, 0]])
    to_end = network.add(first_class + np.arange(len(holds)), 1, holds)
    return int(network.flows(int(total.sum()))[to_end].sum()) * unit


def _most_held(market: Market, values: Numbers, unit: Decimal) -> Numbers:
    """For each class the sum over its CSMs of what each could hold at most: their limit, and their seats' worth."""
    serving = np.zeros((len(market.members), len(market.classes)), dtype=bool)
    for kind, classes in enumerate(market.classes):
        serving[classes, kind] = True
    kinds, total = np.array(market.kinds), int(values.sum())
    holds = np.zeros(len(market.members), dtype=np.int64)
    for number, members in enumerate(market.members):
        dearest = np.concatenate([[0], np.cumsum(values[serving[number][kinds]])])
        held = 0
        for csm in members:
            book = market.books[csm]
            seats_worth = int(dearest[min(book.seats, len(dearest) - 1)])
            held += seats_worth if book.spare is None else min(seats_worth, _whole(book.spare, unit, ROUND_CEILING))
        holds[number] = min(held, total)
    return holds


def _unit(market: Market) -> Decimal:
    """The finest of 0.0001, 0.001, ... in which all values together are few enough units."""
    total = sum((worth(claim.value) for claim in market.claims), Decimal(len(market.claims)))
    unit = Decimal("0.0001")
    while total / unit > _LARGEST:
        unit *= 10
    return unit


def _whole(value: Decimal, unit: Decimal, rounding: str) -> int:
    return int((value / unit).to_integral_value(rounding))
