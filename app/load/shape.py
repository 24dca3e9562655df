"""The shape of a mapping file, checked by pydantic: keys, types, and whatever a value says wrong by itself."""

import codecs
from decimal import Decimal
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator, model_validator

from app.load.dates import DateFormat

Sign = Annotated[str, StringConstraints(max_length=1)]
OneCharacter = Annotated[str, StringConstraints(min_length=1, max_length=1)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Rate = Annotated[Decimal, Field(gt=0, lt=10**9)]


def _as_text(value: Any) -> Any:
    """A TOML value that stands for a cell, as that cell would be written."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | Decimal():
            return str(value)
        case list():
            return [_as_text(item) for item in value]
        case _:
            return value


def _as_source(value: Any) -> Any:
    """`arr = "annual_revenue"` is short for `arr = { from = "annual_revenue" }`."""
    return {"from": value} if isinstance(value, str | list) else value


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) or value is None else [value]


Cell = Annotated[str, BeforeValidator(_as_text)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)


class NumbersShape(_Shape):
    """How numbers are written."""

    decimal: OneCharacter = "."
    thousands: Sign = ""
    strip: str = ""

    @model_validator(mode="after")
    def _differ(self) -> "NumbersShape":
        if self.decimal == self.thousands:
            raise ValueError("`decimal` and `thousands` are the same")
        return self


class FileShape(_Shape):
    """What holds for a whole file, or (at the top of the mapping) for every file."""

    encoding: str | None = None
    delimiter: OneCharacter | None = None
    null: list[Cell] | None = None
    list_separator: OneCharacter | None = None
    dates: str | None = None
    time_zone: str | None = None
    numbers: NumbersShape | None = None

    @field_validator("encoding")
    @classmethod
    def _can_be_decoded(cls, name: str) -> str:
        try:
            known = codecs.lookup(name)
        except LookupError:
            raise ValueError(
                f"`{name}` is no encoding; there are utf-8, utf-16, latin-1, windows-1252 and others"
            ) from None
        # Python has codecs of bytes to bytes too, such as `zip`.
        if not getattr(known, "_is_text_encoding", True):
            raise ValueError(f"`{name}` is no encoding of text")
        return name

    @field_validator("dates")
    @classmethod
    def _is_a_date_format(cls, pattern: str) -> str:
        return _date_pattern(pattern)

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"`{name}` is no time zone; write for example Europe/Berlin") from None
        return name


class ColumnShape(_Shape):
    """Where a column comes from."""

    from_: Annotated[list[str] | None, BeforeValidator(_as_list)] = Field(default=None, alias="from")
    constant: Annotated[list[Cell] | None, BeforeValidator(_as_list)] = None
    values: dict[str, Cell] = Field(default_factory=dict)
    otherwise: Cell | None = None
    scale: Annotated[Decimal, Field(gt=0)] = Decimal(1)
    numbers: NumbersShape | None = None
    dates: str | None = None
    by: Literal["name", "email"] | None = None

    @field_validator("dates")
    @classmethod
    def _is_a_date_format(cls, pattern: str) -> str:
        return _date_pattern(pattern)

    @model_validator(mode="after")
    def _has_one_source(self) -> "ColumnShape":
        if (self.from_ is None) == (self.constant is None):
            raise ValueError("needs `from`, a column of the file, or `constant`, and not both")
        if self.from_ == []:
            raise ValueError("`from` lists no column")
        if self.constant is not None and (self.values or self.otherwise is not None):
            raise ValueError("a constant has nothing to translate")
        return self


class AttributeShape(ColumnShape):
    """Where one of the user's own facts comes from, and its type."""

    type: Literal["text", "number", "boolean", "date", "timestamp"] = "text"


class SkipShape(_Shape):
    """Which rows are left out."""

    column: str
    is_: list[Cell] | None = Field(default=None, alias="is")
    is_not: list[Cell] | None = None

    @model_validator(mode="after")
    def _has_one_list(self) -> "SkipShape":
        if (self.is_ is None) == (self.is_not is None):
            raise ValueError("needs `is` or `is_not`, a list of cells, and not both")
        return self


class CurrencyShape(_Shape):
    """What money is converted into, and at which rates."""

    into: Currency
    rates: dict[Currency, Rate]


class DatasetShape(FileShape):
    """One dataset's section."""

    columns: dict[str, Annotated[ColumnShape, BeforeValidator(_as_source)]] = Field(default_factory=dict)
    attributes: dict[str, Annotated[AttributeShape, BeforeValidator(_as_source)]] = Field(default_factory=dict)
    unknown_columns: Literal["error", "attributes", "ignore"] = "error"
    ignore: list[str] = Field(default_factory=list)
    skip: list[SkipShape] = Field(default_factory=list)
    currency: CurrencyShape | None = None


class MappingShape(FileShape):
    """The whole file."""

    csms: DatasetShape | None = None
    accounts: DatasetShape | None = None
    absences: DatasetShape | None = None
    signals: DatasetShape | None = None
    coverage: DatasetShape | None = None


def _date_pattern(pattern: str) -> str:
    if pattern != "ISO":
        try:
            DateFormat(pattern)
        except ValueError as error:
            raise ValueError(f"`{pattern}` {error}") from None
    return pattern
