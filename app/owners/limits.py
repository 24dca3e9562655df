"""Where books are limited in value, placing is a knapsack with many sacks, and what is best is not known in general.

So several placings are made and improved step by step (`exchanges`; of a long queue only the two that are worth the
most). What is worth most in the end counts, the earlier of this list where they are equal; one that leaves nothing to
be placed ends the search:

1. what the flow placed; what no book has the value for is placed elsewhere where it can be;
2. most room first;
3. the value distributed as it would flow if accounts could be split, each kind's over the classes that serve it;
4. round robin, as it is played with all the queue.

The second and the last are how accounts are handed out elsewhere, so that the result is never worth less than that.
Everything is done in a fixed order and a bounded number of times, so the result is the same every time.

`bound` is what nobody could exceed, so the gap is known: the least of what the flow places when values have no limit,
and of what the books could hold if accounts could be split.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from app.owners.exchanges import improve
from app.owners.flow import Network, Numbers
from app.owners.market import Market
from app.owners.sacks import Sacks, Scales, filled, in_units

_LONG, _OF_A_LONG_ONE = 5_000, 2


@dataclass(frozen=True, slots=True)
class Split:
    """What could be placed if accounts could be split: the value, and by kind and class how much of it, in units."""

    value: Decimal
    by_class: dict[tuple[int, int], int]


def within_limits(
    scales: Scales, chosen: Mapping[int, int], dealt: Callable[[], Mapping[int, int]], split: Split, wanted: int
) -> dict[int, int]:
    """The best placing that was found. `chosen` is what the flow placed, `dealt` what round robin does.

    The first that places all the value that could be, and as many accounts as are `wanted`, ends the search.
    """
    all_value = in_units(split.value, scales.unit)
    makers: list[Callable[[], Sacks]] = [
        lambda: filled(scales, chosen),
        lambda: filled(scales, {}),
        lambda: _as_split(scales, split),
        lambda: filled(scales, dealt()),
    ]
    starts: list[Sacks] = []
    for make in makers:
        starts.append(make())
        value, accounts = starts[-1].placed
        if value >= all_value and accounts >= wanted:
            return starts[-1].chosen
    best_first = sorted(starts, key=lambda sacks: sacks.placed, reverse=True)
    for sacks in best_first[: _OF_A_LONG_ONE if len(scales.value) > _LONG else None]:
        improve(sacks)
    return max(starts, key=lambda sacks: sacks.placed).chosen


def _as_split(scales: Scales, split: Split) -> Sacks:
    """Each account, by its turn, is with the roomiest of the class that most of its kind's value is still meant for."""
    market, sacks, left = scales.market, Sacks(scales), dict(split.by_class)
    class_of = {csm: number for number, members in enumerate(market.members) for csm in members}

    def choose(account: int, able: Numbers) -> int:
        kind = market.kinds[account]
        classes = np.array([class_of[csm] for csm in able.tolist()], dtype=np.int64)
        best = max(set(classes.tolist()), key=lambda number: (left.get((kind, number), 0), -number))
        if (kind, best) in left:
            left[kind, best] -= int(sacks.value[account])
        return sacks.roomiest(able[classes == best])

    sacks.fill(choose)
    return sacks


def split_up(scales: Scales) -> Split:
    """The most value that can be placed if accounts are split among CSMs, who hold no more than their best seats."""
    market, unit, values = scales.market, scales.unit, scales.value
    total = np.zeros(len(market.classes), dtype=np.int64)
    np.add.at(total, np.array(market.kinds), values)
    holds = _most_held(market, values, unit)
    first_class, network = 2 + len(total), Network(objectives=1)
    network.add(0, 1, total.sum(keepdims=True), 1)
    network.add(0, 2 + np.arange(len(total)), total)
    served = np.array([(kind, number) for kind, classes in enumerate(market.classes) for number in classes])
    to_class = network.add(2 + served[:, 0], first_class + served[:, 1], total[served[:, 0]])
    to_end = network.add(first_class + np.arange(len(holds)), 1, holds)
    flows = network.flows(int(total.sum()))
    by_class = zip(served.tolist(), flows[to_class].tolist(), strict=True)
    return Split(int(flows[to_end].sum()) * unit, {(kind, number): flow for (kind, number), flow in by_class if flow})


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
            held += seats_worth if book.spare is None else min(seats_worth, in_units(book.spare, unit))
        holds[number] = min(held, total)
    return holds
