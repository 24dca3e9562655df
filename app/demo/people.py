"""The sample company's CSMs, and whose book an account is in.

There are as many CSMs for each band and region as its accounts need at seven eighths of a full book, at least one,
and the rest of the head count goes where books are fullest. In Latin America nobody serves the highest band. A few
are special: one has left and still owns accounts, one is full to the last seat, two serve two bands, one is new and
takes few at a time, and some are or will be away.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from math import ceil

from app.demo import names
from app.demo.decks import REGIONS, Card, Profile

Cell = tuple[str, str]
"""A band and a region."""

_USUAL_SHARE = 0.875
_LEFT_OWNS = 5
_NEW_OWNS = 18


@dataclass(slots=True)
class Csm:
    """A CSM, and the book that grows while accounts are dealt out.

    `room` is how many more accounts are dealt to them; `value` and `max_book` are in cents.
    """

    csm_id: str
    name: str
    email: str
    bands: tuple[str, ...]
    region: str
    hired_days: int
    room: int
    max_accounts: int | None
    max_book: int | None = None
    max_new_per_run: int | None = None
    active: bool = True
    accounts: int = 0
    value: int = 0

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of their region."""
        return _LANGUAGES[self.region]


@dataclass(slots=True)
class Books:
    """All CSMs in id order, and for each band and region the line in which accounts are dealt to them."""

    csms: list[Csm]
    line: dict[Cell, list[Csm]]
    turn: Counter[tuple[Cell, bool]] = field(default_factory=Counter)

    def owner(self, card: Card, value: int) -> str | None:
        """The next CSM in line who has room, with the account in their book; None if nobody has.

        Steady accounts and the others are dealt out each in turn, and every round begins one further down the line, so
        that no book is full of accounts that move.
        """
        cell = (card.band or "", card.region)
        turn, line = (cell, card.story == "steady"), self.line.get(cell, ())
        for _ in range(len(line)):
            rounds, place = divmod(self.turn[turn], len(line))
            csm = line[(place + rounds) % len(line)]
            self.turn[turn] += 1
            if csm.room > 0:
                csm.room -= 1
                csm.accounts += 1
                csm.value += value
                return csm.csm_id
        return None


@dataclass(frozen=True, slots=True)
class Absence:
    """A CSM's absence; both days included."""

    csm_id: str
    starts_on: date
    ends_on: date
    reason: str


def hire(profile: Profile, deck: Sequence[Card], accounts: int) -> Books:
    """The CSMs of a company of `accounts`, with empty books."""
    csms: list[Csm] = []
    line: dict[Cell, list[Csm]] = {}
    for (band, region), heads in _heads(profile, deck, accounts).items():
        for _ in range(heads):
            csms.append(_csm(len(csms), band, region, profile.books[band]))
            line.setdefault((band, region), []).append(csms[-1])
    _make_special(line)
    return Books(csms, line)


def close_books(books: Books) -> None:
    """The limits that follow from the books as dealt are set: one CSM is full, and some may carry little more value."""
    for csm in books.line["high", "na"][2:3]:
        csm.max_accounts = max(csm.accounts, 1)
    for csm in books.csms[::3]:
        if csm.bands == ("high",):
            csm.max_book = (csm.value * 5 // 4 // _QUARTER_MILLION + 1) * _QUARTER_MILLION


def absences(books: Books, today: date) -> Iterator[Absence]:
    """Who is away: on parental leave now, on holiday soon, ill for three days, and back from a sabbatical."""
    plan = ((3, -40, 75, "parental leave"), (7, 4, 18, "holiday"), (11, -1, 1, "ill"), (15, -120, -30, "sabbatical"))
    for number, starts, ends, reason in plan:
        if number < len(books.csms):
            csm_id = books.csms[number].csm_id
            yield Absence(csm_id, today + timedelta(days=starts), today + timedelta(days=ends), reason)


def _heads(profile: Profile, deck: Sequence[Card], accounts: int) -> dict[Cell, int]:
    """How many CSMs each band and region has."""
    cards = Counter((card.band, card.region) for card in deck if card.story != "waiting")
    need = {
        (band, region): cards[band, region] * accounts / len(deck) / profile.books[band]
        for band in profile.books
        for region in REGIONS
        if cards[band, region]
    }
    heads = {cell: max(1, ceil(books / _USUAL_SHARE)) for cell, books in need.items()}
    for _ in range(profile.csms * accounts // 1000 - sum(heads.values())):
        fullest = max(heads, key=lambda cell: need[cell] / heads[cell])
        heads[fullest] += 1
    return heads


def _csm(number: int, band: str, region: str, book: int) -> Csm:
    name, email = names.person(number)
    return Csm(
        csm_id=f"csm-{number + 1:04d}",
        name=name,
        email=email,
        bands=(band,),
        region=region,
        hired_days=400 + number * 37 % 2400,
        room=book,
        max_accounts=book if band == "low" else None,
    )


def _make_special(line: dict[Cell, list[Csm]]) -> None:
    """Where there are enough of them: one has left, one is new, and two serve two bands."""
    emea, na, low = line["high", "emea"], line["high", "na"], line["low", "na"]
    low[0].bands = ("low", "high")
    emea[0].bands = ("high", "strategic")
    emea[0].max_accounts = emea[0].room
    if len(emea) > 2:
        emea[-1].active = False
        emea[-1].room = _LEFT_OWNS
    if len(na) > 3:
        na[-1].hired_days = 35
        na[-1].room = _NEW_OWNS
        na[-1].max_accounts = _NEW_OWNS + 6
        na[-1].max_new_per_run = 4


_QUARTER_MILLION = 25_000_000
_LANGUAGES = {"na": ("en", "es"), "emea": ("en", "de", "fr", "es"), "apac": ("en", "ja"), "latam": ("en", "es", "pt")}
