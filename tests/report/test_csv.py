"""The moves as CSV."""

import csv
import io
from decimal import Decimal

import pytest

from app.policy.read import default_policy
from app.report.csv import COLUMNS, cell, write_csv
from tests import golden
from tests.plans import a_monday, decision, plan

POLICY = default_policy()


def written(*decisions: object) -> str:
    out = io.StringIO(newline="")
    write_csv(out, POLICY, plan(POLICY, *decisions))  # type: ignore[arg-type] # a shorthand
    return out.getvalue()


def test_a_monday_reads_as_it_should() -> None:
    out = io.StringIO(newline="")
    write_csv(out, POLICY, a_monday(POLICY))
    golden.check("monday.csv", out.getvalue())


def test_a_plan_without_moves_is_a_header() -> None:
    assert written() == ",".join(COLUMNS) + "\r\n"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "\uff1d"])
def test_no_cell_is_taken_for_a_formula(start: str) -> None:
    attack = f'{start}HYPERLINK("http://evil","x")'
    rows = list(csv.reader(io.StringIO(written(decision(attack)), newline="")))
    assert rows[1][0] == f"'{attack}"


def test_a_negative_number_stays_a_number() -> None:
    assert cell(Decimal("-5")) == "-5.00"
    assert "\r\nA-1,high,low,demote,value_lost,-5.00," in written(decision(value=Decimal(-5)))


def test_a_plain_text_stays_as_it_is() -> None:
    assert cell("A-1") == "A-1"
    assert cell("") == ""
    assert cell(None) == ""


def test_quotes_commas_and_newlines_come_back_as_they_went() -> None:
    odd = 'a"b,c\r\nd'
    rows = list(csv.reader(io.StringIO(written(decision(odd)), newline="")))
    assert rows[1][0] == odd
