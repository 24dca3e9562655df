"""Text that is not in the language is refused with a sentence, and none of it goes any further.

The first table is what an attacker, a copy from elsewhere or a slip would bring. Each entry has the words that its
message must hold, so that the refusal is for the right reason.
"""

import re
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlglot.parser import Parser

from app.errors import Mistake
from app.policy.describe import describe
from app.policy.expressions import Expression, Type
from app.policy.parse import names_in, parse
from app.policy.parts import Scope
from app.policy.refusals import FUNCTIONS, KEYWORDS
from app.policy.tokens import Unreadable, tokenize
from tests.policy.scopes import SCOPE

HOSTILE = [
    # queries
    ("(select 1)", "queries are not allowed"),
    ("arr > (select max(arr) from accounts)", "queries are not allowed"),
    ("exists (select 1 from pg_shadow)", "queries are not allowed"),
    ("arr in (select arr from accounts)", "queries are not allowed"),
    ("arr in (table accounts)", "queries are not allowed"),
    ("arr in (values (1))", "queries are not allowed"),
    ("paying union select 1", "queries are not allowed"),
    ("paying from accounts", "queries are not allowed"),
    ("paying where true", "queries are not allowed"),
    ("paying limit 1", "queries are not allowed"),
    ("with x as (select 1) select 1", "queries are not allowed"),
    ("(SeLeCt 1)", "queries are not allowed"),
    # statements
    ("paying; drop table accounts", "remove the semicolon"),
    (";", "remove the semicolon"),
    ("drop table accounts", "statements are not allowed"),
    ("update accounts", "statements are not allowed"),
    ("begin", "statements are not allowed"),
    ("copy accounts", "statements are not allowed"),
    ("do $$ begin end $$", "statements are not allowed"),
    ("call f()", "statements are not allowed"),
    ("set role postgres", "statements are not allowed"),
    ("arr := 1", "statements are not allowed"),
    # comments
    ("arr > 1 -- and more", "comments are not allowed"),
    ("arr > 1 --", "comments are not allowed"),
    ("arr > 5--3", "comments are not allowed"),
    ("arr /* x */ > 1", "comments are not allowed"),
    ("arr /*! > 1 */", "comments are not allowed"),
    ("arr > 1 /*", "comments are not allowed"),
    ("arr */ > 1", "comments are not allowed"),
    ("arr > 1 # more", "comments are not allowed"),
    # functions
    ("pg_sleep(10) is null", "unknown function `pg_sleep`"),
    ("pg_read_file('/etc/passwd') = 'x'", "unknown function `pg_read_file`"),
    ("lo_import('/etc/passwd') > 1", "unknown function `lo_import`"),
    ("current_setting('x') = 'y'", "unknown function `current_setting`"),
    ("set_config('role', 'postgres', false) = ''", "unknown function `set_config`"),
    ("dblink('host=evil', 'x') is null", "unknown function `dblink`"),
    ("version() = 'x'", "unknown function `version`"),
    ("random() > 0", "unknown function `random`"),
    ("upper(segment) = 'X'", "unknown function `upper`"),
    ("generate_series (1, 2) > 1", "unknown function `generate_series`"),
    ("count(*) > 1", "reads many rows"),
    ("max(arr) > 1", "reads many rows"),
    ("extract(year) > 1", "unknown function `extract`"),
    ("substring(segment) = 'x'", "unknown function `substring`"),
    ("now() > seen_at", "the clock is not a fact"),
    ("current_date > renewal_on", "the clock is not a fact"),
    ("current_user = 'x'", "only facts can be read"),
    ("session_user = 'x'", "only facts can be read"),
    ("if(paying, 1, 2) > 1", "IF is not allowed"),
    ("arr (1) > 1", "unknown function `arr`"),
    # casts
    ("arr::text = 'x'", "casts are not allowed"),
    ("'x'::regclass is null", "casts are not allowed"),
    ("cast(arr as text) = 'x'", "casts are not allowed"),
    ("try_cast(arr as text) = 'x'", "casts are not allowed"),
    ("timestamp '2026-01-01' < seen_at", "use days_since or days_until"),
    ("interval '1 day' > 1", "use days_since or days_until"),
    ("arr > numeric '5'", "an operator is missing"),
    # quoting
    ('"arr" > 1', "names are written without quotes"),
    ('arr > 1 and "', "names are written without quotes"),
    ("`arr` > 1", "names are written without quotes"),
    ("[arr] > 1", "arrays are not allowed"),
    ("segment = $$x$$", "dollar quotes are not allowed"),
    ("segment = $tag$x$tag$", "dollar quotes are not allowed"),
    ("segment = E'\\x41'", "`E'...'` is not a text"),
    ("segment = e'\\''", "`e'...'` is not a text"),
    ("segment = U&'\\0041'", "`U&'...'` is not a text"),
    ("segment = N'x'", "`N'...'` is not a text"),
    ("segment = B'1'", "`B'...'` is not a text"),
    ("segment = X'1'", "`X'...'` is not a text"),
    ("segment = 'abc", "no closing quote"),
    ("segment = 'a' 'b'", "an operator is missing"),
    ("segment = 'a\x00b'", "U+0000 is not allowed"),
    ("segment = 'a\x1b[31m'", "U+001B is not allowed"),
    ("segment = 'a\nb'", "U+000A is not allowed"),
    ("segment = 'a\u202eb'", "U+202E is not allowed"),
    ("segment = '\ud800'", "U+D800 is not allowed"),
    ("segment = '" + "x" * 201 + "'", "201 characters long"),
    ("segment = \\x41", "a backslash means nothing"),
    # parameters
    ("arr > $1", "parameters"),
    ("arr > :x", "parameters are not allowed"),
    ("arr > ?", "parameters are not allowed"),
    ("arr > @x", "parameters are not allowed"),
    ("arr > %s", "percentages are written as shares"),
    ("arr > %(x)s", "percentages are written as shares"),
    ("arr > {arr}", "braces belong in `because`"),
    # names
    ("accounts.arr > 1", "without a dot"),
    ("public.accounts.arr > 1", "without a dot"),
    ("pg_catalog.version() = 'x'", "without a dot"),
    ("accounts.* is null", "without a dot"),
    ("arr . seats > 1", "without a dot"),
    ("xmin > 1", "unknown fact `xmin`"),
    ("ctid is null", "unknown fact `ctid`"),
    ("accounts is null", "unknown fact `accounts`"),
    ("seat > 1", "unknown fact `seat`; did you mean `seats`?"),
    ("high > 1", "`high` is a band, not a fact; write it as 'high'"),
    # unicode
    ("\u0430rr > 1", "U+0430"),
    ("a\u0440r > 1", "U+0440"),
    ("arr\uff1e1", "U+FF1E"),
    ("arr > \uff11", "U+FF11"),
    ("arr > \u0663", "U+0663"),
    ("arr\u00a0> 1", "U+00A0"),
    ("arr\u200b > 1", "U+200B"),
    ("\ufeffarr > 1", "U+FEFF"),
    ("arr > 1\u2028", "U+2028"),
    ("segment = \u2018x\u2019", "U+2018"),
    ("\uff53\uff45\uff4c\uff45\uff43\uff54 1", "U+FF53"),
    ("\u212aind = 'x'", "U+212A"),
    ("arr \u2265 1", "U+2265"),
    ("arr\x00 > 1", "U+0000"),
    ("arr > 1\x00", "U+0000"),
    ("arr\x0b> 1", "U+000B"),
    ("arr > 1\x1a", "U+001A"),
    ("\U0001f600 > 1", "U+1F600"),
    # patterns, windows, arrays, JSON and other operators
    ("segment like 'a%'", "patterns are not allowed"),
    ("segment not ilike 'a%'", "patterns are not allowed"),
    ("segment similar to 'a'", "patterns are not allowed"),
    ("segment ~ '(a+)+$'", "patterns are not allowed"),
    ("segment !~* 'a'", "patterns are not allowed"),
    ("segment ~~ 'a'", "patterns are not allowed"),
    ("abs(arr) over () > 1", "window functions are not allowed"),
    ("abs(arr) filter (where paying) > 1", "window functions are not allowed"),
    ("array[1] = array[1]", "arrays are not allowed"),
    ("arr[1] > 1", "arrays are not allowed"),
    ("arr = any(seats)", "arrays are not allowed"),
    ("arr > all(seats)", "arrays are not allowed"),
    ("segment -> 'x' = 'y'", "JSON operators are not allowed"),
    ("segment ->> 'x' = 'y'", "JSON operators are not allowed"),
    ("segment #>> 'x' = 'y'", "JSON operators are not allowed"),
    ("segment @> 'x'", "JSON operators are not allowed"),
    ("segment <@ 'x'", "JSON operators are not allowed"),
    ("segment || 'x' = 'y'", "texts cannot be joined"),
    ("paying && paying", "write AND"),
    ("paying | paying", "write OR"),
    ("arr % 2 = 0", "percentages"),
    ("arr ^ 2 > 1", "powers are not allowed"),
    ("arr << 2 > 1", "bit operators"),
    ("!paying", "write NOT"),
    ("arr == 1", "write = once"),
    ("arr => 1", "write >="),
    ("arr =< 1", "write <="),
    ("arr <=> 1", "not allowed"),
    ("arr is distinct from 1", "DISTINCT are not allowed"),
    ("seen_at at time zone 'UTC' > seen_at", "AT TIME ZONE"),
    ("segment collate \"C\" = 'x'", "collations are not allowed"),
    ("row(1, 2) = row(1, 2)", "rows are not allowed"),
    ("(arr, seats) = (1, 2)", "a comma stands only in the list"),
    ("arr > 1 as x", "names cannot be given"),
    ("distinct arr > 1", "DISTINCT"),
    ("arr between symmetric 2 and 1", "the lesser bound"),
    ("paying xor paying", "XOR is not allowed"),
    ("* > 1", "something is missing before `*`"),
    # numbers
    ("arr > 1e5", "is not a number"),
    ("arr > 1e999999999", "is not a number"),
    ("arr > 0x1F", "is not a number"),
    ("arr > 0b1", "is not a number"),
    ("arr > 1_", "is not a number"),
    ("arr > 1__0", "is not a number"),
    ("arr > 1.", "is not a number"),
    ("arr > 1.2.3", "is not a number"),
    ("arr > 1a", "is not a number"),
    ("arr > 1000000000000000001", "larger than"),
    ("arr > " + "9" * 31, "more than 30 digits"),
    ("arr > 0." + "0" * 31, "more than 30 digits"),
    ("arr = nan", "unknown fact `nan`"),
    ("arr = infinity", "unknown fact `infinity`"),
    # size and nesting
    ("(" * 51 + "paying" + ")" * 51, "nested deeper than 50"),
    ("(" * 1_999, "nested deeper than 50"),
    ("abs(" * 300 + "arr" + ")" * 300, "nested deeper than 50"),
    ("case when " * 100 + "paying" + " then true end" * 60, "nested deeper than 50"),
    (" + ".join(["arr"] * 300) + " > 1", "more than 50 operations in a row"),
    (" / ".join(["arr"] * 40) + " > 1", "nested deeper than 50"),
    ("not " * 400 + "paying", "NOT NOT says nothing"),
    ("- " * 900 + "1 > 1", "remove the `-`"),
    (" or ".join(["paying"] * 1_000), "2,000 is the most"),
    ("x" * 100_000, "2,000 is the most"),
    (" " * 3_000, "2,000 is the most"),
    # half of something
    ("", "is empty"),
    (" \n\t ", "is empty"),
    ("()", "something is missing between `(` and `)`"),
    ("arr >", "something is missing after `>`"),
    ("> arr", "something is missing before `>`"),
    ("arr > > 1", "something is missing between `>` and `>`"),
    ("arr seats > 1", "an operator is missing between `arr` and `seats`"),
    ("(arr > 1", "has no `)`"),
    ("arr > 1)", "has no `(`"),
    ("(case when paying then (true end))", "`end` has no `case`"),
    ("case paying when true then 1 end = 1", "CASE is followed by WHEN"),
    ("case when paying end = 1", "write CASE WHEN condition THEN value"),
    ("case when paying then 1 else 2 else 3 end = 1", "write CASE WHEN condition THEN value"),
    ("arr then 1", "THEN stands only between CASE and END"),
    ("arr between 1", "BETWEEN takes two values"),
    ("arr between 1 or 2", "BETWEEN takes two values"),
    ("arr in 1", "IN is followed by a list"),
    ("arr in ()", "something is missing"),
    ("arr in (1,)", "something is missing"),
    ("arr in (1, 2", "has no `)`"),
    ("arr is 5", "IS is followed by"),
    ("arr not 5", "NOT stands here only before"),
    ("arr, seats", "a comma stands only in the list"),
    ("arr and not", "something is missing after `not`"),
    ("date", "DATE is followed by a day"),
    ("arr isnull", "write IS NULL"),
    ("arr notnull", "write IS NOT NULL"),
    ("+arr > 1", "remove the `+`"),
    ("coalesce > 1", "write coalesce(...)"),
    ("arr > not paying", "put NOT and its condition in brackets"),
]

MISTYPED = [
    ("arr", "column 1: `arr` is a number, and here belongs a condition, true or false"),
    ("arr = null", "column 7: a comparison with NULL is never true; write IS NULL"),
    ("null <> arr", "column 1: a comparison with NULL is never true; write IS NOT NULL"),
    ("arr in (1, null)", "column 12: NULL in a list is never found; write ... OR ... IS NULL"),
    ("arr in (seats)", "column 9: the list of IN holds literals only; compare with = and OR for the rest"),
    ("'x' in ('x', 'y')", "column 1: what stands before IN has to read a fact"),
    ("paying and arr", "column 12: `arr` is a number, and AND takes a condition; compare it, as in arr > 0"),
    ("not segment", "column 5: `segment` is text, and NOT takes a condition"),
    (
        "arr > '5'",
        "column 7: `arr` is a number and `'5'` is text; they cannot be compared; write numbers without quotes",
    ),
    ("segment = 5", "column 11: `segment` is text and `5` is a number; they cannot be compared; write texts in quotes"),
    ("segment < 'b'", "column 1: texts have no order; compare with =, <> or IN"),
    ("paying > false", "column 1: true and false have no order; compare with =, <> or IN"),
    ("band = 'hgh'", "column 8: there is no band 'hgh'; did you mean `high`?"),
    ("band in ('low', 'zzz')", "column 17: there is no band 'zzz' (there are tech, low, high, strategic)"),
    ("band = segment", "column 8: `band` is a band and `segment` is text; they cannot be compared"),
    ("band > 2", "column 8: `band` is a band and `2` is a number; they cannot be compared"),
    ("renewal_on > seen_at", "column 14: `renewal_on` is a date and `seen_at` is a timestamp; they cannot be compared"),
    (
        "renewal_on > 30",
        "column 14: `renewal_on` is a date and `30` is a number; they cannot be compared; use days_since",
    ),
    ("renewal_on - 30 > signed_on", "column 1: `renewal_on` is a date, and - takes numbers; use days_since(...)"),
    ("renewal_on > '31.1.2026'", "column 14: '31.1.2026' is not a date; write it as '2026-01-31'"),
    ("renewal_on > '2026-02-30'", "column 14: there is no day '2026-02-30'"),
    ("seen_at > '2026-01-31'", "column 11: '2026-01-31' is not an instant; write one as '2026-01-31T00:00:00Z'"),
    ("seen_at > '2026-01-31T00:00:00'", "column 11: '2026-01-31T00:00:00' is not an instant"),
    ("arr > 1 > 2", "column 1: put brackets around each condition that is compared with another"),
    ("paying = arr is null", "put brackets around each condition"),
    ("arr = 1 = paying", "put brackets around each condition"),
    ("coalesce(arr) > 1", "column 1: coalesce takes two or more values"),
    (
        "coalesce(arr, 'x') > 1",
        "column 15: `arr` is a number and `'x'` is text; they cannot both be arguments of one coalesce",
    ),
    ("coalesce(null, null) is null", "column 10: this is always NULL, a missing value"),
    ("greatest(segment, 'x') = 'x'", "texts have no order"),
    ("nullif(arr, 1, 2) > 1", "column 1: nullif takes two values, not 3"),
    ("abs(arr, 1) > 1", "column 1: abs takes one number, not 2"),
    ("round(arr, 7) > 1", "column 12: round takes a whole count of decimals from 0 to 6"),
    ("round(arr, seats) > 1", "column 12: round takes a whole count of decimals from 0 to 6"),
    ("round(arr, 1, 2) > 1", "column 1: round takes a number and"),
    ("lower(arr) = 'x'", "column 7: lower takes a text, and `arr` is a number"),
    ("days_since(arr) > 1", "column 12: days_since takes a date or a timestamp, and `arr` is a number"),
    ("days_until(null) > 1", "column 12: days_until takes a date or a timestamp"),
    ("case when paying then 1 else 'x' end > 1", "they cannot both be results of one CASE"),
    ("case when arr then 1 end > 1", "column 11: `arr` is a number, and WHEN takes a condition"),
    ("case when paying then null end is null", "this is always NULL"),
    ("paying\n  and arr", "line 2, column 7: `arr` is a number, and AND takes a condition"),
]


@pytest.mark.parametrize(("text", "words"), HOSTILE, ids=[f"{n:03}" for n in range(len(HOSTILE))])
def test_what_is_not_in_the_language_is_refused(text: str, words: str) -> None:
    with pytest.raises(Unreadable) as refused:
        parse(text, SCOPE, Type.BOOLEAN)
    message = str(refused.value)
    assert words in message
    assert re.match(r"(line \d+, )?column \d+: ", message)
    assert message.isprintable()
    assert len(message) < 300


@pytest.mark.parametrize(("text", "message"), MISTYPED, ids=[text for text, _ in MISTYPED])
def test_what_does_not_fit_together_is_refused(text: str, message: str) -> None:
    with pytest.raises(Unreadable, match=re.escape(message)):
        parse(text, SCOPE, Type.BOOLEAN)


def test_there_are_more_than_a_hundred_hostile_expressions() -> None:
    assert len({text for text, _ in HOSTILE}) == len(HOSTILE) > 200


@pytest.fixture
def seen_by_sqlglot(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every word that reaches sqlglot."""
    words: list[str] = []
    parse_into = Parser.parse_into

    def listening(self: Parser, types: Any, tokens: Any, sql: str | None = None) -> Any:
        words.extend([token.text for token in tokens] + [sql or ""])
        return parse_into(self, types, tokens, sql)

    monkeypatch.setattr(Parser, "parse_into", listening)
    return words


def test_no_word_of_a_user_reaches_the_parser(seen_by_sqlglot: list[str]) -> None:
    for text, _ in HOSTILE + MISTYPED:
        with pytest.raises(Unreadable):
            parse(text, SCOPE, Type.BOOLEAN)
    parse("segment = 'drop table' and lower(plan) in ('a;--', 'b') and arr > 12345 or seen_at is not null", SCOPE)
    ours = re.compile(r"x[0-9]+|[=<>+\-*/()]|<>|<=|>=|\s*")
    strange = {word for word in seen_by_sqlglot if word not in KEYWORDS and not ours.fullmatch(word)}
    assert not strange
    assert "x0" in seen_by_sqlglot


def test_a_refusal_is_a_users_mistake_and_carries_no_expression() -> None:
    with pytest.raises(Mistake) as refused:
        parse("arr > 1; drop table accounts", SCOPE)
    assert "drop" not in str(refused.value)
    assert refused.value.__cause__ is None


WORDS = [
    *KEYWORDS,
    *FUNCTIONS,
    *SCOPE.facts,
    *"()()(),+-*/=<>",
    "<>",
    "<=",
    "'low'",
    "'x'",
    "''",
    "5",
    "0.5",
    "--",
    "::",
    "\n",
]
SOUP = st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join)
SIGNS = st.text(st.sampled_from("arx 019._'\"()-+*/<>=!,;:$\\\x00\n\u0430\uff1e"), max_size=60)


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(max_size=200), SOUP, SIGNS))
@example("case " * 400)
@example("a" * 2_000)
@example("'" * 1_999)
@example("1" + "_1" * 900)
@example("(paying) " * 200)
@example("paying in (" + "1," * 900 + "1)")
@example("- (" * 600)
def test_no_text_does_anything_but_parse_or_be_refused_and_soon(text: str) -> None:
    began = time.perf_counter()
    found = read(text)
    assert found is None or parse(describe(found), SCOPE, found.type) == found
    assert time.perf_counter() - began < 2


def read(text: str) -> Expression | None:
    """The expression, or None if it is refused; any other exception comes through."""
    try:
        return parse(text, SCOPE)
    except Unreadable:
        return None


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=100))
def test_the_names_in_any_text_are_given_or_refused(text: str) -> None:
    try:
        names = names_in(text)
    except Unreadable:
        return
    assert [token.word for token in tokenize(text) if token.kind == "name"] == [name for name, _ in names]


def test_without_facts_nothing_can_be_read() -> None:
    with pytest.raises(Unreadable, match=r"unknown fact `arr`$"):
        parse("arr > 1", Scope({}, ()))
