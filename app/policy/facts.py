"""The facts of a policy: what its `[attributes]`, `[signals]` and `[facts]` add to those every policy has."""

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.policy.catalogue import ACCOUNT_FACTS, BUILT_IN, BUILT_IN_UNITS, UNITS, Unit, unit_of
from app.policy.expressions import Arithmetic, Call, Case, Expression, Fact, Negative, Type, facts_of
from app.policy.inline import Inlining
from app.policy.model import SignalFact
from app.policy.parse import names_in, parse
from app.policy.parts import Scope
from app.policy.problems import Path, Problems
from app.policy.refusals import RESERVED
from app.policy.shape import Name, SignalShape
from app.policy.tokens import Unreadable

Model = TypeVar("Model", bound=BaseModel)

_STATE = ("latest", "days_since", "value_ago")
"""Measures that describe a state, so that they look back beyond the account's last band change."""


def valid(model: type[Model], raw: Any) -> Model | None:
    """`raw` as `model`, or None if its shape has a mistake, which `Problems.add_shape` has told."""
    try:
        return model.model_validate(raw)
    except ValidationError:
        return None


def table(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The table under `key`, empty if there is none or it is no table."""
    found = data.get(key)
    return found if isinstance(found, dict) else {}


class Facts:
    """All facts that expressions may name, with types and units, and the derived ones with what they are made of."""

    def __init__(self, data: Mapping[str, Any], bands: tuple[str, ...], problems: Problems) -> None:
        self.bands = bands
        self.problems = problems
        self.types: dict[str, Type] = dict(BUILT_IN)
        self.units: dict[str, str] = dict(BUILT_IN_UNITS)
        self.attributes: dict[str, Type] = {}
        self.signals: dict[str, SignalFact] = {}
        self.inlining = Inlining()
        self._doubtful: set[str] = set()
        self._homes: dict[str, str] = {}
        self._read_attributes(table(data, "attributes"))
        self._read_signals(table(data, "signals"))
        self._read_facts(table(data, "facts"))

    def expression(self, path: Path, text: str, expected: Type | None = None) -> Expression | None:
        """The expression at `path` without derived facts; None if it has a mistake, or reads a fact that has one."""
        try:
            if any(name in self._doubtful for name, _ in names_in(text)):
                return None
            parsed = parse(text, Scope(self.types, self.bands), expected)
        except Unreadable as mistake:
            self.problems.add(path, str(mistake))
            return None
        if excess := self.inlining.too_much(parsed):
            self.problems.add(path, excess)
            return None
        return self.inlining.put_in(parsed)

    def value(self, path: Path, text: str) -> Expression | None:
        """The expression that gives an account's value, which must be the same whatever band it stands in."""
        found = self.expression(path, text, Type.NUMBER)
        if found is None:
            return None
        state = {name for name, signal in self.signals.items() if not signal.event}
        steady = ACCOUNT_FACTS.keys() | self.attributes.keys() | state
        for name in sorted(facts_of(found) - steady):
            why = "changes with the band" if name in BUILT_IN else "counts events since the last move"
            why = "follows from the value" if name in ("value", "earned_band", "value_rank", "floor") else why
            self.problems.add(path, f"the value of an account cannot rest on `{name}`, which {why}")
            return None
        return found

    def _claim(self, section: str, name: str) -> bool:
        """Whether `name` may be used for a new fact; tells why not."""
        path: Path = (section, name)
        what = None
        if valid(_Named, {"name": name}) is None or "__" in name:
            what = "a fact's name has up to 40 small letters, digits and single _, and starts with a letter"
        elif name in RESERVED:
            what = f"`{name}` means something in expressions; choose another name"
        elif name in BUILT_IN:
            what = f"`{name}` is built in; choose another name"
        elif name in self._homes:
            what = f"`{name}` is already under [{self._homes[name]}]; choose another name"
        if what is not None:
            self.problems.add(path, what)
            return False
        self._homes[name] = section
        return True

    def _read_attributes(self, raw: Mapping[str, Any]) -> None:
        for name, word in raw.items():
            if not self._claim("attributes", name):
                continue
            type_ = next((type_ for type_ in Type if type_.value == word and type_ is not Type.BAND), None)
            self._add(name, type_, None)
            if type_ is not None:
                self.attributes[name] = type_

    def _read_signals(self, raw: Mapping[str, Any]) -> None:
        for name, options in raw.items():
            if not self._claim("signals", name):
                continue
            shape = valid(SignalShape, options)
            self._add(name, Type.NUMBER, "days" if shape is not None and shape.measure == "days_since" else None)
            if shape is None:
                continue
            if shape.unit is not None:
                self.units[name] = shape.unit
            for key, what in _signal_mistakes(shape):
                self.problems.add(("signals", name, key), what)
            self.signals[name] = SignalFact(
                name=name,
                kind=shape.kind,
                measure=shape.measure,
                within_days=shape.within_days,
                until_days_ago=shape.until_days_ago or 0,
                days_ago=shape.days_ago or 0,
                event=shape.event if shape.event is not None else shape.measure not in _STATE,
            )

    def _read_facts(self, raw: Mapping[str, Any]) -> None:
        """Every derived fact, those that others rest on first."""
        texts: dict[str, tuple[Path, str]] = {}
        for name, given in raw.items():
            if not self._claim("facts", name):
                continue
            self._doubtful.add(name)
            self.types[name] = Type.NUMBER
            if isinstance(given, str):
                texts[name] = (("facts", name), given)
            elif isinstance(given, dict) and isinstance(given.get("expr"), str):
                texts[name] = (("facts", name, "expr"), given["expr"])
        for name in self._in_order(texts):
            path, text = texts[name]
            found = self.expression(path, text)
            if found is None:
                continue
            self._doubtful.discard(name)
            self.inlining.define(name, found)
            given = raw[name]
            unit = given.get("unit") if isinstance(given, dict) else None
            self._add(name, found.type, unit if unit in UNITS else unit_of_expression(found, self.units))

    def _in_order(self, texts: Mapping[str, tuple[Path, str]]) -> Iterator[str]:
        """The derived facts, each after those it reads; circles are told and left out."""
        reads: dict[str, list[str]] = {}
        for name, (_, text) in texts.items():
            try:
                reads[name] = [read for read, _ in names_in(text) if read in texts]
            except Unreadable:
                reads[name] = []
        while True:
            try:
                return iter(tuple(TopologicalSorter(reads).static_order()))
            except CycleError as error:
                circle = _from_first(error.args[1], list(texts))
                what = f"facts in a circle: {' -> '.join(circle)}; one of them must not read the next"
                self.problems.add(texts[circle[0]][0], what)
                reads = {name: read for name, read in reads.items() if name not in circle}
                reads = {name: [each for each in read if each in reads] for name, read in reads.items()}

    def _add(self, name: str, type_: Type | None, unit: str | None) -> None:
        if type_ is None:
            self._doubtful.add(name)
        self.types[name] = type_ or Type.NUMBER
        self.units[name] = unit or unit_of(self.types[name])


class _Named(BaseModel):
    name: Name


def _from_first(circle: list[str], order: list[str]) -> list[str]:
    """The circle (whose first name is also its last), read forwards from the fact that the file has first."""
    names = list(reversed(circle))[1:]
    start = min(range(len(names)), key=lambda index: order.index(names[index]))
    return [*names[start:], *names[:start], names[start]]


def _signal_mistakes(shape: SignalShape) -> Iterator[tuple[str, str]]:
    """Options that contradict each other, as (key, what)."""
    ago = shape.measure == "value_ago"
    if ago and shape.days_ago is None:
        yield "days_ago", "value_ago needs days_ago: how many days ago the value is read"
    if not ago and shape.days_ago is not None:
        yield "days_ago", f"belongs to value_ago, not to {shape.measure}; a window ends with until_days_ago"
    if ago and shape.until_days_ago is not None:
        yield "until_days_ago", "value_ago is read at days_ago; remove until_days_ago"
    ends = (shape.days_ago if ago else shape.until_days_ago) or 0
    if shape.within_days is not None and ends >= shape.within_days:
        yield "within_days", f"the window is empty: it begins {shape.within_days} days ago and ends {ends} days ago"


def unit_of_expression(  # noqa: C901, PLR0911  a case per kind of number reads best in one place
    expression: Expression, units: Mapping[str, str]
) -> str:
    """How people read the expression: like the facts that it adds, chooses from or scales, if they agree."""
    plain: Unit = unit_of(expression.type)
    if expression.type is not Type.NUMBER:
        return plain
    match expression:
        case Fact(name=name):
            return units.get(name, plain)
        case Call(name="days_since" | "days_until"):
            return "days"
        case Call(name="coalesce" | "greatest" | "least", arguments=arguments):
            return _shared([unit_of_expression(argument, units) for argument in arguments])
        case Call(name="nullif" | "abs" | "round", arguments=arguments):
            return unit_of_expression(arguments[0], units)
        case Negative(item=item):
            return unit_of_expression(item, units)
        case Arithmetic(op="+" | "-", left=left, right=right):
            return _shared([unit_of_expression(left, units), unit_of_expression(right, units)])
        case Arithmetic(op="*", left=left, right=right):
            both = {unit_of_expression(left, units), unit_of_expression(right, units)} - {"number", "percent"}
            return both.pop() if len(both) == 1 else plain
        case Arithmetic(op="/", left=left, right=right):
            above, below = unit_of_expression(left, units), unit_of_expression(right, units)
            return above if below == "number" else plain
        case Case(branches=branches, otherwise=otherwise):
            return _shared([unit_of_expression(each, units) for each in (*(then for _, then in branches), otherwise)])
        case _:
            return plain


def _shared(units: list[str]) -> str:
    """The unit that all have; plain numbers go with any."""
    special = set(units) - {"number"}
    return special.pop() if len(special) == 1 else "number"
