"""The types of conditions: what may be combined with what, and what comes of it.

A text literal has no type of its own yet. Next to a band it is a band's name, next to a date a day, next to a timestamp
an instant, else a text; NULL likewise takes the type of its neighbours. Everything else has its type from the start and
is never converted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal, cast

from app.policy.describe import describe
from app.policy.expressions import (
    And,
    Arithmetic,
    Call,
    Case,
    Compare,
    Constant,
    Expression,
    Fact,
    In,
    IsNull,
    Negative,
    Not,
    Or,
    Type,
)
from app.policy.tokens import DEEPEST, Unreadable, iso_date, suggestion

NAMES: Mapping[Type, str] = {
    Type.NUMBER: "a number",
    Type.TEXT: "text",
    Type.BOOLEAN: "true or false",
    Type.DATE: "a date",
    Type.TIMESTAMP: "a timestamp",
    Type.BAND: "a band",
}
LARGEST = 4_000
"""The most nodes an expression may have; BETWEEN counts what it tests twice, as it becomes two comparisons."""

_CHOOSING = ("coalesce", "greatest", "least", "nullif")
_ORDERED = (Type.NUMBER, Type.DATE, Type.TIMESTAMP, Type.BAND)


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression may name: the facts with their types, and the policy's bands.

    Without bands nothing is known of them, and any name passes for one.
    """

    facts: Mapping[str, Type]
    bands: Sequence[str]


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an expression: where it begins in the text, how many nodes it has and how deep it is nested."""

    expression: Expression
    at: int
    size: int = 1
    depth: int = 1
    bracketed: bool = False


class Typing:
    """Combines parts of one text into larger ones, or refuses with `Unreadable`."""

    def __init__(self, text: str, scope: Scope) -> None:
        self.text = text
        self.scope = scope

    def settled(self, part: Part) -> Part:
        """`part` as it stands, if its type is sure."""
        if _is_null(part.expression):
            raise self._refusal(part, "this is always NULL, a missing value")
        return part

    def wanted(self, part: Part, type_: Type) -> Part:
        """`part` as a value of `type_`, where the file asks for one."""
        return self._fit(part, type_, f"{_shown(part)} is {self._name(part)}, and here belongs {_needed(type_)}")

    def compare(self, op: str, left: Part, right: Part) -> Part:
        """`left op right`, after giving loose literals the other side's type."""
        for side in (left, right):
            if _is_null(side.expression):
                is_null = "IS NOT NULL" if op == "<>" else "IS NULL"
                raise self._refusal(side, f"a comparison with NULL is never true; write {is_null}")
        left, right = self._same([left, right], "compared")
        self._ordered(op, left)
        op_ = cast("Literal['=', '<>', '<', '<=', '>', '>=']", op)
        return self._over(Compare(op_, left.expression, right.expression), [left, right])

    def between(self, item: Part, low: Part, high: Part) -> Part:
        """`item BETWEEN low AND high`, both included."""
        return self.connect(And, [self.compare(">=", item, low), self.compare("<=", item, high)])

    def among(self, item: Part, choices: Sequence[Part]) -> Part:
        """`item IN (choices)`."""
        for choice in choices:
            if _is_null(choice.expression):
                raise self._refusal(choice, "NULL in a list is never found; write ... OR ... IS NULL")
            if not isinstance(choice.expression, Constant):
                raise self._refusal(choice, "the list of IN holds literals only; compare with = and OR for the rest")
        if _is_loose(item.expression):
            raise self._refusal(item, "what stands before IN has to read a fact")
        fitted = [self._fit(choice, item.expression.type, self._unlike(item, choice, "compared")) for choice in choices]
        constants = tuple(cast("Constant", choice.expression) for choice in fitted)
        return self._over(In(item.expression, constants), [item, *fitted])

    def connect(self, how: type[And] | type[Or], items: Sequence[Part]) -> Part:
        """All of `items`, or any of them."""
        conditions = [self._condition(item, how.__name__.upper()) for item in items]
        return self._over(how(tuple(item.expression for item in conditions)), conditions)

    def negate(self, item: Part) -> Part:
        """`NOT item`."""
        condition = self._condition(item, "NOT")
        return self._over(Not(condition.expression), [condition])

    def is_null(self, item: Part) -> Part:
        """`item IS NULL`."""
        return self._over(IsNull(item.expression), [self.settled(item)])

    def is_true(self, item: Part) -> Part:
        """`item IS TRUE`, which is never unknown."""
        condition = self._condition(item, "IS")
        false = Constant(value=False, type=Type.BOOLEAN)
        return self._over(Call("coalesce", (condition.expression, false), Type.BOOLEAN), [condition])

    def arithmetic(self, op: str, left: Part, right: Part) -> Part:
        """`left op right` on numbers."""
        left, right = self._number(left, op), self._number(right, op)
        op_ = cast("Literal['+', '-', '*', '/']", op)
        return self._over(Arithmetic(op_, left.expression, right.expression), [left, right])

    def negative(self, item: Part, *, literal: bool) -> Part:
        """`-item`; a `literal` number becomes a negative constant."""
        number = self._number(item, "-")
        if literal and isinstance(number.expression, Constant) and isinstance(number.expression.value, Decimal):
            return replace(number, expression=Constant(-number.expression.value, Type.NUMBER))
        return self._over(Negative(number.expression), [number])

    def case(self, branches: Sequence[tuple[Part, Part]], otherwise: Part | None) -> Part:
        """CASE WHEN ... THEN ... ELSE ... END; without ELSE the value is missing when no branch holds."""
        conditions = [self._condition(condition, "WHEN") for condition, _ in branches]
        results = [result for _, result in branches]
        default = otherwise or Part(Constant(None, Type.TEXT), results[-1].at)
        *fitted, last = self._same([*results, default], "results of one CASE")
        pairs = tuple((when.expression, then.expression) for when, then in zip(conditions, fitted, strict=True))
        return self._over(Case(pairs, last.expression, last.expression.type), [*conditions, *fitted, last])

    def call(self, name: str, at: int, arguments: list[Part]) -> Part:
        """A function of ours applied to `arguments`."""
        match name:
            case "coalesce" | "greatest" | "least" | "nullif":
                part = self._choose(name, at, arguments)
            case "abs" | "round":
                part = self._rounded(name, at, arguments)
            case "lower":
                self._count(name, at, arguments, "one text", 1)
                [text] = arguments
                fitted = self._fit(text, Type.TEXT, f"lower takes a text, and {_shown(text)} is {self._name(text)}")
                part = self._over(Call("lower", (fitted.expression,), Type.TEXT), [fitted])
            case _:
                part = self._days(name, at, arguments)
        return replace(part, at=at)

    def _choose(self, name: str, at: int, arguments: list[Part]) -> Part:
        if name == "nullif":
            self._count(name, at, arguments, "two values", 2)
        elif len(arguments) < 2:
            raise Unreadable(self.text, at, f"{name} takes two or more values")
        fitted = self._same(arguments, f"arguments of one {name}")
        if name in ("greatest", "least"):
            self._ordered(name, fitted[0])
        choice = cast("Literal['coalesce', 'greatest', 'least', 'nullif']", name)
        call = Call(choice, tuple(item.expression for item in fitted), fitted[0].expression.type)
        return self._over(call, fitted)

    def _rounded(self, name: str, at: int, arguments: list[Part]) -> Part:
        if name == "abs":
            self._count(name, at, arguments, "one number", 1)
        elif len(arguments) > 2:
            raise Unreadable(self.text, at, "round takes a number and, if you like, a count of decimals from 0 to 6")
        number = self._number(arguments[0], name)
        for decimals in arguments[1:]:
            asked = decimals.expression
            if not isinstance(asked, Constant) or asked.value not in [Decimal(count) for count in range(7)]:
                raise self._refusal(decimals, "round takes a whole count of decimals from 0 to 6, written out")
        call = Call(
            cast("Literal['abs', 'round']", name), tuple(a.expression for a in [number, *arguments[1:]]), Type.NUMBER
        )
        return self._over(call, [number, *arguments[1:]])

    def _days(self, name: str, at: int, arguments: list[Part]) -> Part:
        self._count(name, at, arguments, "one date or timestamp", 1)
        [moment] = arguments
        if isinstance(moment.expression, Constant) and isinstance(moment.expression.value, str):
            moment = self._fit(moment, Type.TIMESTAMP if ":" in moment.expression.value else Type.DATE, "")
        if moment.expression.type not in (Type.DATE, Type.TIMESTAMP) or _is_null(moment.expression):
            what = f"{name} takes a date or a timestamp, and {_shown(moment)} is {self._name(moment)}"
            raise self._refusal(moment, what)
        days = cast("Literal['days_since', 'days_until']", name)
        return self._over(Call(days, (moment.expression,), Type.NUMBER), [moment])

    def _count(self, name: str, at: int, arguments: Sequence[Part], what: str, count: int) -> None:
        if len(arguments) != count:
            raise Unreadable(self.text, at, f"{name} takes {what}, not {len(arguments)}")

    def _condition(self, part: Part, word: str) -> Part:
        hint = f"; compare it, as in {describe(part.expression)} > 0" if _is_plain_number(part.expression) else ""
        what = f"{_shown(part)} is {self._name(part)}, and {word} takes a condition{hint}"
        return self._fit(part, Type.BOOLEAN, what)

    def _number(self, part: Part, op: str) -> Part:
        hint = ""
        if part.expression.type in (Type.DATE, Type.TIMESTAMP):
            hint = "; use days_since(...) or days_until(...)"
        elif isinstance(part.expression, Constant) and isinstance(part.expression.value, str):
            hint = "; write numbers without quotes"
        return self._fit(part, Type.NUMBER, f"{_shown(part)} is {self._name(part)}, and {op} takes numbers{hint}")

    def _ordered(self, op: str, part: Part) -> None:
        if op in ("=", "<>") or part.expression.type in _ORDERED:
            return
        one = "texts have" if part.expression.type is Type.TEXT else "true and false have"
        raise self._refusal(part, f"{one} no order; compare with =, <> or IN")

    def _same(self, parts: Sequence[Part], what: str) -> list[Part]:
        """The parts with one type: that of the first whose type is sure, else text."""
        firm = next((part for part in parts if not _is_loose(part.expression)), None)
        if firm is None:
            if all(_is_null(part.expression) for part in parts):
                raise self._refusal(parts[0], "this is always NULL, a missing value")
            return [self._fit(part, Type.TEXT, "") for part in parts]
        return [self._fit(part, firm.expression.type, self._unlike(firm, part, what)) for part in parts]

    def _fit(self, part: Part, type_: Type, otherwise: str) -> Part:
        """`part` as `type_`; loose literals in it take that type, and anything else of another type is refused."""
        fitted = self._fitted(part.expression, part.at, type_)
        if fitted is None:
            raise self._refusal(part, otherwise)
        return part if fitted is part.expression else replace(part, expression=fitted)

    def _fitted(  # noqa: PLR0911  a case per kind of literal
        self, expression: Expression, at: int, type_: Type
    ) -> Expression | None:
        match expression:
            case Constant(value=None):
                return Constant(None, type_)
            case Constant(value=str(value), type=Type.TEXT):
                return self._literal(value, at, type_)
            case Case() if _is_loose(expression):
                pairs = [(when, self._fitted(then, at, type_)) for when, then in expression.branches]
                default = self._fitted(expression.otherwise, at, type_)
                results = [then for _, then in pairs] + [default]
                if any(result is None for result in results):
                    return None
                return Case(
                    cast("tuple[tuple[Expression, Expression], ...]", tuple(pairs)), cast("Expression", default), type_
                )
            case Call() if _is_loose(expression):
                arguments = [self._fitted(argument, at, type_) for argument in expression.arguments]
                if any(argument is None for argument in arguments):
                    return None
                return Call(expression.name, cast("tuple[Expression, ...]", tuple(arguments)), type_)
            case _:
                return expression if expression.type is type_ else None

    def _literal(self, value: str, at: int, type_: Type) -> Constant | None:
        """A text literal as a value of `type_`."""
        match type_:
            case Type.TEXT:
                return Constant(value, Type.TEXT)
            case Type.DATE:
                return Constant(iso_date(self.text, at, value), Type.DATE)
            case Type.TIMESTAMP:
                return Constant(self._instant(value, at), Type.TIMESTAMP)
            case Type.BAND if value in self.scope.bands or not self.scope.bands:
                return Constant(value, Type.BAND)
            case Type.BAND:
                known = ", ".join(self.scope.bands)
                what = (
                    f"there is no band '{value[:80]}'{suggestion(value, self.scope.bands) or f' (there are {known})'}"
                )
                raise Unreadable(self.text, at, what)
            case _:
                return None

    def _instant(self, value: str, at: int) -> datetime:
        try:
            instant = datetime.fromisoformat(value) if value.isascii() and len(value) >= len("2026-01-31T00Z") else None
        except ValueError:
            instant = None
        if instant is None or instant.tzinfo is None or instant.utcoffset() is None:
            what = f"'{value[:40]}' is not an instant; write one as '2026-01-31T00:00:00Z', or use days_since"
            raise Unreadable(self.text, at, what)
        return instant

    def _unlike(self, one: Part, other: Part, what: str) -> str:
        """Why `other` cannot stand beside `one`."""
        types = {one.expression.type, other.expression.type}
        hint = ""
        if types == {Type.DATE, Type.TIMESTAMP}:
            hint = "; compare their days_since(...)"
        elif types & {Type.DATE, Type.TIMESTAMP} and Type.NUMBER in types:
            hint = "; use days_since(...) or days_until(...)"
        elif isinstance(other.expression, Constant) and types == {Type.NUMBER, Type.TEXT}:
            hint = "; write numbers without quotes" if other.expression.type is Type.TEXT else "; write texts in quotes"
        verb = "cannot be compared" if what == "compared" else f"cannot both be {what}"
        return f"{_shown(one)} is {self._name(one)} and {_shown(other)} is {self._name(other)}; they {verb}{hint}"

    def _name(self, part: Part) -> str:
        return NAMES[part.expression.type]

    def _over(self, expression: Expression, parts: Sequence[Part]) -> Part:
        """`expression`, made of `parts`, within the limits of size and depth."""
        inside = max((part.depth for part in parts), default=0)
        size = 1 + sum(part.size for part in parts)
        at = min(part.at for part in parts)
        depth = inside + levels(expression)
        if depth > DEEPEST:
            raise Unreadable(self.text, at, f"nested deeper than {DEEPEST} levels; name parts of it under [facts]")
        if size > LARGEST:
            raise Unreadable(self.text, at, "this expression is too large; name parts of it under [facts]")
        return Part(expression, at, size, depth)

    def _refusal(self, part: Part, what: str) -> Unreadable:
        return Unreadable(self.text, part.at, what)


def levels(expression: Expression) -> int:
    """How many levels of nesting the node adds: a division also guards against zero and rounds, and adds two."""
    return 2 if isinstance(expression, Arithmetic) and expression.op == "/" else 1


def _needed(type_: Type) -> str:
    return "a condition, true or false" if type_ is Type.BOOLEAN else NAMES[type_]


def _shown(part: Part) -> str:
    """The part in a message, cut to a readable length."""
    text = describe(part.expression)
    return f"`{text}`" if len(text) <= 40 else f"`{text[:37]}...`"


def _is_null(expression: Expression) -> bool:
    return isinstance(expression, Constant) and expression.value is None


def _is_plain_number(expression: Expression) -> bool:
    return isinstance(expression, Fact) and expression.type is Type.NUMBER


def _is_loose(expression: Expression) -> bool:
    """Whether the expression is made of literals that have no type of their own yet."""
    match expression:
        case Constant(value=value, type=type_):
            return value is None or type_ is Type.TEXT
        case Case(branches=branches, otherwise=otherwise):
            return all(_is_loose(then) for _, then in branches) and _is_loose(otherwise)
        case Call(name=name, arguments=arguments) if name in _CHOOSING:
            return all(map(_is_loose, arguments))
        case _:
            return False
