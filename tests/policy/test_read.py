"""A policy file becomes a Policy, or one message with everything that is wrong with it."""

from datetime import time
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from app.errors import Mistake
from app.policy.describe import describe
from app.policy.expressions import Fact, Type, facts_of
from app.policy.floors import price
from app.policy.model import Policy, Share
from app.policy.read import default_policy, load_policy, read_policy, read_shape
from tests.policy.files import DEFAULT, SMALL, edited, mistakes


def rule(policy: Policy, name: str) -> str:
    return describe(policy.rule[name].when)


# ---- The default policy ----


def test_the_default_policy_places_accounts_at_the_published_floors() -> None:
    policy = default_policy()
    assert policy.floors[None].floor == tuple(map(Decimal, ("0", "7200", "45000", "270000")))
    assert policy.floors[None].demotion == tuple(map(Decimal, ("0", "6120", "38250", "229500")))
    assert policy.floors["enterprise"].floor[2] == Decimal("30000.00")
    assert policy.floors["self_serve"].floor[2] == Decimal("56250.00")


def test_the_default_floors_show_their_arithmetic() -> None:
    shape = read_shape(DEFAULT, source="default")
    priced, problems = price(shape.bands, shape.economics)
    assert not problems
    assert [band.arithmetic for band in priced[None]] == [
        "$0",
        "$180,000 x 1 / 0.10 / 250 = $7,200",
        "$180,000 x 1 / 0.10 / 40 = $45,000",
        "$180,000 x 1.5 / 0.10 / 10 = $270,000",
    ]


def test_the_default_policy_has_every_rule_of_the_domain() -> None:
    policy = default_policy()
    assert [rule.name for rule in policy.interventions] == ["usage_decline", "renewal_rescue"]
    assert [rule.name for rule in policy.demotions] == ["quiet", "champion_left", "locked", "value_lost"]
    assert [rule.name for rule in policy.graduations] == ["strategic_use_case", "expansion", "value_gained"]
    assert policy.rule["quiet"].from_bands == {"low", "high", "strategic"}
    assert policy.rule["value_gained"].from_bands == {"tech", "low", "high"}
    assert policy.rule["strategic_use_case"].despite == {"value_lost"}
    assert policy.rule["champion_left"].except_segments == {"enterprise"}


def test_rules_are_free_of_derived_facts() -> None:
    policy = default_policy()
    base = policy.facts.keys()
    for each in policy.rules:
        assert not facts_of(each.when) & base
        assert each.protect_when is None or not facts_of(each.protect_when) & base
    quiet = policy.rule["quiet"]
    assert quiet.protect_when is not None
    assert describe(quiet.protect_when) == (
        "health < 50 or days_until(renewal_on) >= 0 and days_until(renewal_on) <= 90"
    )


def test_every_fact_has_a_unit() -> None:
    units = default_policy().units
    assert units["value"] == units["demotion_floor"] == "money"
    assert units["adoption"] == "percent"
    assert units["champion_left_days"] == units["quiet_days"] == "days"
    assert units["renewal_on"] == units["last_engaged_at"] == "date"
    assert units["usage_now"] == "number"
    assert units["at_risk"] == "text"


def test_state_signals_look_back_and_event_signals_count_once() -> None:
    signals = default_policy().signals
    assert [
        name for name in ("seats_now", "seats_before", "champion_left_days", "meetings") if signals[name].event
    ] == []
    assert signals["api_tickets"].event
    assert (signals["meetings_before"].within_days, signals["meetings_before"].until_days_ago) == (60, 30)
    assert signals["seats_before"].days_ago == 90


def test_the_default_policy_is_the_same_each_time() -> None:
    assert load_policy(None) is default_policy()
    again = read_policy(DEFAULT, source="again")
    assert (again.sha256, again.rules, again.facts) == (
        default_policy().sha256,
        default_policy().rules,
        default_policy().facts,
    )


# ---- What may be left out, and what it is then ----


def test_a_policy_without_economics_has_the_floors_it_writes() -> None:
    policy = read_policy(SMALL, source="small")
    assert policy.floors == {None: policy.floors[None]}
    assert policy.floors[None].floor == (Decimal(0), Decimal(50_000))
    assert policy.floors[None].demotion == (Decimal(0), Decimal(42_500))
    assert policy.currency == "USD"
    assert describe(policy.value) == "arr + coalesce(expansion_arr, 0)"


def test_the_terms_of_ownership_left_out_are_those_of_the_default_policy() -> None:
    assert read_policy(SMALL, source="small").owners == default_policy().owners


def test_terms_of_ownership_are_read_and_the_limit_of_intake_can_be_switched_off() -> None:
    owners = read_policy(SMALL + "\n[owners]\nstable_days = 0\nmax_new_per_run = false\n", source="small").owners
    assert (owners.stable_days, owners.max_new_per_run, owners.pin_max_days) == (0, None, 365)
    owners = read_policy(SMALL + "\n[owners]\nmax_new_per_run = { share = 0.5 }\n", source="small").owners
    assert owners.max_new_per_run == Share(Decimal("0.5"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("stable_days = -1", "owners.stable_days: should be at least 0"),
        ("pin_max_days = 0", "owners.pin_max_days: should be at least 1"),
        ("max_new_per_run = 5", "owners.max_new_per_run: should be a table, as in { key = value }"),
        ("max_new_per_run = { share = 2 }", "owners.max_new_per_run.share: should be at most 1"),
        ("ramp_week = 4", "owners.ramp_week: unknown key; did you mean `ramp_weeks`?"),
    ],
)
def test_a_term_of_ownership_out_of_reason_is_a_mistake(line: str, said: str) -> None:
    assert mistakes(f"{SMALL}\n[owners]\n{line}\n") == [said]


def test_guards_and_calendar_left_out_are_those_of_the_default_policy() -> None:
    small, default = read_policy(SMALL, source="small"), default_policy()
    assert small.guards == default.guards
    assert small.calendar == default.calendar


def test_false_switches_a_guard_off() -> None:
    off = "\n[guards]\nmoved_accounts = false\nstale_after_days = false\nfewest_accounts = false\n"
    off += "moved_arr = { share = 0.5 }\n"
    guards = read_policy(SMALL + off, source="small").guards
    assert guards.moved_accounts is None
    assert guards.stale_after_days is None
    assert guards.fewest_accounts == 0
    assert guards.moved_arr == Share(Decimal("0.5"))
    assert guards.csm_book == Share(Decimal("0.34"), 10)


def test_segments_override_the_economics() -> None:
    policy = read_policy(
        edited(
            ("floor = 50_000\n", ""),
            (
                "[signals]",
                (
                    "[economics]\ncsm_cost = 150_000\ncost_ratio = 0.1\nbuffer = 0.1\n"
                    "[economics.segments.a]\ncsm_cost = 220_000\n"
                    "[economics.segments.b]\naccounts_per_csm.high = 20\nbuffer = 0\n"
                    "[economics.segments.c]\nfloors.high = 12_345.678\n\n[signals]"
                ),
            ),
        ),
        source="small",
    )
    assert {segment: floors.floor[1] for segment, floors in policy.floors.items()} == {
        None: Decimal("37500.00"),
        "a": Decimal("55000.00"),
        "b": Decimal("75000.00"),
        "c": Decimal("12345.68"),
    }
    assert policy.floors["b"].demotion[1] == policy.floors["b"].floor[1]
    assert policy.floors["c"].demotion[1] == Decimal("11111.11")


def test_disabled_rules_are_checked_but_not_kept() -> None:
    assert read_policy(edited(('to = "high"', 'to = "high"\nenabled = false')), source="small").rules == ()
    assert mistakes(edited(('"arr > 1"', '"ar > 1"'), ('to = "high"', 'to = "high"\nenabled = false'))) == [
        "rules[0].when: column 1: unknown fact `ar`; did you mean `arr`?"
    ]


def test_attributes_are_facts_of_their_types() -> None:
    text = edited(
        ("[signals]", '[attributes]\nplan = "text"\ntrial_until = "date"\n\n[signals]'),
        ('"arr > 1"', "\"plan = 'pro' and trial_until < '2026-01-31'\""),
    )
    policy = read_policy(text, source="small")
    assert policy.attributes == {"plan": Type.TEXT, "trial_until": Type.DATE}
    assert rule(policy, "up") == "plan = 'pro' and trial_until < DATE '2026-01-31'"


def test_derived_facts_may_rest_on_each_other_in_any_order() -> None:
    facts = '[facts]\nc = "b and a"\nb = "not a"\na = "tickets > 0"\n'
    facts += 'd = { expr = "arr / seats", unit = "percent" }\n\n[[rules]]'
    policy = read_policy(edited(("[[rules]]", facts), ('"arr > 1"', '"c"')), source="small")
    assert rule(policy, "up") == "not tickets > 0 and tickets > 0"
    assert describe(policy.facts["c"]) == "not tickets > 0 and tickets > 0"
    assert policy.units["d"] == "percent"


def test_units_of_derived_facts_follow_from_what_they_are_made_of() -> None:
    facts = {
        "a": ("arr + coalesce(expansion_arr, 0)", "money"),
        "b": ("arr * 2", "money"),
        "c": ("arr / seats", "money"),
        "d": ("arr / 12", "money"),
        "e": ("arr / value", "number"),
        "f": ("days_since(signed_on)", "days"),
        "g": ("case when standalone then adoption else 0 end", "percent"),
        "h": ("arr > 1", "text"),
        "i": ("greatest(renewal_on, signed_on)", "date"),
        "j": ("arr + seats", "money"),
        "k": ("-arr", "money"),
    }
    written = "[facts]\n" + "".join(f'{name} = "{text}"\n' for name, (text, _) in facts.items())
    policy = read_policy(edited(("[[rules]]", f"{written}\n[[rules]]")), source="small")
    assert {name: policy.units[name] for name in facts} == {name: unit for name, (_, unit) in facts.items()}


def test_the_value_may_rest_on_state_signals() -> None:
    text = edited(
        ("[signals]", '[economics]\nvalue = "pipeline"\n\n[signals]'),
        ("tickets =", 'pipeline = { kind = "deal", measure = "latest", unit = "money" }\ntickets ='),
    )
    policy = read_policy(text, source="small")
    assert policy.value == Fact("pipeline", Type.NUMBER)
    assert policy.units["pipeline"] == "money"


def test_the_calendar_takes_a_time_as_text_or_as_toml_writes_it() -> None:
    for written in ('"18:30"', "18:30:00"):
        calendar = f'\n[calendar]\nweekday = "friday"\nat = {written}\ntime_zone = "Europe/Paris"\n'
        policy = read_policy(SMALL + calendar, source="small")
        assert policy.calendar.weekday == 4
        assert policy.calendar.at == time(18, 30)
        assert policy.calendar.time_zone == ZoneInfo("Europe/Paris")


def test_the_hash_is_that_of_the_text() -> None:
    one, other = (read_policy(text, source="small") for text in (SMALL, SMALL + "# a comment\n"))
    assert one.sha256 != other.sha256
    assert one.body == SMALL
    assert len(one.sha256) == 64


# ---- Files ----


def test_a_file_is_read_with_or_without_a_byte_order_mark_and_with_any_line_ends(tmp_path: Path) -> None:
    for body in (SMALL.encode(), b"\xef\xbb\xbf" + SMALL.encode(), SMALL.replace("\n", "\r\n").encode()):
        path = tmp_path / "my.toml"
        path.write_bytes(body)
        assert load_policy(path).name == "small"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (SMALL.encode("utf-16"), "is UTF-16; save it as UTF-8"),
        (SMALL.encode() + b"# caf\xe9\n", "is not UTF-8 at line 23; save it as UTF-8"),
        (b"x" * 1_000_001, "1,000,001 bytes"),
    ],
)
def test_a_file_that_is_no_text_is_told_in_one_line(tmp_path: Path, body: bytes, message: str) -> None:
    path = tmp_path / "my.toml"
    path.write_bytes(body)
    with pytest.raises(Mistake, match=message) as refused:
        load_policy(path)
    assert "\n" not in str(refused.value)


def test_a_missing_file_and_a_folder_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"there is no file .*nope\.toml"):
        load_policy(tmp_path / "nope.toml")
    with pytest.raises(Mistake, match="is a folder"):
        load_policy(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = default", "my.toml is not TOML:\n  line 1, column 8: invalid value"),
        ('name = "x', "my.toml is not TOML:\n  line 1, at the end: unterminated string"),
        ("a = 1\na = 2", "my.toml is not TOML:\n  line 2, at the end: cannot overwrite a value"),
        ("[a]\n[a]", "my.toml is not TOML:\n  line 2, column 3: cannot declare 'a' twice"),
        ("a = \x00", "my.toml is not TOML:\n  line 1, column 5: invalid value"),
        ("a = " + "[" * 5_000, "my.toml is nested too deeply"),
        ("a = " + "1" * 5_000, "my.toml is not TOML: a number in it has thousands of digits"),
    ],
    ids=["bare word", "open text", "key twice", "table twice", "NUL", "nesting", "digits"],
)
def test_what_is_not_toml_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(Mistake) as refused:
        read_policy(text, source="my.toml")
    assert str(refused.value) == message
