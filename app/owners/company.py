"""Whom an account would rather go to: the CSM of its family, and whoever had it before.

A family's CSM, for one kind of account, is who serves that kind and owns most of the family already. Where nobody owns
any and several of it are in the queue, one is chosen beforehand: who serves the most of them, has seats for the most of
them, and has the largest free share of their book; the largest families choose first. To find the best CSMs for all
families at once is a hard problem; that each account goes to its family's CSM wherever it can is then solved exactly.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.owners.market import Market


class Wish(NamedTuple):
    """What speaks for a CSM beside having room."""

    family: bool
    former_owner: bool


def wishes(market: Market) -> dict[int, dict[int, Wish]]:
    """For the accounts that have any: the CSMs that something speaks for, all of whom serve them."""
    family_csm = _family_csms(market)
    serving = [set(market.servers(kind)) for kind in range(len(market.classes))]
    place = {book.csm.csm_id: number for number, book in enumerate(market.books)}
    found: dict[int, dict[int, Wish]] = {}
    for number, (claim, kind) in enumerate(zip(market.claims, market.kinds, strict=True)):
        relative = family_csm.get((claim.family, kind)) if claim.family is not None else None
        former = {place[csm_id] for csm_id in claim.former_owners if csm_id in place} & serving[kind]
        if relative is not None or former:
            wanted = sorted(former if relative is None else former | {relative})
            found[number] = {csm: Wish(csm == relative, csm in former) for csm in wanted}
    return found


def _family_csms(market: Market) -> dict[tuple[str | None, int], int]:
    """The CSM of each family in the queue by the kind of its accounts, where there is one."""
    members: dict[str, Counter[int]] = defaultdict(Counter)
    for claim, kind in zip(market.claims, market.kinds, strict=True):
        if claim.family is not None:
            members[claim.family][kind] += 1
    holders = _holders(market, members)
    class_of = {csm: number for number, csms in enumerate(market.members) for csm in csms}
    chosen: dict[tuple[str | None, int], int] = {}
    homeless: list[tuple[int, str, dict[int, int]]] = []
    for family, counts in members.items():
        owned = holders.get(family, {})
        rest: dict[int, int] = {}
        for kind, count in counts.items():
            serving = set(market.classes[kind])
            able = [(-held, csm) for csm, held in owned.items() if class_of[csm] in serving]
            if able:
                chosen[family, kind] = min(able)[1]
            else:
                rest[kind] = count
        if sum(rest.values()) > 1:
            homeless.append((-sum(rest.values()), family, rest))
    free = [book.seats for book in market.books]
    for _, family, rest in sorted(homeless, key=lambda entry: entry[:2]):
        csm, served = _anchor(market, rest, free)
        free[csm] -= served
        chosen |= {(family, kind): csm for kind in rest if class_of[csm] in market.classes[kind]}
    return chosen


def _holders(market: Market, families: Mapping[str, object]) -> dict[str, dict[int, int]]:
    """Who owns how many accounts of these families already."""
    found: dict[str, dict[int, int]] = defaultdict(dict)
    for number, book in enumerate(market.books):
        for family in book.csm.families.keys() | book.relatives.keys():
            if family in families and book.holds(family) > 0:
                found[family][number] = book.holds(family)
    return found


def _anchor(market: Market, members: Mapping[int, int], free: Sequence[int]) -> tuple[int, int]:
    """The CSM for a family that nobody owns any of, and how many of these members by kind they serve."""
    served: Counter[int] = Counter()
    for kind, count in members.items():
        for number in market.classes[kind]:
            served[number] += count
    most = max(served.values())
    able = [csm for number, count in served.items() if count == most for csm in market.members[number]]
    return max(able, key=lambda csm: (min(most, free[csm]), free[csm] / market.books[csm].csm.max_accounts, -csm)), most
