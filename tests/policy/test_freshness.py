"""Which conditions can only be true with a fresh signal."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from random import Random

import pytest

from app.policy.catalogue import BUILT_IN
from app.policy.expressions import Type, facts_of
from app.policy.freshness import needs_a_fresh_signal
from app.policy.model import SignalFact
from app.policy.parse import parse
from app.policy.parts import Scope
from tests.oracle_expressions import Rung, Value, is_true
from tests.random_expressions import Grammar

BANDS = ("tech", "low", "high")


def signal(name: str, measure: str, *, event: bool) -> SignalFact:
    return SignalFact(name, name, measure, None, 0, 0, event)  # type: ignore[arg-type]  # the tables name real measures


SIGNALS = {
    each.name: each
    for each in (
        signal("tickets", "count", event=True),
        signal("calls", "count", event=True),
        signal("paid", "sum", event=True),
        signal("peak", "max", event=True),
        signal("meetings", "count", event=False),
        signal("health", "latest", event=False),
        signal("mood", "latest", event=True),
    )
}
TYPES = {**BUILT_IN, **dict.fromkeys(SIGNALS, Type.NUMBER)}

FRESH = [
    "tickets > 0",
    "tickets >= 1 and arr > 5",
    "arr > 5 and (tickets > 0 or calls > 0)",
    "tickets + calls > 0",
    "tickets * 2 - calls >= 1",
    "tickets = 3",
    "tickets in (1, 2)",
    "tickets <> 0",
    "not tickets = 0",
    "not (tickets = 0 or arr > 5)",
    "paid > 0",
    "paid > arr",
    "peak is not null",
    "not peak is null",
    "mood >= 5",
    "peak / seats > 2",
    "abs(paid) > 0",
    "coalesce(paid, 0) > 0",
    "coalesce(peak, paid) > arr",
    "greatest(tickets, calls) > 0",
    "greatest(tickets, 0) > 0",
    "nullif(tickets, 0) is not null",
    "case when tickets > 0 then arr > 5 else false end",
    "case when tickets > 0 then arr > 5 end",
    "case when arr > 5 then tickets else calls end > 0",
    "(tickets > 0) is true",
    "(tickets > 0) = true",
    "arr > 5 and false",
    "tickets between 1 and 5",
]

STALE = [
    "arr > 5",
    "true",
    "tickets >= 0",
    "tickets = 0",
    "tickets < 5",
    "tickets is not null",
    "tickets > 0 or arr > 5",
    "not tickets > 0",
    "peak is null",
    "paid is null or paid > 0",
    "coalesce(peak, 5) > 1",
    "coalesce(paid, arr) > 1",
    "greatest(paid, arr) > 1",
    "meetings > 0",
    "health > 50",
    "tickets + meetings > 0",
    "case when tickets > 0 then false else true end",
    "case when arr > 5 then tickets > 0 else standalone end",
    "(tickets > 0) is not true",
    "(tickets > 0) = false",
    "tickets not in (1, 2)",
    "tickets not between 1 and 5",
    "nullif(tickets, 1) is not null",
    "nullif(tickets, 0) is null",
    "arr > tickets",
    "arr > 0 and seats > tickets * 2",
]


def condition(text: str) -> bool:
    return needs_a_fresh_signal(parse(text, Scope(TYPES, BANDS), Type.BOOLEAN), SIGNALS)


@pytest.mark.parametrize("text", FRESH)
def test_this_needs_a_fresh_signal(text: str) -> None:
    assert condition(text)


@pytest.mark.parametrize("text", STALE)
def test_this_can_be_true_without_one(text: str) -> None:
    assert not condition(text)


class Standing:
    """The facts of an account that has had no event since its last move; everything else is drawn."""

    as_of = datetime(2026, 6, 15, 6, tzinfo=UTC)
    today = date(2026, 6, 15)

    def __init__(self, drawn: Mapping[str, Value]) -> None:
        self.drawn = drawn

    def read(self, name: str) -> Value:
        found = SIGNALS.get(name)
        if found is not None and found.event:
            return Decimal(0) if found.measure == "count" else None
        return self.drawn[name]

    def rung(self, band: str) -> Rung:
        return Rung(BANDS.index(band), band)


def test_a_condition_that_is_said_to_need_a_signal_is_never_true_without_one() -> None:
    """Random conditions over mostly event facts, evaluated by the oracle on random facts without any event."""
    proved = 0
    for seed in range(4_000):
        r = Random(seed)  # noqa: S311  draws test data
        names = [*SIGNALS, "arr", "seats", "standalone", "segment", "renewal_on", "band"]
        grammar = Grammar(r, {name: TYPES[name] for name in names}, BANDS)
        found = grammar.of(Type.BOOLEAN, 3)
        if not needs_a_fresh_signal(found, SIGNALS):
            continue
        proved += bool(facts_of(found))
        for _ in range(12):
            facts = Standing({name: draw(r, TYPES[name]) for name in names})
            assert not is_true(found, facts), found
    assert proved > 400


def draw(r: Random, type_: Type) -> Value:
    if r.random() < 0.2:
        return None
    pools: dict[Type, list[Value]] = {
        Type.NUMBER: [Decimal(n) for n in (0, 1, 2, 5, 7, 30, 90, 365, -1)],
        Type.TEXT: ["enterprise", "smb", ""],
        Type.BOOLEAN: [True, False],
        Type.DATE: [date(2026, 6, 15), date(2024, 2, 29), date(2027, 6, 15)],
        Type.BAND: [Rung(rank, name) for rank, name in enumerate(BANDS)],
    }
    return r.choice(pools[type_])
