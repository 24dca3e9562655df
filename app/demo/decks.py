"""What the sample company is made of: how many accounts stand in each band, and what story each of them lives.

A deck is 2,000 cards; account n plays card n modulo 2,000 of the shuffled deck, so that a company of 2,000 has
exactly these numbers and a larger one the same shares. Of a smaller one the shares are about right, and rare stories
may be absent.

A story says what the default policy makes of an account (`app.demo.stories` shapes the facts). Stories that are not
told stay steady: nothing fires. `COMPANY` is the sample company, in which about one account in thirteen moves.
`CROWD` is the benchmark's: many small accounts, few CSMs and about five signals per account, in which about one in
twenty moves. `QUIET` is a crowd in which nobody does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random

CARDS = 2000


@dataclass(frozen=True, slots=True)
class Profile:
    """The make-up of a company.

    `bands` gives the cards of each band of the present coverage, `stories` how many of them are no steady accounts (a
    band of None holds the accounts without coverage). `books` is how many accounts a CSM of each band carries at
    most, `csms` how many CSMs there are per 1,000 accounts. `readings` lists, for each kind of signal that is
    measured every four weeks, which measurements are kept (0 is the newest), and `meeting_days` how far back meetings
    go.
    """

    bands: Mapping[str, int]
    stories: Mapping[str | None, Mapping[str, int]]
    books: Mapping[str, int]
    csms: int
    readings: Mapping[str, tuple[int, ...]]
    meeting_days: int
    ticket_days: int


_AT_THE_FLOORS = {
    "at_floor": 2,
    "over_floor": 2,
    "under_floor": 2,
    "at_demotion_floor": 2,
    "under_demotion_floor": 2,
}

COMPANY = Profile(
    bands={"tech": 816, "low": 480, "high": 560, "strategic": 96},
    stories={
        None: {"new": 24, "churned_before": 24},
        "tech": {
            "expansion": 10,
            "value_gained": 14,
            "value_gained_new": 14,
            "seats_only": 8,
            "churned": 8,
            "at_next_floor": 3,
            "under_next_floor": 3,
            "foreign": 8,
            "no_arr": 8,
        },
        "low": {
            "usage_decline": 8,
            "renewal_rescue": 8,
            "value_lost": 8,
            "value_lost_new": 6,
            "expansion": 5,
            "value_gained": 8,
            "value_gained_new": 8,
            "use_case": 3,
            "locked_out": 8,
            "held_quiet": 6,
            "sagging": 8,
            "seats_only": 4,
            "buffered": 12,
            "churned": 4,
            "at_next_floor": 2,
            "foreign": 6,
            "no_arr": 4,
            **_AT_THE_FLOORS,
        },
        "high": {
            "quiet": 12,
            "quiet_at_risk": 5,
            "champion_left": 8,
            "champion_left_renewal": 3,
            "champion_replaced": 8,
            "champion_left_lately": 5,
            "champion_left_enterprise": 5,
            "locked": 8,
            "locked_new": 8,
            "value_lost": 7,
            "value_lost_new": 8,
            "value_lost_renewal": 2,
            "use_case": 4,
            "use_case_waiting": 3,
            "use_case_minor": 8,
            "value_gained": 3,
            "value_gained_new": 3,
            "contested": 4,
            "buffered": 14,
            "pinned_quiet": 2,
            "waiting": 3,
            "churned": 3,
            "foreign": 4,
            **_AT_THE_FLOORS,
        },
        "strategic": {
            "quiet": 3,
            "quiet_at_risk": 2,
            "champion_left": 2,
            "champion_left_enterprise": 2,
            "value_lost": 2,
            "value_lost_new": 2,
            "buffered": 3,
            "waiting": 2,
            "churned": 1,
            "at_floor": 1,
            "under_floor": 1,
            "at_demotion_floor": 1,
            "under_demotion_floor": 1,
        },
    },
    books={"low": 100, "high": 40, "strategic": 10},
    csms=20,
    readings={"seats": tuple(range(20)), "usage": tuple(range(20)), "health": tuple(range(20))},
    meeting_days=546,
    ticket_days=546,
)

CROWD = Profile(
    bands={"tech": 1478, "low": 398, "high": 90, "strategic": 8},
    stories={
        None: {"new": 12, "churned_before": 14},
        "tech": {
            "expansion": 10,
            "value_gained": 22,
            "value_gained_new": 8,
            "seats_only": 8,
            "churned": 8,
            "foreign": 8,
            "no_arr": 8,
        },
        "low": {
            "usage_decline": 4,
            "renewal_rescue": 4,
            "value_lost": 20,
            "value_lost_new": 5,
            "expansion": 2,
            "value_gained": 3,
            "value_gained_new": 4,
            "locked_out": 3,
            "held_quiet": 2,
            "sagging": 6,
            "buffered": 8,
            "churned": 3,
        },
        "high": {
            "quiet": 4,
            "quiet_at_risk": 2,
            "champion_left": 3,
            "champion_left_renewal": 1,
            "champion_replaced": 2,
            "champion_left_enterprise": 1,
            "locked": 3,
            "locked_new": 2,
            "value_lost": 3,
            "value_lost_new": 2,
            "use_case": 1,
            "contested": 1,
            "buffered": 2,
            "churned": 1,
        },
        "strategic": {"quiet": 1},
    },
    books={"low": 250, "high": 40, "strategic": 10},
    csms=3,
    readings={"seats": (0, 4), "usage": (0, 3), "health": (0,)},
    meeting_days=60,
    ticket_days=120,
)

QUIET = replace(
    CROWD,
    bands={**CROWD.bands, "tech": CROWD.bands["tech"] + sum(CROWD.stories[None].values())},
    stories={band: {} for band in (None, *CROWD.bands)},
)


@dataclass(frozen=True, slots=True)
class Card:
    """What is settled of an account before its facts are drawn. `band` is its present coverage; None is none."""

    band: str | None
    story: str
    segment: str
    region: str


REGIONS = ("na", "emea", "apac", "latam")
SEGMENTS = ("self_serve", "smb", "mid_market", "enterprise")
_REGION_SHARES = (46, 32, 14, 8)
_SEGMENT_SHARES = {
    None: (45, 35, 15, 5),
    "tech": (58, 34, 6, 2),
    "low": (8, 48, 38, 6),
    "high": (0, 12, 55, 33),
    "strategic": (0, 0, 28, 72),
}
_SEGMENT_OF_STORY = {
    "usage_decline": ("mid_market",),
    "sagging": ("smb",),
    "champion_left": ("mid_market",),
    "champion_left_renewal": ("mid_market",),
    "contested": ("mid_market",),
    "champion_left_enterprise": ("enterprise",),
}


def deal(profile: Profile, seed: int) -> tuple[Card, ...]:
    """The deck of `profile`, shuffled by `seed`."""
    cards = list(_cards(profile))
    if len(cards) != CARDS:
        raise ValueError(f"a deck has {CARDS} cards, not {len(cards)}")
    # Of Random, only random() gives the same in every version of Python.
    draw = Random(seed).random  # noqa: S311 - it shuffles a company, not a secret
    for last in range(CARDS - 1, 0, -1):
        other = int(draw() * (last + 1))
        cards[last], cards[other] = cards[other], cards[last]
    return tuple(cards)


def _cards(profile: Profile) -> Iterator[Card]:
    for band in (None, *profile.bands):
        told = [story for story, count in profile.stories[band].items() for _ in range(count)]
        steady = profile.bands[band] - len(told) if band else 0
        regions, segments = _spread(REGIONS, _REGION_SHARES), _spread(SEGMENTS, _SEGMENT_SHARES[band])
        for number, story in enumerate(["steady"] * steady + told):
            segment = _SEGMENT_OF_STORY.get(story, (segments[number * 37 % 100],))[0]
            region = regions[number * 61 % 100]
            if story == "use_case_waiting" or (story == "waiting" and band == "strategic"):
                region = "latam"
            elif region == "latam" and (band == "strategic" or story == "use_case"):
                region = "na"  # nobody serves strategic accounts in Latin America: whoever rises there waits
            yield Card(band, story, segment, region)


def _spread(words: tuple[str, ...], shares: tuple[int, ...]) -> list[str]:
    """A hundred words in these shares; a stride that is prime to 100 walks them evenly."""
    return [word for word, share in zip(words, shares, strict=True) for _ in range(share)]
