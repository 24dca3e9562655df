"""The policy file as it is written: which tables and keys there are, and what kind of value each takes.

Nothing here knows what a name refers to or what an expression means; that is `read`. Unknown keys are mistakes. The
models are frozen, and their descriptions are the text of the published JSON Schema.
"""

import re
from collections.abc import Mapping
from datetime import time
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from app.policy.catalogue import Unit
from app.policy.model import Families, Measure

MONEY_LIMIT = Decimal(10) ** 12
COST_LIMIT = Decimal(10) ** 9
MOST_DECIMALS = 20
DAYS_LIMIT = 3_660
WEEKS_LIMIT = 52
GRACE_LIMIT = 520


def _decimal(value: Any) -> Any:
    """A TOML number as a Decimal; anything else unchanged, for pydantic to refuse."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise ValueError("should be a number, without quotes")  # noqa: TRY004  pydantic gathers ValueError
    number = value if isinstance(value, Decimal) else Decimal(str(value))
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and (exponent < -MOST_DECIMALS or number.adjusted() > MOST_DECIMALS):
        raise ValueError(f"should be a number with {MOST_DECIMALS} digits and decimals at most")
    return number


def _list(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise ValueError(  # noqa: TRY004  pydantic gathers ValueError
            'should be a list, as in ["low", "high"]'
        )
    return tuple(value)


def _tables(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise ValueError(  # noqa: TRY004  pydantic gathers ValueError
            "should be a list of tables, each under a heading in double brackets"
        )
    return tuple(value)


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("has a line break or a character that cannot be printed; keep it to one line")
    return value


def _off(value: Any) -> Any:
    """None for `false`, which switches a guard off."""
    if value is True:
        raise ValueError("should be false, which switches it off, or its limits")
    return None if value is False else value


def _fact(value: Any) -> Any:
    """A fact written as a bare expression."""
    return {"expr": value} if isinstance(value, str) else value


Number = Annotated[Decimal, BeforeValidator(_decimal, json_schema_input_type=float)]
Money = Annotated[Number, Field(ge=0, le=MONEY_LIMIT)]
Cost = Annotated[Number, Field(ge=1, le=COST_LIMIT)]
Name = Annotated[StrictStr, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]
Line = Annotated[StrictStr, Field(min_length=1, max_length=300), AfterValidator(_printable)]
Names = Annotated[tuple[Line, ...], BeforeValidator(_list, json_schema_input_type=list[str]), Field(min_length=1)]
Days = Annotated[StrictInt, Field(ge=1, le=DAYS_LIMIT)]
Weeks = Annotated[StrictInt, Field(ge=1, le=WEEKS_LIMIT)]
Book = Annotated[StrictInt, Field(ge=1, le=1_000_000)]
Ratio = Annotated[Number, Field(ge=Decimal("0.001"), le=1)]
Buffer = Annotated[Number, Field(ge=0, lt=1)]


class Shape(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, title=None)


class BandShape(Shape):
    """A coverage band. The file lists them lowest first."""

    name: Name
    owner: Literal["pool", "named"] = Field(description="pool: a queue serves it; named: each account has a CSM")
    accounts_per_csm: Book = Field(description="how many accounts one CSM carries: the size of a book")
    cadence_days: Days | None = Field(
        default=None, description="days between contacts; without it the band has no cadence"
    )
    staffing: Annotated[Number, Field(ge=Decimal("0.01"), le=100)] = Field(
        default=Decimal(1), description="people per book, for the floor"
    )
    floor: Money | None = Field(default=None, description="the least value, written out instead of computed")


class SegmentShape(Shape):
    """Economics that differ for one segment."""

    csm_cost: Cost | None = None
    cost_ratio: Ratio | None = None
    buffer: Buffer | None = None
    accounts_per_csm: Mapping[str, Book] = Field(default_factory=dict, description="by band")
    floors: Mapping[str, Money] = Field(default_factory=dict, description="by band")


class EconomicsShape(Shape):
    """floor = csm_cost x staffing / cost_ratio / accounts_per_csm."""

    currency: Annotated[StrictStr, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    csm_cost: Cost | None = Field(default=None, description="a CSM's cost per year")
    cost_ratio: Ratio | None = Field(default=None, description="the share of the value that coverage may cost")
    buffer: Buffer = Field(default=Decimal("0.15"), description="how far under its floor a band is kept, as a share")
    value: StrictStr = Field(
        default="arr + coalesce(expansion_arr, 0)", description="what an account is worth, as an expression"
    )
    segments: Mapping[Line, SegmentShape] = Field(default_factory=dict)


class SignalShape(Shape):
    """A number derived from an account's signals of one kind."""

    kind: Line
    measure: Measure
    within_days: Days | None = None
    until_days_ago: Annotated[StrictInt, Field(ge=0, le=DAYS_LIMIT)] | None = None
    days_ago: Days | None = None
    event: StrictBool | None = Field(default=None, description="whether only signals since the last band change count")
    unit: Unit | None = None


class FactShape(Shape):
    """A name for an expression."""

    expr: StrictStr
    unit: Unit | None = None


class RuleShape(Shape):
    """A named condition with a move. Rules are tried in order."""

    name: Name
    move: Literal["graduate", "demote", "intervene"]
    when: StrictStr = Field(description="a condition over facts")
    because: Line = Field(description="the reason, part of a sentence, with facts in braces")
    to: StrictStr = Field(description="a band, or earned_band, next or previous")
    from_: Names | None = Field(default=None, alias="from", description="the bands it applies in")
    segments: Names | None = Field(default=None, description="the segments it applies to; without it, to all")
    except_segments: Names | None = Field(default=None, description="the segments it does not apply to")
    enabled: StrictBool = True
    confirm_weeks: Weeks = Field(default=1, description="weekly runs in a row on which it must hold")
    min_stay_weeks: Annotated[StrictInt, Field(ge=0, le=GRACE_LIMIT)] | None = Field(
        default=None, description="weeks in a band"
    )
    protect_when: StrictStr | None = Field(default=None, description="a condition that makes the move a review")
    overrides_hold: StrictBool | None = Field(
        default=None, description="lifts what a demotion holds down; needs a fresh signal"
    )
    despite: Names | None = Field(default=None, description="demotions that do not stand against it")
    grace_weeks: Annotated[StrictInt, Field(ge=1, le=GRACE_LIMIT)] | None = Field(
        default=None, description="weeks without those"
    )
    for_weeks: Annotated[StrictInt, Field(ge=1, le=GRACE_LIMIT)] | None = Field(
        default=None, description="the longest it lasts"
    )


class ShareShape(Shape):
    """A limit: the larger of a count and a share of the whole."""

    share: Annotated[Number, Field(ge=0, le=1)]
    at_least: Annotated[StrictInt, Field(ge=0, le=1_000_000_000)] = 0


Limit = Annotated[
    ShareShape | None,
    BeforeValidator(_off, json_schema_input_type=ShareShape | Literal[False]),
    Field(validate_default=False),
]


def _share(share: str, at_least: int = 0) -> ShareShape:
    return ShareShape(share=Decimal(share), at_least=at_least)


class GuardsShape(Shape):
    """The limits that stop a plan; `false` switches one off."""

    moved_accounts: Limit = _share("0.10", 25)
    moved_arr: Limit = _share("0.15")
    csm_book: Limit = _share("0.34", 10)
    shrunken_input: Limit = _share("0.10", 25)
    missing_facts: Limit = _share("0.25", 25)
    fewest_accounts: Annotated[
        Annotated[StrictInt, Field(ge=0, le=1_000_000_000)] | None,
        BeforeValidator(_off, json_schema_input_type=int | Literal[False]),
    ] = 1
    stale_after_days: Annotated[Days | None, BeforeValidator(_off, json_schema_input_type=int | Literal[False])] = 10


DaysOrNone = Annotated[StrictInt, Field(ge=0, le=DAYS_LIMIT)]
"""A number of days that may be none."""


class OwnersShape(Shape):
    """How accounts change hands between CSMs."""

    stable_days: DaysOrNone = Field(default=90, description="days in which a new owner is not changed again")
    absence_days: DaysOrNone = Field(default=5, description="who is away for longer is given no accounts")
    notice_days: DaysOrNone = Field(default=2, description="days before an absence in which that begins")
    max_new_per_run: Limit = Field(
        default=_share("0.25", 5), description="what one CSM is given in a run at most: a share of their book"
    )
    ramp_weeks: Annotated[StrictInt, Field(ge=0, le=GRACE_LIMIT)] = Field(
        default=8, description="weeks in which a new CSM's intake grows to that"
    )
    renewal_days: DaysOrNone = Field(default=90, description="days before a renewal without a move for balance")
    pin_max_days: Days = Field(default=365, description="the longest that a pin may last")
    families: Families = Field(
        default="own_merits",
        description="own_merits: each account is in the band that its own facts give it; highest_band: all of a family"
        " are in the highest that one of them has",
    )


WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def _time(value: Any) -> Any:
    """A time of day, written "06:00" or as TOML's own."""
    if isinstance(value, time):
        return value
    if isinstance(value, str) and re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", value):
        return time.fromisoformat(value)
    raise ValueError('should be a time of day, as in "06:00"')


class CalendarShape(Shape):
    """When the weekly run is due, on the wall clock of a place."""

    weekday: Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] = "monday"
    at: Annotated[time, BeforeValidator(_time, json_schema_input_type=str)] = time(6)
    time_zone: StrictStr = "UTC"


class PolicyShape(Shape):
    """A policy of bandshift."""

    name: Annotated[Line, Field(max_length=60)]
    bands: Annotated[tuple[BandShape, ...], BeforeValidator(_tables, json_schema_input_type=list[BandShape])] = Field(
        min_length=2, description="the coverage bands, lowest first"
    )
    economics: EconomicsShape = Field(default_factory=EconomicsShape)
    attributes: Mapping[str, Literal["number", "text", "boolean", "date", "timestamp"]] = Field(
        default_factory=dict, description="your own columns, read from accounts.attributes"
    )
    signals: Mapping[str, SignalShape] = Field(default_factory=dict)
    facts: Mapping[str, Annotated[FactShape, BeforeValidator(_fact, json_schema_input_type=str | FactShape)]] = Field(
        default_factory=dict
    )
    rules: Annotated[tuple[RuleShape, ...], BeforeValidator(_tables, json_schema_input_type=list[RuleShape])] = ()
    guards: GuardsShape = Field(default_factory=GuardsShape)
    owners: OwnersShape = Field(default_factory=OwnersShape)
    calendar: CalendarShape = Field(default_factory=CalendarShape)
    cases: Annotated[
        tuple[dict[str, Any], ...], BeforeValidator(_tables, json_schema_input_type=list[dict[str, Any]])
    ] = Field(default=(), description="examples: facts in, band and rule out")
