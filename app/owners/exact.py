"""Who is placed and where, as a flow of accounts from the queue to the seats. Exact but for limits in value.

    queue -> kind -> class -> CSM -> seats          every account, by its turn
    queue -> account -> CSM                         an account whose family or past speaks for this CSM
    queue -> waitlist                               who finds no seat

*Value placed.* The sets of accounts that can all have a seat at once are the independent sets of a matroid (they are
matched to seats). So one set is the best for every weighing that agrees with the order of turns, and costs that are
simply the position of the turn find it: it places the greatest total value and, among those, prefers the earlier turn
at every position. No sum of values is ever formed, whatever they are.

*Family and former owner.* Among those flows, the most accounts with their family's CSM; then the most with one who had
them before.

*Balance.* Among those, the least sum over the books of size times squared share: a seat costs what it adds to that sum,
which grows with every seat taken, so the seats of a book are filled in their order. Shares are whole millionths. A book
that is fuller in value than in accounts before anything is placed starts from that share.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.owners.books import NOTHING, OpenBook
from app.owners.company import Wish
from app.owners.flow import Network, Numbers
from app.owners.market import Market

_STEPS = 400_000
"""Above so many seats in one market they are taken in steps of two and more, and balance is exact to a step."""

_SHARE = 1_000_000


@dataclass(frozen=True, slots=True)
class Shares:
    """Who is placed: some with a given CSM, the others by how many of their kind a class takes, and each CSM of it.

    Accounts and CSMs are positions in the market's lists; `by_class` is keyed by kind and class.
    """

    settled: dict[int, int]
    open: list[int]
    by_class: dict[tuple[int, int], int]
    seats: list[int]

    @property
    def placed(self) -> list[int]:
        """All who are placed."""
        return [*self.settled, *self.open]


def shares(market: Market, wanted: Mapping[int, Mapping[int, Wish]]) -> Shares:
    """The best placing as the module says, limits in value aside."""
    at = _Nodes(market)
    kinds, groups = np.array(market.kinds), np.array(market.groups)
    picky = np.array(sorted(wanted), dtype=np.int64)
    plain = np.setdiff1d(np.arange(len(kinds)), picky)
    turns = int(groups[-1]) + 1
    network = Network(objectives=3)
    network.add(0, 1, np.array([len(kinds)]), turns)  # to wait costs more than any turn

    # Accounts of one kind and turn that want nobody in particular are one arc.
    pairs, pair_of, counts = np.unique(kinds[plain] * turns + groups[plain], return_inverse=True, return_counts=True)
    by_turn = network.add(0, at.kind + pairs // turns, counts, pairs % turns)

    one, nodes = np.ones(len(picky), dtype=np.int64), at.account + np.arange(len(picky))
    network.add(0, nodes, one, groups[picky])
    to_kind = network.add(nodes, at.kind + kinds[picky], one)
    whose, csms, merits = _merits(picky, wanted)
    to_csm = network.add(at.account + whose, at.csm + csms, np.ones_like(whose), 0, -merits)

    served = np.array([(kind, number) for kind, classes in enumerate(market.classes) for number in classes])
    to_class = network.add(at.kind + served[:, 0], at.service + served[:, 1], np.bincount(kinds)[served[:, 0]])
    seats = _seats_in_reach(market)
    to_member = network.add(at.service + _class_of(market), at.csm + np.arange(len(seats)), seats)
    _add_seats(network, at.csm, seats, market.books)

    flows = network.flows(len(kinds))
    by_class = zip(served.tolist(), flows[to_class].tolist(), strict=True)
    return Shares(
        settled={int(picky[whose[arc]]): int(csms[arc]) for arc in np.flatnonzero(flows[to_csm])},
        open=sorted(_first(plain, pair_of, flows[by_turn]) + picky[flows[to_kind] > 0].tolist()),
        by_class={(kind, number): flow for (kind, number), flow in by_class if flow},
        seats=flows[to_member].tolist(),
    )


class _Nodes:
    """Where the numbers of the nodes begin; 0 is the queue, 1 the end."""

    def __init__(self, market: Market) -> None:
        self.kind = 2
        self.service = self.kind + len(market.classes)
        self.csm = self.service + len(market.members)
        self.account = self.csm + len(market.books)


def _merits(picky: Numbers, wanted: Mapping[int, Mapping[int, Wish]]) -> Numbers:
    """Three rows: for every wish whose it is (a position in `picky`), for which CSM, and what it is worth.

    A family is worth more than all former owners together.
    """
    wished = [
        (number, csm, (len(picky) + 1) * wish.family + wish.former_owner)
        for number, account in enumerate(picky.tolist())
        for csm, wish in wanted[account].items()
    ]
    return np.array(wished, dtype=np.int64).reshape(-1, 3).T


def _first(plain: Numbers, pair_of: Numbers, taken: Numbers) -> list[int]:
    """The accounts placed: of each kind and turn as many as were taken, the lower ids first."""
    left, found = taken.tolist(), []
    for account, pair in zip(plain.tolist(), pair_of.tolist(), strict=True):
        if left[pair] > 0:
            left[pair] -= 1
            found.append(account)
    return found


def _class_of(market: Market) -> Numbers:
    """The class of every CSM."""
    class_of = np.empty(len(market.books), dtype=np.int64)
    for number, members in enumerate(market.members):
        class_of[members] = number
    return class_of


def _seats_in_reach(market: Market) -> Numbers:
    """The seats of every CSM, but no more than there are accounts that they serve."""
    reach = [0] * len(market.members)
    for kind, count in Counter(market.kinds).items():
        for number in market.classes[kind]:
            reach[number] += count
    seats = np.zeros(len(market.books), dtype=np.int64)
    for most, members in zip(reach, market.members, strict=True):
        seats[members] = [min(market.books[csm].seats, most) for csm in members]
    return seats


def _add_seats(network: Network, first_csm: int, seats: Numbers, books: Sequence[OpenBook]) -> None:
    """Every seat leads to the end, and costs what the account in it adds to the sum of size times squared share."""
    step = 1 + int(seats.sum()) // _STEPS
    pieces = -(-seats // step)
    whose = np.repeat(np.arange(len(seats)), pieces)
    before = (np.arange(len(whose)) - np.repeat(np.cumsum(pieces) - pieces, pieces)) * step
    width = np.minimum(step, seats[whose] - before)
    size = np.array([book.csm.max_accounts for book in books])[whose]
    share = np.array([_share(book) for book in books])[whose]
    network.add(first_csm + whose, 1, width, 0, 0, 2 * share + (2 * before + width) * _SHARE // size)


def _share(book: OpenBook) -> int:
    """How full the book is, in millionths: in accounts or in value, whichever is more."""
    by_accounts = book.accounts * _SHARE // book.csm.max_accounts
    limit = book.csm.max_book
    return by_accounts if limit is None else max(by_accounts, int(max(book.value, NOTHING) * _SHARE / limit))
