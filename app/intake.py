"""How many accounts each CSM may be given in one run: the policy's limit, less for who is new, none for who is away."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Any

from sqlalchemy import Connection, select

from app.policy.model import Owners, Policy
from app.tables import csm_absences

_A_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Intake:
    """The terms of one run, on the date `today`; `away_until` is the last day of everybody who counts as away.

    `first` tells a run before which nobody owns anything: the books are being set up, and only new hires and those with
    a number of their own are limited.
    """

    owners: Owners
    today: date
    away_until: Mapping[str, date]
    first: bool

    def most(self, csm: Any, max_accounts: int) -> int | None:
        """How many accounts this row of `csms`, with a book of `max_accounts`, may be given; None is no limit.

        A number of their own holds as it is. In their first weeks people are given a part of the policy's limit that
        grows by the week, or of their book where there is no limit.
        """
        if csm.csm_id in self.away_until or (csm.hired_on is not None and csm.hired_on > self.today):
            return 0
        if csm.max_new_per_run is not None:
            return max(int(csm.max_new_per_run), 0)
        share = self.owners.max_new_per_run
        usual = None if share is None or self.first else max(share.at_least, _ceiling(share.share * max_accounts))
        weeks = self.owners.ramp_weeks if csm.hired_on is None else (self.today - csm.hired_on).days // 7
        if weeks >= self.owners.ramp_weeks:
            return usual
        whole = max_accounts if usual is None else usual
        return _ceiling(Decimal(whole * (weeks + 1)) / self.owners.ramp_weeks)


def read_intake(connection: Connection, policy: Policy, as_of: datetime, *, nobody_owns: bool) -> Intake:
    """The terms of a run at `as_of`."""
    today = as_of.astimezone(policy.calendar.time_zone).date()
    columns = csm_absences.c.csm_id, csm_absences.c.starts_on, csm_absences.c.ends_on
    rows = connection.execute(select(*columns).order_by(csm_absences.c.csm_id, csm_absences.c.starts_on)).all()
    return Intake(policy.owners, today, away_until((tuple(row) for row in rows), policy.owners, today), nobody_owns)


def away_until(absences: Iterable[tuple[str, date, date]], owners: Owners, today: date) -> dict[str, date]:
    """Who is away, or about to be, with the last day of it; `absences` are ordered by CSM and start.

    Absences that overlap or follow each other are one. Only one of more than `absence_days` counts, and it does from
    `notice_days` before its first day to its last.
    """
    away: dict[str, date] = {}
    for csm_id, starts_on, ends_on in _joined(absences):
        is_long = (ends_on - starts_on).days + 1 > owners.absence_days
        if is_long and (starts_on - today).days <= owners.notice_days and today <= ends_on:
            away[csm_id] = ends_on
    return away


def _joined(absences: Iterable[tuple[str, date, date]]) -> Iterable[tuple[str, date, date]]:
    """The absences, with those that touch made one."""
    joined: list[tuple[str, date, date]] = []
    for csm_id, starts_on, ends_on in absences:
        if joined and joined[-1][0] == csm_id and (starts_on - joined[-1][2]).days <= _A_DAY.days:
            _, first, last = joined.pop()
            joined.append((csm_id, first, max(last, ends_on)))
        else:
            joined.append((csm_id, starts_on, ends_on))
    return joined


def _ceiling(number: Decimal) -> int:
    return int(number.to_integral_value(ROUND_CEILING))
