"""The book: one row per account with everything that a rule may ask of it, and the lenses that rules read it through.

The row joins the account, its place in `coverage`, its signal facts and a pin that is in force. Facts are columns named
`f_<fact>`; bands are ranks. `docs/deciding.md` says what each fact and lens means.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    FromClause,
    Integer,
    Numeric,
    Select,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.decide.expressions import DAY_S, Reader, compile_expression
from app.decide.facts import FactsRead, account_column, attribute_column, signal_column
from app.decide.signals import Pass, column_of
from app.decide.sources import Sources
from app.policy.model import Floors, Policy
from app.tables import Instant

Column = ColumnElement[Any]
Columns = Mapping[str, Column]

SETTLING = timedelta(days=6)
"""An account moves at most once in this time; confirming runs lie at least this far apart."""

MD5 = 32
"""The length of a fingerprint."""

COVERAGE_COLUMNS = (
    "band", "band_since", "band_rule", "owner_id", "held_by", "held_from", "intervention", "intervention_from",
    "intervention_until", "spent_intervention", "pending", "has_risen", "fell_with",
)  # fmt: skip


@dataclass(frozen=True)
class Question:
    """What is asked: this policy, at this instant, of these tables; `also` as `FactsRead` has it."""

    policy: Policy
    as_of: datetime
    sources: Sources
    also: frozenset[str] = frozenset()

    @cached_property
    def facts(self) -> FactsRead:
        """The facts that the policy reads."""
        return FactsRead(self.policy, self.also)

    @property
    def families(self) -> bool:
        """Whether the accounts of a family stand together."""
        return self.policy.owners.families == "highest_band"

    @cached_property
    def today(self) -> date:
        """The date of `as_of` in the policy's time zone."""
        return self.as_of.astimezone(self.policy.calendar.time_zone).date()

    @property
    def separable(self) -> bool:
        """Whether each account is decided by what is known of it alone, and not of the others."""
        return "value_rank" not in self.facts.names and not self.families

    @cached_property
    def ranks(self) -> Mapping[str, int]:
        """Each band's rank by name."""
        return {band.name: band.rank for band in self.policy.bands}

    def reader(self, fact: Callable[[str], Column]) -> Reader:
        """A reader of expressions whose facts are found by `fact`."""
        return Reader(fact, self.ranks, self.as_of, self.today)

    def rank_of(self, band: Column) -> Column:
        """The rank of the band that a text column names; NULL if the policy has no such band."""
        return case(*((band == name, literal(rank, Integer)) for name, rank in self.ranks.items()), else_=null())

    def name_of(self, rank: Column) -> Column:
        """The name of the band of this rank; NULL for NULL."""
        return at_rank(rank, [band.name for band in self.policy.bands], Text())

    def before(self, span: timedelta, moment: Column) -> Column:
        """Whether less than `span` has passed since `moment` at `as_of`."""
        return moment > literal(self.as_of - span, Instant)


def days_until_quarter_end(today: date) -> int:
    """Days from today to the last day of its calendar quarter, 0 on that day."""
    month = 3 * ((today.month - 1) // 3) + 4
    next_quarter = date(today.year + month // 13, (month - 1) % 12 + 1, 1)
    return (next_quarter - today).days - 1


def is_active(accounts: FromClause) -> Column:
    """Whether a row of `accounts` is a customer's; one of unknown status is. NULL for no row."""
    # Not coalesce, of which the planner knows no statistics.
    return or_(accounts.c.status == "active", accounts.c.status.is_(None))


def joined(ask: Question, *, signals: bool = True, pinned: bool = True, also: Sequence[str] = ()) -> Select[Any]:
    """One row per account that `accounts` or `coverage` knows, with its raw facts and the signals of its value.

    `also` names further columns of `coverage`; `signals` and whether it is `pinned` are left out where nobody asks for
    what is made of them.
    """
    accounts, coverage = ask.sources.accounts, ask.sources.coverage
    account_id = func.coalesce(accounts.c.account_id, coverage.c.account_id)
    columns: list[Column] = [
        account_id.label("account_id"),
        coverage.c.account_id.label("covered_id"),
        accounts.c.account_id.is_not(None).label("is_known"),
        and_(accounts.c.account_id.is_not(None), is_active(accounts)).label("is_active"),
        *(accounts.c[name] for name in ("segment", "region", "language", "currency")),
        account_column("arr", accounts.c.arr).label("booked_arr"),
        *(coverage.c[name] for name in (*COVERAGE_COLUMNS, *also)),
        *_own_facts(ask),
    ]
    source: Any = accounts
    if pinned:  # beside `accounts` alone, for whoever is not in it has left, pinned or not
        in_force = _pins_in_force(ask)
        source = source.outerjoin(in_force, in_force.c.account_id == accounts.c.account_id)
        columns.append(in_force.c.band.label("pin_band"))
    source = source.join(coverage, coverage.c.account_id == accounts.c.account_id, full=True)
    first = ask.facts.pass_over_all(ask.as_of)
    if first.wanted and signals:
        passed = first.over_all(ask.sources.account_signals, coverage).cte("signals_of_value")
        source = source.outerjoin(passed, passed.c.account_id == account_id)
        columns += [*_signal_columns(first, passed), passed.c.newest_signal_at.label("newest_read_at")]
    else:
        columns.append(cast(null(), Instant).label("newest_read_at"))
    return select(*columns).select_from(source)


def _own_facts(ask: Question) -> list[Column]:
    accounts = ask.sources.accounts.c
    facts = [account_column(name, accounts[name]).label(f"f_{name}") for name in ask.facts.account_columns]
    facts += [
        attribute_column(name, ask.policy.attributes[name], accounts.attributes).label(f"f_{name}")
        for name in ask.facts.attributes
    ]
    if "first_owned_at" in ask.facts.names:
        facts.append(ask.sources.coverage.c.first_owned_at.label("f_first_owned_at"))
    return list(facts)


def _pins_in_force(ask: Question) -> FromClause:
    """The pins to a band that the policy has, not expired at `as_of` and not taken back."""
    pins = ask.sources.pins.c
    return (
        select(pins.account_id, pins.band)
        .where(
            pins.unpinned_at.is_(None), pins.expires_at > literal(ask.as_of, Instant), pins.band.in_(list(ask.ranks))
        )
        .subquery("pinned")
    )


def measured(ask: Question, candidates: FromClause) -> Select[Any]:
    """The candidates with their signals."""
    second = ask.facts.pass_over_few(ask.as_of)
    newest: Column = candidates.c.newest_read_at
    if not second.wanted:
        return select(*candidates.c, newest.label("newest_signal_at"))
    # Account by account through the primary key: no hash or sort of the signals, however many there are.
    one = second.of_one(ask.sources.account_signals, candidates).lateral("signals")
    newest = func.greatest(newest, one.c.newest_signal_at, type_=Instant).label("newest_signal_at")
    return select(*candidates.c, *_signal_columns(second, one), newest).select_from(candidates.join(one, true()))


def _signal_columns(done: Pass, passed: FromClause) -> list[Column]:
    return [
        signal_column(fact, reading, passed.c).label(f"f_{column_of(fact, reading)}") for fact, reading in done.wanted
    ]


def valued(ask: Question, rows: Columns) -> list[Column]:
    """`value` and `arr`, which follow from the raw facts alone; both missing in a foreign currency."""
    reader = ask.reader(lambda name: rows[f"f_{name}"])
    ours = and_(rows["is_known"], func.coalesce(rows["currency"], ask.policy.currency) == ask.policy.currency)
    return [
        case((ours, compile_expression(ask.policy.value, reader))).label("value"),
        case((ours, rows["booked_arr"])).label("arr"),
    ]


def placed(ask: Question, rows: Columns) -> list[Column]:
    """The columns that need the value: `earned_rank`, the ranks of the bands, and `f_value_rank` if it is read."""
    own = case(
        (rows["intervention"].is_not(None), func.coalesce(rows["intervention_from"], rows["band"])), else_=rows["band"]
    )
    thresholds = per_segment(ask, rows, lambda floors: literal(list(floors.floor[1:]), ARRAY(Numeric)))
    columns: list[Column] = [
        func.width_bucket(rows["value"], thresholds, type_=Integer()).label("earned_rank"),
        ask.rank_of(rows["band"]).label("present_rank"),
        ask.rank_of(own).label("own_rank"),
        ask.rank_of(rows["pin_band"]).label("pin_rank"),
    ]
    if "value_rank" in ask.facts.names:
        ranked = and_(rows["is_active"], rows["value"].is_not(None))
        place = func.row_number().over(partition_by=ranked, order_by=(rows["value"].desc(), rows["account_id"]))
        columns.append(case((ranked, cast(place, Numeric))).label("f_value_rank"))
    return columns


def per_segment(ask: Question, rows: Columns, amount: Callable[[Floors], Column]) -> Column:
    """What `amount` makes of the floors of the account's segment."""
    amounts = {segment: amount(floors) for segment, floors in ask.policy.floors.items()}
    branches = [(rows["segment"] == segment, column) for segment, column in amounts.items() if segment is not None]
    return case(*branches, else_=amounts[None]) if branches else amounts[None]


def at_rank(rank: Column, values: Sequence[Any], type_: Any) -> Column:
    """The value at the rank; NULL for NULL."""
    branches = ((rank == place, literal(value, type_)) for place, value in enumerate(values) if value is not None)
    return cast(case((rank.is_(null()), null()), *branches, else_=null()), type_)


@dataclass(frozen=True)
class Lens:
    """How an expression reads an account: as standing in the band of `rank`, with its events fresh, all, or none.

    `without` names signal facts of which the account is known to have no signal.
    """

    ask: Question
    rows: Columns
    kind: Literal["now", "entry", "kept"]
    rank: Column
    without: frozenset[str] = frozenset()

    @cached_property
    def reader(self) -> Reader:
        """The reader of expressions under this lens."""
        return self.ask.reader(self.fact)

    def fact(self, name: str) -> Column:
        """The fact's column under this lens."""
        if name in self.ask.policy.signals:
            return self._signal(name)
        seen = self._seen.get(name)
        return seen() if seen is not None else self.rows[f"f_{name}"]

    @cached_property
    def _seen(self) -> Mapping[str, Callable[[], Column]]:
        """The facts that are no column of the book, or one of another name."""
        cadences = [band.cadence_days for band in self.ask.policy.bands]
        return {
            "band": lambda: self.rank,
            "floor": lambda: self._amount(lambda floors: floors.floor),
            "demotion_floor": lambda: self._amount(lambda floors: floors.demotion),
            "cadence_days": lambda: at_rank(self.rank, cadences, Numeric()),
            "weeks_in_band": self._weeks_in_band,
            "quiet_days": self._quiet_days,
            "value": lambda: self.rows["value"],
            "earned_band": lambda: self.rows["earned_rank"],
            "days_until_quarter_end": lambda: literal(days_until_quarter_end(self.ask.today), Numeric),
        }

    def _weeks_in_band(self) -> Column:
        return literal(0, Numeric) if self.kind == "entry" else _whole(self._since("band_since"), 7)

    def _signal(self, name: str) -> Column:
        fact = self.ask.policy.signals[name]
        if not fact.event:
            return self.rows[f"f_{name}"]
        if self.kind == "entry" or name in self.without:
            return literal(0, Numeric) if fact.measure == "count" else cast(null(), Numeric)
        return self.rows[f"f_{column_of(fact, 'fresh' if self.kind == 'now' else 'all')}"]

    def _amount(self, amounts: Callable[[Floors], Sequence[Decimal]]) -> Column:
        return per_segment(self.ask, self.rows, lambda floors: at_rank(self.rank, amounts(floors), Numeric()))

    def _quiet_days(self) -> Column:
        engaged = self.rows["f_last_engaged_at"]
        if self.kind == "entry":
            return case((engaged.is_not(None), literal(0, Numeric)))
        if self.kind == "kept":
            return _whole(self._since("f_last_engaged_at"), 1)
        later = func.greatest(engaged, self.rows["band_since"], type_=Instant)
        return case((engaged.is_not(None), _whole(literal(self.ask.as_of, Instant) - later, 1)))

    def _since(self, column: str) -> Column:
        return literal(self.ask.as_of, Instant) - self.rows[column]


def _whole(span: Column, days: int) -> Column:
    return cast(func.floor(func.date_part("epoch", span) / literal(float(days * DAY_S))), Numeric)


def own_print(ask: Question, rows: Columns) -> Column:
    """The fingerprint that the account fell with; where families stand together, that of its family is behind it."""
    fell_with = rows["fell_with"]
    return func.left(fell_with, MD5) if ask.families else fell_with


def fingerprint(ask: Question, rows: Columns) -> Column:
    """A hash of the account's own columns and attributes that the policy reads."""
    names = (*ask.facts.account_columns, *ask.facts.attributes)
    return func.md5(cast(func.jsonb_build_array(*(rows[f"f_{name}"] for name in names), type_=JSONB), Text))
