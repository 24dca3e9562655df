"""A policy, whole and checked: what the rest of the program reads.

`app.policy.read` builds it from the text of a TOML file. A `Policy` cannot be built invalid that way: names resolve,
expressions are typed, floors rise with the bands. Money is Decimal in the policy's currency. Bands are listed lowest
first and a band's rank is its index.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time
from decimal import Decimal
from functools import cached_property
from typing import Literal
from zoneinfo import ZoneInfo

from app.policy.expressions import Expression, Type

EARNED, NEXT, PREVIOUS = "earned_band", "next", "previous"
"""Targets of a rule that are not a band's name: the highest band whose floor the value carries; one up; one down."""


@dataclass(frozen=True, slots=True)
class Band:
    """A coverage band. `cadence_days` is None where no contact cadence is fixed."""

    name: str
    rank: int
    pooled: bool
    accounts_per_csm: int
    cadence_days: int | None


@dataclass(frozen=True, slots=True)
class Floors:
    """The least value of each band, by rank, for one segment.

    `demotion` lies a buffer below `floor`; both start with 0.
    """

    floor: tuple[Decimal, ...]
    demotion: tuple[Decimal, ...]


Measure = Literal["count", "sum", "max", "min", "latest", "days_since", "value_ago"]


@dataclass(frozen=True, slots=True)
class SignalFact:
    """A number derived from an account's signals of one kind that occurred in a window that ends at `as_of`.

    The window is (as_of - within_days, as_of], or everything up to as_of when `within_days` is None; with
    `until_days_ago` its end moves back to as_of - until_days_ago. `count` and `days_since` need no value; `sum`,
    `max`, `min`, `latest` and `value_ago` read only signals with a value. `value_ago` is the latest value at or
    before as_of - days_ago. `count` is 0 without signals, all others are missing. Of two values at one instant the
    larger counts as the later.

    With `event` the fact counts only signals newer than the account's last band change, so that a signal moves an
    account once.
    """

    name: str
    kind: str
    measure: Measure
    within_days: int | None
    until_days_ago: int
    days_ago: int
    event: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """A named condition with a move. Options that a kind of move does not have keep their neutral value.

    `to` is a band's name, EARNED, NEXT or PREVIOUS. `from_bands` are the bands the rule applies in. `segments` None
    means every segment and accounts without one.
    """

    name: str
    move: Literal["graduate", "demote", "intervene"]
    when: Expression
    because: str
    to: str
    from_bands: frozenset[str]
    segments: frozenset[str] | None
    except_segments: frozenset[str]
    confirm_weeks: int
    min_stay_weeks: int
    protect_when: Expression | None
    overrides_hold: bool
    despite: frozenset[str]
    grace_weeks: int
    for_weeks: int


@dataclass(frozen=True, slots=True)
class Share:
    """A limit that trips above the larger of a count and a share of the whole."""

    share: Decimal
    at_least: int = 0


@dataclass(frozen=True, slots=True)
class Guards:
    """The limits of a plan; None switches a guard off. See `app.guards`."""

    moved_accounts: Share | None
    moved_arr: Share | None
    csm_book: Share | None
    shrunken_input: Share | None
    missing_facts: Share | None
    fewest_accounts: int
    stale_after_days: int | None


Families = Literal["own_merits", "highest_band"]

FAMILY = "family"
"""The rule of those whom their family keeps in its highest band: the one rule that no policy has."""

ITS_FAMILY = "its family"
"""Among the facts of a decision, what the family had to do with it. No fact can be called so."""


@dataclass(frozen=True, slots=True)
class Owners:
    """How accounts change hands; see `docs/ownership.md`.

    An account whose owner changed less than `stable_days` ago keeps them. A CSM who is away for more than
    `absence_days` is given nobody from `notice_days` before. `max_new_per_run` limits what one CSM is given in a run,
    as a share of their book (None: no limit), and in the first `ramp_weeks` after they were hired to a growing part of
    that. `renewal_days` before its renewal an account is not moved for balance. No pin lasts longer than
    `pin_max_days`. With `families` "highest_band" a family's accounts stand together; see `docs/deciding.md`.
    """

    stable_days: int
    absence_days: int
    notice_days: int
    max_new_per_run: Share | None
    ramp_weeks: int
    renewal_days: int
    pin_max_days: int
    families: Families = "own_merits"


@dataclass(frozen=True, slots=True)
class Calendar:
    """When the weekly run is due, on the wall clock of `time_zone`. `weekday` is 0 for Monday."""

    weekday: int
    at: time
    time_zone: ZoneInfo


@dataclass(frozen=True)
class Policy:
    """Everything the team decided, ready to evaluate.

    `floors` has an entry for each segment that differs and one under None for all others, and accounts without a
    segment. `body` is the file's text as read and `sha256` its hash. `facts` maps each derived fact's name to its
    expression, in which other derived facts are already replaced; rules' expressions are free of derived facts too.
    `units` maps facts to how people read them: money, percent, days, date, number.
    """

    name: str
    body: str
    sha256: str
    bands: tuple[Band, ...]
    currency: str
    value: Expression
    floors: Mapping[str | None, Floors]
    attributes: Mapping[str, Type]
    signals: Mapping[str, SignalFact]
    facts: Mapping[str, Expression]
    units: Mapping[str, str]
    rules: tuple[Rule, ...]
    guards: Guards
    owners: Owners
    calendar: Calendar

    @cached_property
    def band(self) -> Mapping[str, Band]:
        """The bands by name."""
        return {band.name: band for band in self.bands}

    @cached_property
    def rule(self) -> Mapping[str, Rule]:
        """The enabled rules by name."""
        return {rule.name: rule for rule in self.rules}

    @cached_property
    def graduations(self) -> tuple[Rule, ...]:
        """The graduation rules, in policy order."""
        return tuple(rule for rule in self.rules if rule.move == "graduate")

    @cached_property
    def demotions(self) -> tuple[Rule, ...]:
        """The demotion rules, in policy order."""
        return tuple(rule for rule in self.rules if rule.move == "demote")

    @cached_property
    def interventions(self) -> tuple[Rule, ...]:
        """The interventions, in policy order."""
        return tuple(rule for rule in self.rules if rule.move == "intervene")
