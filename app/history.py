"""What happened to accounts: the story of one, or a slice of `band_history`. Reads only.

Changes are in the order in which they took effect; of several at one instant, by run and account.
"""

import string
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    and_,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)

from app.errors import Mistake
from app.figures import printable
from app.tables import Id, Instant, accounts, band_history, coverage, owner_history, pins

_NEAR = 40


@dataclass(frozen=True, slots=True)
class Slice:
    """Which changes are asked for; None is no limit. `since` is included and `until` is not.

    `band` is the band on either side of the change.
    """

    account_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    band: str | None = None
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A change of band, of owner, or of both in one run.

    `move` is a word of `band_history.move`, or `owner` where only the owner changed; `rule` is then the code of why.
    `reason` tells of the band if that changed, else of the owner, and `owner_reason` of the owner if that changed
    too.
    """

    changed_at: datetime
    account_id: str
    move: str
    rule: str
    from_band: str | None
    to_band: str | None
    from_owner_id: str | None
    to_owner_id: str | None
    value: Decimal | None
    reason: str
    owner_reason: str | None
    policy_sha: str | None
    run_id: UUID


@dataclass(frozen=True, slots=True)
class Pin:
    """A pin that nobody took back; whether it has expired is for the reader of the clock to say."""

    band: str | None
    owner_id: str | None
    reason: str
    pinned_by: str
    pinned_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an account stands now. Without coverage (not yet entered, or left) only the first four can be set."""

    account_id: str
    name: str | None
    status: str | None
    pin: Pin | None
    band: str | None
    band_since: datetime | None
    band_rule: str | None
    owner_id: str | None
    owner_since: datetime | None
    waiting_since: datetime | None
    held_by: str | None
    held_from: str | None
    intervention: str | None
    intervention_from: str | None
    intervention_until: datetime | None
    pending: dict[str, Any] | None


def read_standing(connection: Connection, account_id: str) -> Standing:
    """Where the account stands; raises Mistake, with ids that are near, for one that was never heard of."""
    row = connection.execute(select_standing(account_id)).one_or_none()
    if row is None:
        raise Mistake(unknown_account(connection, account_id))
    pin = connection.execute(select_pin(account_id)).one_or_none()
    return Standing(**row._mapping, pin=Pin(**pin._mapping) if pin else None)


def read_changes(connection: Connection, wanted: Slice, latest: int | None) -> Iterator[Change]:
    """The changes in order, as they come from the database; only the last `latest` of them, unless that is None."""
    options = {"stream_results": True, "max_row_buffer": 1_000}
    rows = connection.execute(select_changes(wanted, latest), execution_options=options)
    return (Change(**row._mapping) for row in rows)


def count_changes(connection: Connection, wanted: Slice) -> int:
    """How many changes the slice has."""
    return connection.execute(select(func.count()).select_from(_changes(wanted).subquery())).scalar_one()


def select_changes(wanted: Slice, latest: int | None) -> Select[Any]:
    """One row per change, with the columns of `Change`, oldest first."""
    changes = _changes(wanted).subquery("changes")
    backwards = (changes.c.changed_at.desc(), changes.c.run_id.desc(), changes.c.account_id.desc())
    last = select(changes).order_by(*backwards).limit(latest).subquery("last") if latest is not None else changes
    # Joined to the few that are left, not to the whole history.
    told = and_(
        owner_history.c.account_id == last.c.account_id, owner_history.c.run_id == last.c.run_id, last.c.move != "owner"
    )
    return (
        select(last, owner_history.c.reason.label("owner_reason"))
        .select_from(last.outerjoin(owner_history, told))
        .order_by(last.c.changed_at, last.c.run_id, last.c.account_id)
    )


def _changes(wanted: Slice) -> Select[Any] | CompoundSelect[Any]:
    """The rows of `band_history`, and of an account's story those of `owner_history` whose band did not change too."""
    columns = [band_history.c[field.name] for field in fields(Change) if field.name != "owner_reason"]
    bands = select(*columns).where(*_within(band_history, wanted))
    if wanted.band is not None:
        bands = bands.where(or_(band_history.c.from_band == wanted.band, band_history.c.to_band == wanted.band))
    if wanted.rule is not None:
        bands = bands.where(band_history.c.rule == wanted.rule)
    if wanted.account_id is None or wanted.band is not None or wanted.rule is not None:
        return bands
    alone = (
        select(
            owner_history.c.changed_at,
            owner_history.c.account_id,
            literal("owner"),
            owner_history.c.why,
            null(),
            null(),
            owner_history.c.from_owner_id,
            owner_history.c.to_owner_id,
            null(),
            owner_history.c.reason,
            null(),
            owner_history.c.run_id,
        )
        .where(*_within(owner_history, wanted))
        .where(~select(band_history.c.run_id).where(_same_change()).exists())
    )
    return union_all(bands, alone)


def _same_change() -> ColumnElement[bool]:
    return and_(
        band_history.c.account_id == owner_history.c.account_id, band_history.c.run_id == owner_history.c.run_id
    )


def _within(table: Any, wanted: Slice) -> Iterator[ColumnElement[bool]]:
    if wanted.account_id is not None:
        yield table.c.account_id == wanted.account_id
    if wanted.since is not None:
        yield table.c.changed_at >= literal(wanted.since, Instant)
    if wanted.until is not None:
        yield table.c.changed_at < literal(wanted.until, Instant)


def select_standing(account_id: str) -> Select[Any]:
    """One row with the columns of `Standing` but for the pin, if the account was ever heard of."""
    asked = select(literal(account_id, Id).label("account_id")).subquery("asked")
    ours = {field.name for field in fields(Standing)} & set(coverage.c.keys()) - {"account_id"}
    heard_of = select(band_history.c.account_id).where(band_history.c.account_id == account_id).exists()
    return (
        select(asked.c.account_id, accounts.c.name, accounts.c.status, *(coverage.c[name] for name in sorted(ours)))
        .select_from(
            asked.outerjoin(accounts, accounts.c.account_id == asked.c.account_id).outerjoin(
                coverage, coverage.c.account_id == asked.c.account_id
            )
        )
        .where(or_(accounts.c.account_id.is_not(None), coverage.c.account_id.is_not(None), heard_of))
    )


def select_pin(account_id: str) -> Select[Any]:
    """The account's pin that nobody took back, if it has one."""
    columns = [pins.c[field.name] for field in fields(Pin)]
    return select(*columns).where(pins.c.account_id == account_id, pins.c.unpinned_at.is_(None))


def unknown_account(connection: Connection, account_id: str) -> str:
    """The one line about an account that is not known, with what may have been meant."""
    said = f"there is no account {printable(account_id)!r}"
    near = connection.execute(select_alike(account_id)).all() or _neighbours(connection, account_id)
    if not near:
        return f"{said}: `bandshift history` without an account lists the latest changes"
    named = [
        f"{printable(row.account_id)} ({printable(row.name)})" if row.name else printable(row.account_id)
        for row in near
    ]
    return f"{said}; did you mean {', or '.join(named)}?"


def select_alike(account_id: str) -> Select[Any]:
    """Up to three accounts that have this id in other letters, or this name, or end in the digits it ends in."""
    asked = account_id.strip().lower()
    digits = asked[len(asked.rstrip(string.digits)) :]
    alike = [func.lower(accounts.c.account_id) == asked, func.lower(accounts.c.name) == asked]
    if len(digits) > 1:
        alike.append(func.right(accounts.c.account_id, len(digits)) == digits)
    return select(accounts.c.account_id, accounts.c.name).where(or_(*alike)).order_by(accounts.c.account_id).limit(3)


def _neighbours(connection: Connection, account_id: str) -> list[Any]:
    """Up to three accounts whose ids look alike, among those that sort next to it or share its beginning."""
    after = _next_to(accounts.c.account_id >= account_id, accounts.c.account_id)
    before = _next_to(accounts.c.account_id < account_id, accounts.c.account_id.desc())
    stem = account_id[: max(len(account_id) // 2, 1)]
    found = {row.account_id: row for half in (after, before) for row in connection.execute(half)}
    found |= {
        row.account_id: row
        for row in connection.execute(_next_to(accounts.c.account_id >= stem, accounts.c.account_id))
    }
    return [found[near] for near in get_close_matches(account_id, sorted(found), n=3, cutoff=0.8)]


def _next_to(where: ColumnElement[bool], order: ColumnElement[Any]) -> Select[Any]:
    return select(accounts.c.account_id, accounts.c.name).where(where).order_by(order).limit(_NEAR)
