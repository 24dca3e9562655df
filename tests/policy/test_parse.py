"""Conditions that are in the language: what they mean, their types, and that they can be written back."""

from datetime import UTC, date, datetime
from decimal import Decimal
from random import Random

import pytest

from app.policy.catalogue import BUILT_IN
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
    facts_of,
)
from app.policy.parse import names_in, parse
from app.policy.parts import Scope
from app.policy.tokens import Unreadable
from tests.policy.scopes import SCOPE
from tests.random_policies import random_policy

ARR, SEATS, TICKETS = (Fact(name, Type.NUMBER) for name in ("arr", "seats", "tickets"))
BAND, EARNED = Fact("band", Type.BAND), Fact("earned_band", Type.BAND)
PAYING, SEGMENT = Fact("paying", Type.BOOLEAN), Fact("segment", Type.TEXT)
RENEWAL, SEEN = Fact("renewal_on", Type.DATE), Fact("seen_at", Type.TIMESTAMP)
FALSE, TRUE = Constant(value=False, type=Type.BOOLEAN), Constant(value=True, type=Type.BOOLEAN)


def n(value: str) -> Constant:
    return Constant(Decimal(value), Type.NUMBER)


def t(value: str) -> Constant:
    return Constant(value, Type.TEXT)


def b(value: str) -> Constant:
    return Constant(value, Type.BAND)


MEANINGS: list[tuple[str, Expression]] = [
    ("arr > 10", Compare(">", ARR, n("10"))),
    ("ARR >= 10", Compare(">=", ARR, n("10"))),
    ("arr != 45_000", Compare("<>", ARR, n("45000"))),
    ("arr < .5", Compare("<", ARR, n("0.5"))),
    ("arr = -5", Compare("=", ARR, n("-5"))),
    ("arr = -(5)", Compare("=", ARR, Negative(n("5")))),
    ("-arr < 0", Compare("<", Negative(ARR), n("0"))),
    ("arr - -5 > 0", Compare(">", Arithmetic("-", ARR, n("-5")), n("0"))),
    ("arr + seats * 2 > 0", Compare(">", Arithmetic("+", ARR, Arithmetic("*", SEATS, n("2"))), n("0"))),
    ("(arr + seats) * 2 > 0", Compare(">", Arithmetic("*", Arithmetic("+", ARR, SEATS), n("2")), n("0"))),
    ("arr - seats - 1 > 0", Compare(">", Arithmetic("-", Arithmetic("-", ARR, SEATS), n("1")), n("0"))),
    ("arr - (seats - 1) > 0", Compare(">", Arithmetic("-", ARR, Arithmetic("-", SEATS, n("1"))), n("0"))),
    ("arr / seats > 0", Compare(">", Arithmetic("/", ARR, SEATS), n("0"))),
    ("-arr * 2 > 0", Compare(">", Arithmetic("*", Negative(ARR), n("2")), n("0"))),
    ("paying", PAYING),
    ("(paying)", PAYING),
    ("not paying", Not(PAYING)),
    ("paying and arr > 1 or seats > 1", Or((And((PAYING, Compare(">", ARR, n("1")))), Compare(">", SEATS, n("1"))))),
    ("paying and (arr > 1 or seats > 1)", And((PAYING, Or((Compare(">", ARR, n("1")), Compare(">", SEATS, n("1"))))))),
    ("not paying and standalone", And((Not(PAYING), Fact("standalone", Type.BOOLEAN)))),
    ("not arr > 1", Not(Compare(">", ARR, n("1")))),
    ("paying and paying and paying", And((PAYING, PAYING, PAYING))),
    ("paying and (paying and paying)", And((PAYING, And((PAYING, PAYING))))),
    ("arr is null", IsNull(ARR)),
    ("(arr)is not null", Not(IsNull(ARR))),
    ("not arr is null", Not(IsNull(ARR))),
    ("paying is true", Call("coalesce", (PAYING, FALSE), Type.BOOLEAN)),
    ("paying is not true", Not(Call("coalesce", (PAYING, FALSE), Type.BOOLEAN))),
    ("paying is false", Call("coalesce", (Not(PAYING), FALSE), Type.BOOLEAN)),
    ("paying = true", Compare("=", PAYING, TRUE)),
    ("paying = (arr > 1)", Compare("=", PAYING, Compare(">", ARR, n("1")))),
    ("arr between 1 and 2", And((Compare(">=", ARR, n("1")), Compare("<=", ARR, n("2"))))),
    ("arr not between 1 and 2", Not(And((Compare(">=", ARR, n("1")), Compare("<=", ARR, n("2")))))),
    (
        "arr between 1 and 2 and paying",
        And((And((Compare(">=", ARR, n("1")), Compare("<=", ARR, n("2")))), PAYING)),
    ),
    ("arr in (1, -2, 3.5)", In(ARR, (n("1"), n("-2"), n("3.5")))),
    ("segment not in ('a', 'it''s')", Not(In(SEGMENT, (t("a"), t("it's"))))),
    ("segment = 'Größe'", Compare("=", SEGMENT, t("Größe"))),
    ("segment = 'select; -- drop'", Compare("=", SEGMENT, t("select; -- drop"))),
    ("segment = '\\'", Compare("=", SEGMENT, t("\\"))),
    ("band = 'high'", Compare("=", BAND, b("high"))),
    ("'high' <= band", Compare("<=", b("high"), BAND)),
    ("earned_band > band", Compare(">", EARNED, BAND)),
    ("band in ('low', 'high')", In(BAND, (b("low"), b("high")))),
    ("renewal_on < '2026-01-31'", Compare("<", RENEWAL, Constant(date(2026, 1, 31), Type.DATE))),
    ("renewal_on = DATE '2026-01-31'", Compare("=", RENEWAL, Constant(date(2026, 1, 31), Type.DATE))),
    (
        "seen_at >= '2026-01-31T06:00:00Z'",
        Compare(">=", SEEN, Constant(datetime(2026, 1, 31, 6, tzinfo=UTC), Type.TIMESTAMP)),
    ),
    ("days_since(seen_at) > 5", Compare(">", Call("days_since", (SEEN,), Type.NUMBER), n("5"))),
    (
        "DAYS_UNTIL (renewal_on) between 0 and 90",
        And(
            (
                Compare(">=", Call("days_until", (RENEWAL,), Type.NUMBER), n("0")),
                Compare("<=", Call("days_until", (RENEWAL,), Type.NUMBER), n("90")),
            )
        ),
    ),
    (
        "coalesce(arr, null, 0) > 1",
        Compare(">", Call("coalesce", (ARR, Constant(None, Type.NUMBER), n("0")), Type.NUMBER), n("1")),
    ),
    ("greatest(band, 'low') = 'low'", Compare("=", Call("greatest", (BAND, b("low")), Type.BAND), b("low"))),
    ("nullif(seats, 0) is null", IsNull(Call("nullif", (SEATS, n("0")), Type.NUMBER))),
    (
        "round(arr) = round(arr, 2)",
        Compare("=", Call("round", (ARR,), Type.NUMBER), Call("round", (ARR, n("2")), Type.NUMBER)),
    ),
    ("lower(segment) = 'smb'", Compare("=", Call("lower", (SEGMENT,), Type.TEXT), t("smb"))),
    (
        "case when paying then arr end > 1",
        Compare(">", Case(((PAYING, ARR),), Constant(None, Type.NUMBER), Type.NUMBER), n("1")),
    ),
    (
        "case when paying then 'low' else 'high' end <= band",
        Compare("<=", Case(((PAYING, b("low")),), b("high"), Type.BAND), BAND),
    ),
    ("arr + null > 1", Compare(">", Arithmetic("+", ARR, Constant(None, Type.NUMBER)), n("1"))),
    ("true", TRUE),
    ("1 < 2", Compare("<", n("1"), n("2"))),
    ("\n  arr\t>\r\n 1 ", Compare(">", ARR, n("1"))),
]

TYPES = [
    ("arr", Type.NUMBER),
    ("arr * 2", Type.NUMBER),
    ("segment", Type.TEXT),
    ("'x'", Type.TEXT),
    ("paying", Type.BOOLEAN),
    ("arr > 1", Type.BOOLEAN),
    ("renewal_on", Type.DATE),
    ("greatest(renewal_on, signed_on)", Type.DATE),
    ("coalesce(renewal_on, '2026-01-31')", Type.DATE),
    ("least(seen_at, last_engaged_at)", Type.TIMESTAMP),
    ("band", Type.BAND),
    ("case when paying then 'low' else band end", Type.BAND),
    ("case when paying then 'low' else 'x' end", Type.TEXT),
    ("case when paying then null else 1 end", Type.NUMBER),
    ("days_until('2026-01-31')", Type.NUMBER),
    ("days_since('2026-01-31T00:00:00Z')", Type.NUMBER),
]


@pytest.mark.parametrize(("text", "meaning"), MEANINGS, ids=[text for text, _ in MEANINGS])
def test_a_condition_means_what_it_says(text: str, meaning: Expression) -> None:
    assert parse(text, SCOPE, Type.BOOLEAN) == meaning


@pytest.mark.parametrize(("text", "meaning"), MEANINGS, ids=[text for text, _ in MEANINGS])
def test_a_condition_written_back_means_the_same(text: str, meaning: Expression) -> None:
    assert parse(describe(meaning), SCOPE, Type.BOOLEAN) == meaning


@pytest.mark.parametrize(("text", "type_"), TYPES)
def test_an_expression_has_the_type_of_what_it_is_made_of(text: str, type_: Type) -> None:
    assert parse(text, SCOPE).type is type_


def test_a_name_may_begin_with_a_keyword() -> None:
    scope = Scope({"not_paying": Type.BOOLEAN, "in_trial": Type.BOOLEAN, "endless": Type.BOOLEAN}, ())
    assert describe(parse("not_paying and in_trial or endless", scope)) == "not_paying and in_trial or endless"


def test_a_fact_may_have_a_name_that_other_dialects_know_as_a_word() -> None:
    for name in (
        "left",
        "map",
        "struct",
        "format",
        "language",
        "rank",
        "prior",
        "columns",
        "x0",
        "x1",
        "json",
        "replace",
    ):
        assert parse(f"{name} > 1", Scope({name: Type.NUMBER}, ())) == Compare(">", Fact(name, Type.NUMBER), n("1"))


def test_every_fact_that_a_condition_reads_is_known() -> None:
    text = "arr > 1 and (days_since(seen_at) > 2 or band in ('low')) and case when paying then seats else 1 end > 1"
    assert facts_of(parse(text, SCOPE)) == {"arr", "seen_at", "band", "paying", "seats"}
    assert names_in("b > 1 or A is null") == (("b", 0), ("a", 9))


def test_fifty_levels_are_read_and_the_fifty_first_is_not() -> None:
    for opened, core, closed in [("(", "paying", ")"), ("not (", "paying", ")"), ("abs(", "arr", ")")]:
        parse(opened * 49 + core + closed * 49, SCOPE)
        with pytest.raises(Unreadable, match="nested deeper than 50 levels"):
            parse(opened * 51 + core + closed * 51, SCOPE)


def test_a_long_chain_of_and_or_or_is_one_level() -> None:
    both = parse(" and ".join(["paying"] * 180), SCOPE)
    assert isinstance(both, And)
    assert len(both.items) == 180


def test_between_inside_between_cannot_grow_without_end() -> None:
    text = "arr"
    for _ in range(12):
        text = f"case when ({text} between 1 and 2) then 1 else 0 end"
    with pytest.raises(Unreadable, match="too large"):
        parse(f"{text} > 0", SCOPE)


def test_whatever_can_be_read_can_be_written_back() -> None:
    """Over random conditions of every kind; the few that only literals decide have no sure type and may be refused."""
    read = refused = 0
    for seed in range(60):
        policy = random_policy(Random(seed))  # noqa: S311  draws test data
        types = {**BUILT_IN, **policy.attributes, **dict.fromkeys(policy.signals, Type.NUMBER)}
        scope = Scope(types, [band.name for band in policy.bands])
        for rule in policy.rules:
            try:
                found = parse(describe(rule.when), scope, Type.BOOLEAN)
            except Unreadable:
                refused += 1
                continue
            read += 1
            assert parse(describe(found), scope, Type.BOOLEAN) == found
    assert read > 50 * max(refused, 1) / 2
