"""The roster: the CSMs with their books as they stand, and the accounts whose owner has to be settled.

Only what `owners` needs leaves the database: a row per CSM, and a row per account that waits, lost its CSM, is pinned
to another one, or stands against the rule that pooled bands have no owner and named bands have one.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Numeric,
    Select,
    Text,
    and_,
    any_,
    case,
    func,
    literal,
    not_,
    or_,
    select,
)

from app.decide.book import Question, joined, valued
from app.decide.layers import Rows
from app.decide.sources import LIVE
from app.decide.stream import stream_rows
from app.owners import Claim, Csm
from app.plan import Decision
from app.policy.expressions import facts_of
from app.policy.model import Policy
from app.tables import Id, Instant, coverage, csms, pins

Column = ColumnElement[Any]


@dataclass(frozen=True, slots=True)
class Roster:
    """The CSMs by id; the claims that stand without any decision and the pins to an owner in force, by account id."""

    csms: tuple[Csm, ...]
    unsettled: Mapping[str, Claim]
    pins: Mapping[str, str]


def read_roster(connection: Connection, policy: Policy, as_of: datetime) -> Roster:
    """The roster as it stands now, under the pins in force at `as_of`."""
    books = {row.owner_id: row for row in connection.execute(select_books(policy, as_of))}
    known = {row.csm_id: _csm(policy, row, books.get(row.csm_id)) for row in connection.execute(select(csms))}
    gone = {owner_id: _gone(owner_id, book) for owner_id, book in books.items() if owner_id not in known}
    everybody = tuple(csm for _, csm in sorted((known | gone).items()))
    departed = [csm.csm_id for csm in everybody if not csm.active and csm.accounts]
    in_force = {row.account_id: row.owner_id for row in connection.execute(select_pins(as_of))}
    unsettled = stream_rows(connection, select_unsettled(policy, as_of, departed))
    return Roster(everybody, {row[0]: Claim(*(*row, in_force.get(row[0]))) for row in unsettled}, in_force)


def claims(decisions: Iterable[Decision], roster: Roster) -> Iterator[Claim]:
    """A claim for every account that moves, in the order of the decisions, then for every other unsettled one."""
    moved: set[str] = set()
    for decision in decisions:
        if decision.outcome != "move":
            continue
        standing = roster.unsettled.get(decision.account_id)
        if standing is not None:
            moved.add(decision.account_id)
        yield _moved(decision, standing, roster.pins.get(decision.account_id))
    yield from (claim for account_id, claim in roster.unsettled.items() if account_id not in moved)


def select_books(policy: Policy, as_of: datetime) -> Select[Any, int, Any]:
    """Every owner with the number of accounts they own and the known value of those that are active."""
    book = _book(policy, as_of)
    worth = func.sum(book["value"]).filter(book["is_active"])
    return (
        select(
            book["owner_id"],
            func.count().label("accounts"),
            func.coalesce(worth, literal(0, Numeric)).label("value"),
        )
        .select_from(book.source)
        .where(book["owner_id"].is_not(None))
        .group_by(book["owner_id"])
    )


def select_pins(as_of: datetime) -> Select[Any]:
    """The accounts that are pinned to an owner, by account id."""
    return (
        select(pins.c.account_id, pins.c.owner_id)
        .where(pins.c.owner_id.is_not(None), pins.c.unpinned_at.is_(None))
        .where(pins.c.expires_at > literal(as_of, Instant))
        .order_by(pins.c.account_id)
    )


def select_unsettled(policy: Policy, as_of: datetime, departed: list[str]) -> Select[Any]:
    """The active accounts whose owner has to be settled whatever the rules say, by id, as `Claim` lists them."""
    book = _book(policy, as_of)
    owned = book["owner_id"].is_not(None)
    misplaced = and_(_in_bands(policy, book, "pool"), owned)
    without = and_(_in_bands(policy, book, "named"), not_(owned))
    lost = and_(owned, book["owner_id"] == any_(literal(departed, ARRAY(Id))))
    pinned = book["account_id"].in_(select_pins(as_of).order_by(None).with_only_columns(pins.c.account_id))
    why = case((misplaced, "band_change"), (without, "waitlist"), (lost, "departure"), else_="pin")
    return (
        select(
            book["account_id"],
            why.label("why"),
            *(book[name] for name in ("band", "value", "segment", "region", "language", "owner_id")),
            coverage.c.waiting_since,
        )
        .select_from(book.source.join(coverage, coverage.c.account_id == book["account_id"]))
        .where(book["is_active"], or_(misplaced, without, lost, pinned))
        .order_by(book["account_id"])
    )


def _book(policy: Policy, as_of: datetime) -> Rows:
    """One row per account with its coverage and its value, as the decisions see them."""
    ask = Question(policy, as_of, LIVE)
    needs_signals = bool(facts_of(policy.value) & policy.signals.keys())
    book = Rows(joined(ask, occasions=needs_signals).subquery("book"))
    return book.plus(lambda rows: valued(ask, rows), name="valued", fenced=False)


def _in_bands(policy: Policy, book: Rows, served_by: Literal["pool", "named"]) -> Column:
    names = [band.name for band in policy.bands if band.pooled == (served_by == "pool")]
    return book["band"] == any_(literal(names, ARRAY(Text)))


def _csm(policy: Policy, row: Any, book: Any) -> Csm:
    return Csm(
        csm_id=row.csm_id,
        bands=frozenset(row.bands),
        segments=_any_of(row.segments),
        regions=_any_of(row.regions),
        languages=_any_of(row.languages),
        max_accounts=row.max_accounts if row.max_accounts is not None else _book_size(policy, row.bands),
        max_book=row.max_book,
        max_new=row.max_new_per_run,
        active=row.active,
        accounts=book.accounts if book is not None else 0,
        value=book.value if book is not None else Decimal(0),
    )


def _gone(owner_id: str, book: Any) -> Csm:
    """An owner whom `csms` does not know: they serve nothing and have no room."""
    return Csm(
        csm_id=owner_id,
        bands=frozenset(),
        segments=None,
        regions=None,
        languages=None,
        max_accounts=0,
        max_book=None,
        max_new=None,
        active=False,
        accounts=book.accounts,
        value=book.value,
    )


def _book_size(policy: Policy, bands: list[str]) -> int:
    """The policy's book size of the highest band they serve; 0 if the policy has none of them."""
    served = [policy.band[name] for name in bands if name in policy.band and not policy.band[name].pooled]
    return max(served, key=lambda band: band.rank).accounts_per_csm if served else 0


def _any_of(names: list[str] | None) -> frozenset[str] | None:
    """An empty list says no more than a missing one."""
    return frozenset(names) if names else None


def _moved(decision: Decision, standing: Claim | None, pinned_to: str | None) -> Claim:
    """The claim of an account that moves; if its CSM has left too, that is why."""
    claim = Claim(
        account_id=decision.account_id,
        why="left" if decision.to_band is None else "band_change",
        band=decision.to_band,
        value=decision.value,
        segment=decision.segment,
        region=decision.region,
        language=decision.language,
        owner_id=decision.owner_id,
        waiting_since=standing.waiting_since if standing is not None else None,
        pinned_to=pinned_to,
    )
    return replace(claim, why="departure") if standing is not None and standing.why == "departure" else claim
