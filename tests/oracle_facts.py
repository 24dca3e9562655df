"""The facts of one account, read through a lens, as docs/deciding.md says: plain rows in, one value out at a time."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from app.policy.expressions import Type
from app.policy.model import Band, Floors, Policy, SignalFact
from tests.oracle_expressions import DAY, Rung, Value, evaluate
from tests.oracle_rows import Account, Coverage, Signal

WEEK = timedelta(weeks=1)
LARGEST_VALUE = 10**14


@dataclass(frozen=True, slots=True)
class Case:
    """All that is known of one account on one run."""

    policy: Policy
    as_of: datetime
    account: Account
    signals: Sequence[Signal]
    coverage: Coverage | None
    value_rank: int | None

    @property
    def floors(self) -> Floors:
        """The floors of the account's segment, else those of everybody."""
        return floors_of(self.policy, self.account.segment)


def floors_of(policy: Policy, segment: str | None) -> Floors:
    """The floors for a segment: its own where it differs, else those under None."""
    return policy.floors[segment] if segment in policy.floors else policy.floors[None]


NUMBER = re.compile(r"\s*[+-]?\d+(\.\d+)?\s*", re.ASCII)
DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
TIMESTAMP = re.compile(r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}(:?\d{2})?)?", re.ASCII)


def attribute(raw: Any, declared: Type) -> Value:
    """A JSON value read as the declared type; None when it cannot be."""
    match declared:
        case Type.NUMBER:
            return _number(raw)
        case Type.TEXT:
            return _text(raw)
        case Type.BOOLEAN:
            return {"true": True, "false": False}.get((_text(raw) or "").lower())
        case Type.DATE:
            return _date(raw) if isinstance(raw, str) else None
        case _:
            return _timestamp(raw) if isinstance(raw, str) else None


def _text(raw: Any) -> str | None:
    """A text, or a number or a truth as JSON writes it."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    return str(raw) if isinstance(raw, str | int | Decimal) else None


def _number(raw: Any) -> Value:
    if isinstance(raw, bool) or not isinstance(raw, int | Decimal | str):
        return None
    if isinstance(raw, str) and not NUMBER.fullmatch(raw):
        return None
    return Decimal(raw)


def _date(raw: str) -> date | None:
    if not DATE.fullmatch(raw):
        return None
    try:
        return date.fromisoformat(raw)
    except ValueError:
        return None


def _timestamp(raw: str) -> datetime | None:
    if not (DATE.fullmatch(raw) or TIMESTAMP.fullmatch(raw)):
        return None
    try:
        moment = datetime.fromisoformat(raw)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def value_of(policy: Policy, as_of: datetime, account: Account, signals: Sequence[Signal]) -> Decimal | None:
    """The value expression; missing when the account's currency is known and is not the policy's."""
    if account.currency is not None and account.currency != policy.currency:
        return None
    value = evaluate(policy.value, AccountFacts(policy, as_of, account, signals))
    assert value is None or isinstance(value, Decimal)
    return value


def value_ranks(values: Mapping[str, Decimal | None]) -> dict[str, int]:
    """1 for the highest value, ties by account id; accounts without a value have no rank."""
    worth = sorted((-value, account_id) for account_id, value in values.items() if value is not None)
    return {account_id: place for place, (_, account_id) in enumerate(worth, start=1)}


def earned_band(policy: Policy, floors: Floors, value: Decimal | None) -> Rung | None:
    """The highest band whose floor is at most the value; the lowest is reached by any value."""
    if value is None:
        return None
    reached = [band for band in policy.bands if band.rank == 0 or floors.floor[band.rank] <= value]
    return Rung(reached[-1].rank, reached[-1].name)


def days_until_quarter_end(today: date) -> int:
    """Days from today to the last day of its calendar quarter."""
    last_month = (today.month + 2) // 3 * 3
    first_of_next = date(today.year + last_month // 12, last_month % 12 + 1, 1)
    return (first_of_next - today).days - 1


class AccountFacts:
    """What is the same whatever band the account stands in, and so all that a value expression reads."""

    def __init__(self, policy: Policy, as_of: datetime, account: Account, signals: Sequence[Signal]) -> None:
        self.policy = policy
        self.account = account
        self.signals = signals
        self.as_of = as_of
        self.today = as_of.astimezone(policy.calendar.time_zone).date()

    def rung(self, band: str) -> Rung:
        """The band of this name, with its rank."""
        return Rung(self.policy.band[band].rank, band)

    def read(self, name: str) -> Value:
        """The column, the attribute or the signal fact of this name."""
        if name in self.policy.attributes:
            return attribute(self.account.attributes.get(name), self.policy.attributes[name])
        if name in self.policy.signals:
            return self.signal(self.policy.signals[name])
        found: Any = getattr(self.account, name)
        whole = isinstance(found, int) and not isinstance(found, bool)
        return Decimal(found) if whole else found

    def sees(self, fact: SignalFact, signal: Signal) -> bool:
        """Whether a signal that lies in the fact's window counts. An event would have to know the band."""
        assert not fact.event, fact
        return True

    def signal(self, fact: SignalFact) -> Decimal | None:
        """A signal fact over the signals that count."""
        end = self.as_of - fact.until_days_ago * DAY
        if fact.measure == "value_ago":
            end = min(end, self.as_of - fact.days_ago * DAY)
        start = None if fact.within_days is None else self.as_of - fact.within_days * DAY
        seen = [
            signal
            for signal in self.signals
            if signal.kind == fact.kind
            and signal.occurred_at <= end
            and (start is None or signal.occurred_at > start)
            and self.sees(fact, signal)
        ]
        if fact.measure == "count":
            return Decimal(len(seen))
        if fact.measure == "days_since":
            last = max((signal.occurred_at for signal in seen), default=None)
            return None if last is None else Decimal((self.as_of - last) // DAY)
        valued = [(signal.occurred_at, signal.value) for signal in seen if signal.value is not None]
        # What is larger is no seats, usage or money.
        return measured(fact, [(at, value) for at, value in valued if abs(value) <= LARGEST_VALUE])


class Lens(AccountFacts):
    """The facts of one case, relative to one band. Subclasses say how time and events are read."""

    def __init__(self, case: Case, band: Band) -> None:
        super().__init__(case.policy, case.as_of, case.account, case.signals)
        self.case = case
        self.band = band
        self.known: dict[str, Value] = {}

    def read(self, name: str) -> Value:
        """The fact of this name, computed once."""
        if name not in self.known:
            self.known[name] = self._read(name)
        return self.known[name]

    def _read(self, name: str) -> Value:
        policy = self.case.policy
        if name in DERIVED:
            return DERIVED[name](self)
        if name in policy.facts:
            return evaluate(policy.facts[name], self)
        return super().read(name)

    def value(self) -> Decimal | None:
        """What the account is worth."""
        return value_of(self.policy, self.as_of, self.account, self.signals)

    def earned_band(self) -> Rung | None:
        """The band that its value carries."""
        return earned_band(self.policy, self.case.floors, self.value())

    def weeks_in_band(self) -> int:
        """Whole weeks since `band_since`."""
        assert self.case.coverage is not None
        return (self.case.as_of - self.case.coverage.band_since) // WEEK

    def quiet_days(self) -> Decimal | None:
        """How long nobody has engaged; missing under every lens when `last_engaged_at` is."""
        raise NotImplementedError


def measured(fact: SignalFact, valued: Sequence[tuple[datetime, Decimal]]) -> Decimal | None:
    """A measure of the values, None without any."""
    if not valued:
        return None
    values = [value for _, value in valued]
    match fact.measure:
        case "sum":
            return sum(values, Decimal(0))
        case "max":
            return max(values)
        case "min":
            return min(values)
        case _:
            # Latest, of now or of some days ago. "Of two values at one instant the larger counts as the later."
            return max(valued)[1]


def numbered(number: int | None) -> Decimal | None:
    """A whole number as a value."""
    return None if number is None else Decimal(number)


DERIVED: Mapping[str, Callable[[Lens], Value]] = {
    "value": Lens.value,
    "earned_band": Lens.earned_band,
    "value_rank": lambda lens: numbered(lens.case.value_rank),
    "first_owned_at": lambda lens: lens.case.coverage.first_owned_at if lens.case.coverage else None,
    "days_until_quarter_end": lambda lens: numbered(days_until_quarter_end(lens.today)),
    "band": lambda lens: lens.rung(lens.band.name),
    "floor": lambda lens: lens.case.floors.floor[lens.band.rank],
    "demotion_floor": lambda lens: lens.case.floors.demotion[lens.band.rank],
    "cadence_days": lambda lens: numbered(lens.band.cadence_days),
    "weeks_in_band": lambda lens: numbered(lens.weeks_in_band()),
    "quiet_days": lambda lens: lens.quiet_days(),
}
"""How each fact is read that is neither a column nor a signal's."""


class Now(Lens):
    """As the account stands in its own band."""

    def quiet_days(self) -> Decimal | None:
        """Days since the later of `last_engaged_at` and `band_since`: a new owner gets the full time."""
        engaged = self.account.last_engaged_at
        assert self.case.coverage is not None
        if engaged is None:
            return None
        return Decimal((self.as_of - max(engaged, self.case.coverage.band_since)) // DAY)

    def sees(self, fact: SignalFact, signal: Signal) -> bool:
        """Only signals newer than `band_since` for event facts."""
        assert self.case.coverage is not None
        return not fact.event or signal.occurred_at > self.case.coverage.band_since


class Entry(Lens):
    """As if the account had just entered the band."""

    def weeks_in_band(self) -> int:
        """0, just entered."""
        return 0

    def quiet_days(self) -> Decimal | None:
        """0, just entered."""
        return None if self.account.last_engaged_at is None else Decimal(0)

    def sees(self, fact: SignalFact, signal: Signal) -> bool:
        """No event has happened yet."""
        return not fact.event


class Kept(Lens):
    """Whether what was true of the account still is, seen from the band."""

    def quiet_days(self) -> Decimal | None:
        """Days since `last_engaged_at`, whenever it entered."""
        engaged = self.account.last_engaged_at
        return None if engaged is None else Decimal((self.as_of - engaged) // DAY)

    def sees(self, fact: SignalFact, signal: Signal) -> bool:
        """All signals in their window."""
        return True
