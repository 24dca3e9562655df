"""The markets, settled: the flow, the names, the limits in value, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial

from app.owners.books import NOTHING, worth
from app.owners.company import Wish, wishes
from app.owners.deal import Circle
from app.owners.desk import HAD_IT_BEFORE, SERVES, WITH_FAMILY, Desk
from app.owners.exact import shares
from app.owners.limits import split_up, within_limits
from app.owners.market import Market
from app.owners.model import Claim
from app.owners.spread import spread

_NOTHING_SPECIAL = Wish(family=False, former_owner=False)


@dataclass(frozen=True, slots=True)
class Placing:
    """What came of a market: who waits, in the order of their turns, and the figures of who does not."""

    waiting: tuple[Claim, ...]
    placed: int
    value: Decimal
    bound: Decimal
    with_family: int
    with_former_owner: int


@dataclass(frozen=True, slots=True)
class Solution:
    """The CSM of every account that is placed, both by position, and what no placing exceeds in value."""

    market: Market
    wanted: Mapping[int, Mapping[int, Wish]]
    chosen: Mapping[int, int]
    bound: Decimal


def place(markets: Sequence[Market], desk: Desk, as_of: datetime) -> list[Placing]:
    """The accounts of the markets are with their CSMs, as far as there is room for them."""
    circle = Circle(markets, as_of)
    return [_carried_out(solution, desk) for solution in [_solved(market, circle) for market in markets]]


def _solved(market: Market, circle: Circle) -> Solution:
    """The market settled; its books are as they were."""
    wanted = wishes(market)
    flow = shares(market, wanted)
    chosen = spread(market, flow)
    most = sum((worth(market.claims[account].value) for account in flow.placed), NOTHING)
    if len(chosen) == len(flow.placed):
        return Solution(market, wanted, chosen, most)
    scales = circle.scales(market)
    split = split_up(scales)
    found = within_limits(scales, chosen, partial(circle.dealt, market), split, len(flow.placed))
    return Solution(market, wanted, found, min(most, split.value))


def _carried_out(solution: Solution, desk: Desk) -> Placing:
    """The accounts are in the books of the CSMs who were found for them."""
    market, chosen = solution.market, solution.chosen
    granted = [solution.wanted.get(account, {}).get(csm, _NOTHING_SPECIAL) for account, csm in chosen.items()]
    for (account, csm), wish in zip(chosen.items(), granted, strict=True):
        desk.hand_over(market.claims[account], market.books[csm].csm.csm_id, _because(wish))
    return Placing(
        waiting=tuple(claim for account, claim in enumerate(market.claims) if account not in chosen),
        placed=len(chosen),
        value=sum((worth(market.claims[account].value) for account in chosen), NOTHING),
        bound=solution.bound,
        with_family=sum(wish.family for wish in granted),
        with_former_owner=sum(wish.former_owner for wish in granted),
    )


def _because(wish: Wish) -> str:
    return WITH_FAMILY if wish.family else HAD_IT_BEFORE if wish.former_owner else SERVES
