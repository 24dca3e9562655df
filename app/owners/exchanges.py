"""Making a placing worth more, step by step, where books are limited in value.

A step is one of three: an account that waits takes the seat of a less valuable one; it takes the room that another
account leaves by going to a third CSM; or a book gives up to two of its accounts for up to two that wait. Whoever there
is room for then comes in. Each step places more, everything is tried in a fixed order and a bounded number of times: so
it ends, and the result is the same every time.
"""

from bisect import bisect_left
from typing import NamedTuple

import numpy as np

from app.owners.flow import Numbers
from app.owners.sacks import Sacks

_ROUNDS = 3
_LOOK_AT = 8
_AMONG = 40
_TRIES = 5_000
_RELOCATIONS = 10_000
_EXCHANGES = 10_000


def improve(sacks: Sacks) -> None:
    """The placing is worth as much as the steps above make it, and never less."""
    search = _Search(sacks)
    for _ in range(_ROUNDS):
        before = sacks.placed
        search.seat_who_waits()
        sacks.fill()
        search.exchange()
        sacks.fill()
        if sacks.placed == before:
            return


class _Search:
    """A placing while it is improved, and how often more may be tried."""

    def __init__(self, sacks: Sacks) -> None:
        self.sacks = sacks
        kinds = np.array(sacks.market.kinds, dtype=np.int64)
        self._of_kind = [np.flatnonzero(kinds == kind) for kind in range(len(sacks.serving))]
        self._kinds: list[list[int]] = [[] for _ in sacks.held]
        for kind, serving in enumerate(sacks.serving):
            for csm in serving.tolist():
                self._kinds[csm].append(kind)
        self._tries, self._relocations, self._exchanges = _TRIES, _RELOCATIONS, _EXCHANGES

    def seat_who_waits(self) -> None:
        """Every account that waits has been tried once, the earlier turn first, while there are tries left."""
        sacks = self.sacks
        least = min((held[0][0] for held in sacks.held if held), default=0)
        for account in np.flatnonzero(sacks.waits).tolist():
            if self._tries <= 0 or (sacks.value[account] <= least and not sacks.seats.any()):
                return
            self._tries -= 1
            if not self._relocate(account):
                self._replace(account)

    def exchange(self) -> None:
        """No book that was looked at could give up to two accounts for up to two others and be worth more."""
        for csm in range(len(self.sacks.held)):
            while self._exchanges > 0 and self._exchange(csm):
                self._exchanges -= 1

    def _promising(self, account: int) -> Numbers:
        """Those who serve the account and have the most value to spare."""
        csms = self.sacks.serving[self.sacks.market.kinds[account]]
        return csms[np.argsort(-self.sacks.spare[csms], kind="stable")[:_LOOK_AT]]

    def _replace(self, account: int) -> None:
        """The account has the seat of a less valuable one, where that is possible: the one that gains the most."""
        sacks, value, best = self.sacks, int(self.sacks.value[account]), (0, -1)
        for csm in self._promising(account).tolist():
            held = sacks.held[csm]
            at = bisect_left(held, (value - int(sacks.spare[csm]), -1))
            if at < len(held):
                best = max(best, (value - held[at][0], held[at][1]))
        if best[0] > 0:
            csm = sacks.chosen[best[1]]
            sacks.take(best[1])
            sacks.put(account, csm)

    def _relocate(self, account: int) -> bool:
        """Whether the account found room in a book that another account could leave for a third CSM's."""
        sacks = self.sacks
        for csm in self._promising(account).tolist():
            held = sacks.held[csm]
            at = bisect_left(held, (int(sacks.value[account] - sacks.spare[csm]), -1))
            for _, other in held[at : at + _LOOK_AT // 2]:
                if self._relocations <= 0:
                    return False
                self._relocations -= 1
                thirds = sacks.able(other)
                thirds = thirds[thirds != csm]
                if len(thirds):
                    sacks.take(other)
                    sacks.put(other, sacks.roomiest(thirds))
                    sacks.put(account, csm)
                    return True
        return False

    def _exchange(self, csm: int) -> bool:
        """Whether the book gave up to two of its accounts for up to two that wait: those that gain it the most."""
        sacks, spare, seats = self.sacks, int(self.sacks.spare[csm]), int(self.sacks.seats[csm])
        held = _some(np.array([account for _, account in sacks.held[csm]], dtype=np.int64))
        waiting = self._waiting(csm, 2 * int(sacks.value[held].max(initial=0)) + spare)
        if spare <= 0 or not len(waiting):
            return False
        best, found = 0, (held[:0], waiting[:0])
        coming = _combined(sacks.value[waiting])
        for out in _combined(sacks.value[held]):
            for into in coming[1:]:
                if not len(out.sums) or not len(into.sums) or into.of - out.of > seats:
                    continue
                at = np.searchsorted(into.sums, out.sums + spare, side="right") - 1
                gains = np.where(at >= 0, into.sums[at] - out.sums, 0)
                which = int(np.argmax(gains))
                if gains[which] > best:
                    best = int(gains[which])
                    found = held[out.members[which]], waiting[into.members[at[which]]]
        for account in found[0].tolist():
            sacks.take(account)
        for account in found[1].tolist():
            sacks.put(account, csm)
        return best > 0

    def _waiting(self, csm: int, most: int) -> Numbers:
        """Some of the accounts that wait, are served by the CSM and worth no more than this, of all sizes."""
        found = np.concatenate([self._of_kind[kind] for kind in self._kinds[csm]])
        return _some(found[self.sacks.waits[found] & (self.sacks.value[found] <= most)])


class _Combined(NamedTuple):
    """Sums of so many values each, ascending, and which values they are of."""

    of: int
    sums: Numbers
    members: Numbers


def _combined(values: Numbers) -> tuple[_Combined, _Combined, _Combined]:
    """The sum of none of the values, those of each alone, and those of every two."""
    first, second = np.triu_indices(len(values), 1)
    none = np.zeros((1, 0), dtype=np.int64)
    members = none, np.arange(len(values))[:, None], np.stack([first, second], axis=1)
    zero, one, two = (_ascending(values, each) for each in members)
    return zero, one, two


def _ascending(values: Numbers, members: Numbers) -> _Combined:
    sums = values[members].sum(axis=1, dtype=np.int64)
    order = np.argsort(sums, kind="stable")
    return _Combined(members.shape[1], sums[order], members[order])


def _some(accounts: Numbers) -> Numbers:
    """At most so many of these accounts, the first and the last among them and the others evenly between."""
    if len(accounts) <= _AMONG:
        return accounts
    return accounts[np.linspace(0, len(accounts) - 1, _AMONG).astype(np.int64)]
