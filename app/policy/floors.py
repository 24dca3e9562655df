"""What a band must be worth: the cost to serve an account of the band, over the share of its revenue that may cost.

floor = csm_cost x staffing / cost_ratio / accounts_per_csm, to the cent; the lowest band's is 0. A policy may write
floors out instead. The demotion floor lies `buffer` below. Every step is kept, so that people can follow the sum.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise

from app.figures import money
from app.policy.model import Floors
from app.policy.problems import Path
from app.policy.shape import BandShape, EconomicsShape, SegmentShape

CENT = Decimal("0.01")
Found = tuple[Path, str]
"""Something wrong, and the path of it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one account of a band costs in a segment, before the division."""

    csm_cost: Decimal
    staffing: Decimal
    cost_ratio: Decimal
    accounts_per_csm: int

    @property
    def floor(self) -> Decimal:
        """The least value that carries the cost, to the cent."""
        return (self.csm_cost * self.staffing / self.cost_ratio / self.accounts_per_csm).quantize(CENT, ROUND_HALF_UP)


@dataclass(frozen=True, slots=True)
class FloorOf:
    """A band's floor in a segment (None: all others). It follows from `cost`, or is written out when that is None."""

    band: str
    segment: str | None
    floor: Decimal
    demotion: Decimal
    cost: Cost | None
    currency: str

    @property
    def arithmetic(self) -> str:
        """The floor as a sum: `$180,000 x 1 / 0.10 / 40 = $45,000`."""
        result = money(self.floor, self.currency)
        if self.cost is None:
            return result
        cost = self.cost
        steps = f"{money(cost.csm_cost, self.currency)} x {cost.staffing:f} / {cost.cost_ratio:f}"
        return f"{steps} / {cost.accounts_per_csm:,} = {result}"


def price(
    bands: Sequence[BandShape], economics: EconomicsShape
) -> tuple[Mapping[str | None, tuple[FloorOf, ...]], list[Found]]:
    """Each band's floor per segment, by rank, with None first; and what is missing to know them."""
    problems: list[Found] = []
    priced: dict[str | None, tuple[FloorOf, ...]] = {}
    for name, segment in [(None, SegmentShape()), *economics.segments.items()]:
        found: list[FloorOf] = []
        for rank, band in enumerate(bands):
            floor, cost = _floor(rank, band, economics, segment)
            if floor is None:
                if name is None:
                    problems.append(_unknown(rank, band, economics))
                break
            buffer = segment.buffer if segment.buffer is not None else economics.buffer
            demotion = (floor * (1 - buffer)).quantize(CENT, ROUND_HALF_UP)
            found.append(FloorOf(band.name, name, floor, demotion, cost, economics.currency))
        else:
            priced[name] = tuple(found)
    return priced, problems or _not_rising(priced)


def floors(priced: Mapping[str | None, Sequence[FloorOf]]) -> Mapping[str | None, Floors]:
    """The floors alone, as the policy keeps them."""
    return {
        segment: Floors(tuple(each.floor for each in bands), tuple(each.demotion for each in bands))
        for segment, bands in priced.items()
    }


def _floor(
    rank: int, band: BandShape, economics: EconomicsShape, segment: SegmentShape
) -> tuple[Decimal | None, Cost | None]:
    """The band's floor in the segment, None if it cannot be known, and the cost it follows from."""
    if rank == 0:
        return Decimal(0).quantize(CENT), None
    written = segment.floors.get(band.name, band.floor)
    if written is not None:
        return written.quantize(CENT, ROUND_HALF_UP), None
    csm_cost = segment.csm_cost if segment.csm_cost is not None else economics.csm_cost
    cost_ratio = segment.cost_ratio if segment.cost_ratio is not None else economics.cost_ratio
    if csm_cost is None or cost_ratio is None:
        return None, None
    cost = Cost(csm_cost, band.staffing, cost_ratio, segment.accounts_per_csm.get(band.name, band.accounts_per_csm))
    return cost.floor, cost


def _unknown(rank: int, band: BandShape, economics: EconomicsShape) -> Found:
    missing = [name for name in ("csm_cost", "cost_ratio") if getattr(economics, name) is None]
    what = f"the floor of `{band.name}` is not known; give {' and '.join(missing)} under [economics], or `floor` here"
    return ("bands", rank), what


def _not_rising(priced: Mapping[str | None, Sequence[FloorOf]]) -> list[Found]:
    """One problem for each band whose floor is not above the one below it."""
    problems = []
    for segment, bands in priced.items():
        for lower, upper in pairwise(bands):
            if upper.floor > lower.floor:
                continue
            where: Path = ("economics",) if segment is None else ("economics", "segments", segment)
            low, high = (money(each.floor, each.currency) for each in (lower, upper))
            what = (
                f"floors rise with the bands, but `{upper.band}` starts at {high} and `{lower.band}` below it at {low}"
            )
            problems.append((where, what))
    return problems
