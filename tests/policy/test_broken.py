"""Broken policies: each a small difference to a small sound one, and what bandshift says of it, word for word.

`small()` is sound. Its arguments replace a section, or add rules and tables at its end.
"""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from app.errors import Mistake
from app.policy.check import check, warn
from app.policy.read import read_policy

BANDS = """
[[bands]]
name = "tech"
owner = "pool"
accounts_per_csm = 1000

[[bands]]
name = "low"
owner = "named"
accounts_per_csm = 250

[[bands]]
name = "high"
owner = "named"
accounts_per_csm = 40
cadence_days = 30
"""

ECONOMICS = """
[economics]
csm_cost = 180_000
cost_ratio = 0.1
"""

SIGNALS = """
[signals]
tickets = { kind = "ticket", measure = "count", within_days = 60 }
health = { kind = "health", measure = "latest", within_days = 45 }
"""


def small(
    *more: str, name: str = 'name = "small"', bands: str = BANDS, economics: str = ECONOMICS, signals: str = SIGNALS
) -> str:
    return "\n".join([name, bands, economics, signals, *more])


def table(heading: str, **keys: Any) -> str:
    """A table of TOML; a text that is an inline table stays as it is."""
    lines = [
        f"{key.rstrip('_')} = {value if str(value)[:2] == '{ ' else json.dumps(value)}" for key, value in keys.items()
    ]
    return "\n".join([heading, *lines])


def rule(move: str, when: str, to: str, **more: Any) -> str:
    name = {"graduate": "up", "demote": "down", "intervene": "help"}.get(move)
    return table("[[rules]]", **{"name": name, "move": move, "when": when, "to": to, "because": "it is so", **more})


def graduate(when: str, to: str = "next", **more: Any) -> str:
    return rule("graduate", when, to, **more)


def demote(when: str, to: str = "previous", **more: Any) -> str:
    return rule("demote", when, to, **more)


def intervene(when: str, to: str = "high", for_weeks: int = 8, **more: Any) -> str:
    return rule("intervene", when, to, for_weeks=for_weeks, **more)


def broken(what: str, text: str, *says: str) -> Any:
    return pytest.param(text, says, id=what)


def mistakes(text: str) -> Sequence[str]:
    """What reading the policy finds wrong, or if nothing is, what checking does."""
    try:
        found = check(read_policy(text, source="policy.toml"))
    except Mistake as mistake:
        found = mistake.problems
    return [str(problem) for problem in found]


BROKEN = [
    broken("no TOML", small("name = ["), "line 29, at the end: invalid value"),
    broken("a key twice", small(table("[signals]")), "line 29, column 9: cannot declare 'signals' twice"),
    broken("no name", small(name=""), "name: is missing"),
    broken("a key that does not exist", small(graduate("tickets > 0", conditon="x")), "rules[0].conditon: unknown key"),
    broken(
        "a missing key",
        small(table("[[rules]]", name="up", move="graduate", to="next", because="it is so")),
        "rules[0].when: is missing",
    ),
    broken(
        "a word that is none of the choices",
        small(rule("promote", "tickets > 0", "next", name="up")),
        "rules[0].move: should be 'graduate', 'demote' or 'intervene'; did you mean `demote`?",
    ),
    broken(
        "a number in quotes",
        small(economics=table("[economics]", csm_cost="180000", cost_ratio=0.1)),
        "economics.csm_cost: should be a number, without quotes",
    ),
    broken(
        "a cost ratio of 10 for 1:10",
        small(economics=table("[economics]", csm_cost=180000, cost_ratio=10)),
        "economics.cost_ratio: should be at most 1",
    ),
    broken(
        "a book for nobody",
        small(bands=BANDS.replace("= 250", "= 0")),
        "bands[1].accounts_per_csm: should be at least 1",
    ),
    broken(
        "a single band",
        small(bands=table("[[bands]]", name="tech", owner="pool", accounts_per_csm=1000)),
        "bands: needs at least 2 entries",
    ),
    broken(
        "two bands of one name",
        small(bands=BANDS.replace('"high"', '"low"')),
        "bands[2].name: bands[1] is already called `low`",
    ),
    broken(
        "a band called like a target",
        small(bands=BANDS.replace('"low"', '"next"')),
        "bands[1].name: `next` is a rule's target; choose another name",
    ),
    broken(
        "a named lowest band",
        small(bands=BANDS.replace('"pool"', '"named"')),
        "bands[0].owner: the lowest band is served by the pool; it takes every account that no CSM does",
    ),
    broken(
        "crossing floors",
        small(bands=BANDS.replace("accounts_per_csm = 40", "accounts_per_csm = 400")),
        "economics: floors rise with the bands, but `high` starts at $4,500 and `low` below it at $7,200",
    ),
    broken(
        "crossing floors in one segment",
        small(economics=ECONOMICS + table("[economics.segments.smb.accounts_per_csm]", high=300)),
        "economics.segments.smb: floors rise with the bands, but `high` starts at $6,000 and `low` below it at $7,200",
    ),
    broken(
        "a floor nobody can know",
        small(economics=""),
        "bands[1]: the floor of `low` is not known; give csm_cost and cost_ratio under [economics], or `floor` here",
    ),
    broken(
        "a band that a segment misspells",
        small(economics=ECONOMICS + table("[economics.segments.smb.floors]", hihg=3000)),
        "economics.segments.smb.floors.hihg: there is no band `hihg`; did you mean `high`?",
    ),
    broken(
        "a currency that is none",
        small(economics=ECONOMICS + 'currency = "dollars"'),
        "economics.currency: should be three capital letters, as in USD",
    ),
    broken(
        "a value that is no number",
        small(economics=ECONOMICS + 'value = "segment"'),
        "economics.value: column 1: `segment` is text, and here belongs a number",
    ),
    broken(
        "a value that reads a signal",
        small(economics=ECONOMICS + 'value = "arr + tickets"'),
        "economics.value: the value of an account cannot rest on `tickets`, which counts events since the last move",
    ),
    broken(
        "an unknown fact",
        small(graduate("seat > 10")),
        "rules[0].when: column 1: unknown fact `seat`; did you mean `seats`?",
    ),
    broken("an unknown fact far from any", small(graduate("zzz > 10")), "rules[0].when: column 1: unknown fact `zzz`"),
    broken(
        "an unknown function",
        small(graduate("upper(segment) = 'SMB'")),
        "rules[0].when: column 1: unknown function `upper` (there are coalesce, greatest, least, nullif, "
        "abs, round, lower, days_since and days_until)",
    ),
    broken(
        "a sub-query",
        small(graduate("arr > (select 1)")),
        "rules[0].when: column 8: queries are not allowed; a condition reads the facts of one account",
    ),
    broken(
        "a comment",
        small(graduate("arr > 1 -- always")),
        "rules[0].when: column 9: -- begins a comment, and comments are not allowed here; to take away a "
        "negative number write - -1",
    ),
    broken(
        "a cast",
        small(graduate("arr::text = '5'")),
        "rules[0].when: column 4: casts are not allowed; facts already have their types",
    ),
    broken("a bracket too few", small(graduate("(arr > 1")), "rules[0].when: column 1: this `(` has no `)`"),
    broken(
        "nothing after and", small(graduate("arr > 1 and")), "rules[0].when: column 9: something is missing after `and`"
    ),
    broken(
        "a number where a condition should be",
        small(graduate("arr + 1")),
        "rules[0].when: column 1: `arr + 1` is a number, and here belongs a condition, true or false",
    ),
    broken(
        "text against a number",
        small(graduate("arr > '5000'")),
        "rules[0].when: column 7: `arr` is a number and `'5000'` is text; they cannot be compared; write "
        "numbers without quotes",
    ),
    broken(
        "a date against a number",
        small(graduate("renewal_on < 90")),
        "rules[0].when: column 14: `renewal_on` is a date and `90` is a number; they cannot be compared; "
        "use days_since(...) or days_until(...)",
    ),
    broken(
        "a comparison with NULL",
        small(graduate("renewal_on = null")),
        "rules[0].when: column 14: a comparison with NULL is never true; write IS NULL",
    ),
    broken(
        "a band that does not exist in a condition",
        small(graduate("earned_band >= 'hihg'")),
        "rules[0].when: column 16: there is no band 'hihg'; did you mean `high`?",
    ),
    broken(
        "order among texts",
        small(graduate("segment > 'a'")),
        "rules[0].when: column 1: texts have no order; compare with =, <> or IN",
    ),
    broken(
        "round with no decimals that can be",
        small(graduate("round(arr, 9) > 5")),
        "rules[0].when: column 12: round takes a whole count of decimals from 0 to 6, written out",
    ),
    broken(
        "a fact that reads itself",
        small(table("[facts]", a="b > 1", b="case when a then 1 else 2 end"), graduate("a")),
        "facts.a: facts in a circle: a -> b -> a; one of them must not read the next",
    ),
    broken(
        "a fact with a built-in name",
        small(table("[facts]", arr="5"), graduate("arr > 1")),
        "facts.arr: `arr` is built in; choose another name",
    ),
    broken(
        "an attribute of an unknown type",
        small(table("[attributes]", plan="string"), graduate("plan = 'pro'")),
        "attributes.plan: should be 'number', 'text', 'boolean', 'date' or 'timestamp'",
    ),
    broken(
        "a signal window that begins after its end",
        small(signals=SIGNALS + 'late = { kind = "x", measure = "count", within_days = 30, until_days_ago = 60 }'),
        "signals.late.within_days: the window is empty: it begins 30 days ago and ends 60 days ago",
    ),
    broken(
        "value_ago without days",
        small(signals=SIGNALS + 'before = { kind = "seats", measure = "value_ago" }'),
        "signals.before.days_ago: value_ago needs days_ago: how many days ago the value is read",
    ),
    broken(
        "a because with an unknown fact",
        small(graduate("tickets > 0", because="{ticket} tickets")),
        "rules[0].because: column 1: unknown fact `ticket`; did you mean `tickets`?",
    ),
    broken(
        "a because with an open brace",
        small(graduate("tickets > 0", because="{tickets tickets")),
        "rules[0].because: column 1: a brace without its partner; facts stand in braces, as in {arr}",
    ),
    broken(
        "two rules of one name",
        small(graduate("tickets > 0"), graduate("tickets > 9")),
        "rules[1].name: rules[0] is already called `up`",
    ),
    broken(
        "a rule called like an event of the history",
        small(graduate("tickets > 0", name="pin")),
        "rules[0].name: the history says `pin` of a pin; choose another name",
    ),
    broken(
        "a target that does not exist",
        small(graduate("tickets > 0", to="hihg")),
        "rules[0].to: there is no band `hihg`; did you mean `high`?",
    ),
    broken(
        "a graduation to the band below",
        small(graduate("tickets > 0", to="previous")),
        "rules[0].to: a rule to graduate goes to a band, earned_band or next, not to previous",
    ),
    broken(
        "a demotion to the lowest from the lowest",
        small(demote("tickets > 0", to="tech", from_=["tech", "low"])),
        "rules[0].from[0]: `tech` has nothing to demote to: `tech` is not below it",
    ),
    broken(
        "a graduation to the lowest band",
        small(graduate("tickets > 0", to="tech")),
        "rules[0].to: no band lies below `tech`, so this rule moves nobody",
    ),
    broken(
        "an intervention without an end",
        small(rule("intervene", "health < 50", "high")),
        "rules[0].for_weeks: an intervention needs for_weeks: the longest it lasts",
    ),
    broken(
        "a demotion that overrides a hold",
        small(demote("tickets > 0", overrides_hold=True)),
        "rules[0].overrides_hold: belongs to graduations, and this rule is to demote",
    ),
    broken(
        "a hold overridden by what does not change",
        small(graduate("arr > 50000", overrides_hold=True)),
        "rules[0].overrides_hold: its condition can be true without a fresh signal; ask for an event in "
        "it, as in `tickets > 0 and ...`",
    ),
    broken(
        "despite a rule that does not exist",
        small(graduate("tickets > 0", despite=["quiet"])),
        "rules[0].despite[0]: there is no rule `quiet`",
    ),
    broken(
        "despite a graduation",
        small(graduate("tickets > 0", despite=["up"])),
        "rules[0].despite[0]: `up` is not a demotion",
    ),
    broken(
        "grace from nothing",
        small(graduate("tickets > 0", grace_weeks=4)),
        "rules[0].grace_weeks: needs `despite`: the demotions that wait",
    ),
    broken(
        "a segment in and out",
        small(graduate("tickets > 0", segments=["smb", "mid"], except_segments=["mid"])),
        "rules[0].except_segments: `mid` is also under `segments`",
    ),
    broken(
        "a share over one",
        small(table("[guards]", moved_accounts="{ share = 10 }")),
        "guards.moved_accounts.share: should be at most 1",
    ),
    broken(
        "a guard switched on with true",
        small(table("[guards]", moved_arr=True)),
        "guards.moved_arr: should be false, which switches it off, or its limits",
    ),
    broken(
        "a weekday in short",
        small(table("[calendar]", weekday="mon")),
        "calendar.weekday: should be 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday' "
        "or 'sunday'; did you mean `monday`?",
    ),
    broken(
        "a time zone that is none",
        small(table("[calendar]", time_zone="Mars/Olympus")),
        "calendar.time_zone: there is no time zone `Mars/Olympus`; names are like Europe/Paris or UTC",
    ),
    broken(
        "an hour that is none",
        small(table("[calendar]", at="25:00")),
        'calendar.at: should be a time of day, as in "06:00"',
    ),
    broken(
        "a share as a percentage",
        small(graduate("adoption > 40")),
        "rules[0].when: the rule can never fire: `adoption > 40` is never true, as adoption is at least 0 "
        "and at most 1",
    ),
    broken(
        "a condition that contradicts itself",
        small(graduate("tickets > 5 and tickets < 3")),
        "rules[0].when: the rule can never fire: `tickets > 5` and `tickets < 3` exclude each other",
    ),
    broken(
        "no whole number between",
        small(graduate("seats > 10 and seats < 11")),
        "rules[0].when: the rule can never fire: `seats > 10` and `seats < 11` exclude each other",
    ),
    broken(
        "two texts at once",
        small(graduate("segment = 'smb' and segment in ('mid', 'enterprise')")),
        "rules[0].when: the rule can never fire: `segment = 'smb'` and `segment in ('mid', 'enterprise')` "
        "exclude each other",
    ),
    broken(
        "a condition and its opposite",
        small(graduate("standalone and tickets > 0 and not standalone")),
        "rules[0].when: the rule can never fire: `standalone` and `not standalone` exclude each other",
    ),
    broken(
        "known and missing",
        small(graduate("renewal_on is null and days_until(renewal_on) < 90")),
        "rules[0].when: the rule can never fire: `renewal_on is null` and `days_until(renewal_on) < 90` "
        "exclude each other",
    ),
    broken(
        "a condition that is false",
        small(graduate("false")),
        "rules[0].when: the rule can never fire: its condition is always false",
    ),
    broken(
        "facts that add up to nothing",
        small(graduate("arr > 5000 and value < 5000")),
        "rules[0].when: the rule can never fire: `arr > 5000` and `value < 5000` exclude each other",
    ),
    broken(
        "chained contradiction",
        small(graduate("seats >= 2 * adoption and arr > seats and arr < adoption")),
        "rules[0].when: the rule can never fire: the parts of its condition exclude each other",
    ),
    broken(
        "a band without cadence",
        small(demote("quiet_days > 2 * cadence_days", from_=["low"])),
        "rules[0].when: the rule can never fire: `quiet_days > 2 * cadence_days` needs cadence_days, and "
        "`low` has none",
    ),
    broken(
        "a segment it does not apply to",
        small(graduate("segment = 'smb'", segments=["enterprise"])),
        "rules[0].when: the rule can never fire: `segment = 'smb'` is never true, as the rule is for enterprise only",
    ),
    broken(
        "earned nowhere above",
        small(graduate("value < 5000", to="earned_band")),
        "rules[0].when: the rule can never fire: where its condition is true, the earned band is never "
        "over the account's own",
    ),
    broken(
        "a date that is past and to come",
        small(intervene("days_until(renewal_on) > 30 and days_since(renewal_on) > 30")),
        "rules[0].when: the rule can never fire: `days_until(renewal_on) > 30` and "
        "`days_since(renewal_on) > 30` exclude each other",
    ),
    broken(
        "a count of fewer than none",
        small(demote("tickets < 0")),
        "rules[0].when: the rule can never fire: `tickets < 0` is never true, as tickets is at least 0",
    ),
    broken(
        "a protection that cannot be",
        small(demote("health < 50", protect_when="adoption > 60")),
        "rules[0].protect_when: it can never protect an account: `adoption > 60` is never true, as "
        "adoption is at least 0 and at most 1",
    ),
    broken(
        "a rule that comes too late",
        small(demote("health < 60", name="ill"), demote("health < 50", name="very_ill")),
        "rules[1].when: the rule never decides: `ill` comes first and is true whenever it is; put this "
        "rule earlier, or take it out",
    ),
    broken(
        "a rule that comes too late in its segments",
        small(
            graduate("tickets > 0", name="asks"),
            graduate("tickets > 5 and seats > 100", name="asks_much", segments=["smb"]),
        ),
        "rules[1].when: the rule never decides: `asks` comes first and is true whenever it is; put this "
        "rule earlier, or take it out",
    ),
    broken(
        "a graduation that is undone at once",
        small(graduate("arr > 10000", from_=["tech"]), demote("arr > 8000", to="tech")),
        "rules[0].when: the rule never lifts an account: `down` would take it out of the band it enters "
        "at once; change one of them, or name the demotion in `despite`",
        "rules[1].when: more arr gives a lower band: it demotes above 8,000, and up to 8,000 nothing "
        "demotes as far; turn the comparison round",
    ),
    broken(
        "a graduation below what keeps the band",
        small(
            graduate("value >= 2000 and value < 6000", to="low", from_=["tech"]),
            demote("value < demotion_floor", to="earned_band"),
            graduate("value >= 6000", to="low", name="more", from_=["tech"]),
        ),
        "rules[0].when: the rule never lifts an account: `down` would take it out of the band it enters "
        "at once; change one of them, or name the demotion in `despite`",
        "rules[2].when: an overlap: with value from 6,000 to below 6,120 this rule lifts to `low`, and "
        "`down` would demote from there at once, so that the account stays where it is",
    ),
    broken(
        "always contested",
        small(graduate("health >= 80 and tickets > 3", from_=["low"]), demote("tickets > 2", from_=["low"], to="tech")),
        "rules[0].when: the rule never lifts an account: whenever it fires, `down` fires too, and "
        "contested accounts stay; let their conditions exclude each other",
    ),
    broken(
        "a gap",
        small(
            graduate("arr >= 5000 and arr < 20000", to="low", name="to_low", from_=["tech"]),
            graduate("arr >= 25000", to="high", name="to_high"),
        ),
        "rules[1].when: a gap: with arr from 20,000 to below 25,000 neither this rule nor `to_low` fires; "
        "let the two ranges meet",
    ),
    broken(
        "a gap of a cent's width",
        small(
            graduate("arr >= 5000 and arr < 20000", to="low", name="to_low", from_=["tech"]),
            graduate("arr > 20000", to="high", name="to_high"),
        ),
        "rules[1].when: a gap: with arr at exactly 20,000 neither this rule nor `to_low` fires; let the "
        "two ranges meet",
    ),
    broken(
        "an overlap",
        small(
            graduate("arr >= 5000 and arr < 25000", to="low", name="to_low", from_=["tech"]),
            graduate("arr >= 20000", to="high", name="to_high"),
        ),
        "rules[1].when: an overlap: with arr from 20,000 to below 25,000 both this rule and `to_low` "
        "fire; let the two ranges meet",
    ),
    broken(
        "an overlap of one amount",
        small(
            graduate("arr >= 5000 and arr <= 20000", to="low", name="to_low", from_=["tech"]),
            graduate("arr >= 20000", to="high", name="to_high"),
        ),
        "rules[1].when: an overlap: with arr at exactly 20,000 both this rule and `to_low` fire; let the "
        "two ranges meet",
    ),
    broken(
        "a gap between demotions",
        small(
            demote("arr < 5000", to="tech", name="to_tech"),
            demote("arr >= 8000 and arr < 20000", to="low", name="to_low", from_=["high"]),
        ),
        "rules[1].when: a gap: with arr from 5,000 to below 8,000 neither this rule nor `to_tech` fires; "
        "let the two ranges meet",
    ),
    broken(
        "a gap on another condition's ladder",
        small(
            graduate("tickets > 0 and value between 10000 and 20000", to="low", name="to_low", from_=["tech"]),
            graduate("tickets > 0 and value > 30000", to="high", name="to_high", from_=["tech"]),
        ),
        "rules[1].when: a gap: with value above 20,000 up to 30,000 neither this rule nor `to_low` fires; "
        "let the two ranges meet",
    ),
    broken(
        "more money, lower band",
        small(graduate("arr >= 20000 and arr < 100000 and tickets > 0", to="high")),
        "rules[0].when: more arr gives a lower band: from 100,000 no graduation takes an account from "
        "`tech` to `high` or above; drop the upper limit or add a rule that goes on from it",
    ),
    broken(
        "a demotion for more money",
        small(demote("arr > 50000", to="low")),
        "rules[0].when: more arr gives a lower band: it demotes above 50,000, and up to 50,000 nothing "
        "demotes as far; turn the comparison round",
    ),
    broken(
        "up and at once down again",
        small(graduate("arr >= 50000", to="high"), demote("arr < 60000", to="low", from_=["high"])),
        "rules[0].when: an overlap: with arr from 50,000 to below 60,000 this rule lifts to `high`, and "
        "`down` would demote from there at once, so that the account stays where it is",
    ),
    broken(
        "a fixed threshold under the demotion floor",
        small(graduate("value >= 30000", to="high"), demote("value < demotion_floor", to="earned_band")),
        "rules[0].when: an overlap: with value from 30,000 to below 38,250 this rule lifts to `high`, and "
        "`down` would demote from there at once, so that the account stays where it is",
    ),
    broken(
        "the wrong order on a ladder",
        small(
            graduate("value >= 7200", to="low", name="to_low", from_=["tech"]),
            graduate("value >= 45000", to="high", name="to_high", from_=["tech"]),
        ),
        "rules[1].when: the rule never decides: `to_low` comes first and is true whenever it is; put this "
        "rule earlier, or take it out",
    ),
    broken(
        "several at once",
        small(
            graduate("seat > 10", to="hihg", because="{sets}"),
            bands=BANDS.replace("cadence_days = 30", 'cadence_days = "30"'),
        ),
        "bands[2].cadence_days: should be a whole number, without quotes",
        "rules[0].when: column 1: unknown fact `seat`; did you mean `seats`?",
        "rules[0].to: there is no band `hihg`; did you mean `high`?",
        "rules[0].because: column 1: unknown fact `sets`; did you mean `seats`?",
    ),
]


@pytest.mark.parametrize(("text", "says"), BROKEN)
def test_a_broken_policy_is_told_what_is_wrong_and_where(text: str, says: Sequence[str]) -> None:
    assert mistakes(text) == list(says)


def test_the_policy_that_the_broken_ones_differ_from_is_sound() -> None:
    assert (
        mistakes(small(graduate("tickets > 0"), demote("health < 50"), intervene("adoption < 0.2", from_=["low"])))
        == []
    )


def test_there_are_at_least_60_broken_policies() -> None:
    assert len(BROKEN) >= 60


QUESTIONABLE = [
    broken(
        "a condition that is always true",
        small(graduate("tickets >= 0 or true", to="high", segments=["enterprise"])),
        "rules[0].when: the condition is true of every account the rule applies to",
    ),
    broken(
        "a protection that never matters",
        small(demote("health < 50", protect_when="health > 80")),
        "rules[0].protect_when: it protects no account, as it is never true where the rule fires",
    ),
    broken(
        "weeks that never run out",
        small(intervene("days_until(renewal_on) between 0 and 27", for_weeks=26)),
        "rules[0].for_weeks: 26 weeks never run out: the condition ends by itself within 4 weeks, as it needs "
        "`days_until(renewal_on)` in a span of 28 days",
    ),
]


@pytest.mark.parametrize(("text", "says"), QUESTIONABLE)
def test_a_questionable_policy_is_warned_of_and_passes(text: str, says: Sequence[str]) -> None:
    policy = read_policy(text, source="policy.toml")
    assert check(policy) == ()
    assert [str(problem) for problem in warn(policy)] == list(says)


SOUND = [
    broken(
        "a ladder from the top",
        small(
            graduate("value >= 45000", to="high", name="to_high"),
            graduate("value >= 7200", to="low", name="to_low", from_=["tech"]),
        ),
    ),
    broken(
        "a ladder whose ranges meet",
        small(
            graduate("arr >= 5000 and arr < 20000", to="low", name="to_low", from_=["tech"]),
            graduate("arr >= 20000", to="high", name="to_high"),
        ),
    ),
    broken(
        "a gap that another rule fills",
        small(
            graduate("arr >= 5000 and arr < 20000", to="low", name="to_low", from_=["tech"]),
            graduate("arr >= 25000", to="high", name="to_high"),
            graduate("arr >= 20000 and arr < 25000 or tickets > 9", name="between"),
        ),
    ),
    broken(
        "a gap that the value fills",
        small(
            graduate("arr >= 5000 and arr < 20000", to="low", name="to_low", from_=["tech"]),
            graduate("arr >= 25000", to="high", name="to_high"),
            graduate("value >= 5000", name="worth"),
        ),
    ),
    broken("hysteresis", small(graduate("arr >= 50000", to="high"), demote("arr < 40000", to="low", from_=["high"]))),
    broken(
        "an upper limit that another rule goes on from",
        small(
            graduate("arr < 100000 and tickets > 0", name="asks"),
            graduate("arr >= 100000", to="earned_band"),
            demote("value < demotion_floor", to="earned_band"),
        ),
    ),
    broken("both ways, for different accounts", small(graduate("health >= 80"), demote("tickets > 2"))),
    broken(
        "a later rule that waits less",
        small(
            demote("health < 60", name="ill", confirm_weeks=3),
            demote("health < 50", name="very_ill"),
        ),
    ),
    broken(
        "a later rule that is not protected",
        small(
            demote("health < 60", name="ill", protect_when="adoption > 0.5"),
            demote("health < 50", name="very_ill"),
        ),
    ),
    broken(
        "a later rule for a missing fact",
        small(
            demote("health < 50 or adoption < 0.2", name="ill"),
            demote("coalesce(health, 0) < 50", name="unknown"),
        ),
    ),
    broken("a quotient that is rounded", small(graduate("arr / 1000000 = 0 and arr > 0"))),
    broken(
        "more conditions than can be written out",
        small(
            graduate(" and ".join(f"(seats > {n} or arr > {n} or adoption > 0.{n})" for n in range(1, 10))),
        ),
    ),
]


@pytest.mark.parametrize(("text", "says"), SOUND)
def test_a_sound_policy_raises_no_alarm(text: str, says: Sequence[str]) -> None:
    assert mistakes(text) == list(says)
