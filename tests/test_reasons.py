"""Every move and every outcome has one sentence that says what and why, with its figures."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from app.policy.model import Policy
from app.policy.read import default_policy
from app.reasons import reason
from tests.plans import decision

POLICY = default_policy()


def said(policy: Policy = POLICY, **fields: Any) -> str:
    return reason(policy, decision(**fields))


def test_a_demotion_gives_the_figures_of_its_rule() -> None:
    assert said() == ("Demoted from high to low: its value of $9,000 is under $38,250, the least that keeps its band.")


def test_a_missing_fact_reads_unknown() -> None:
    assert "its value of unknown is under $38,250" in said(facts={"value": None, "demotion_floor": 38250})
    assert "its value of unknown is under unknown" in said(facts={})


def test_a_graduation_by_value_names_the_band_it_earned() -> None:
    facts = {"value": 52000.5, "earned_band": "high", "band": "low"}
    assert said(move="graduate", from_band="low", to_band="high", rule="value_gained", facts=facts) == (
        "Graduated from low to high: its value of $52,000.50 carries high."
    )


def test_an_intervention_says_for_how_long_at_most() -> None:
    facts = {"renewal_on": "2026-04-20", "adoption": 0.315}
    assert said(move="intervene", from_band="low", to_band="high", rule="renewal_rescue", facts=facts) == (
        "Lifted from low to high for at most 13 weeks: it renews on 2026-04-20 with 31.5% adoption."
    )


def test_a_return_says_whether_the_weeks_ran_out() -> None:
    fields: dict[str, Any] = {"move": "return", "from_band": "high", "to_band": "low", "rule": "usage_decline"}
    assert said(**fields, state={}) == "Returned from high to low: what called for usage_decline is over."
    assert said(**fields, state={"spent_intervention": "usage_decline"}) == (
        "Returned from high to low: the weeks of usage_decline ran out."
    )


def test_an_intervention_that_settles_names_what_keeps_the_band() -> None:
    fields: dict[str, Any] = {"move": "settle", "from_band": "high", "to_band": "high"}
    assert said(**fields, rule="value_gained", facts={"value": 50000, "earned_band": "high"}) == (
        "Stays in high: its value of $50,000 carries high."
    )
    assert said(**fields, rule="renewal_rescue", state={}) == "Stays in high: what called for renewal_rescue is over."


@pytest.mark.parametrize(
    ("to_band", "value", "segment", "why"),
    [
        ("tech", None, None, "its value is unknown"),
        ("tech", "900", None, "its value of $900 is under $7,200, where low starts"),
        ("low", "7200", None, "its value of $7,200 carries low"),
        ("low", "5000", "enterprise", "its value of $5,000 carries low"),
        ("low", "50000", None, "its value of $50,000 carries high, but a demotion would take it out at once"),
    ],
)
def test_an_account_that_enters_is_told_what_its_value_earns(
    to_band: str, value: str | None, segment: str | None, why: str
) -> None:
    amount = Decimal(value) if value is not None else None
    fields: dict[str, Any] = {"move": "enter", "from_band": None, "to_band": to_band, "rule": "entry", "facts": {}}
    assert said(**fields, value=amount, segment=segment) == f"Entered {to_band}: {why}."


def test_an_account_of_a_band_that_is_gone_is_told_so() -> None:
    assert said(move="settle", from_band="gold", to_band="low", rule="entry", value=Decimal(9000)) == (
        "Moved from gold to low: the policy has no band gold any more, and its value of $9,000 carries low."
    )


def test_a_pin_and_a_departure_speak_for_themselves() -> None:
    assert said(move="pin", rule="pin", facts={}) == "Moved from high to low: it is pinned there."
    assert said(move="enter", from_band=None, rule="pin", facts={}) == "Entered low: it is pinned there."
    assert said(move="leave", to_band=None, rule="left", facts={}) == "Left high: it is no longer an active customer."


def test_a_pending_move_says_how_far_it_has_come() -> None:
    assert said(outcome="pending", weeks=2).startswith(
        "Would be demoted from high to low, confirmed in 2 of 3 weeks: its value of $9,000"
    )


def test_a_review_says_that_a_person_decides() -> None:
    facts = {"quiet_days": 95, "cadence_days": 30}
    assert said(outcome="review", rule="quiet", facts=facts) == (
        "For review, would be demoted from high to low: nobody has engaged for 95 days, over two cycles of 30;"
        " it is protected, so a person decides."
    )


def test_a_contested_account_hears_both_sides() -> None:
    facts = {"seats_before": 40, "seats_now": 95, "quiet_days": 95, "cadence_days": 30}
    fields: dict[str, Any] = {"outcome": "contested", "move": "graduate", "from_band": "low", "to_band": "high"}
    assert said(**fields, rule="expansion", against="quiet", facts=facts) == (
        "Contested, stays in low: rule expansion says up because seats grew from 40 to 95 and it asked for an API"
        " integration; rule quiet says down because nobody has engaged for 95 days, over two cycles of 30."
    )


def test_figures_are_exact_however_many_digits_they_have() -> None:
    exact = decision(facts='{"value": 1234567890123456.78, "demotion_floor": 38250.10}')
    assert "its value of $1,234,567,890,123,456.78 is under $38,250.10" in reason(POLICY, exact)


def test_a_rule_that_the_policy_has_no_more_does_not_break_the_sentence() -> None:
    assert reason(replace(POLICY, rules=()), decision()) == "Demoted from high to low: no rule moves it."


def test_a_sentence_ends_once_also_when_the_template_ends_it() -> None:
    rules = tuple(replace(rule, because="it was so. ") for rule in POLICY.rules)
    assert reason(replace(POLICY, rules=rules), decision()) == "Demoted from high to low: it was so."
