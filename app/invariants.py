"""The invariants that hold after every run, each as a statement that yields its offenders.

They ask of the tables what nobody but bandshift writes, so that one broken by hand shows up. Where an invariant depends
on the policy, it is that of the last run that took effect; what people asked for since (pins, new capacities) is the
next run's business, and no offence. Each statement passes over its tables once, in sets.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    FromClause,
    Numeric,
    Text,
    and_,
    any_,
    case,
    cast,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    true,
)

from app.offenders import Offenders, all_of, beside, number, offender, or_none, per_run
from app.owed import messages_amiss
from app.policy.model import Policy
from app.tables import Instant, accounts, band_history, coverage, csms, owner_history, pins, runs

IN_EFFECT = ("applied", "nothing")
_BY_THE_RULES = ("band_change", "departure", "waitlist", "rebalance")


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last run that took effect, and its policy; an import is none, the approval of a recompute is one.

    An approval makes only what was approved, so pins are obeyed as they stood when the last recompute set out, at
    `pins_as_of`; None: there was no recompute yet.
    """

    run_id: UUID
    as_of: datetime
    pins_as_of: datetime | None
    policy: Policy


@dataclass(frozen=True, slots=True)
class Invariant:
    """What must hold, and the statement that finds where it does not; None if that needs a run and there was none."""

    code: str
    title: str
    offenders: Offenders | None


def invariants(last: LastRun | None) -> tuple[Invariant, ...]:
    """I1 to I9, in order."""

    def after(offenders: Callable[[LastRun], Offenders]) -> Offenders | None:
        return offenders(last) if last is not None else None

    return (
        Invariant("I1", "at most one run took effect per slot", slots_run_twice()),
        Invariant("I2", "each account's band is where its history ends", bands_unlike_history()),
        Invariant("I3", "histories have no gap", gaps_in_histories()),
        Invariant("I4", "every change of owner is told once", owners_unlike_history()),
        Invariant("I5", "nobody over capacity was given accounts", after(books_too_full)),
        Invariant("I6", "the pool's accounts have no owner, others have one or wait", after(accounts_served_wrongly)),
        Invariant("I7", "unexpired pins are obeyed", after(pins_disobeyed)),
        Invariant("I8", "each run's counts equal its rows", runs_miscounted()),
        Invariant("I9", "each run left the messages it owes", messages_amiss()),
    )


def slots_run_twice() -> Offenders:
    """I1."""
    return (
        offender(cast(runs.c.slot, Text), "has ", cast(func.count(), Text), " runs that took effect")
        .where(runs.c.status.in_(IN_EFFECT), runs.c.slot.is_not(None))
        .group_by(runs.c.slot)
        .having(func.count() > 1)
    )


def bands_unlike_history() -> Offenders:
    """I2."""
    last = _last(band_history, band_history.c.to_band)
    account = func.coalesce(coverage.c.account_id, last.c.account_id)
    return (
        offender(account, "is in ", or_none(coverage.c.band), " and its history ends in ", or_none(last.c.to))
        .select_from(coverage.join(last, last.c.account_id == coverage.c.account_id, full=True))
        .where(coverage.c.band.is_distinct_from(last.c.to))
    )


def gaps_in_histories() -> Offenders:
    """I3."""
    return all_of(
        _gaps(band_history, band_history.c.from_band, band_history.c.to_band),
        _gaps(owner_history, owner_history.c.from_owner_id, owner_history.c.to_owner_id),
    )


def owners_unlike_history() -> Offenders:
    """I4."""
    last = _last(owner_history, owner_history.c.to_owner_id)
    account = func.coalesce(coverage.c.account_id, last.c.account_id)
    standing = (
        offender(account, "belongs to ", or_none(coverage.c.owner_id), ", its history says ", or_none(last.c.to))
        .select_from(coverage.join(last, last.c.account_id == coverage.c.account_id, full=True))
        .where(coverage.c.owner_id.is_distinct_from(last.c.to))
    )
    told = (
        select(owner_history.c.run_id)
        .where(
            owner_history.c.account_id == band_history.c.account_id,
            owner_history.c.run_id == band_history.c.run_id,
            owner_history.c.from_owner_id.is_not_distinct_from(band_history.c.from_owner_id),
            owner_history.c.to_owner_id.is_not_distinct_from(band_history.c.to_owner_id),
        )
        .exists()
    )
    untold = offender(band_history.c.account_id, "changed owner in run ", _of_run(band_history), " untold").where(
        band_history.c.from_owner_id.is_distinct_from(band_history.c.to_owner_id), not_(told)
    )
    return all_of(standing, untold)


def books_too_full(last: LastRun) -> Offenders:
    """I5: to be over capacity is an offence only when the last run itself added to the book, other than by a pin."""
    held = (
        select(coverage.c.owner_id, func.count().label("accounts"))
        .where(coverage.c.owner_id.is_not(None))
        .group_by(coverage.c.owner_id)
        .subquery("held")
    )
    given = (
        select(owner_history.c.account_id)
        .where(owner_history.c.run_id == literal(last.run_id, runs.c.run_id.type))
        .where(owner_history.c.to_owner_id == held.c.owner_id, owner_history.c.why.in_(_BY_THE_RULES))
        .exists()
    )
    most = func.coalesce(csms.c.max_accounts, _book_size(last.policy))
    return (
        offender(held.c.owner_id, "has ", cast(held.c.accounts, Text), " accounts of at most ", cast(most, Text))
        .select_from(held.join(csms, csms.c.csm_id == held.c.owner_id))
        .where(held.c.accounts > most, given)
    )


def accounts_served_wrongly(last: LastRun) -> Offenders:
    """I6."""
    pooled = coverage.c.band == any_(_bands(last.policy, pooled=True))
    named = coverage.c.band == any_(_bands(last.policy, pooled=False))
    owned, waits = coverage.c.owner_id.is_not(None), coverage.c.waiting_since.is_not(None)
    wrong = case(
        (and_(pooled, owned), literal("is the pool's and has an owner, ") + coverage.c.owner_id),
        (and_(pooled, waits), "is the pool's and waits for an owner"),
        (and_(named, owned, waits), "has an owner and waits for one"),
        (and_(named, not_(owned), not_(waits)), "has no owner and waits for none"),
    )
    return offender(coverage.c.account_id, "in ", coverage.c.band, " ", wrong).where(wrong.is_not(None))


def pins_disobeyed(last: LastRun) -> Offenders:
    """I7."""
    known = [band.name for band in last.policy.bands]
    in_band = or_(pins.c.band.is_(None), not_(pins.c.band == any_(_texts(known))), pins.c.band == coverage.c.band)
    named = coverage.c.band == any_(_bands(last.policy, pooled=False))
    can_own = select(csms.c.csm_id).where(csms.c.csm_id == pins.c.owner_id, csms.c.active).exists()
    with_owner = or_(pins.c.owner_id.is_(None), not_(named), not_(can_own), pins.c.owner_id == coverage.c.owner_id)
    return (
        offender(
            pins.c.account_id, "is in ", coverage.c.band, " with ", or_none(coverage.c.owner_id),
            ", pinned to ", func.concat_ws(" and ", pins.c.band, pins.c.owner_id),
        )
        .select_from(pins.join(coverage, coverage.c.account_id == pins.c.account_id).join(
            accounts, and_(accounts.c.account_id == pins.c.account_id, accounts.c.status == "active")
        ))
        .where(
            pins.c.unpinned_at.is_(None),
            pins.c.pinned_at <= literal(last.pins_as_of, Instant),
            pins.c.expires_at > literal(last.as_of, Instant),
            not_(and_(in_band, func.coalesce(with_owner, False))),
        )
    )  # fmt: skip


def runs_miscounted() -> Offenders:
    """I8: a run that did not take effect has no rows at all."""
    return all_of(_miscounted(band_history, "moves"), _miscounted(owner_history, "owner_changes"))


def _of_run(history: Any) -> ColumnElement[Any]:
    return cast(history.c.run_id, Text)


def _in_order(history: Any) -> dict[str, Any]:
    """The window of one account's rows, in the order in which they took effect."""
    return {"partition_by": history.c.account_id, "order_by": (history.c.changed_at, runs.c.started_at)}


def _last(history: Any, to: ColumnElement[Any]) -> FromClause:
    """The last row of each account: where it led `to`."""
    place = func.row_number().over(
        partition_by=history.c.account_id, order_by=(history.c.changed_at.desc(), runs.c.started_at.desc())
    )
    rows = (
        select(history.c.account_id, to.label("to"), place.label("place"))
        .join(runs, runs.c.run_id == history.c.run_id)
        .subquery("ordered")
    )
    return select(rows.c.account_id, rows.c.to).where(rows.c.place == 1).subquery("last")


def _gaps(history: Any, before: ColumnElement[Any], after: ColumnElement[Any]) -> Offenders:
    rows = (
        select(
            history.c.account_id,
            _of_run(history).label("run_id"),
            before.label("before"),
            func.lag(after).over(**_in_order(history)).label("came_from"),
        )
        .join(runs, runs.c.run_id == history.c.run_id)
        .subquery("in_order")
    )
    said = (
        " went from ",
        or_none(rows.c.before),
        " in run ",
        rows.c.run_id,
        " but was with or in ",
        or_none(rows.c.came_from),
    )
    return offender(rows.c.account_id, *said).where(rows.c.before.is_distinct_from(rows.c.came_from))


def _miscounted(history: Any, key: str) -> Offenders:
    found = per_run(history.c.run_id, true(), "found")
    counted = case(
        (runs.c.status.in_(IN_EFFECT), cast(runs.c.counts[key].astext, BigInteger)), else_=literal(0, BigInteger)
    )
    return (
        offender(cast(runs.c.run_id, Text), "counted ", number(counted), f" {key} and has ", number(found.c.rows))
        .select_from(beside(found))
        .where(func.coalesce(found.c.rows, 0) != counted)
    )


def _texts(names: list[str]) -> ColumnElement[Any]:
    return literal(names, ARRAY(Text))


def _bands(policy: Policy, *, pooled: bool) -> ColumnElement[Any]:
    return _texts([band.name for band in policy.bands if band.pooled is pooled])


def _book_size(policy: Policy) -> ColumnElement[Any]:
    """The policy's book size of the highest band that a CSM serves; without one they have no limit here."""
    sizes = [
        (literal(band.name, Text) == any_(csms.c.bands), literal(band.accounts_per_csm, Numeric))
        for band in reversed(policy.bands)
        if not band.pooled
    ]
    return case(*sizes, else_=null()) if sizes else cast(null(), Numeric)
