"""Pins: dated overrides of an account's band or owner, by people and for a while.

An account has at most one pin that stands; a new one takes its place, and one that was taken back stays on record. A
pin ends by itself when it expires. Runs obey the pins in force at their instant; nothing else writes to the table.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, Text, func, insert, literal, select, update

from app.errors import Mistake, Problem
from app.figures import counted, day, printable
from app.history import unknown_account
from app.plan import LapsedPin
from app.policy.model import Policy
from app.policy.tokens import suggestion
from app.runs import select_last_run
from app.tables import Instant, accounts, coverage, csms, pins

LONGEST = 500
"""The most characters that a reason or a name may have."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for: this band, this owner, or both, until the instant `until`."""

    account_id: str
    band: str | None
    owner_id: str | None
    until: datetime
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class Pin:
    """A pin that nobody took back. `problem` says, in half a sentence, why it has no effect while it is in force."""

    account_id: str
    name: str | None
    band: str | None
    owner_id: str | None
    pinned_at: datetime
    pinned_by: str
    expires_at: datetime
    reason: str
    problem: str | None

    def lapsed(self, now: datetime) -> bool:
        """Whether it has expired."""
        return self.expires_at <= now


def pin(connection: Connection, policy: Policy, wish: Wish, now: datetime) -> Pin | None:
    """The pin stands, from the next run on; returns the one that it replaces, if there was one.

    Raises Mistake with everything that is wrong with it, and then nothing is written.
    """
    problems = list(_problems(connection, policy, wish, now))
    if len(problems) == 1:
        raise Mistake(problems[0])
    if problems:
        raise Mistake(f"the pin has {counted(len(problems), 'mistake')}:", [Problem("", what) for what in problems])
    _take_turn(connection, wish.account_id)
    replaced = _standing(connection, policy, wish.account_id)
    if replaced is not None:
        connection.execute(_take_back(wish.account_id, wish.by, now))
    row = {
        "account_id": wish.account_id,
        "pinned_at": now,
        "band": wish.band,
        "owner_id": wish.owner_id,
        "reason": wish.reason,
        "pinned_by": wish.by,
        "expires_at": wish.until,
    }
    connection.execute(insert(pins).values(row))
    return replaced


def unpin(connection: Connection, policy: Policy, account_id: str, by: str, now: datetime) -> Pin:
    """The account's pin is taken back; returns what it was. Raises Mistake when it has none, or `by` is no name."""
    problem = not_a_line("--by", by)
    if problem is not None:
        raise Mistake(problem)
    _take_turn(connection, account_id)
    standing = _standing(connection, policy, account_id)
    if standing is None:
        known = connection.execute(select(accounts.c.account_id).where(accounts.c.account_id == account_id)).first()
        if known is None:
            raise Mistake(unknown_account(connection, account_id))
        raise Mistake(f"{printable(account_id)} has no pin; `bandshift pins` lists those that there are")
    connection.execute(_take_back(account_id, by, now))
    return standing


def read_pins(connection: Connection, policy: Policy) -> tuple[Pin, ...]:
    """The pins that nobody took back, expired or not, by account id."""
    return tuple(_pin(policy, row) for row in connection.execute(select_standing().order_by(pins.c.account_id)))


def read_lapsed(connection: Connection, as_of: datetime) -> tuple[LapsedPin, ...]:
    """The pins that expired by `as_of` and after the last run that took effect before it, by account id."""
    last = connection.execute(select_last_run(as_of)).one_or_none()
    columns = [pins.c[field.name] for field in fields(LapsedPin)]
    lapsed = select(*columns).where(pins.c.unpinned_at.is_(None), pins.c.expires_at <= literal(as_of, Instant))
    if last is not None:
        lapsed = lapsed.where(pins.c.expires_at > literal(last.as_of, Instant))
    return tuple(LapsedPin(*row) for row in connection.execute(lapsed.order_by(pins.c.account_id)))


def select_standing() -> Select[Any]:
    """The pins that nobody took back, with what may stand in their way."""
    return (
        select(
            pins,
            accounts.c.name,
            accounts.c.status,
            csms.c.active,
            coverage.c.band.label("present_band"),
        )
        .select_from(
            pins.outerjoin(accounts, accounts.c.account_id == pins.c.account_id)
            .outerjoin(csms, csms.c.csm_id == pins.c.owner_id)
            .outerjoin(coverage, coverage.c.account_id == pins.c.account_id)
        )
        .where(pins.c.unpinned_at.is_(None))
    )


def _pin(policy: Policy, row: Any) -> Pin:
    return Pin(
        account_id=row.account_id,
        name=row.name,
        band=row.band,
        owner_id=row.owner_id,
        pinned_at=row.pinned_at,
        pinned_by=row.pinned_by,
        expires_at=row.expires_at,
        reason=row.reason,
        problem=_obstacle(policy, row),
    )


def _obstacle(policy: Policy, row: Any) -> str | None:
    """What keeps the pin from having all its effect."""
    if row.status != "active":
        return "the account is no longer active"
    if row.band is not None and row.band not in policy.band:
        return f"the policy has no band {row.band}"
    if row.owner_id is None:
        return None
    if row.active is None:
        return f"there is no CSM {row.owner_id}"
    if not row.active:
        return f"{row.owner_id} has left"
    band = policy.band.get(row.band or row.present_band or "")
    return f"the pool serves {band.name}" if band is not None and band.pooled else None


def _take_turn(connection: Connection, account_id: str) -> None:
    """Whoever else wants to pin this account waits until this transaction ends."""
    key = func.hashtextextended(literal(account_id, Text), 0)
    connection.execute(select(func.pg_advisory_xact_lock(key)))


def _standing(connection: Connection, policy: Policy, account_id: str) -> Pin | None:
    row = connection.execute(select_standing().where(pins.c.account_id == account_id)).one_or_none()
    return None if row is None else _pin(policy, row)


def _take_back(account_id: str, by: str, now: datetime) -> Any:
    ours = pins.c.account_id == account_id, pins.c.unpinned_at.is_(None)
    return update(pins).where(*ours).values(unpinned_at=now, unpinned_by=by)


# ---- What can be wrong with a wish ---------------------------------------------------------------------------------


def _problems(connection: Connection, policy: Policy, wish: Wish, now: datetime) -> Iterator[str]:
    """A line for each mistake, in the order of the options."""
    joined = accounts.outerjoin(coverage, coverage.c.account_id == accounts.c.account_id)
    asked = select(accounts.c.status, coverage.c.band).select_from(joined)
    account = connection.execute(asked.where(accounts.c.account_id == wish.account_id)).one_or_none()
    if account is None:
        yield unknown_account(connection, wish.account_id)
    elif account.status != "active":
        yield f"{printable(wish.account_id)} is no longer an active customer, so no pin can hold it"
    if wish.band is None and wish.owner_id is None:
        yield "a pin needs --band, --owner or both"
    if wish.band is not None and wish.band not in policy.band:
        near = suggestion(wish.band, policy.band) or f"; there are {', '.join(policy.band)}"
        yield f"--band {printable(wish.band)!r} is no band of policy {policy.name}{near}"
    if wish.owner_id is not None:
        band = wish.band if wish.band is not None else account.band if account is not None else None
        yield from _owner_problems(connection, policy, wish.owner_id, band)
    yield from _until_problems(policy, wish.until, now)
    for option, text in (("--reason", wish.reason), ("--by", wish.by)):
        if problem := not_a_line(option, text):
            yield problem


def _owner_problems(connection: Connection, policy: Policy, owner_id: str, band: str | None) -> Iterator[str]:
    """What keeps this CSM from owning an account in this band (None: it has none yet, and the pin names none)."""
    shown = printable(owner_id)
    row = connection.execute(select(csms.c.bands, csms.c.active).where(csms.c.csm_id == owner_id)).one_or_none()
    if row is None:
        yield f"--owner {shown!r} is no CSM{_alike(connection, owner_id)}"
    elif not row.active:
        yield f"--owner {shown} has left; pin it to somebody who has not"
    if band not in policy.band or band is None:
        return
    if policy.band[band].pooled:
        yield f"the pool serves {band}, so nobody can own the account there; name a higher --band, or no --owner"
    elif row is not None and band not in row.bands:
        yield f"--owner {shown} serves {', '.join(row.bands) or 'no band'} and not {band}"


def _alike(connection: Connection, owner_id: str) -> str:
    """`; did you mean ...?` with the CSM whose id or name is near."""
    known = {row.csm_id: row.name for row in connection.execute(select(csms.c.csm_id, csms.c.name))}
    by_name = {(name or "").lower(): csm_id for csm_id, name in sorted(known.items(), reverse=True)}
    if owner_id.strip().lower() in by_name:
        return f"; did you mean `{by_name[owner_id.strip().lower()]}`?"
    return suggestion(owner_id, known)


def _until_problems(policy: Policy, until: datetime, now: datetime) -> Iterator[str]:
    zone = policy.calendar.time_zone
    last = (until - timedelta(microseconds=1)).astimezone(zone).date()
    latest = now.astimezone(zone).date() + timedelta(days=policy.owners.pin_max_days)
    if until <= now:
        yield f"--until {day(last)} is in the past; a pin ends in the future"
    elif last > latest:
        longest = counted(policy.owners.pin_max_days, "day")
        yield f"--until {day(last)} is more than {longest} ahead, owners.pin_max_days; the latest is {day(latest)}"


def not_a_line(option: str, text: str) -> str | None:
    """Why this text cannot be kept as one line; None if it can."""
    if not text.strip():
        return f"{option} is empty; say it in a few words"
    if not text.isprintable():
        return f"{option} has a line break or a character that cannot be printed; keep it to one line"
    return f"{option} is longer than {LONGEST} characters" if len(text) > LONGEST else None
