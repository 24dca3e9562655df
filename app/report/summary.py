"""A plan made small enough to read: flows, moves by rule, and the head of every long list. Pure.

Lists are headed by what matters most: the largest value first, accounts without a value last, ties by account id.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, TypeVar

from msgspec import Struct

from app.plan import Book, Decision, Flow, OwnerChange, Plan, Waiting
from app.policy.model import Policy

Item = TypeVar("Item")

MOVE_ORDER = ("leave", "enter", "pin", "graduate", "intervene", "demote", "return", "settle")
"""The order in which a report tells of moves."""


class Move(Struct, frozen=True):
    """A decision that moves an account, with the owner it ends up with (None is the pool)."""

    decision: Decision
    to_owner_id: str | None


@dataclass(frozen=True, slots=True)
class Head(Generic[Item]):
    """The first items of a list, and how many the whole list has."""

    shown: tuple[Item, ...]
    total: int

    @property
    def left_out(self) -> int:
        """How many are not shown."""
        return self.total - len(self.shown)


@dataclass(frozen=True, slots=True)
class Group:
    """The moves made by one rule, of one kind: how many accounts, their known value, and the first of them."""

    move: str
    rule: str
    value: Decimal
    moves: Head[Move]


@dataclass(frozen=True, slots=True)
class Summary:
    """All that a table shows of a plan."""

    flows: tuple[Flow, ...]
    groups: tuple[Group, ...]
    pending: Head[Decision]
    reviews: Head[Decision]
    contested: Head[Decision]
    reassigned: Head[OwnerChange]
    waitlist: Head[Waiting]
    books: Head[Book]

    @property
    def moved(self) -> int:
        """How many accounts move."""
        return sum(group.moves.total for group in self.groups)

    @property
    def account_ids(self) -> frozenset[str]:
        """The accounts that are shown by name."""
        moved = (move.decision.account_id for group in self.groups for move in group.moves.shown)
        noted = (
            decision.account_id for head in (self.pending, self.reviews, self.contested) for decision in head.shown
        )
        reassigned = (change.account_id for change in self.reassigned.shown)
        return frozenset((*moved, *noted, *reassigned, *(waiting.account_id for waiting in self.waitlist.shown)))

    @property
    def csm_ids(self) -> frozenset[str]:
        """The CSMs that are shown by name."""
        arriving = (move.to_owner_id for group in self.groups for move in group.moves.shown)
        return frozenset((*(owner for owner in arriving if owner), *(book.csm_id for book in self.books.shown)))


def summarise(plan: Plan, policy: Policy, limit: int | None) -> Summary:
    """The plan's summary with at most `limit` items in each list; None shows all."""
    return Summary(
        flows=flows(plan, policy),
        groups=_groups(plan, policy, limit),
        pending=_by_value(plan.of("pending"), limit),
        reviews=_by_value(plan.of("review"), limit),
        contested=_by_value(plan.of("contested"), limit),
        reassigned=_reassigned(plan, limit),
        waitlist=_head(plan.waitlist, limit, key=lambda waiting: (waiting.since, waiting.account_id)),
        books=_changed_books(plan.books, limit),
    )


def moves(plan: Plan) -> Iterator[Move]:
    """Every move with its owner afterwards, by account id. Both lists of the plan are walked once, side by side."""
    changes = iter(plan.owner_changes)
    change = next(changes, None)
    for decision in plan.decisions:
        if decision.outcome != "move":
            continue
        while change is not None and change.account_id < decision.account_id:
            change = next(changes, None)
        changed = change is not None and change.account_id == decision.account_id
        yield Move(decision, change.to_owner_id if changed and change is not None else decision.owner_id)


def flows(plan: Plan, policy: Policy) -> tuple[Flow, ...]:
    """How many accounts go from which band to which, and their known value; lowest bands first, new ones last."""
    accounts: Counter[tuple[str | None, str | None]] = Counter()
    value: dict[tuple[str | None, str | None], Decimal] = {}
    for decision in plan.of("move"):
        bands = decision.from_band, decision.to_band
        if bands[0] == bands[1]:
            continue
        accounts[bands] += 1
        value[bands] = value.get(bands, Decimal(0)) + (decision.value or 0)
    ranks: Mapping[str | None, int] = {band.name: band.rank for band in policy.bands} | {None: len(policy.bands) + 1}

    def rank(bands: tuple[str | None, str | None]) -> tuple[int, int, str, str]:
        before, after = bands
        unknown = len(policy.bands)
        return ranks.get(before, unknown), ranks.get(after, unknown), before or "", after or ""

    return tuple(Flow(*bands, accounts[bands], value[bands]) for bands in sorted(accounts, key=rank))


def counts(plan: Plan) -> dict[str, int]:
    """What the plan holds, as numbers: accounts evaluated, and how many of each thing."""
    outcomes = Counter(decision.outcome for decision in plan.decisions)
    moved = Counter(decision.move for decision in plan.of("move"))
    return {
        "accounts": plan.census.accounts,
        "moves": outcomes["move"],
        **{move: moved[move] for move in MOVE_ORDER},
        "owner_changes": len(plan.owner_changes),
        "pending": outcomes["pending"],
        "reviews": outcomes["review"],
        "contested": outcomes["contested"],
        "waitlist": len(plan.waitlist),
    }


def _groups(plan: Plan, policy: Policy, limit: int | None) -> tuple[Group, ...]:
    grouped: dict[tuple[str, str], list[Move]] = {}
    for move in moves(plan):
        grouped.setdefault((move.decision.move, move.decision.rule), []).append(move)
    order = {rule.name: position for position, rule in enumerate(policy.rules)}

    def position(key: tuple[str, str]) -> tuple[int, int, str]:
        return MOVE_ORDER.index(key[0]), order.get(key[1], -1), key[1]

    return tuple(
        Group(
            move=key[0],
            rule=key[1],
            value=sum((move.decision.value or Decimal(0) for move in grouped[key]), Decimal(0)),
            moves=_head(grouped[key], limit, key=lambda move: _most_valuable(move.decision)),
        )
        for key in sorted(grouped, key=position)
    )


def _reassigned(plan: Plan, limit: int | None) -> Head[OwnerChange]:
    """The changes of owner of accounts that stay in their band, the most valuable first."""
    moved = {decision.account_id for decision in plan.of("move")} if plan.owner_changes else set()
    staying = [change for change in plan.owner_changes if change.account_id not in moved]
    return _head(staying, limit, key=lambda change: (change.value is None, -(change.value or 0), change.account_id))


def _by_value(decisions: Iterable[Decision], limit: int | None) -> Head[Decision]:
    return _head(tuple(decisions), limit, key=_most_valuable)


def _most_valuable(decision: Decision) -> tuple[bool, Decimal, str]:
    return decision.value is None, -(decision.value or Decimal(0)), decision.account_id


def _changed_books(books: tuple[Book, ...], limit: int | None) -> Head[Book]:
    """The books that change, the busiest first; every book by id where the team is small enough to show whole."""
    if limit is None or len(books) <= limit:
        return Head(tuple(sorted(books, key=lambda book: book.csm_id)), len(books))
    changed = [book for book in books if book.arrivals or book.departures]
    return _head(changed, limit, key=lambda book: (-book.arrivals - book.departures, book.csm_id))


def _head(items: Collection[Item], limit: int | None, key: Callable[[Item], Any]) -> Head[Item]:
    first = sorted(items, key=key) if limit is None else heapq.nsmallest(limit, items, key=key)
    return Head(tuple(first), len(items))
