"""Cases: examples in a policy file, or beside it, that say what the policy should make of an account.

    [[cases]]
    name = "a small account that grew"
    account = { arr = 52_000, segment = "mid_market", last_engaged_at = { days_ago = 5 } }
    in = { band = "low", weeks = 30 }
    expect = { band = "high", rule = "value_gained" }

`account` gives columns of `accounts` and the policy's attributes; what is not given is missing. A date or a timestamp
may be given as the days from the case's instant: `{ days_ago = 5 }` or `{ in_days = 40 }`. `in` is where the account
stands; without it, it is new. Here a case is read and checked; `app.rehearsal` runs it through the real decision.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictInt, StrictStr

from app.policy.catalogue import ACCOUNT_DERIVED, ACCOUNT_FACTS, BAND_FACTS
from app.policy.expressions import Type
from app.policy.model import Policy
from app.policy.problems import Path, Problems, written
from app.policy.shape import DAYS_LIMIT, Line, Number, Shape
from app.policy.tokens import suggestion

DEFAULT_AS_OF = datetime(2026, 2, 2, 6, tzinfo=UTC)
"""The instant of a case that gives none: a Monday in the middle of a quarter."""

Ago = Annotated[StrictInt, Field(ge=-DAYS_LIMIT, le=DAYS_LIMIT)]
Count = Annotated[StrictInt, Field(ge=0, le=DAYS_LIMIT)]


def _instant(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value
    raise ValueError("should be an instant with its zone, as in 2026-03-30T06:00:00Z")


class SignalGiven(Shape):
    """A signal of the account."""

    kind: Line
    days_ago: Ago
    value: Number | None = None


class Standing(Shape):
    """Where the account stands before the run."""

    band: StrictStr
    weeks: Count = Field(26, description="weeks in the band")
    rule: StrictStr = Field("entry", description="the rule that brought it there")
    owned_weeks: Count | None = Field(None, description="weeks since it first had a named owner; without it, never")
    held_by: StrictStr | None = Field(None, description="the demotion that took it down")
    held_from: StrictStr | None = Field(None, description="the band it was taken down from")
    intervention: StrictStr | None = Field(None, description="the intervention that lifts it")
    intervention_from: StrictStr | None = Field(None, description="the band it was lifted from")
    weeks_left: Count | None = Field(None, description="weeks until the intervention runs out")
    spent: StrictStr | None = Field(None, description="an intervention that ran out while its condition was still true")


class Expectation(Shape):
    """What should come of it; only what is given is compared."""

    band: StrictStr | None = Field(None, description="the band after the run")
    rule: StrictStr | None = Field(None, description="the rule that decides")
    outcome: Literal["move", "pending", "review", "contested", "stay"] | None = None
    move: Literal["enter", "graduate", "demote", "intervene", "return", "settle", "pin", "leave"] | None = None


class CaseShape(Shape):
    """An example: an account in, a decision out."""

    name: Line
    account: Mapping[str, Any] = Field(description="columns of accounts, and attributes")
    signals: tuple[SignalGiven, ...] = ()
    in_: Standing | None = Field(None, alias="in", description="where it stands; without it, it is new")
    pin: StrictStr | None = Field(None, description="a band that a person has pinned it to")
    as_of: Annotated[datetime, BeforeValidator(_instant)] | None = Field(None, description="the instant of the run")
    larger_accounts: Count = Field(0, description="how many accounts are worth more, for value_rank")
    seen_weeks: Annotated[StrictInt, Field(ge=0, le=52)] | None = Field(
        None, description="confirming runs before this one; without it, enough"
    )
    expect: Expectation


class CasesShape(Shape):
    """A file of cases."""

    cases: tuple[CaseShape, ...]


@dataclass(frozen=True)
class Case:
    """A case whose names resolve; `columns` and `attributes` are what the account has, its dates worked out."""

    where: str
    shape: CaseShape
    as_of: datetime
    columns: Mapping[str, Any]
    attributes: Mapping[str, Any]


def read_cases(listed: Sequence[Any], policy: Policy, *, source: str) -> tuple[Case, ...]:
    """The cases of a policy, or of a file beside it. Raises `Mistake` with every problem, each with its path."""
    data = {"cases": list(listed)}
    problems = Problems(data)
    problems.add_shape(CasesShape)
    problems.raise_if_any(source)
    shapes = CasesShape.model_validate(data).cases
    cases = tuple(_read(shape, place, policy, problems) for place, shape in enumerate(shapes))
    problems.raise_if_any(source)
    return cases


def _read(shape: CaseShape, place: int, policy: Policy, problems: Problems) -> Case:
    """One case, with what is wrong in it added to `problems`."""
    path: Path = ("cases", place)
    as_of = shape.as_of or DEFAULT_AS_OF
    columns: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    for name, given in shape.account.items():
        type_ = ACCOUNT_FACTS.get(name) or policy.attributes.get(name) or (Type.TEXT if name == "status" else None)
        if type_ is None:
            problems.add((*path, "account", name), _unknown_column(name, policy))
            continue
        try:
            known = _value(given, type_, as_of, policy)
        except ValueError as error:
            problems.add((*path, "account", name), str(error))
            continue
        (attributes if name in policy.attributes else columns)[name] = known
    if columns.get("status", "active") not in ("active", "churned"):
        problems.add((*path, "account", "status"), "should be 'active' or 'churned'")
    for at, what in _unresolved(shape, policy):
        problems.add((*path, *at), what)
    return Case(written(path), shape, as_of, columns, attributes)


def _unknown_column(name: str, policy: Policy) -> str:
    if name in ACCOUNT_DERIVED or name in BAND_FACTS or name in policy.facts or name in policy.signals:
        hint = "give `larger_accounts` of the case" if name == "value_rank" else "give what it is computed from"
        return f"{name} is no column of an account; {hint}"
    return f"unknown column or attribute{suggestion(name, [*ACCOUNT_FACTS, 'status', *policy.attributes])}"


def _value(given: Any, type_: Type, as_of: datetime, policy: Policy) -> Any:  # noqa: PLR0911 - a case for each type
    """What the file gives, as a value of the type; raises ValueError with what it should be."""
    match type_, given:
        case Type.NUMBER, int() | float() | Decimal() if not isinstance(given, bool):
            return Decimal(str(given))
        case Type.TEXT, str():
            return given
        case Type.BOOLEAN, bool():
            return given
        case ((Type.DATE | Type.TIMESTAMP), {"days_ago": int() as days, **others}) if not others:
            return _moment(type_, as_of - timedelta(days=days), policy)
        case ((Type.DATE | Type.TIMESTAMP), {"in_days": int() as days, **others}) if not others:
            return _moment(type_, as_of + timedelta(days=days), policy)
        case Type.DATE, date() if not isinstance(given, datetime):
            return given
        case Type.TIMESTAMP, datetime() if given.tzinfo is not None:
            return given
    raise ValueError(_SHOULD_BE[type_])


def _moment(type_: Type, moment: datetime, policy: Policy) -> date | datetime:
    return moment if type_ is Type.TIMESTAMP else moment.astimezone(policy.calendar.time_zone).date()


_RELATIVE = "or days from the run, as in { days_ago = 5 } or { in_days = 40 }"
_SHOULD_BE = MappingProxyType(
    {
        Type.NUMBER: "should be a number, without quotes",
        Type.TEXT: "should be a text in quotes",
        Type.BOOLEAN: "should be true or false, without quotes",
        Type.DATE: f"should be a date, as in 2026-01-31, {_RELATIVE}",
        Type.TIMESTAMP: f"should be an instant with its zone, as in 2026-01-31T06:00:00Z, {_RELATIVE}",
    }
)


def _unresolved(shape: CaseShape, policy: Policy) -> Iterator[tuple[Path, str]]:
    """Names in the case that mean nothing in the policy."""
    bands = tuple(policy.band)
    deciding = (*policy.rule, "entry", "left", "pin")
    expect, standing = shape.expect, shape.in_
    wanted: list[tuple[Path, str | None, Sequence[str], str]] = [
        (("expect", "band"), expect.band, bands, "band"),
        (("expect", "rule"), expect.rule, deciding, "enabled rule"),
        (("pin",), shape.pin, bands, "band"),
    ]
    if standing is not None:
        interventions = [rule.name for rule in policy.interventions]
        wanted += [
            # An account whose band the policy has dropped is settled; that may be a case too.
            (("in", "band"), None if expect.move == "settle" else standing.band, bands, "band"),
            (("in", "held_by"), standing.held_by, [rule.name for rule in policy.demotions], "demotion"),
            (("in", "held_from"), standing.held_from, bands, "band"),
            (("in", "intervention"), standing.intervention, interventions, "intervention"),
            (("in", "intervention_from"), standing.intervention_from, bands, "band"),
            (("in", "spent"), standing.spent, interventions, "intervention"),
        ]
        if standing.intervention is not None and standing.intervention_from is None:
            yield ("in", "intervention_from"), "is missing; it says where the intervention lifted the account from"
    kinds = sorted({signal.kind for signal in policy.signals.values()})
    wanted += [
        (("signals", place, "kind"), given.kind, kinds, "signal fact of kind")
        for place, given in enumerate(shape.signals)
    ]
    for at, name, known, what in wanted:
        if name is not None and name not in known:
            yield at, f"there is no {what} '{name[:60]}'{suggestion(name, known)}"
    if not expect.model_dump(exclude_none=True):
        yield ("expect",), "says nothing; give a band, rule, outcome or move"
