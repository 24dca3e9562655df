"""Round robin over the whole queue: what many do, played through so that nobody who does that ever places more.

The accounts come by their turns, and each goes to the next in the one circle of all CSMs who serves it and has room.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property

import numpy as np

from app.owners.market import Market, turn
from app.owners.sacks import Sacks, Scales, weighed


class Circle:
    """The queue of these markets, dealt; that is done when it is first asked for, to the books as they are then."""

    def __init__(self, markets: Sequence[Market], as_of: datetime) -> None:
        self._markets, self._as_of = markets, as_of

    def scales(self, market: Market) -> Scales:
        """The market in numbers."""
        return self._scales[self._markets.index(market)]

    def dealt(self, market: Market) -> Mapping[int, int]:
        """The CSM of every account of the market that was dealt, both by position."""
        return self._dealt[self._markets.index(market)].chosen

    @cached_property
    def _scales(self) -> list[Scales]:
        return [weighed(market) for market in self._markets]

    @cached_property
    def _dealt(self) -> list[Sacks]:
        sacks = [Sacks(scales) for scales in self._scales]
        csm_ids = sorted(book.csm.csm_id for market in self._markets for book in market.books)
        place = {csm_id: number for number, csm_id in enumerate(csm_ids)}
        seats = [np.array([place[book.csm.csm_id] for book in market.books]) for market in self._markets]
        queue = sorted(
            ((turn(claim, self._as_of), claim.account_id), number, account)
            for number, market in enumerate(self._markets)
            for account, claim in enumerate(market.claims)
        )
        following = 0
        for _, number, account in queue:
            able = sacks[number].able(account)
            if len(able):
                round_table = seats[number][able]
                at = int(np.searchsorted(round_table, following)) % len(able)
                sacks[number].put(account, int(able[at]))
                following = int(round_table[at]) + 1
        return sacks
