"""What can be loaded: the five datasets, and for each column what a cell must hold.

Pure. The order of `DATASETS` is the order of loading: a dataset comes after those that its columns refer to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from functools import cached_property
from typing import Literal

from sqlalchemy import Table

from app.tables import account_signals, accounts, coverage, csm_absences, csms

DatasetName = Literal["csms", "accounts", "absences", "signals", "coverage"]
Referred = Literal["accounts", "csms"]


class Kind(Enum):
    """What a cell of a column holds."""

    ID = "id"
    TEXT = "text"
    CHOICE = "choice"
    CURRENCY = "currency"
    MONEY = "money"
    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    DATE = "date"
    INSTANT = "instant"
    LIST = "list"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Field:
    """One column that a file can bring.

    `least` and `most` bound a number, both included. `default` is what an empty cell stands for where the column
    takes no NULL. `refers` names the dataset whose ids the cells are.
    """

    name: str
    kind: Kind
    required: bool = False
    default: str | None = None
    least: Decimal = Decimal(0)
    most: Decimal = Decimal(10) ** 13
    choices: tuple[str, ...] = ()
    longest: int = 1_000
    refers: Referred | None = None


@dataclass(frozen=True)
class Dataset:
    """A kind of file: the table it fills, the columns that make a row unique, and its columns in the table's order."""

    name: DatasetName
    table: Table
    key: tuple[str, ...]
    fields: tuple[Field, ...]
    may_be_empty: bool

    @cached_property
    def field(self) -> Mapping[str, Field]:
        """The columns by name."""
        return {field.name: field for field in self.fields}


_LONGEST_ID = 255


def _id(name: str, *, required: bool = False, refers: Referred | None = None) -> Field:
    return Field(name, Kind.ID, required=required, longest=_LONGEST_ID, refers=refers)


def _text(name: str, *, required: bool = False, longest: int = 1_000) -> Field:
    return Field(name, Kind.TEXT, required=required, longest=longest)


def _whole(name: str, most: int, least: int = 0) -> Field:
    return Field(name, Kind.INTEGER, least=Decimal(least), most=Decimal(most))


_CSMS = Dataset(
    "csms",
    csms,
    ("csm_id",),
    (
        _id("csm_id", required=True),
        _text("name", required=True),
        _text("email", longest=320),
        Field("bands", Kind.LIST, required=True),
        Field("segments", Kind.LIST),
        Field("regions", Kind.LIST),
        Field("languages", Kind.LIST),
        _whole("max_accounts", 1_000_000, least=1),
        Field("max_book", Kind.MONEY, least=Decimal("0.01")),
        _whole("max_new_per_run", 1_000_000),
        Field("hired_on", Kind.DATE),
        Field("active", Kind.BOOLEAN, default="true"),
    ),
    may_be_empty=False,
)

_ACCOUNTS = Dataset(
    "accounts",
    accounts,
    ("account_id",),
    (
        _id("account_id", required=True),
        _text("name"),
        Field("status", Kind.CHOICE, choices=("active", "churned"), default="active"),
        _text("segment", longest=255),
        _text("region", longest=255),
        _text("language", longest=255),
        _id("parent_id", refers="accounts"),
        Field("standalone", Kind.BOOLEAN, default="false"),
        Field("currency", Kind.CURRENCY),
        Field("arr", Kind.MONEY),
        Field("expansion_arr", Kind.MONEY),
        _whole("strategic_importance", 1_000_000),
        _whole("product_complexity", 1_000_000),
        _whole("seats", 10**12),
        # Over 1 where more people use it than were paid for; far over 1 it is a percentage that nobody scaled.
        Field("adoption", Kind.NUMBER, most=Decimal(10)),
        _whole("contract_term_months", 1_200),
        Field("renewal_on", Kind.DATE),
        Field("last_engaged_at", Kind.INSTANT),
        Field("onboarded_at", Kind.INSTANT),
        Field("first_value_at", Kind.INSTANT),
        Field("signed_on", Kind.DATE),
        Field("attributes", Kind.JSON, default="{}", longest=100_000),
    ),
    may_be_empty=False,
)

_ABSENCES = Dataset(
    "absences",
    csm_absences,
    ("csm_id", "starts_on"),
    (
        _id("csm_id", required=True, refers="csms"),
        Field("starts_on", Kind.DATE, required=True),
        Field("ends_on", Kind.DATE, required=True),
        _text("reason"),
    ),
    may_be_empty=True,
)

_SIGNALS = Dataset(
    "signals",
    account_signals,
    ("account_id", "signal_id"),
    (
        _id("account_id", required=True, refers="accounts"),
        _id("signal_id", required=True),
        _text("kind", required=True, longest=255),
        Field("occurred_at", Kind.INSTANT, required=True),
        Field("value", Kind.NUMBER, least=Decimal(-(10**15)), most=Decimal(10**15)),
        _text("detail", longest=10_000),
    ),
    may_be_empty=True,
)

_COVERAGE = Dataset(
    "coverage",
    coverage,
    ("account_id",),
    (
        _id("account_id", required=True, refers="accounts"),
        _text("band", required=True, longest=255),
        Field("band_since", Kind.INSTANT),
        _id("owner_id", refers="csms"),
        Field("owner_since", Kind.INSTANT),
    ),
    may_be_empty=False,
)

DATASETS: Mapping[DatasetName, Dataset] = {
    dataset.name: dataset for dataset in (_CSMS, _ACCOUNTS, _ABSENCES, _SIGNALS, _COVERAGE)
}
"""The datasets by name, in the order in which they are loaded."""
