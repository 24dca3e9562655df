"""The other peer: the default policy as a loop over an ORM, account by account, as most such jobs are written.

`python -m bench.peer_orm AS_OF` with the database's URL in DATABASE_URL. It reads the accounts a page at a time with
their signals and coverage, decides each in Python and lets the session write what changed, all in one transaction. As
in the hand-written SQL, what does not occur in the benchmark's data is left out. Prints the number of moves.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session, selectinload

from bench.orm_models import Account, BandChange, Coverage, Csm, OwnerChange, Run, Signal

BANDS = ("tech", "low", "high", "strategic")
CADENCE = {"high": 30, "strategic": 14}
BOOKS = {"low": 250, "high": 40, "strategic": 10}
FLOORS = {
    "enterprise": (0, 4800, 30000, 180000),
    "self_serve": (0, 9000, 56250, 337500),
    None: (0, 7200, 45000, 270000),
}
PAGE = 2000


@dataclass(frozen=True)
class Facts:
    """An account read with its signals as they stood at `as_of`."""

    account: Account
    as_of: datetime

    def days_since(self, moment: datetime) -> int:
        """Whole days from `moment` to `as_of`."""
        return (self.as_of - moment) // timedelta(days=1)

    def of(self, kind: str, within: int | None = None, until: int = 0, after: datetime | None = None) -> list[Signal]:
        """The signals of a kind in a window, and newer than `after`."""
        oldest = self.as_of - timedelta(days=within) if within is not None else None
        newest = self.as_of - timedelta(days=until)
        return [
            signal
            for signal in self.account.signals
            if signal.kind == kind
            and signal.occurred_at <= newest
            and (oldest is None or signal.occurred_at > oldest)
            and (after is None or signal.occurred_at > after)
        ]

    def latest(self, kind: str, within: int | None = None, until: int = 0) -> Decimal | None:
        """The latest value of a kind in a window."""
        known = [(s.occurred_at, s.value) for s in self.of(kind, within, until) if s.value is not None]
        return max(known)[1] if known else None

    @property
    def value(self) -> Decimal | None:
        """Recurring revenue and potential in the policy's currency."""
        if self.account.arr is None or (self.account.currency or "USD") != "USD":
            return None
        return Decimal(self.account.arr + (self.account.expansion_arr or 0))

    @property
    def floors(self) -> tuple[int, ...]:
        """The floors of the account's segment, lowest band first."""
        return FLOORS.get(self.account.segment, FLOORS[None])

    @property
    def earned(self) -> int | None:
        """The rank that the value carries."""
        value = self.value
        return (
            None
            if value is None
            else max(rank for rank, floor in enumerate(self.floors) if rank == 0 or value >= floor)
        )

    @property
    def days_to_renewal(self) -> int | None:
        """Days until the renewal; negative when it is over."""
        renewal = self.account.renewal_on
        return None if renewal is None else (renewal - self.as_of.date()).days

    @property
    def renewal_near(self) -> bool:
        """Whether it renews within 90 days."""
        return self.days_to_renewal is not None and 0 <= self.days_to_renewal <= 90

    @property
    def locked_in(self) -> bool:
        """Whether it is locked in and safe."""
        account, health = self.account, self.latest("health", 45)
        return (
            (account.contract_term_months or 0) >= 24
            and (self.days_to_renewal or 0) > 365
            and health is not None
            and health >= 80
            and (account.adoption or 0) >= Decimal("0.6")
        )

    def quiet(self, band: str, since: datetime | None) -> bool:
        """Whether nobody engaged for two cycles of `band`, counted from `since` at the earliest."""
        engaged, cadence = self.account.last_engaged_at, CADENCE.get(band)
        if engaged is None or cadence is None:
            return False
        return self.days_since(max(engaged, since) if since else engaged) > 2 * cadence

    def champion_gone(self, after: datetime | None) -> bool:
        """Whether the champion left a month ago or more and nobody followed."""
        left, joined = self.of("champion_left"), self.of("champion_joined")
        if not self.of("champion_left", 180, after=after):
            return False
        days = min(self.days_since(signal.occurred_at) for signal in left)
        followed = joined and min(self.days_since(signal.occurred_at) for signal in joined) <= days
        return days >= 30 and not followed


@dataclass(frozen=True)
class Move:
    """What an account's rules come to."""

    move: str
    rule: str
    to_band: str | None
    reason: str


def decide(facts: Facts) -> Move | None:
    """The account's move, after its confirmations were counted; None if it stays."""
    account, coverage = facts.account, facts.account.coverage
    if account.status != "active":
        return Move("leave", "left", None, "it is no longer an active customer") if coverage else None
    if coverage is None:
        rank = facts.earned or 0
        rank = rank - 1 if rank == 2 and facts.locked_in else rank
        return Move("enter", "entry", BANDS[rank], f"it enters with a value of {facts.value}")
    if coverage.band_rule != "import" and facts.as_of - coverage.band_since < timedelta(days=6):
        return None
    lift = _intervention(facts, coverage)
    if lift:
        return lift
    weeks = _confirm(facts, coverage)
    down, up = _demotion(facts, coverage, weeks), _graduation(facts, coverage, weeks)
    return None if down and up else down or up


def _intervention(facts: Facts, coverage: Coverage) -> Move | None:
    account = facts.account
    if coverage.band != "low":
        return None
    if account.segment == "mid_market":
        now, before = facts.latest("usage", 30), facts.latest("usage", until=60)
        meetings, meetings_before = len(facts.of("meeting", 30)), len(facts.of("meeting", 60, 30))
        if now is not None and before is not None and now < Decimal("0.7") * before and meetings < meetings_before:
            return Move("intervene", "usage_decline", "high", f"usage fell from {before} to {now}")
    if facts.renewal_near and account.adoption is not None and account.adoption < Decimal("0.4"):
        return Move("intervene", "renewal_rescue", "high", f"it renews on {account.renewal_on}")
    return None


def _confirm(facts: Facts, coverage: Coverage) -> dict[str, int]:
    """The weeks for which each rule that must be confirmed has held; `coverage.pending` is brought up to date."""
    rank, value, earned = BANDS.index(coverage.band), facts.value, facts.earned
    holds = {
        "locked": rank == 2 and facts.locked_in,
        "value_lost": rank > 0 and value is not None and value < facts.floors[rank] * Decimal("0.85"),
        "value_gained": earned is not None and earned > rank,
    }
    before, after = coverage.pending or {}, dict[str, dict[str, Any]]()
    for rule in (name for name, held in holds.items() if held):
        entry = before.get(rule)
        if entry is None:
            after[rule] = {"weeks": 1, "seen_at": facts.as_of.isoformat()}
        elif facts.as_of - datetime.fromisoformat(entry["seen_at"]) >= timedelta(days=6):
            after[rule] = {"weeks": entry["weeks"] + 1, "seen_at": facts.as_of.isoformat()}
        else:
            after[rule] = entry
    if after != before:
        coverage.pending = after or None
    return {rule: entry["weeks"] for rule, entry in after.items()}


def _demotion(facts: Facts, coverage: Coverage, weeks: dict[str, int]) -> Move | None:
    rank, stays = BANDS.index(coverage.band), facts.days_since(coverage.band_since)
    health = facts.latest("health", 45)
    protected = facts.renewal_near or (health is not None and health < 50)
    previous = BANDS[max(rank - 1, 0)]
    if rank > 0 and facts.quiet(coverage.band, coverage.band_since) and not protected:
        return Move("demote", "quiet", previous, f"nobody has engaged since {facts.account.last_engaged_at}")
    if (
        rank >= 2
        and facts.account.segment != "enterprise"
        and facts.champion_gone(coverage.band_since)
        and not protected
    ):
        return Move("demote", "champion_left", previous, "its champion left and was not replaced")
    if weeks.get("locked", 0) >= 2 and stays >= 56:
        return Move("demote", "locked", previous, f"it is locked in until {facts.account.renewal_on}")
    grace = coverage.band_rule in ("strategic_use_case", "expansion") and stays < 182
    if weeks.get("value_lost", 0) >= 3 and stays >= 28 and not grace and not facts.renewal_near:
        return Move("demote", "value_lost", BANDS[facts.earned or 0], f"its value of {facts.value} is too low")
    return None


def _graduation(facts: Facts, coverage: Coverage, weeks: dict[str, int]) -> Move | None:
    rank, since = BANDS.index(coverage.band), coverage.band_since
    if rank in (1, 2) and facts.of("strategic_use_case", 180, after=since):
        importance = facts.account.strategic_importance
        if importance is not None and importance >= 3:
            return Move("graduate", "strategic_use_case", "strategic", f"its strategic importance is {importance}")
    if rank <= 1 and facts.of("api_ticket", 60, after=since) and facts.of("seats", 60, after=since):
        now, before = facts.latest("seats", 60), facts.latest("seats", until=90)
        grown = now is not None and before is not None and now >= 2 * before
        if grown and not (rank == 1 and facts.locked_in):
            return Move("graduate", "expansion", BANDS[rank + 1], f"seats grew from {before} to {now}")
    if weeks.get("value_gained", 0) >= 2:
        for target in range(facts.earned or 0, rank, -1):
            if not _held(facts, coverage, target) and not (target == 2 and facts.locked_in):
                return Move("graduate", "value_gained", BANDS[target], f"its value is {facts.value}")
    return None


def _held(facts: Facts, coverage: Coverage, target: int) -> bool:
    """Whether what took it down still holds in the band of this rank."""
    match coverage.held_by:
        case "quiet":
            return facts.quiet(BANDS[target], None)
        case "champion_left":
            return facts.champion_gone(None)
        case "locked":
            return facts.locked_in
        case _:
            return False


class Desk:
    """The CSMs and how many accounts each of them has."""

    def __init__(self, session: Session) -> None:
        self.csms = {csm.csm_id: csm for csm in session.scalars(select(Csm))}
        self.books = dict.fromkeys(self.csms, 0)
        for owner_id in session.scalars(select(Coverage.owner_id)):
            if owner_id is not None:
                self.books[owner_id] += 1
        self.most = {csm.csm_id: csm.max_accounts or BOOKS[csm.bands[-1]] for csm in self.csms.values()}
        self.by_kind: dict[tuple[str, str | None], list[str]] = {}
        for csm in self.csms.values():
            for band in csm.bands if csm.active else ():
                for region in csm.regions:
                    self.by_kind.setdefault((band, region), []).append(csm.csm_id)

    def owner(self, account: Account, band: str | None, owner_id: str | None) -> str | None:
        """Who owns the account in `band`: the present owner if they serve it, else whoever has the most room."""
        if owner_id is not None:
            csm = self.csms[owner_id]
            if csm.active and band in csm.bands and account.region in csm.regions:
                return owner_id
            self.books[owner_id] -= 1
        free = [(1 - self.books[it] / self.most[it], it) for it in self.by_kind.get((band or "", account.region), ())]
        room, best = min(((-share, it) for share, it in free), default=(0.0, None))
        if best is None or room >= 0:
            return None
        self.books[best] += 1
        return best


def recompute(session: Session, as_of: datetime) -> int:
    """Every account is decided and written; how many moved comes back."""
    run_id = uuid4()
    session.add(Run(run_id=run_id, kind="manual", as_of=as_of, started_at=as_of, status="applied"))
    session.flush()
    desk, moves = Desk(session), 0
    for page in _pages(session):
        for account in page:
            move = decide(Facts(account, as_of))
            if move:
                _carry_out(session, account, move, desk=desk, run_id=run_id, as_of=as_of)
                moves += 1
        session.flush()
        session.expunge_all()
    return moves


def _pages(session: Session) -> Iterator[list[Account]]:
    """The accounts in order, a page at a time, with their signals and coverage."""
    last = ""
    while True:
        page = session.scalars(
            select(Account)
            .where(Account.account_id > last)
            .order_by(Account.account_id)
            .limit(PAGE)
            .options(selectinload(Account.signals), selectinload(Account.coverage))
        ).all()
        if not page:
            return
        last = page[-1].account_id
        yield list(page)


def _carry_out(session: Session, account: Account, move: Move, *, desk: Desk, run_id: UUID, as_of: datetime) -> None:
    coverage = account.coverage
    from_band, from_owner = (coverage.band, coverage.owner_id) if coverage else (None, None)
    to_owner = desk.owner(account, move.to_band, from_owner)
    if move.to_band is None:
        session.delete(coverage)
    else:
        if coverage is None:
            coverage = Coverage(account_id=account.account_id)
            session.add(coverage)
        coverage.band, coverage.band_since, coverage.band_rule = move.to_band, as_of, move.rule
        coverage.pending = None
        if to_owner != from_owner:
            coverage.owner_id, coverage.owner_since = to_owner, as_of if to_owner else None
            coverage.first_owned_at = coverage.first_owned_at or (as_of if to_owner else None)
        coverage.waiting_since = as_of if move.to_band != "tech" and to_owner is None else None
        _remember(coverage, move, from_band, as_of)
    session.add(
        BandChange(
            account_id=account.account_id, run_id=run_id, changed_at=as_of, from_band=from_band, to_band=move.to_band,
            move=move.move, rule=move.rule, reason=move.reason, value=Facts(account, as_of).value,
            evidence={"facts": {}, "rules": {move.rule: "fired"}}, from_owner_id=from_owner, to_owner_id=to_owner,
        )
    )  # fmt: skip
    if to_owner != from_owner:
        session.add(
            OwnerChange(
                account_id=account.account_id, run_id=run_id, changed_at=as_of, from_owner_id=from_owner,
                to_owner_id=to_owner, why="band_change", reason=move.reason,
            )
        )  # fmt: skip


def _remember(coverage: Coverage, move: Move, from_band: str | None, as_of: datetime) -> None:
    if move.move == "demote":
        coverage.held_by, coverage.held_from = move.rule, from_band
    elif move.move in ("graduate", "intervene"):
        coverage.has_risen = True
    if move.move == "intervene":
        weeks = 8 if move.rule == "usage_decline" else 13
        coverage.intervention, coverage.intervention_from = move.rule, from_band
        coverage.intervention_until = as_of + timedelta(weeks=weeks)


def main() -> None:
    """The database is as the loop leaves it."""
    as_of = datetime.fromisoformat(sys.argv[1]).astimezone(UTC)
    engine = create_engine(os.environ["DATABASE_URL"])
    with Session(engine) as session, session.begin():
        print(recompute(session, as_of))
    engine.dispose()


if __name__ == "__main__":
    main()
