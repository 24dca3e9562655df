"""How figures read."""

from decimal import Decimal

import pytest

from app import figures
from app.policy.read import default_policy


@pytest.mark.parametrize(
    ("value", "reads"),
    [
        ("0", "$0"),
        ("9", "$9"),
        ("9999", "$10K"),
        ("45000", "$45K"),
        ("960000", "$960K"),
        ("999499", "$999K"),
        ("999500", "$1M"),
        ("1234567", "$1.23M"),
        ("12345678", "$12.3M"),
        ("999500000", "$1B"),
        ("-45000", "-$45K"),
    ],
)
def test_an_aggregate_reads_in_three_figures(value: str, reads: str) -> None:
    assert figures.short_money(Decimal(value), "USD") == reads


@pytest.mark.parametrize(
    ("value", "currency", "reads"),
    [
        ("45000", "USD", "$45,000"),
        ("38249.995", "USD", "$38,250"),
        ("38249.99", "USD", "$38,249.99"),
        ("-12.5", "EUR", "-€12.50"),
        ("900", "CHF", "CHF 900"),
        ("1234567890123456.78", "USD", "$1,234,567,890,123,456.78"),
    ],
)
def test_an_amount_reads_to_the_cent(value: str, currency: str, reads: str) -> None:
    assert figures.money(Decimal(value), currency) == reads


def test_a_share_just_under_its_limit_does_not_read_as_the_limit() -> None:
    assert figures.percent(Decimal("0.3996")) == "39.96%"
    assert figures.percent(Decimal("0.4")) == "40%"


def test_a_number_has_no_trailing_zeros_and_no_negative_zero() -> None:
    assert figures.number(Decimal("0.70")) == "0.7"
    assert figures.number(Decimal(100)) == "100"
    assert figures.number(Decimal("-0.00001")) == "0"
    assert figures.number(Decimal("1234.5")) == "1,234.5"


@pytest.mark.parametrize(
    ("name", "value", "reads"),
    [
        ("value", Decimal("9000.50"), "$9,000.50"),
        ("adoption", Decimal("0.31"), "31%"),
        ("quiet_days", 1095, "1,095"),
        ("renewal_on", "2026-04-20", "2026-04-20"),
        ("last_engaged_at", "2026-04-20T09:30:00+00:00", "2026-04-20"),
        ("segment", "mid_market", "mid_market"),
        ("standalone", True, "yes"),
        ("health", None, "unknown"),
    ],
)
def test_a_fact_reads_by_its_unit(name: str, value: object, reads: str) -> None:
    assert figures.fact(default_policy(), name, value) == reads


def test_text_from_outside_cannot_draw_on_the_terminal() -> None:
    assert figures.printable("a\x1b[31mb\u202ec\nd") == "a?[31mb?c d"
    assert figures.fact(default_policy(), "segment", "x" * 500) == "x" * 77 + "..."


@pytest.mark.parametrize(
    ("clause", "reads"),
    [
        ("a guard stopped it", "A guard stopped it."),
        ("nobody answered.", "Nobody answered."),
        ("unknown fact `valu`; did you mean `value`?", "Unknown fact `valu`; did you mean `value`?"),
        ("acc-1 has left", "acc-1 has left."),
    ],
)
def test_a_sentence_ends_once(clause: str, reads: str) -> None:
    assert figures.sentence(clause) == reads
