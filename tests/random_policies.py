"""Random policies: every measure, rule option, shape of bands and floors, over `random_expressions`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import time
from decimal import Decimal
from random import Random
from typing import Literal, get_args
from zoneinfo import ZoneInfo

from app.policy.catalogue import ACCOUNT_DERIVED, ACCOUNT_FACTS, BAND_FACTS
from app.policy.expressions import And, Arithmetic, Call, Compare, Constant, Expression, Fact, Or, Type
from app.policy.model import (
    EARNED,
    NEXT,
    PREVIOUS,
    Band,
    Calendar,
    Families,
    Floors,
    Guards,
    Measure,
    Owners,
    Policy,
    Rule,
    Share,
    SignalFact,
)
from tests.random_expressions import SEGMENTS, Grammar, fact, number

BAND_NAMES = ("tech", "low", "high", "strategic", "global")
KINDS = ("seats", "api_ticket", "champion_left", "health")
UNREAD_KIND = "noise"
ATTRIBUTES: Mapping[str, Type] = {
    "nps": Type.NUMBER,
    "plan": Type.TEXT,
    "sandbox": Type.BOOLEAN,
    "kickoff_on": Type.DATE,
    "last_login_at": Type.TIMESTAMP,
}
DERIVED: Mapping[str, Type] = {**ACCOUNT_DERIVED, **BAND_FACTS}
ZONES = ("UTC", "America/New_York", "Asia/Kolkata", "Pacific/Auckland", "America/Los_Angeles")
NO_GUARDS = Guards(None, None, None, None, None, 0, None)
OWNERS = Owners(90, 5, 2, Share(Decimal("0.25"), 5), 8, 90, 365)
"""What a policy has that says nothing of its owners."""


def typical(r: Random, move: str, signals: Mapping[str, SignalFact], bands: Sequence[str]) -> Expression:
    """A condition as people write them, so that rules fire often enough and for the usual reasons."""
    counts = [name for name, signal in signals.items() if signal.measure == "count"]
    band, earned = Fact("band", Type.BAND), Fact("earned_band", Type.BAND)
    middle = r.choice(bands)
    found: list[Expression] = [
        Compare(">", fact("weeks_in_band"), number(r.choice((1, 2, 4, 10)))),
        Compare(">=", fact("strategic_importance"), number(r.choice((1, 2, 3)))),
        Compare("<", fact("adoption"), number(r.choice(("0.4", "0.6")))),
        Compare("=", fact("segment", Type.TEXT), Constant(r.choice(SEGMENTS), Type.TEXT)),
        Compare("<=", Call("days_until", (fact("renewal_on", Type.DATE),), Type.NUMBER), number(r.choice((30, 90)))),
        Compare("<=", fact("value_rank"), number(r.choice((10, 50, 90)))),
        Compare(">", fact("quiet_days"), number(r.choice((10, 28, 60)))),
    ]
    found += [Compare(">", fact(name), number(0)) for name in counts]
    if move == "demote":
        found += [
            Compare(">", fact("quiet_days"), Arithmetic("*", number(2), fact("cadence_days"))),
            Compare("<", fact("value"), fact("demotion_floor")),
            Compare("<", earned, band),
            Compare(">=", band, Constant(middle, Type.BAND)),
        ]
    else:
        found += [
            Compare(">", earned, band),
            Compare(">=", fact("value"), fact("floor")),
            Compare("<=", band, Constant(middle, Type.BAND)),
        ]
    return r.choice(found)


def random_signals(r: Random) -> dict[str, SignalFact]:
    """Between two and seven signal facts of any measure and window."""
    found = {}
    for place in range(r.randint(2, 7)):
        measure: Measure = r.choice(get_args(Measure))
        within = r.choice((None, 7, 30, 60, 180))
        until = 0 if measure == "value_ago" else r.choice((0, 0, 0, 3, 14))
        if within is not None and until >= within:
            until = 0
        days_ago = r.choice((1, 5, 30)) if measure == "value_ago" else 0
        if within is not None and days_ago >= within:
            within = None
        usual = measure in ("count", "sum", "max", "min")
        event = usual if r.random() < 0.8 else not usual
        name = f"{measure}_{place}"
        found[name] = SignalFact(name, r.choice(KINDS), measure, within, until, days_ago, event)
    return found


def random_floors(r: Random, bands: int) -> Floors:
    """Floors that rise, and demotion floors a buffer below them."""
    rising = sorted(
        r.sample([Decimal(n) for n in (100, 500, 3600, 7200, 45_000, 67_500, 250_000, 1_000_000)], bands - 1)
    )
    floor = (Decimal(0), *rising)
    buffer = r.choice((Decimal("0"), Decimal("0.15"), Decimal("0.333")))
    return Floors(floor, tuple(least * (1 - buffer) for least in floor))


def random_value(r: Random, grammar: Grammar, states: Sequence[str]) -> Expression:
    """What an account is worth: usually ARR and expansion, sometimes any number of its columns and its state."""
    usual = Arithmetic("+", fact("arr"), Call("coalesce", (fact("expansion_arr"), number(0)), Type.NUMBER))
    if r.random() < 0.65:
        return usual
    found = r.choice((fact("arr"), grammar.of(Type.NUMBER, 2)))
    if states and r.random() < 0.5:
        found = Arithmetic("+", found, Call("coalesce", (fact(r.choice(states)), number(0)), Type.NUMBER))
    return found


@dataclass(frozen=True)
class Drawing:
    """What the rules of one policy are drawn from."""

    r: Random
    grammar: Grammar
    bands: Sequence[str]
    signals: Mapping[str, SignalFact]
    depth: int
    allows: Callable[[Expression], bool]

    def condition(self, move: str) -> Expression:
        """A rule's condition that is allowed; comparing the band with the earned one always is."""
        drawn = (self._drawn(move) for _ in range(60))
        usual = Compare("<" if move == "demote" else ">", Fact("earned_band", Type.BAND), Fact("band", Type.BAND))
        return next((condition for condition in drawn if self.allows(condition)), usual)

    def _drawn(self, move: str) -> Expression:
        """A condition as people write them, or anything the grammar has, or both."""
        chance = self.r.random()
        usual = typical(self.r, move, self.signals, self.bands)
        if chance < 0.45:
            return usual
        if chance < 0.65:
            return And((usual, typical(self.r, move, self.signals, self.bands)))
        if chance < 0.8:
            return Or((usual, self.grammar.of(Type.BOOLEAN, self.depth)))
        return self.grammar.of(Type.BOOLEAN, self.depth)

    def rule(self, name: str, move: Literal["graduate", "demote", "intervene"], despite: Sequence[str]) -> Rule:
        """A rule with any of the options that its kind of move has."""
        r = self.r
        to = self._target(move)
        usual = self._bands_to_leave(move, to)
        some = [band for band in usual if r.random() < 0.6] or usual
        upward, judged = move == "graduate", move != "intervene"
        segments = r.sample(SEGMENTS, 2) if r.random() < 0.15 else None
        others = [segment for segment in SEGMENTS if segment not in (segments or ())]
        waiting = (
            frozenset(name for name in despite if r.random() < 0.5) if upward and r.random() < 0.5 else frozenset()
        )
        events = [name for name, signal in self.signals.items() if signal.measure == "count" and signal.event]
        overrides = upward and bool(events) and r.random() < 0.4
        when = self.condition(move)
        if overrides:
            when = And((Compare(">", fact(r.choice(events)), number(0)), when))
        return Rule(
            name=name,
            move=move,
            when=when,
            because=f"because of {{value}} and {{{r.choice(list(self.grammar.facts))}}}",
            to=to,
            from_bands=frozenset(some if r.random() < 0.4 else usual),
            segments=None if segments is None else frozenset(segments),
            except_segments=frozenset(r.sample(others, 1)) if r.random() < 0.15 else frozenset(),
            confirm_weeks=r.choice((1, 1, 1, 2, 3)),
            min_stay_weeks=r.choice((0, 0, 0, 2, 4)) if judged else 0,
            protect_when=self.condition(move) if judged and r.random() < 0.3 else None,
            overrides_hold=overrides,
            despite=waiting,
            grace_weeks=r.choice((3, 8)) if waiting and r.random() < 0.7 else 0,
            for_weeks=r.choice((2, 4, 8)) if move == "intervene" else 0,
        )

    def _bands_to_leave(self, move: str, to: str) -> list[str]:
        """The bands that a rule with this target leads out of, in its direction."""
        bands = list(self.bands)
        if to not in bands:
            return bands[1:] if move == "demote" else bands[:-1]
        return bands[bands.index(to) + 1 :] if move == "demote" else bands[: bands.index(to)]

    def _target(self, move: str) -> str:
        r, bands = self.r, self.bands
        if move == "demote":
            return r.choice((PREVIOUS, PREVIOUS, EARNED, r.choice(bands[:-1])))
        if move == "graduate":
            return r.choice((NEXT, EARNED, EARNED, r.choice(bands[1:])))
        return r.choice(bands[1:])


def random_policy(
    r: Random, *, allows: Callable[[Expression], bool] = lambda condition: True, depth: int = 3
) -> Policy:
    """A policy that `app.policy.read` could have built, the conditions of its rules only such as `allows` allows."""
    count = r.randint(2, 5)
    names = BAND_NAMES[:count] if r.random() < 0.7 else tuple(r.sample(BAND_NAMES, count))
    pooled = r.choice((1, 1, 2)) if count > 2 else 1
    bands = tuple(
        Band(name, rank, rank < pooled, r.choice((1000, 250, 40)), None if rank < pooled else r.choice((None, 14, 30)))
        for rank, name in enumerate(names)
    )
    attributes = {name: type_ for name, type_ in ATTRIBUTES.items() if r.random() < 0.7}
    signals = random_signals(r)
    own = {**ACCOUNT_FACTS, **attributes}
    states = [name for name, signal in signals.items() if not signal.event]
    every = {**own, **DERIVED, **dict.fromkeys(signals, Type.NUMBER)}
    drawing = Drawing(r, Grammar(r, every, names), names, signals, depth, allows)
    demotions = [f"down_{place}" for place in range(r.randint(1, 4))]
    rules = [drawing.rule(f"lift_{place}", "intervene", ()) for place in range(r.choice((0, 1, 1, 2)))]
    rules += [drawing.rule(name, "demote", ()) for name in demotions]
    rules += [drawing.rule(f"up_{place}", "graduate", demotions) for place in range(r.randint(1, 4))]
    r.shuffle(rules)
    segments: list[str | None] = [None, *(segment for segment in SEGMENTS if r.random() < 0.3)]
    return Policy(
        name="random",
        body="",
        sha256="0" * 64,
        bands=bands,
        currency="USD",
        value=random_value(r, Grammar(r, {**own, **dict.fromkeys(states, Type.NUMBER)}, names), states),
        floors={segment: random_floors(r, count) for segment in segments},
        attributes=attributes,
        signals=signals,
        facts={},
        units={},
        rules=tuple(rules),
        guards=NO_GUARDS,
        owners=replace(OWNERS, families=r.choice((*get_args(Families), "own_merits"))),
        calendar=Calendar(0, time(6), ZoneInfo(r.choice(ZONES))),
    )
