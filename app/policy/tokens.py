"""The first half of reading a condition: its text becomes tokens, or is refused with one sentence that says where.

Everything that the language does not have is turned away here, before any parser sees it: comments, casts, quoted
names, parameters, sub-queries, functions other than ours, letters that only look like ours. What comes out alternates
between operands and operators, and its brackets match, so that nothing is left for the parser but which operator binds
first.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from typing import Literal

from app.errors import Mistake
from app.policy.refusals import AGGREGATES, FUNCTIONS, KEYWORDS, REFUSED_SIGNS, REFUSED_WORDS

LONGEST_EXPRESSION = 2_000
LONGEST_TEXT = 200
LONGEST_NUMBER = 30
LARGEST_NUMBER = Decimal(10) ** 18
DEEPEST = 50

_SPACE = re.compile(r"[ \t\r\n]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"(?:[0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?|\.[0-9]+)(?![A-Za-z0-9_.])")
_NUMBERISH = re.compile(r"[0-9.][A-Za-z0-9_.]*")
_TEXT = re.compile(r"'((?:[^']|'')*)'")
_SIGN = re.compile(r"<>|!=|<=|>=|[=<>+\-*/(),]")


class Unreadable(Mistake):
    """An expression is not in the language; the message says at which column, why, and what to write instead."""

    def __init__(self, text: str, at: int, what: str) -> None:
        before = text[:at].split("\n")
        line = f"line {len(before)}, " if len(before) > 1 else ""
        super().__init__(f"{line}column {len(before[-1]) + 1}: {what}")


Kind = Literal["name", "function", "number", "text", "date", "keyword", "sign"]


@dataclass(frozen=True, slots=True)
class Token:
    """One word of an expression. `word` is its lower-case text, `at` its offset; `value` that of a literal."""

    kind: Kind
    word: str
    at: int
    value: Decimal | str | date | None = None


def tokenize(text: str) -> tuple[Token, ...]:
    """The tokens of `text`, at least one, with matching brackets and every operator between its operands.

    Raises `Unreadable` for anything else. Takes time linear in the length of the text, which is limited first.
    """
    if len(text) > LONGEST_EXPRESSION:
        what = (
            f"the expression is {len(text):,} characters long, and {LONGEST_EXPRESSION:,} is the most; name parts of it"
        )
        raise Unreadable(text, 0, f"{what} under [facts]")
    tokens = tuple(_dated(text, _scan(text)))
    if not tokens:
        raise Unreadable(text, 0, "the expression is empty")
    _check_brackets(text, tokens)
    _check_order(text, tokens)
    return tokens


def suggestion(word: str, known: Collection[str]) -> str:
    """`; did you mean ...?` with the known word nearest to `word`, or nothing if none is near."""
    near = get_close_matches(word.lower()[:100], sorted(known), n=1, cutoff=0.6)
    return f"; did you mean `{near[0]}`?" if near else ""


def _scan(text: str) -> Iterator[Token]:
    at = 0
    while at < len(text):
        if space := _SPACE.match(text, at):
            at = space.end()
            continue
        token, at = _token(text, at)
        yield token


def _token(text: str, at: int) -> tuple[Token, int]:
    """The token at `at` and the offset behind it."""
    if match := _NAME.match(text, at):
        return _word(text, at, match.group()), match.end()
    if text[at] == "'":
        return _literal_text(text, at)
    if number := _NUMBER.match(text, at):
        return _number(text, at, number.group()), number.end()
    if not text[at].isascii() or not text[at].isprintable():
        raise Unreadable(text, at, _foreign(text[at]))
    if text[at].isdigit() or (text[at] == "." and _NUMBERISH.match(text, at + 1)):
        raise Unreadable(text, at, _odd_number(text, at))
    for sign, why in REFUSED_SIGNS:
        if text.startswith(sign, at) and not text.startswith("!=", at):
            raise Unreadable(text, at, why)
    match = _SIGN.match(text, at)
    if match is None:
        raise Unreadable(text, at, f"`{text[at]}` means nothing here")
    word = match.group()
    return Token("sign", "<>" if word == "!=" else word, at), match.end()


def _word(text: str, at: int, raw: str) -> Token:
    """A keyword, a function of ours or a name; names and keywords are read without regard to case."""
    word, behind = raw.lower(), text[at + len(raw) :]
    if behind[:1] == "'" and word != "date":
        raise Unreadable(text, at, f"`{raw}'...'` is not a text; write it as '...' alone")
    if behind[:2] == "&'":
        raise Unreadable(text, at, f"`{raw}&'...'` is not a text; write it as '...' alone")
    if behind[:1] == ".":
        raise Unreadable(text, at, "facts have one-part names, without a dot")
    if behind[:1] and not behind[0].isascii():
        raise Unreadable(text, at + len(raw), _foreign(behind[0]))
    if word in REFUSED_WORDS:
        raise Unreadable(text, at, REFUSED_WORDS[word])
    if word in KEYWORDS:
        return Token("keyword", word, at)
    if behind.lstrip(" \t\r\n")[:1] == "(":
        return _function(text, at, raw)
    if word in FUNCTIONS:
        raise Unreadable(text, at, f"`{word}` is a function; write {word}(...)")
    return Token("name", word, at)


def _function(text: str, at: int, raw: str) -> Token:
    word = raw.lower()
    if word in AGGREGATES:
        what = f"`{word}` reads many rows; name it under [signals], with a measure, and use the name"
        raise Unreadable(text, at, what)
    if word not in FUNCTIONS:
        known = f"unknown function `{_short(raw)}`{suggestion(word, FUNCTIONS)}"
        raise Unreadable(text, at, f"{known} (there are {', '.join(FUNCTIONS[:-1])} and {FUNCTIONS[-1]})")
    return Token("function", word, at)


def _literal_text(text: str, at: int) -> tuple[Token, int]:
    match = _TEXT.match(text, at)
    if match is None:
        raise Unreadable(text, at, "this text has no closing quote")
    value = match.group(1).replace("''", "'")
    if len(value) > LONGEST_TEXT:
        raise Unreadable(text, at, f"this text is {len(value)} characters long, and {LONGEST_TEXT} is the most")
    for offset, character in enumerate(match.group(1)):
        if not character.isprintable():
            raise Unreadable(text, at + 1 + offset, f"{_named(character)} is not allowed in a text")
    return Token("text", match.group(), at, value), match.end()


def _number(text: str, at: int, raw: str) -> Token:
    digits = raw.replace("_", "")
    if len(digits.replace(".", "")) > LONGEST_NUMBER:
        raise Unreadable(text, at, f"this number has more than {LONGEST_NUMBER} digits")
    value = Decimal(digits)
    if value > LARGEST_NUMBER:
        raise Unreadable(text, at, "this number is larger than 1,000,000,000,000,000,000")
    return Token("number", digits, at, value)


def _odd_number(text: str, at: int) -> str:
    match = _NUMBERISH.match(text, at)
    raw = _short(match.group() if match else text[at])
    return f"`{raw}` is not a number; write it with plain digits, as in 45000, 45_000 or 0.15"


def _dated(text: str, tokens: Iterator[Token]) -> Iterator[Token]:
    """The tokens with each DATE '2026-01-31' made one."""
    waiting: Token | None = None
    for token in tokens:
        if waiting is not None and token.kind != "text":
            break
        if waiting is not None:
            yield Token("date", token.word, waiting.at, iso_date(text, token.at, str(token.value)))
            waiting = None
        elif token.word == "date" and token.kind == "keyword":
            waiting = token
        else:
            yield token
    if waiting is not None:
        raise Unreadable(text, waiting.at, "DATE is followed by a day in quotes: DATE '2026-01-31'")


def iso_date(text: str, at: int, value: str) -> date:
    """The day that `value` writes as 2026-01-31."""
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value, re.ASCII):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise Unreadable(text, at, f"there is no day '{value}'") from None
    raise Unreadable(text, at, f"'{_short(value)}' is not a date; write it as '2026-01-31'")


def _check_brackets(text: str, tokens: tuple[Token, ...]) -> None:
    """Every bracket and every CASE is closed, in order and no more than `DEEPEST` within each other."""
    opened: list[Token] = []
    for token in tokens:
        if token.word in ("(", "case"):
            opened.append(token)
            if len(opened) > DEEPEST:
                raise Unreadable(text, token.at, f"nested deeper than {DEEPEST} levels; name parts of it under [facts]")
        elif token.word in ("when", "then", "else"):
            if not opened or opened[-1].word != "case":
                raise Unreadable(text, token.at, f"{token.word.upper()} stands only between CASE and END")
        elif token.word in (")", "end"):
            other = "(" if token.word == ")" else "case"
            if not opened or opened[-1].word != other:
                raise Unreadable(text, token.at, f"`{token.word}` has no `{other}` before it")
            opened.pop()
    if opened:
        other = ")" if opened[-1].word == "(" else "end"
        raise Unreadable(text, opened[-1].at, f"this `{opened[-1].word}` has no `{other}`")


_OPERANDS = frozenset({"name", "number", "text", "date"})
_VALUES = frozenset({"null", "true", "false"})
_STARTS_CONDITION = frozenset({"", "(", ",", "and", "or", "when", "then", "else"})
_AFTER_OPERAND = {"is": "is", "in": "in", "not": "infix not", ")": "operator", "end": "operator"}
_ONLY = {
    "is": ({"not": "is not"} | dict.fromkeys(_VALUES, "operator"), "IS is followed by NULL, NOT NULL, TRUE or FALSE"),
    "is not": (dict.fromkeys(_VALUES, "operator"), "IS NOT is followed by NULL, TRUE or FALSE"),
    "infix not": ({"in": "in", "between": "operand"}, "NOT stands here only before IN or BETWEEN"),
    "in": ({"(": "operand"}, "IN is followed by a list in brackets: IN ('a', 'b')"),
    "case": ({"when": "operand"}, "CASE is followed by WHEN and a condition"),
}
"""States in which few words may follow: what they lead to, and what is said of any other."""


def _check_order(text: str, tokens: tuple[Token, ...]) -> None:
    """Operands and operators alternate. The state says what may come next: an operand, an operator, or few words."""
    state, last = "operand", ""
    for token in tokens:
        if state in _ONLY:
            following, why = _ONLY[state]
            if token.word not in following:
                raise Unreadable(text, token.at, why)
            state = following[token.word]
        elif state in ("operand", "negated"):
            state = _at_operand(text, last, token, state)
        else:
            state = _at_operator(text, last, token)
        last = token.word
    if state != "operator":
        raise Unreadable(text, tokens[-1].at, f"something is missing after `{_short(last)}`")


def _at_operand(text: str, last: str, token: Token, state: str) -> str:
    """The state behind `token`, which stands where an operand may start; `negated` behind the `-` of a number."""
    word = _short(token.word)
    if token.kind in _OPERANDS or word in _VALUES:
        return "operator"
    if token.kind == "function" or word == "(":
        return "operand"
    if word == "case":
        return "case"
    if word == "not":
        if last == "not":
            raise Unreadable(text, token.at, "NOT NOT says nothing; remove both")
        if last not in _STARTS_CONDITION:
            raise Unreadable(text, token.at, f"put NOT and its condition in brackets after `{last}`")
        return "operand"
    if word == "-" and state != "negated":
        return "negated"
    if word in "+-":
        raise Unreadable(text, token.at, f"remove the `{word}`; a number has one `-` at most")
    place = f"between `{_short(last)}` and `{word}`" if last else f"before `{word}`"
    raise Unreadable(text, token.at, f"something is missing {place}")


def _at_operator(text: str, last: str, token: Token) -> str:
    """The state behind `token`, which stands where an operand has just ended."""
    word = _short(token.word)
    if token.kind in (*_OPERANDS, "function") or word in _VALUES or word in ("(", "case"):
        raise Unreadable(text, token.at, f"an operator is missing between `{_short(last)}` and `{word}`")
    return _AFTER_OPERAND.get(word, "operand")


def _foreign(character: str) -> str:
    return f"{_named(character)} is not allowed outside of a text; names have plain letters a to z, digits and _"


def _named(character: str) -> str:
    return (
        f"the character {character!r} (U+{ord(character):04X})"
        if character.isprintable()
        else f"U+{ord(character):04X}"
    )


def _short(word: str) -> str:
    return word if len(word) <= 40 else f"{word[:37]}..."
