"""One account of the sample company: its facts, all relative to `as_of`, and how a steady one is drawn.

Steady means that no rule of the default policy has anything to say. Days count back from `as_of`, except
`renewal_days`, which count forward; money is in cents, adoption and health in percent.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from app.demo.decks import Card
from app.policy.model import Policy

Draw = Callable[[], float]
"""The next number of a seeded stream, in [0, 1)."""

IMPORTED_DAYS = (364, 189)
"""When the present coverage came in: the yearly tiering, and the half-yearly one for customers signed since."""


@dataclass(frozen=True, slots=True)
class Account:
    """What is true of an account at `as_of`, and the signals that make it so. None is a missing fact.

    `seats_then` and `usage_then` are measurements of 12 and 8 weeks ago and older; `meeting_every` is the days
    between meetings, the last of which was `engaged_days` ago, and `..._ago` are single signals. `pending` and `held`
    are what earlier runs left in `coverage`: a rule with the weeks it has held, and the rule and band that a demotion
    left behind.
    """

    card: Card
    value: int | None
    expansion: int | None
    currency: str | None
    language: str | None
    importance: int | None
    complexity: int
    seats: int
    seats_then: int
    adoption: int | None
    usage: int
    usage_then: int
    health: int | None
    term: int | None
    renewal_days: int | None
    engaged_days: int | None
    meeting_every: int | None
    signed_days: int
    onboarding_days: int | None
    imported_days: int
    tickets: bool
    ticket_ago: int | None = None
    use_case_ago: int | None = None
    champion_left_ago: int | None = None
    champion_joined_ago: int | None = None
    status: str = "active"
    pending: tuple[str, int] | None = None
    held: tuple[str, str] | None = None
    waiting: bool = False
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Levels:
    """The floors of a segment in cents, by band: its own, the one of a demotion, and the next band's."""

    floor: Mapping[str, int]
    demotion: Mapping[str, int]
    next_floor: Mapping[str, int]


def levels(policy: Policy, segment: str) -> Levels:
    """The floors of `segment` under `policy`; twelve times the highest floor stands for the next one above it."""
    floors = policy.floors.get(segment, policy.floors[None])
    names = [band.name for band in policy.bands]
    floor = [_cents(amount) for amount in floors.floor]
    demotion = [_cents(amount) for amount in floors.demotion]
    return Levels(
        floor=dict(zip(names, floor, strict=True)),
        demotion=dict(zip(names, demotion, strict=True)),
        next_floor=dict(zip(names, [*floor[1:], floor[-1] * 12], strict=True)),
    )


def steady(card: Card, level: Levels, draw: Draw) -> Account:
    """An account on which no rule of the default policy fires, in the band of its card (`tech`, if it has none)."""
    band = card.band or "tech"
    value = between(level.floor[band], level.next_floor[band], draw)
    seats = max(4, value // _SEAT_PRICE[band])
    health = 44 + int(draw() * 53)
    usage = 120 + int(seats * (6 + draw() * 9))
    term = _TERMS[int(draw() * len(_TERMS))]
    renewal = 1 + int(draw() * term * 30)
    if renewal > 365 and health >= 80:
        health -= 25  # or it would be locked in and safe
    engaged = _engaged(band, draw)
    imported = IMPORTED_DAYS[draw() < 0.12]
    return Account(
        card=card,
        value=value,
        expansion=int(value * draw() * 0.2) // 10_000 * 10_000 if draw() < 0.65 else None,
        currency="USD" if draw() < 0.9 else None,
        language=_LANGUAGES[card.region][int(draw() * 8)],
        importance=1 + int(draw() * draw() * 5) if draw() < 0.9 else None,
        complexity=1 + int(draw() * 5),
        seats=seats,
        seats_then=seats - int(seats * draw() * 0.2),
        adoption=42 + int(draw() * 55) if draw() < 0.95 else None,
        usage=usage,
        usage_then=int(usage * (0.85 + draw() * 0.3)),
        health=health if draw() < (0.55 if band == "tech" else 0.95) else None,
        term=term,
        renewal_days=renewal,
        engaged_days=engaged,
        meeting_every=_MEETING_EVERY[band],
        signed_days=imported + 20 + int(draw() * 1500),
        onboarding_days=10 + int(draw() * 60) if draw() < 0.97 else None,
        imported_days=imported,
        tickets=draw() < 0.15,
    )


def between(low: int, high: int, draw: Draw) -> int:
    """An amount in cents in [low, high), with a long tail, in whole $10; at least $240."""
    at, low = draw(), max(low, 24_000)
    return low + int((high - low) * (0.3 * at + 0.7 * at * at * at)) // 1000 * 1000


def _cents(amount: Decimal) -> int:
    return int(amount * 100)


def _engaged(band: str, draw: Draw) -> int | None:
    if band == "tech" and draw() < 0.2:
        return None
    return int(draw() * _ENGAGED_WITHIN[band])


_SEAT_PRICE = {"tech": 18_000, "low": 24_000, "high": 36_000, "strategic": 48_000}
_TERMS = (1, 12, 12, 12, 12, 12, 12, 24, 24, 36)
_ENGAGED_WITHIN = {"tech": 200, "low": 80, "high": 26, "strategic": 12}
_MEETING_EVERY = {"tech": None, "low": 91, "high": 30, "strategic": 14}
_LANGUAGES: Mapping[str, tuple[str | None, ...]] = {
    "na": ("en", "en", "en", "en", "en", "en", "es", None),
    "emea": ("en", "en", "en", "de", "de", "fr", "fr", "es"),
    "apac": ("en", "en", "en", "en", "ja", "ja", "ja", None),
    "latam": ("es", "es", "es", "es", "pt", "pt", "pt", "en"),
}
