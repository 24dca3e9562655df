"""Which facts a policy reads, and how each becomes a column of the book.

NaN and infinite instants count as missing: a view over a user's own table may hold them, and
a weekly run must not die of one row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from string import Formatter
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Date, Double, Numeric, Text, case, cast, func, literal, true
from sqlalchemy.dialects.postgresql import JSONPATH

from app.decide.signals import Pass, Reading, column_of
from app.policy.catalogue import ACCOUNT_FACTS
from app.policy.expressions import Call, Expression, Fact, IsNull, Type, children, facts_of
from app.policy.model import Policy, Rule, SignalFact
from app.tables import Instant

Column = ColumnElement[Any]

_NUMBER = r"^\s*[+-]?\d{1,18}(\.\d{1,18})?\s*$"
_DATE = r"^(?!0000)\d{4}-\d{2}-\d{2}$"
_TIMESTAMP = r"^(?!0000)\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?([zZ]|[+-]\d{2}(:?\d{2})?)?)?$"


def template_facts(template: str) -> tuple[str, ...]:
    """The names in a rule's `because`, in order, each once."""
    return tuple(dict.fromkeys(name for _, name, _, _ in Formatter().parse(template) if name))


def shown_facts(rule: Rule) -> tuple[str, ...]:
    """The facts that a rule's decision carries: those of its condition and its `because`, sorted."""
    return tuple(sorted(facts_of(rule.when) | set(template_facts(rule.because))))


@dataclass(frozen=True)
class FactsRead:
    """The facts that a policy's expressions read, derived facts replaced by what they are made of.

    `also` names derived facts that are read whether or not an expression does.
    """

    policy: Policy
    also: frozenset[str] = frozenset()

    def _of(self, expression: Expression | None) -> frozenset[str]:
        return facts_of(expression) if expression is not None else frozenset()

    def _of_template(self, template: str) -> frozenset[str]:
        names: set[str] = set()
        for name in template_facts(template):
            names |= self._of(self.policy.facts[name]) if name in self.policy.facts else {name}
        return frozenset(names)

    @cached_property
    def names(self) -> frozenset[str]:
        """Every base fact that some rule, its protection, its `because` or the value expression reads."""
        found = set(self._of(self.policy.value))
        for rule in self.policy.rules:
            found |= self._of(rule.when) | self._of(rule.protect_when)
            found |= self._of_template(rule.because)
        for name in self.also:
            found |= self._of(self.policy.facts[name])
        return frozenset(found)

    @cached_property
    def missed(self) -> frozenset[str]:
        """The base facts that some condition, or the value, reads without a fallback of its own."""
        expressions = [self.policy.value, *(rule.when for rule in self.policy.rules)]
        return frozenset().union(*(_without_fallback(expression) for expression in expressions))

    @cached_property
    def account_columns(self) -> tuple[str, ...]:
        """The account's own columns among them, in name order."""
        return tuple(sorted(self.names & ACCOUNT_FACTS.keys() | ({"last_engaged_at"} & self._quiet)))

    @cached_property
    def _quiet(self) -> frozenset[str]:
        return frozenset({"last_engaged_at"}) if "quiet_days" in self.names else frozenset()

    @cached_property
    def attributes(self) -> tuple[str, ...]:
        """The policy's attributes among them, in name order."""
        return tuple(sorted(self.names & self.policy.attributes.keys()))

    @cached_property
    def signals(self) -> tuple[SignalFact, ...]:
        """The signal facts among them, in name order."""
        return tuple(self.policy.signals[name] for name in sorted(self.names & self.policy.signals.keys()))

    @cached_property
    def _kinds_of_value(self) -> frozenset[str]:
        return frozenset({fact.kind for fact in self.signals if fact.name in self._of(self.policy.value)})

    @cached_property
    def unread(self) -> frozenset[str]:
        """The signal facts, by name, that are read only for accounts that a rule could still decide.

        All but those of the kinds that the value is made of: everybody's value is asked for.
        """
        return frozenset(fact.name for fact in self.signals if fact.kind not in self._kinds_of_value)

    @cached_property
    def occasional(self) -> Mapping[str, SignalFact]:
        """Those of them, by name, that count occasions: an account without one is known not to meet their rule.

        A kind that some event fact counts and of which nobody asks the latest value is an occasion: few accounts have
        one, and an index finds them. All other kinds are measurements, which nearly every account has.
        """
        measured = {fact.kind for fact in self.signals if fact.measure in ("latest", "value_ago")}
        return {
            fact.name: fact
            for fact in self.signals
            if fact.event and fact.kind not in measured and fact.name in self.unread
        }

    @cached_property
    def _kept(self) -> frozenset[str]:
        """The facts that the kept lens reads: of conditions that may have to go on being true."""
        names: set[str] = set()
        for rule in (*self.policy.demotions, *self.policy.interventions):
            names |= self._of(rule.when)
        for rule in self.policy.interventions:
            names |= self._of_template(rule.because)
        return frozenset(names)

    def pass_over_all(self, as_of: datetime) -> Pass:
        """The pass over the signals that the value is made of."""
        return self._pass(as_of, tuple(fact for fact in self.signals if fact.name not in self.unread))

    def pass_over_few(self, as_of: datetime) -> Pass:
        """The pass over the signals of all other kinds."""
        return self._pass(as_of, tuple(fact for fact in self.signals if fact.name in self.unread))

    def _pass(self, as_of: datetime, facts: tuple[SignalFact, ...]) -> Pass:
        wanted: list[tuple[SignalFact, Reading]] = []
        for fact in facts:
            wanted.append((fact, "fresh"))
            if fact.event and fact.name in self._kept:
                wanted.append((fact, "all"))
        return Pass(tuple(wanted), tuple(sorted({fact.kind for fact in facts})), as_of)


_MADE_OF = {"quiet_days": "last_engaged_at", "earned_band": "value", "value_rank": "value"}


def _without_fallback(expression: Expression) -> frozenset[str]:
    """The facts whose absence leaves the expression unknown: all but those inside coalesce and IS NULL."""
    match expression:
        case Fact(name):
            return frozenset({_MADE_OF.get(name, name)})
        case IsNull() | Call(name="coalesce"):
            return frozenset()
        case _:
            return frozenset().union(*(_without_fallback(child) for child in children(expression)))


def account_column(name: str, column: Column) -> Column:
    """An account's own column as a fact: NUMERIC for numbers, missing where it is NaN or an infinite instant."""
    match ACCOUNT_FACTS[name]:
        case Type.NUMBER:
            return _a_number(cast(column, Numeric))
        case Type.DATE | Type.TIMESTAMP:
            return case((func.isfinite(column), column))
        case _:
            return column


def attribute_column(name: str, type_: Type, attributes: Column) -> Column:
    """An attribute as a fact of its declared type, missing where it cannot be read as one."""
    item, kind = attributes[name], func.jsonb_typeof(attributes[name])
    written = attributes[name].astext
    match type_:
        case Type.NUMBER:
            readable = kind.in_(["number", "string"]) & written.regexp_match(_NUMBER)
            return case((readable, cast(written, Numeric)))
        case Type.BOOLEAN:
            return case(
                (kind.in_(["boolean", "string"]) & func.lower(written).in_(["true", "false"]), cast(written, Boolean))
            )
        case Type.DATE:
            return case((written.regexp_match(_DATE), cast(_datetime(item), Date)))
        case Type.TIMESTAMP:
            return case((written.regexp_match(_TIMESTAMP), _instant(written)))
        case _:
            return case((kind.in_(["string", "number", "boolean"]), written))


def signal_column(fact: SignalFact, reading: Reading, signal_facts: Any) -> Column:
    """A signal fact of the aggregation pass; an account without signals counts 0."""
    column: Column = signal_facts[column_of(fact, reading)]
    return func.coalesce(column, literal(0, Numeric)) if fact.measure == "count" else column


def _a_number(number: Column) -> Column:
    return func.nullif(number, literal(Decimal("NaN"), Numeric), type_=Numeric())


def _instant(written: Column) -> Column:
    """The instant that the text names; NULL if there is none such. jsonpath itself reads no fractions of a second."""
    plain = func.regexp_replace(func.regexp_replace(written, "[zZ]$", "+00:00"), r"\.\d+", "")
    fraction = func.coalesce(func.substring(written, r"(\.\d{1,6})"), ".0")
    seconds = cast(literal("0").concat(fraction), Double)
    return cast(_datetime(func.to_jsonb(plain)), Instant) + func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def _datetime(item: Column) -> Column:
    """The text of a jsonb string that reads as a date or time, else NULL: no other cast of such text never raises."""
    path = literal("$.datetime()", JSONPATH)
    found = func.jsonb_path_query_first_tz(item, path, func.jsonb_build_object(), true())
    return cast(func.jsonb_extract_path_text(func.jsonb_build_array(found), "0"), Text)
