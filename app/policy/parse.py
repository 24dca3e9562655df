"""The text of a condition becomes a typed expression, or is refused with one sentence that says where and why.

`tokens` turns away what the language does not have. Here the tokens are read group by group, innermost brackets first.
Of one group sqlglot decides which operator binds first, in Postgres's dialect, and sees only the operators: every
operand, and every group already read, stands in as `x0`, `x1`, .... What it gives back is walked by an allow-list of
its node types. So no text of the user's reaches sqlglot or goes beyond this module, sqlglot never nests deeper than one
group, and each operand keeps its column.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from sqlglot import exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token as RawToken
from sqlglot.tokenizer_core import TokenType

from app.policy.expressions import And, Constant, Expression, Fact, Or, Type
from app.policy.parts import Part, Scope, Typing
from app.policy.tokens import DEEPEST, Token, Unreadable, suggestion, tokenize


def parse(text: str, scope: Scope, expected: Type | None = None) -> Expression:
    """The expression that `text` writes, of type `expected` if that is given.

    Raises `Unreadable` with the first mistake, and nothing else, whatever the text.
    """
    tokens = tokenize(text)
    reader = _Reader(text, scope)
    part = reader.read(tokens)
    if expected is None:
        return reader.typing.settled(part).expression
    return reader.typing.wanted(part, expected).expression


def names_in(text: str) -> tuple[tuple[str, int], ...]:
    """The facts that `text` names, with their offsets, in order. Raises `Unreadable` where `tokenize` does."""
    return tuple((token.word, token.at) for token in tokenize(text) if token.kind == "name")


_RAW: Final = {
    "=": TokenType.EQ,
    "<>": TokenType.NEQ,
    "<": TokenType.LT,
    "<=": TokenType.LTE,
    ">": TokenType.GT,
    ">=": TokenType.GTE,
    "+": TokenType.PLUS,
    "-": TokenType.DASH,
    "*": TokenType.STAR,
    "/": TokenType.SLASH,
    "(": TokenType.L_PAREN,
    ")": TokenType.R_PAREN,
    "and": TokenType.AND,
    "or": TokenType.OR,
    "not": TokenType.NOT,
    "is": TokenType.IS,
    "in": TokenType.IN,
    "between": TokenType.BETWEEN,
    "case": TokenType.CASE,
    "when": TokenType.WHEN,
    "then": TokenType.THEN,
    "else": TokenType.ELSE,
    "end": TokenType.END,
}
_IS_WORDS: Final = {"null": TokenType.NULL, "true": TokenType.TRUE, "false": TokenType.FALSE}
_COMPARISONS: Final[dict[type[exp.Expr], str]] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
_ARITHMETIC: Final[dict[type[exp.Expr], str]] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/"}
_LOOSE: Final = (*_COMPARISONS, exp.And, exp.Or, exp.Not, exp.Is, exp.In, exp.Between, exp.Paren)
"""Nodes that SQL dialects bind differently inside a comparison, and people misread; there they need brackets."""


@dataclass(slots=True)
class _Group:
    """What is between an opening bracket or CASE and its end: the word that opened it, and its tokens for sqlglot."""

    opener: Token | None
    raw: list[RawToken] = field(default_factory=list)
    arguments: list[Part] = field(default_factory=list)


class _Reader:
    """Reads the tokens of one expression. `parts` holds what each `x0`, `x1`, ... stands for."""

    def __init__(self, text: str, scope: Scope) -> None:
        self.text = text
        self.scope = scope
        self.typing = Typing(text, scope)
        self.parts: list[Part] = []
        self.lists: dict[int, list[Part]] = {}

    def read(self, tokens: tuple[Token, ...]) -> Part:
        """The whole expression."""
        groups = [_Group(None)]
        earlier, before = tokens[0], tokens[0]
        for token in tokens:
            if token.word == "(":
                groups.append(_Group(before if before.kind == "function" or before.word == "in" else token))
            elif token.word == "case":
                groups.append(_Group(token, [self._raw(token)]))
            elif token.word in (")", "end"):
                self._close(groups, token)
            elif token.word == ",":
                self._comma(groups[-1], token)
            elif token.word in _IS_WORDS and (before.word == "is" or (earlier.word, before.word) == ("is", "not")):
                groups[-1].raw.append(RawToken(_IS_WORDS[token.word], token.word))
            elif token.kind != "function":
                groups[-1].raw.append(self._operand(token))
            earlier, before = before, token
        return self._finish(groups[0])

    def _comma(self, group: _Group, token: Token) -> None:
        if group.opener is None or group.opener.word in ("(", "case"):
            raise Unreadable(self.text, token.at, "a comma stands only in the list of IN or of a function")
        group.arguments.append(self._finish(group))
        group.raw = []

    def _close(self, groups: list[_Group], token: Token) -> None:
        """The innermost group is read, and stands in the group around it as one operand."""
        group = groups.pop()
        around, opener = groups[-1], group.opener
        if opener is None:
            raise AssertionError("tokenize matches the brackets")
        if opener.word == "case":
            group.raw.append(self._raw(token))
            around.raw.append(self._stand_in(self._finish(group), opener.at))
            return
        part = self._finish(group)
        if opener.kind == "function":
            called = self.typing.call(opener.word, opener.at, [*group.arguments, part])
            around.raw.append(self._stand_in(called, opener.at))
        elif opener.word == "in":
            listed = self._stand_in(part, opener.at)
            self.lists[len(self.parts) - 1] = [*group.arguments, part]
            around.raw += [RawToken(TokenType.L_PAREN, "("), listed, RawToken(TokenType.R_PAREN, ")")]
        else:
            around.raw.append(self._stand_in(replace(part, at=opener.at, bracketed=True), opener.at))

    def _operand(self, token: Token) -> RawToken:  # noqa: PLR0911  a case per kind of token
        """The token for sqlglot; operands are kept here and stand in by number."""
        match token.kind:
            case "name":
                return self._stand_in(self._fact(token), token.at)
            case "number":
                return self._stand_in(Part(Constant(token.value, Type.NUMBER), token.at), token.at)
            case "text":
                return self._stand_in(Part(Constant(token.value, Type.TEXT), token.at), token.at)
            case "date":
                return self._stand_in(Part(Constant(token.value, Type.DATE), token.at), token.at)
            case _ if token.word == "null":
                return self._stand_in(Part(Constant(None, Type.TEXT), token.at), token.at)
            case _ if token.word in _IS_WORDS:
                return self._stand_in(Part(Constant(token.word == "true", Type.BOOLEAN), token.at), token.at)
            case _:
                return self._raw(token)

    def _raw(self, token: Token) -> RawToken:
        return RawToken(_RAW[token.word], token.word, 1, token.at + 1, token.at, token.at)

    def _stand_in(self, part: Part, at: int) -> RawToken:
        self.parts.append(part)
        return RawToken(TokenType.VAR, f"x{len(self.parts) - 1}", 1, at + 1, at, at)

    def _fact(self, token: Token) -> Part:
        known = self.scope.facts.get(token.word)
        if known is not None:
            return Part(Fact(token.word, known), token.at)
        if token.word in self.scope.bands:
            raise Unreadable(self.text, token.at, f"`{token.word}` is a band, not a fact; write it as '{token.word}'")
        hint = suggestion(token.word, self.scope.facts)
        raise Unreadable(self.text, token.at, f"unknown fact `{token.word[:80]}`{hint}")

    def _finish(self, group: _Group) -> Part:
        """The group's tokens as one part: sqlglot says what binds first, the allow-list says what that means."""
        try:
            (tree,) = Postgres().parser().parse_into(exp.Condition, group.raw, " " * (len(self.text) + 1))
        except (SqlglotError, ValueError) as error:
            raise self._misread(group) from error
        if tree is None:
            raise self._misread(group)
        self._check_depth(tree)
        return self._build(tree)

    def _check_depth(self, tree: exp.Expr) -> None:
        """The operators of one group are not nested too deep to walk; a chain of AND or OR is one level."""
        waiting = [(tree, 1)]
        while waiting:
            found, depth = waiting.pop()
            if depth > DEEPEST:
                what = f"more than {DEEPEST} operations in a row; name parts of it under [facts]"
                raise Unreadable(self.text, self._at(found), what)
            chained = isinstance(found, (exp.And, exp.Or))
            waiting += [
                (inside, depth if chained and type(inside) is type(found) else depth + 1)
                for inside in found.iter_expressions()
                if not isinstance(found, exp.Column)
            ]

    def _misread(self, group: _Group) -> Unreadable:
        """Every operand has its operator by now, so what is left is a CASE or a BETWEEN without all its parts."""
        at = group.opener.at if group.opener is not None else group.raw[0].start
        if group.opener is not None and group.opener.word == "case":
            return Unreadable(
                self.text, at, "write CASE WHEN condition THEN value ELSE value END, with ELSE once, at the end"
            )
        between = next((raw.start for raw in group.raw if raw.token_type is TokenType.BETWEEN), None)
        if between is not None:
            return Unreadable(self.text, between, "BETWEEN takes two values: BETWEEN 0 AND 90")
        return Unreadable(self.text, at, "this is not a condition; the default policy has examples")

    def _build(self, tree: exp.Expr) -> Part:
        """The part that one of sqlglot's nodes means. A node or an argument that is not listed here is refused."""
        kind = type(tree)
        build = _BUILDERS.get(kind)
        allowed = _ARGUMENTS.get(kind, ("this", "expression"))
        if build is None or any(value and name not in allowed for name, value in tree.args.items()):
            raise Unreadable(self.text, self._at(tree), f"{kind.__name__} is not part of the language of conditions")
        return build(self, tree)

    def _at(self, tree: exp.Expr) -> int:
        """The offset of the first operand in `tree`."""
        names = (int(str(found.name)[1:]) for found in tree.find_all(exp.Identifier))
        return min((self.parts[number].at for number in names), default=0)

    def _tight(self, tree: exp.Expr) -> Part:
        """An operand of a comparison or of arithmetic: a condition in it has to be in brackets."""
        if isinstance(tree, _LOOSE):
            raise Unreadable(
                self.text, self._at(tree), "put brackets around each condition that is compared with another"
            )
        return self._build(tree)

    def _leaf(self, tree: exp.Expr) -> Part:
        number = int(tree.name[1:])
        if number in self.lists:
            raise Unreadable(self.text, self.parts[number].at, "a list stands only after IN")
        return self.parts[number]

    def _compare(self, tree: exp.Expr) -> Part:
        return self.typing.compare(_COMPARISONS[type(tree)], self._tight(tree.this), self._tight(tree.expression))

    def _arithmetic(self, tree: exp.Expr) -> Part:
        return self.typing.arithmetic(_ARITHMETIC[type(tree)], self._tight(tree.this), self._tight(tree.expression))

    def _connect(self, tree: exp.Expr) -> Part:
        """A chain of AND or of OR, flat; what is in brackets stays one operand."""
        items: list[exp.Expr] = []
        waiting = [tree]
        while waiting:
            found = waiting.pop()
            if type(found) is type(tree):
                waiting += [found.expression, found.this]
            else:
                items.append(found)
        return self.typing.connect(And if isinstance(tree, exp.And) else Or, [self._build(item) for item in items])

    def _not(self, tree: exp.Expr) -> Part:
        return self.typing.negate(self._build(tree.this))

    def _negative(self, tree: exp.Expr) -> Part:
        return self.typing.negative(self._tight(tree.this), literal=self._is_number(tree.this))

    def _is_number(self, tree: exp.Expr) -> bool:
        """Whether `tree` is a number as written, and not one in brackets."""
        if not isinstance(tree, exp.Column):
            return False
        part = self._leaf(tree)
        return part.expression.type is Type.NUMBER and isinstance(part.expression, Constant) and not part.bracketed

    def _is(self, tree: exp.Expr) -> Part:
        """IS NULL, IS TRUE or IS FALSE, or the opposite."""
        part = self._tight(tree.this)
        if not isinstance(tree.expression, exp.Boolean):
            part = self.typing.is_null(part)
        elif tree.expression.this:
            part = self.typing.is_true(part)
        else:
            part = self.typing.is_true(self.typing.negate(part))
        return self.typing.negate(part) if tree.args.get("negate") else part

    def _in(self, tree: exp.Expr) -> Part:
        (listed,) = tree.expressions
        return self.typing.among(self._tight(tree.this), self.lists[int(listed.name[1:])])

    def _between(self, tree: exp.Expr) -> Part:
        low, high = self._tight(tree.args["low"]), self._tight(tree.args["high"])
        return self.typing.between(self._tight(tree.this), low, high)

    def _case(self, tree: exp.Expr) -> Part:
        branches = [(self._build(branch.this), self._build(branch.args["true"])) for branch in tree.args["ifs"]]
        default = tree.args.get("default")
        return self.typing.case(branches, None if default is None else self._build(default))


_BUILDERS: Final[dict[type[exp.Expr], Callable[[_Reader, exp.Expr], Part]]] = {
    exp.Column: _Reader._leaf,
    **dict.fromkeys(_COMPARISONS, _Reader._compare),
    **dict.fromkeys(_ARITHMETIC, _Reader._arithmetic),
    exp.And: _Reader._connect,
    exp.Or: _Reader._connect,
    exp.Not: _Reader._not,
    exp.Neg: _Reader._negative,
    exp.Is: _Reader._is,
    exp.In: _Reader._in,
    exp.Between: _Reader._between,
    exp.Case: _Reader._case,
}
_ARGUMENTS: Final[dict[type[exp.Expr], tuple[str, ...]]] = {
    exp.Column: ("this",),
    exp.Is: ("this", "expression", "negate"),
    exp.In: ("this", "expressions"),
    exp.Between: ("this", "low", "high"),
    exp.Case: ("ifs", "default"),
    exp.Div: ("this", "expression", "typed"),
}
