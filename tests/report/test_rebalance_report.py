"""What a rebalance and the list of pins look like, to people and to programs."""

import csv
import io
import json
import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from app.plan import Book, LapsedPin, OwnerChange, Verdict
from app.policy.read import default_policy
from app.report.json import write_json
from app.report.names import Names
from app.report.page import Page
from app.report.rebalance import write_rebalance_csv, write_rebalance_json, write_rebalance_table
from app.report.summary import summarise
from app.report.table import write_table
from tests.plans import AS_OF, plan

POLICY = default_policy()
MOVED = plan(
    POLICY,
    owner_changes=(OwnerChange("A-1", "C-1", "C-2", "rebalance", "for balance: so it is", "low", Decimal(9000)),),
    books=(
        Book("C-1", 8, 7, Decimal(800), Decimal(700), 10, None, 0, 1),
        Book("C-2", 0, 1, Decimal(0), Decimal(100), 10, Decimal(500), 1, 0),
        Book("C-3", 0, 0, Decimal(0), Decimal(0), 0, None, 0, 0),
    ),
)


@pytest.mark.parametrize(
    ("status", "ending"),
    [
        ("planned", "Nothing was written. Run the same without --dry-run to apply this."),
        ("applied", "Applied."),
        ("nothing", "Nothing to do: no move that is allowed would make the books more even."),
        ("blocked", "A guard stops this; nothing moved."),
    ],
)
def test_people_see_who_moves_where_and_how_full_the_books_become(status: str, ending: str) -> None:
    out = io.StringIO()
    write_rebalance_table(Page(out), POLICY, MOVED, Names({"A-1": "Acme"}, {"C-1": "Ann"}), status=status)
    text = out.getvalue()
    assert text.startswith("Rebalance: 1 account with another owner\n")
    assert "C-1 -> C-2" in text
    assert "80% -> 70%" in text
    assert "For balance: so it is." in text
    assert "C-3" not in text
    assert text.endswith(f"{ending}\n")
    assert max(map(len, text.splitlines())) <= 80


def test_a_guard_that_stops_it_is_named() -> None:
    stopped = replace(MOVED, verdicts=(Verdict("csm_book", Decimal(9), Decimal(1), "accounts", True, "Far too many."),))
    out = io.StringIO()
    write_rebalance_table(Page(out), POLICY, stopped, Names(), status="blocked")
    assert "STOP csm_book: Far too many." in out.getvalue()


def test_programs_read_the_same() -> None:
    out = io.StringIO()
    write_rebalance_json(out, MOVED, run_id=None, status="planned")
    told = json.loads(out.getvalue())
    assert (told["schema"], told["status"], told["run_id"]) == (1, "planned", None)
    assert told["owner_changes"][0]["to_owner_id"] == "C-2"
    assert told["books"][1]["max_book"] == 500
    rows = io.StringIO()
    write_rebalance_csv(rows, MOVED)
    (row,) = csv.DictReader(io.StringIO(rows.getvalue()))
    assert (row["account_id"], row["value"], row["from_owner_id"], row["to_owner_id"]) == (
        "A-1",
        "9000.00",
        "C-1",
        "C-2",
    )


def test_a_lapsed_pin_is_in_the_report_of_a_run_for_people_and_for_programs() -> None:
    pin = LapsedPin("A-7", "high", "C-1", "lee", "a launch", AS_OF - timedelta(days=2))
    lapsed = replace(MOVED, lapsed_pins=(pin,))
    out = io.StringIO()
    write_table(out, POLICY, lapsed, summarise(lapsed, POLICY, 5), Names(), title="Dry run", ending="That is all.")
    assert "Pins that lapsed since the last run: 1 account\n" in out.getvalue()
    assert re.search(r"\n  A-7 +high and C-1 +2026-02-28\n    lee: a launch\.\n", out.getvalue())
    assert "80% -> 70%" in out.getvalue()
    told = io.StringIO()
    write_json(told, POLICY, lapsed, run_id=None, status="planned")
    (found,) = json.loads(told.getvalue())["lapsed_pins"]
    assert (found["account_id"], found["expires_at"]) == ("A-7", "2026-02-28T06:00:00Z")
    shares = [(book["share_before"], book["share_after"]) for book in json.loads(told.getvalue())["books"]]
    assert shares == [(0.8, 0.7), (0.0, 0.1), (None, None)]
