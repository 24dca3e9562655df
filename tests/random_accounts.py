"""Random accounts for a policy: columns missing or at a threshold, signals at the edges of their windows, any standing.

A `World` is all that one run reads. Every draw comes from a `random.Random`, as in `random_policies`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from random import Random
from typing import Any

from app.policy.expressions import Constant, Expression, Type
from app.policy.model import FAMILY, Policy
from tests.oracle_expressions import DAY, parts
from tests.oracle_facts import WEEK
from tests.oracle_rows import Account, Coverage, Pending, Pin, Signal
from tests.random_expressions import AS_OFS, DAYS, NUMBERS, SEGMENTS, TEXTS, seeded
from tests.random_policies import KINDS, UNREAD_KIND, random_policy

TICK = timedelta(microseconds=1)
CENT = Decimal("0.01")
JUNK: dict[Type, Sequence[Any]] = {
    Type.NUMBER: (
        "abc",
        "",
        "NaN",
        "Infinity",
        "12",
        "-7.50",
        " 7 ",
        "1e5",
        "1,000",
        "\u0967",
        True,
        [],
        {},
        None,
        [1],
        ".",
    ),
    Type.TEXT: (5, Decimal("1.50"), True, False, None, [], {"a": 1}, ["x"]),
    Type.BOOLEAN: ("true", "FALSE", "yes", "t", "", 1, 0, None, [], {}),
    Type.DATE: (
        "2026-02-30",
        "2026-1-5",
        "20260115",
        "today",
        "infinity",
        "0000-01-01",
        "15/01/2026",
        "",
        5,
        True,
        None,
        [],
    ),
    Type.TIMESTAMP: (
        "2026-01-15",
        "2026-01-15T25:00:00Z",
        "now",
        "-infinity",
        "2026-13-01T00:00:00Z",
        "",
        5,
        None,
        {},
        "noon",
    ),
}
LARGE = ("100000000000000", "-100000000000000", "100000000000000.0001")
IDS = ("a", "B", "é", "Z", "_", "ab", "日本")


@dataclass(frozen=True)
class World:
    """All that one run reads."""

    policy: Policy
    as_of: datetime
    accounts: tuple[Account, ...]
    signals: tuple[Signal, ...]
    coverage: tuple[Coverage, ...]
    pins: tuple[Pin, ...]

    def only(self, account_id: str) -> "World":
        """The same world with everybody else's standing, signals and pins gone; ranks by value stay as they were."""
        return replace(
            self,
            signals=tuple(signal for signal in self.signals if signal.account_id == account_id),
            coverage=tuple(row for row in self.coverage if row.account_id == account_id),
            pins=tuple(pin for pin in self.pins if pin.account_id == account_id),
        )


@dataclass(frozen=True)
class Crowd:
    """Draws the accounts of one policy at one instant."""

    r: Random
    policy: Policy
    as_of: datetime
    sums: Sequence[Decimal]
    numbers: Sequence[Decimal]

    @cached_property
    def named_days(self) -> tuple[int, ...]:
        """The numbers that may be meant as days."""
        return tuple(int(number) for number in self.numbers if number < 500)

    def one_in(self, chances: int) -> bool:
        """True about once in so many times."""
        return self.r.randrange(chances) == 0

    def maybe(self, value: Any, *, missing: int = 5) -> Any:
        """The value, or None about once in `missing` times."""
        return None if self.one_in(missing) else value

    # ---- Facts -------------------------------------------------------------------------------------------------------

    def money(self) -> Decimal:
        """Money: at a floor or a threshold, a cent beside it, or anything."""
        if self.one_in(3):
            return Decimal(self.r.choice((0, self.r.randint(0, 20_000), self.r.randint(0, 2_000_000), -100)))
        return (self.r.choice(self.sums) + self.r.choice((0, 0, 0, CENT, -CENT))).quantize(CENT)

    def whole(self) -> int:
        """A small whole number, often one that the policy names."""
        return int(self.r.choice(self.numbers)) if self.one_in(2) else self.r.randint(0, 6)

    def share(self) -> Decimal:
        """Between 0 and 1, often at a threshold."""
        return Decimal(self.r.choice(("0", "0.4", "0.39", "0.3999", "0.6", "0.6001", "1", "0.75")))

    def moment(self) -> datetime:
        """An instant: days before or after as_of, exactly or a tick beside."""
        days = self.r.choice((*self.named_days, self.r.randint(0, 400), 6, 21, 56))
        tick = self.r.choice((timedelta(0), timedelta(0), TICK, -TICK, timedelta(hours=7)))
        return self.as_of - days * DAY * self.r.choice((1, 1, 1, 1, -1)) + tick

    def day(self) -> date:
        """A date around as_of, or one that the policies name."""
        if self.one_in(5):
            return self.r.choice(DAYS)
        return self.as_of.date() + timedelta(
            days=self.r.choice((0, 1, 30, 90, 91, 365, 366, self.r.randint(-400, 800)))
        )

    def attribute(self, type_: Type) -> Any:
        """A JSON value that can be read as the type, or junk."""
        if self.one_in(4):
            return self.r.choice(JUNK[type_])
        match type_:
            case Type.NUMBER:
                return self.r.choice((self.whole(), self.money(), self.r.choice(self.numbers)))
            case Type.TEXT:
                return self.r.choice(TEXTS)
            case Type.BOOLEAN:
                return self.one_in(2)
            case Type.DATE:
                return self.day().isoformat()
            case _:
                moment = self.moment().astimezone(UTC).isoformat()
                return self.r.choice((moment, moment.replace("+00:00", "Z"), moment.replace("T", " ")))

    def account(self, account_id: str) -> Account:
        """An account with columns missing here and there."""
        attributes = {
            name: self.attribute(type_) for name, type_ in self.policy.attributes.items() if not self.one_in(5)
        }
        return Account(
            account_id,
            status="churned" if self.one_in(20) else "active",
            segment=self.maybe(self.r.choice((*SEGMENTS, "other"))),
            region=self.maybe(self.r.choice(("EMEA", "emea", "APAC"))),
            language=self.maybe(self.r.choice(("en", "de"))),
            standalone=self.one_in(2),
            currency=self.r.choice(("USD", "USD", "USD", "USD", None, None, "EUR", "usd")),
            arr=self.maybe(self.money(), missing=10),
            expansion_arr=self.maybe(self.money(), missing=2),
            strategic_importance=self.maybe(self.r.randint(0, 4)),
            product_complexity=self.maybe(self.whole() % 2**31),
            seats=self.maybe(self.whole()),
            adoption=self.maybe(self.share()),
            contract_term_months=self.maybe(self.whole() % 2**31),
            renewal_on=self.maybe(self.day()),
            last_engaged_at=self.maybe(self.moment(), missing=8),
            onboarded_at=self.maybe(self.moment(), missing=3),
            first_value_at=self.maybe(self.moment(), missing=3),
            signed_on=self.maybe(self.day()),
            attributes=attributes,
        )

    def signals(self, account_id: str, since: datetime | None) -> list[Signal]:
        """Signals at and around the edges: of a window, of as_of (and after it), of the last change of band."""
        found: list[Signal] = []
        for place in range(self.r.choice((0, 0, 1, 1, 2, 3, 5))):
            fact = self.r.choice(list(self.policy.signals.values()))
            edges = [
                self.as_of,
                self.as_of - fact.until_days_ago * DAY,
                self.as_of - fact.days_ago * DAY,
                self.moment(),
            ]
            edges.append(self.as_of - (fact.within_days or 20) * DAY)
            edges += [since, since] if since else []
            edges += [signal.occurred_at for signal in found]
            at = self.r.choice(edges) + self.r.choice((timedelta(0), timedelta(0), TICK, -TICK, 3 * DAY))
            usual = (self.whole(), "0.5", "-3.2500", "100")
            value = self.maybe(Decimal(self.r.choice(LARGE if self.one_in(12) else usual)), missing=4)
            kind = UNREAD_KIND if self.one_in(8) else fact.kind if self.one_in(2) else self.r.choice(KINDS)
            found.append(Signal(account_id, f"s{place}", kind, at, value))
        return found

    # ---- Standing ----------------------------------------------------------------------------------------------------

    def band(self) -> str:
        """A band of the policy, now and then one it no longer has."""
        return "gone" if self.one_in(25) else self.r.choice(self.policy.bands).name

    def since(self) -> datetime:
        """When the account came to its band: often at the edge of settling, of a minimum stay or of a grace."""
        weeks = self.r.choice(
            [rule.min_stay_weeks for rule in self.policy.rules] + [rule.grace_weeks for rule in self.policy.rules]
        )
        ago = self.r.choice(
            (6 * DAY, 6 * DAY, 5 * DAY, weeks * WEEK, weeks * WEEK, 7 * DAY, 300 * DAY, 100 * DAY, -DAY)
        )
        if self.one_in(3):
            ago = self.r.randint(6, 400) * DAY
        return self.as_of - ago + self.r.choice((timedelta(0), timedelta(0), timedelta(0), TICK, -TICK))

    def rule(self, *moves: str) -> str:
        """A rule's name, usually one that makes such a move, sometimes any, sometimes one that is gone."""
        fitting = [rule.name for rule in self.policy.rules if rule.move in moves]
        if fitting and not self.one_in(8):
            return self.r.choice(fitting)
        return self.r.choice([rule.name for rule in self.policy.rules] + ["old_rule"])

    def pending(self) -> dict[str, Pending]:
        """Counts of some rules, seen a week ago or exactly at the edge of counting."""
        if not self.one_in(3):
            return {}
        ages = (7 * DAY, 7 * DAY, 6 * DAY, 6 * DAY - TICK, timedelta(0), -DAY)
        counted = [rule.name for rule in self.policy.rules if rule.confirm_weeks > 1 or self.one_in(9)]
        counted += ["old_rule"] if self.one_in(4) else []
        return {
            name: Pending(self.r.choice((1, 1, 2, 3)), self.as_of - self.r.choice(ages))
            for name in counted
            if not self.one_in(4)
        }

    def coverage(self, account_id: str) -> Coverage:
        """A row of coverage in any state that a run, an import or an older policy could have left."""
        r = self.r
        held = self.one_in(3)
        row = Coverage(
            account_id,
            self.band(),
            self.since(),
            r.choice(("entry", "import", "pin", self.rule("graduate"), self.rule("graduate"), self.rule("demote"))),
            owner_id=r.choice((None, "csm_1")),
            first_owned_at=self.maybe(self.moment(), missing=2),
            held_by=self.rule("demote") if held else None,
            held_from=self.band() if held else None,
            spent_intervention=self.rule("intervene") if self.one_in(9) else None,
            pending=self.pending(),
            has_risen=self.one_in(2),
            fell_with="something else" if self.one_in(6) else None,
        )
        return self.lifted(row) if self.one_in(4) else row

    def lifted(self, row: Coverage) -> Coverage:
        """The same row under an intervention, from a band below where there is one."""
        rank = self.policy.band[row.band].rank if row.band in self.policy.band else 1
        below = [band.name for band in self.policy.bands if band.rank < rank] or [row.band]
        if self.policy.owners.families == "highest_band" and self.one_in(2):
            return replace(row, intervention=FAMILY, intervention_from=self.r.choice(below))
        return replace(
            row,
            intervention=self.r.choice([rule.name for rule in self.policy.interventions] * 6 + ["old_rule"]),
            intervention_from="gone" if self.one_in(20) else self.r.choice(below),
            intervention_until=self.as_of + self.r.choice((timedelta(0), TICK, 3 * WEEK, 3 * WEEK, 5 * WEEK, -WEEK)),
        )

    def related(self, accounts: Sequence[Account]) -> list[Account]:
        """The same accounts, many of them in families: under few parents, now and then in a chain or a circle."""
        ids = [account.account_id for account in accounts]
        few = self.r.sample(ids, len(ids) // 6)
        found = []
        for account in accounts:
            parents = (*few, self.r.choice(ids), account.account_id if self.one_in(9) else "nobody")
            parent = None if self.one_in(3) else self.r.choice(parents)
            stands_alone = account.standalone and self.one_in(4)
            found.append(replace(account, parent_id=parent, standalone=stands_alone))
        return found

    def pin(self, account_id: str) -> Pin:
        """A pin to a band, or to an owner only; valid, expired at this very instant, or unpinned."""
        ends = self.as_of + self.r.choice((30 * DAY, 30 * DAY, TICK, timedelta(0), -DAY))
        band = None if self.one_in(6) else self.band()
        unpinned = self.as_of - DAY if self.one_in(6) else None
        return Pin(account_id, band, ends, self.as_of - 40 * DAY, unpinned, None if band else "csm_1")


def crowd(r: Random, policy: Policy, as_of: datetime) -> Crowd:
    """What draws accounts for a policy: the sums and numbers that it compares with."""
    sums = [least for floors in policy.floors.values() for least in (*floors.floor, *floors.demotion)]
    conditions: list[Expression] = [rule.when for rule in policy.rules]
    constants = [node.value for when in conditions for node in parts(when) if isinstance(node, Constant)]
    numbers = [abs(constant) for constant in constants if isinstance(constant, Decimal)]
    return Crowd(r, policy, as_of, [*sums, *numbers], [*numbers, *NUMBERS[:12]])


def random_world(r: Random, policy: Policy, accounts: int) -> World:
    """A world of so many account ids: active, churned, entering, standing, vanished."""
    as_of = r.choice(AS_OFS)
    drawn = crowd(r, policy, as_of)
    rows, signals, coverage, pins = [], [], [], []
    for place in range(accounts):
        account_id = f"{r.choice(IDS)}{place}"
        covered = drawn.coverage(account_id) if r.random() < 0.88 else None
        if covered is None or r.random() < 0.96:
            rows.append(drawn.account(account_id))
        if covered is not None:
            coverage.append(covered)
        signals += drawn.signals(account_id, covered.band_since if covered else None)
        if r.random() < 0.08:
            pins.append(drawn.pin(account_id))
    return World(policy, as_of, tuple(drawn.related(rows)), tuple(signals), tuple(coverage), tuple(pins))


def seeded_world(seed: int, accounts: int) -> World:
    """The world of a seed: its policy, its instant and its accounts."""
    r = seeded(seed)
    return random_world(r, random_policy(r), accounts)
