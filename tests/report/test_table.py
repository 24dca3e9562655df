"""The report for people. The golden files are there to be read."""

import io
import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from msgspec import structs

from app.plan import Plan
from app.policy.read import default_policy
from app.report.names import Names
from app.report.summary import summarise
from app.report.table import write_table
from tests import golden
from tests.plans import a_monday, decision, plan

POLICY = default_policy()
NAMES = Names(
    accounts={
        "A-0001": "Acme Corp",
        "A-0002": "Société Générale d'Équipements Industriels et Compagnie",
        "A-0003": "東京エレクトロン",
        "A-0004": "Evil \x1b[31m[bold]Ltd[/bold]",
    },
    csms={"C-1": "Ada Lovelace", "C-2": "Grace Hopper"},
)


def table(of: Plan, *, limit: int | None = 5, names: Names = NAMES) -> str:
    out = io.StringIO()
    summary = summarise(of, POLICY, limit)
    write_table(out, POLICY, of, summary, names, title="Dry run", ending="Nothing was written.")
    return out.getvalue()


def shown(text: str) -> str:
    """The report without the hash of the policy, whose text changes more often than its meaning."""
    return text.replace(POLICY.sha256[:12], "0123456789ab")


def test_a_monday_reads_as_it_should() -> None:
    golden.check("monday.txt", shown(table(a_monday(POLICY))))


def test_a_monday_without_names_reads_as_it_should() -> None:
    golden.check("monday_without_names.txt", shown(table(a_monday(POLICY), names=Names())))


def test_a_week_in_which_nothing_happens_is_short() -> None:
    golden.check("quiet_monday.txt", shown(table(plan(POLICY))))


def test_no_line_is_wider_than_80_columns_unless_an_id_is() -> None:
    assert max(map(len, table(a_monday(POLICY)).splitlines())) <= 80


def test_the_width_follows_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    assert "Société Générale d'Équipements Industriels et Compagnie" in table(a_monday(POLICY))


def test_a_long_id_is_never_cut_or_wrapped() -> None:
    long = "0018d00000XyZabAAF-and-quite-a-bit-more-than-that-0123456789-abcdefghij"
    assert f"  {long}  " in table(plan(POLICY, decision(long)))


def test_names_cannot_draw_on_the_terminal() -> None:
    text = table(a_monday(POLICY))
    assert "\x1b" not in text
    assert "Evil ?[31m[bold]Ltd[/bold]" in text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("name", "styled"), [("", True), ("NO_COLOR", False)])
def test_a_terminal_is_styled_unless_it_does_not_want_to_be(
    monkeypatch: pytest.MonkeyPatch, name: str, styled: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if name:
        monkeypatch.setenv(name, "1")
    monday = a_monday(POLICY)
    out = Terminal()
    write_table(out, POLICY, monday, summarise(monday, POLICY, 5), NAMES, title="Dry run", ending="Nothing.")
    assert ("\x1b[" in out.getvalue()) is styled


def test_a_long_list_is_cut_with_a_count() -> None:
    many = plan(POLICY, *(decision(f"A-{number:03}", value=Decimal(number)) for number in range(42)))
    text = table(many)
    assert "Demoted by value_lost: 42 accounts, $861" in text
    assert "... and 37 more; --all shows them" in text
    assert re.findall(r"A-\d+", text) == ["A-041", "A-040", "A-039", "A-038", "A-037"]


def test_all_shows_the_whole_list() -> None:
    many = plan(POLICY, *(decision(f"A-{number:03}") for number in range(42)))
    text = table(many, limit=None)
    assert len(re.findall(r"A-\d+", text)) == 42
    assert "more" not in text


def test_a_sentence_that_all_share_is_said_once() -> None:
    gone = [decision(f"A-{number}", move="leave", to_band=None, rule="left", facts={}) for number in range(9)]
    assert table(plan(POLICY, *gone)).count("It is no longer an active customer.") == 1


def test_a_sentence_with_figures_is_not_said_for_accounts_that_are_not_shown() -> None:
    alike = [decision(f"A-{number}", value=Decimal(9000)) for number in range(7)]
    assert table(plan(POLICY, *alike), limit=7).count("Its value of $9,000 is under") == 1
    assert table(plan(POLICY, *alike), limit=5).count("Its value of $9,000 is under") == 5


def test_who_leaves_was_no_active_account_before() -> None:
    text = table(plan(POLICY, decision("A-1", move="leave", from_band="tech", to_band=None, rule="left")))
    assert re.search(r"^  tech +1,500 +1,500 ", text, re.MULTILINE)
    assert re.search(r"^  tech +\(left\) +1 ", text, re.MULTILINE)


def test_an_account_without_an_owner_in_a_named_band_waits() -> None:
    up = decision("A-1", move="graduate", from_band="tech", to_band="low", rule="value_gained", owner_id=None)
    assert re.search(r"A-1 .* waits$", table(plan(POLICY, up)), re.MULTILINE)


def test_a_guard_that_trips_stands_out() -> None:
    verdict = replace(a_monday(POLICY).verdicts[0], tripped=True)
    assert re.search(r"^  STOP  moved_accounts$", table(plan(POLICY, verdicts=(verdict,))), re.MULTILINE)


def test_the_same_plan_gives_the_same_bytes() -> None:
    assert table(a_monday(POLICY)) == table(a_monday(POLICY))


def test_a_wait_that_began_after_as_of_is_no_negative_age() -> None:
    monday = a_monday(POLICY)
    later = structs.replace(monday.waitlist[0], since=monday.as_of + timedelta(days=3))
    assert re.search(r"A-0004 .* 0 days$", table(replace(monday, waitlist=(later,))), re.MULTILINE)
