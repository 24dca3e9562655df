"""What is said of a policy file that is broken: everything at once, each with its place and what to do."""

from contextlib import suppress
from random import Random

import pytest

from app.errors import Mistake
from app.policy.read import read_policy
from tests.policy.files import DEFAULT, SMALL, edited, mistakes

HOLD = "its condition can be true without a fresh signal; ask for an event in it, as in `tickets > 0 and ...`"
LONG = "x" * 2_001

BROKEN: list[tuple[str, list[tuple[str, str]], list[str]]] = [
    ("a missing name", [('name = "small"\n', "")], ["name: is missing"]),
    ("an unknown table", [("[signals]", "[signal]")], ["signal: unknown key; did you mean `signals`?"]),
    (
        "an unknown key",
        [("when =", "wehn =")],
        ["rules[0].when: is missing", "rules[0].wehn: unknown key; did you mean `when`?"],
    ),
    ("a wrong word", [('"pool"', '"pol"')], ["bands[0].owner: should be 'pool' or 'named'; did you mean `pool`?"]),
    (
        "a number in quotes",
        [("= 1000", '= "1000"')],
        ["bands[0].accounts_per_csm: should be a whole number, without quotes"],
    ),
    ("money in quotes", [("50_000", '"50_000"')], ["bands[1].floor: should be a number, without quotes"]),
    ("a number too small", [("= 1000", "= 0")], ["bands[0].accounts_per_csm: should be at least 1"]),
    ("an infinite floor", [("50_000", "inf")], ["bands[1].floor: should be a finite number"]),
    ("a negative floor", [("50_000", "-1")], ["bands[1].floor: should be at least 0"]),
    ("a truth for a number", [("50_000", "true")], ["bands[1].floor: should be a number, without quotes"]),
    (
        "a capital in a name",
        [('"high"', '"High"'), ('"high"', '"High"')],
        ["bands[1].name: should be a name of small letters, digits and _, and start with a letter"],
    ),
    (
        "a target as a band",
        [('"high"', '"next"'), ('"high"', '"next"')],
        ["bands[1].name: `next` is a rule's target; choose another name"],
    ),
    (
        "a band twice",
        [('"high"', '"tech"'), ('"high"', '"next"')],
        ["bands[1].name: bands[0] is already called `tech`"],
    ),
    (
        "a named lowest band",
        [('"pool"', '"named"')],
        ["bands[0].owner: the lowest band is served by the pool; it takes every account that no CSM does"],
    ),
    (
        "a floor under the lowest band",
        [("= 1000", "= 1000\nfloor = 5")],
        ["bands[0].floor: the lowest band takes every account, so its floor is 0; leave it out"],
    ),
    (
        "a floor of nothing",
        [("50_000", "0")],
        ["economics: floors rise with the bands, but `high` starts at $0 and `tech` below it at $0"],
    ),
    (
        "no way to a floor",
        [("floor = 50_000", "")],
        ["bands[1]: the floor of `high` is not known; give csm_cost and cost_ratio under [economics], or `floor` here"],
    ),
    (
        "half a way to a floor",
        [("floor = 50_000", ""), ("[signals]", "[economics]\ncsm_cost = 5\n\n[signals]")],
        ["bands[1]: the floor of `high` is not known; give cost_ratio under [economics], or `floor` here"],
    ),
    (
        "an unknown band in a segment",
        [("[signals]", "[economics.segments.a]\nfloors.hihg = 5\n\n[signals]")],
        ["economics.segments.a.floors.hihg: there is no band `hihg`; did you mean `high`?"],
    ),
    (
        "a currency",
        [("[signals]", '[economics]\ncurrency = "usd"\n\n[signals]')],
        ["economics.currency: should be three capital letters, as in USD"],
    ),
    (
        "a buffer of all",
        [("[signals]", "[economics]\nbuffer = 1\n\n[signals]")],
        ["economics.buffer: should be less than 1"],
    ),
    (
        "a value of the band",
        [("[signals]", '[economics]\nvalue = "arr - floor"\n\n[signals]')],
        ["economics.value: the value of an account cannot rest on `floor`, which follows from the value"],
    ),
    (
        "a value of events",
        [("[signals]", '[economics]\nvalue = "arr * tickets"\n\n[signals]')],
        ["economics.value: the value of an account cannot rest on `tickets`, which counts events since the last move"],
    ),
    (
        "a value of text",
        [("[signals]", '[economics]\nvalue = "segment"\n\n[signals]')],
        ["economics.value: column 1: `segment` is text, and here belongs a number"],
    ),
    (
        "an attribute's type",
        [("[signals]", '[attributes]\nplan = "txt"\n\n[signals]')],
        ["attributes.plan: should be 'number', 'text', 'boolean', 'date' or 'timestamp'; did you mean `text`?"],
    ),
    (
        "a built-in name",
        [("[signals]", '[attributes]\narr = "number"\n\n[signals]')],
        ["attributes.arr: `arr` is built in; choose another name"],
    ),
    (
        "a keyword",
        [("tickets =", "case =")],
        ["signals.case: `case` means something in expressions; choose another name"],
    ),
    (
        "a capital in a fact",
        [("tickets =", "Tickets =")],
        ["signals.Tickets: a fact's name has up to 40 small letters, digits and single _, and starts with a letter"],
    ),
    (
        "one name for two facts",
        [("[[rules]]", '[facts]\ntickets = "arr"\n\n[[rules]]')],
        ["facts.tickets: `tickets` is already under [signals]; choose another name"],
    ),
    (
        "a measure",
        [('"count"', '"cuont"')],
        [
            (
                "signals.tickets.measure: should be 'count', 'sum', 'max', 'min', "
                "'latest', 'days_since' or 'value_ago'; "
                "did you mean `count`?"
            )
        ],
    ),
    (
        "value_ago of no day",
        [('"count"', '"value_ago"')],
        ["signals.tickets.days_ago: value_ago needs days_ago: how many days ago the value is read"],
    ),
    (
        "days_ago for a count",
        [('"count"', '"count", days_ago = 5')],
        ["signals.tickets.days_ago: belongs to value_ago, not to count; a window ends with until_days_ago"],
    ),
    (
        "an empty window",
        [('"count"', '"count", until_days_ago = 60')],
        ["signals.tickets.within_days: the window is empty: it begins 60 days ago and ends 60 days ago"],
    ),
    (
        "an empty window of value_ago",
        [('"count"', '"value_ago", days_ago = 60')],
        ["signals.tickets.within_days: the window is empty: it begins 60 days ago and ends 60 days ago"],
    ),
    (
        "a circle of facts",
        [("[[rules]]", '[facts]\na = "b"\nb = "c + 1"\nc = "a"\nd = "a"\n\n[[rules]]')],
        ["facts.a: facts in a circle: a -> b -> c -> a; one of them must not read the next"],
    ),
    (
        "a fact of itself",
        [("[[rules]]", '[facts]\na = "a + 1"\n\n[[rules]]')],
        ["facts.a: facts in a circle: a -> a; one of them must not read the next"],
    ),
    (
        "two circles",
        [("[[rules]]", '[facts]\na = "b"\nb = "a"\nc = "d"\nd = "c"\n\n[[rules]]')],
        [
            "facts.a: facts in a circle: a -> b -> a; one of them must not read the next",
            "facts.c: facts in a circle: c -> d -> c; one of them must not read the next",
        ],
    ),
    (
        "a fact's expression",
        [("[[rules]]", '[facts]\na = { expr = "seat" }\nb = "a + 1"\n\n[[rules]]')],
        ["facts.a.expr: column 1: unknown fact `seat`; did you mean `seats`?"],
    ),
    (
        "a fact without text",
        [("[[rules]]", "[facts]\na = 5\nb = {}\n\n[[rules]]")],
        ["facts.a: should be a table, as in { key = value }", "facts.b.expr: is missing"],
    ),
    ("an empty fact", [("[[rules]]", '[facts]\na = ""\n\n[[rules]]')], ["facts.a: column 1: the expression is empty"]),
    (
        "a unit",
        [("[[rules]]", '[facts]\na = { expr = "arr", unit = "mony" }\n\n[[rules]]')],
        ["facts.a.unit: should be 'money', 'percent', 'days', 'date', 'number' or 'text'; did you mean `money`?"],
    ),
    (
        "a condition of a number",
        [('"arr > 1"', '"arr"')],
        ["rules[0].when: column 1: `arr` is a number, and here belongs a condition, true or false"],
    ),
    (
        "an unknown fact",
        [('"arr > 1"', '"arr > 1 and seat > 2"')],
        ["rules[0].when: column 13: unknown fact `seat`; did you mean `seats`?"],
    ),
    (
        "a condition too long",
        [('"arr > 1"', f'"{LONG}"')],
        [
            (
                "rules[0].when: column 1: the expression is 2,001 characters long, and 2,000 is the most; "
                "name parts of it under [facts]"
            )
        ],
    ),
    ("an empty condition", [('"arr > 1"', '""')], ["rules[0].when: column 1: the expression is empty"]),
    ("a condition that is no text", [('"arr > 1"', "true")], ["rules[0].when: should be a text in quotes"]),
    (
        "an unknown fact in because",
        [("{arr}", "{ar}")],
        ["rules[0].because: column 8: unknown fact `ar`; did you mean `arr`?"],
    ),
    (
        "an open brace",
        [("{arr}", "{arr")],
        ["rules[0].because: column 8: a brace without its partner; facts stand in braces, as in {arr}"],
    ),
    (
        "a closed brace",
        [("{arr}", "arr}")],
        ["rules[0].because: column 11: a brace without its partner; facts stand in braces, as in {arr}"],
    ),
    (
        "empty braces",
        [("{arr}", "{}")],
        ["rules[0].because: column 8: `{}` is not a fact; braces hold a fact's name alone"],
    ),
    (
        "a format in braces",
        [("{arr}", "{arr:,.0f}")],
        ["rules[0].because: column 8: `{arr:,.0f}` is not a fact; braces hold a fact's name alone"],
    ),
    (
        "an attribute of a fact",
        [("{arr}", "{arr.real}")],
        ["rules[0].because: column 8: `{arr.real}` is not a fact; braces hold a fact's name alone"],
    ),
    (
        "an escape in because",
        [("{arr}", "\\u001b[31m")],
        ["rules[0].because: has a line break or a character that cannot be printed; keep it to one line"],
    ),
    ("an empty because", [('"it has {arr}"', '""')], ["rules[0].because: is empty"]),
    (
        "an unknown band",
        [('to = "high"', 'to = "hihg"')],
        ["rules[0].to: there is no band `hihg`; did you mean `high`?"],
    ),
    (
        "an unknown from",
        [('to = "high"', 'to = "high"\nfrom = ["tehc"]')],
        ["rules[0].from[0]: there is no band `tehc`; did you mean `tech`?"],
    ),
    (
        "from a text",
        [('to = "high"', 'to = "high"\nfrom = "tech"')],
        ['rules[0].from: should be a list, as in ["low", "high"]'],
    ),
    ("from nothing", [('to = "high"', 'to = "high"\nfrom = []')], ["rules[0].from: needs at least 1 entry"]),
    (
        "from a band twice",
        [('to = "high"', 'to = "high"\nfrom = ["tech", "tech"]')],
        ["rules[0].from: names `tech` twice"],
    ),
    (
        "a graduation to the lowest",
        [('to = "high"', 'to = "tech"')],
        ["rules[0].to: no band lies below `tech`, so this rule moves nobody"],
    ),
    (
        "a demotion to the highest",
        [('"graduate"', '"demote"')],
        ["rules[0].to: no band lies above `high`, so this rule moves nobody"],
    ),
    (
        "a graduation from its target",
        [('to = "high"', 'to = "high"\nfrom = ["tech", "high"]')],
        ["rules[0].from[1]: `high` has nothing to graduate to: `high` is not above it"],
    ),
    (
        "a graduation from the highest",
        [('to = "high"', 'to = "next"\nfrom = ["high"]')],
        ["rules[0].from[0]: `high` has nothing to graduate to: it is the highest band"],
    ),
    (
        "a graduation to previous",
        [('to = "high"', 'to = "previous"')],
        ["rules[0].to: a rule to graduate goes to a band, earned_band or next, not to previous"],
    ),
    (
        "a demotion to next",
        [('"graduate"', '"demote"'), ('to = "high"', 'to = "next"')],
        ["rules[0].to: a rule to demote goes to a band, earned_band or previous, not to next"],
    ),
    (
        "an intervention to next",
        [('"graduate"', '"intervene"'), ('to = "high"', 'to = "next"\nfor_weeks = 5')],
        ["rules[0].to: a rule to intervene goes to a band, not to next"],
    ),
    (
        "an intervention for ever",
        [('"graduate"', '"intervene"')],
        ["rules[0].for_weeks: an intervention needs for_weeks: the longest it lasts"],
    ),
    (
        "a graduation for a time",
        [('to = "high"', 'to = "high"\nfor_weeks = 5')],
        ["rules[0].for_weeks: belongs to interventions, and this rule is to graduate"],
    ),
    (
        "a protected intervention",
        [('"graduate"', '"intervene"'), ('to = "high"', 'to = "high"\nfor_weeks = 5\nprotect_when = "true"')],
        ["rules[0].protect_when: belongs to graduations and demotions, and this rule is to intervene"],
    ),
    (
        "a demotion that overrides",
        [('"graduate"', '"demote"'), ('to = "high"', 'to = "tech"\noverrides_hold = true')],
        [
            "rules[0].overrides_hold: belongs to graduations, and this rule is to demote",
            f"rules[0].overrides_hold: {HOLD}",
        ],
    ),
    (
        "an unknown rule in despite",
        [('to = "high"', 'to = "high"\ndespite = ["quite"]')],
        ["rules[0].despite[0]: there is no rule `quite`"],
    ),
    (
        "a graduation in despite",
        [('to = "high"', 'to = "high"\ndespite = ["up"]')],
        ["rules[0].despite[0]: `up` is not a demotion"],
    ),
    (
        "grace for nothing",
        [('to = "high"', 'to = "high"\ngrace_weeks = 5')],
        ["rules[0].grace_weeks: needs `despite`: the demotions that wait"],
    ),
    (
        "confirmation of no week",
        [('to = "high"', 'to = "high"\nconfirm_weeks = 0')],
        ["rules[0].confirm_weeks: should be at least 1"],
    ),
    (
        "confirmation of years",
        [('to = "high"', 'to = "high"\nconfirm_weeks = 53')],
        ["rules[0].confirm_weeks: should be at most 52"],
    ),
    (
        "half a week",
        [('to = "high"', 'to = "high"\nconfirm_weeks = 1.5')],
        ["rules[0].confirm_weeks: should be a whole number, without quotes"],
    ),
    (
        "a segment in and out",
        [('to = "high"', 'to = "high"\nsegments = ["a"]\nexcept_segments = ["a"]')],
        ["rules[0].except_segments: `a` is also under `segments`"],
    ),
    (
        "a reserved rule name",
        [('name = "up"', 'name = "entry"')],
        ["rules[0].name: the history says `entry` of an account that enters; choose another name"],
    ),
    (
        "an override on state",
        [('to = "high"', 'to = "high"\noverrides_hold = true')],
        [f"rules[0].overrides_hold: {HOLD}"],
    ),
    (
        "a number of endless decimals",
        [("50_000", "1e-999999999")],
        ["bands[1].floor: should be a number with 20 digits and decimals at most"],
    ),
    (
        "a character that no database takes",
        [('kind = "ticket"', 'kind = "tic\\u0000ket"')],
        [
            "signals.tickets.kind: has a line break or a character that cannot be printed; keep it to one line",
        ],
    ),
    (
        "a line break in a segment",
        [('to = "high"', 'to = "high"\nsegments = ["a\\nb"]')],
        ["rules[0].segments[0]: has a line break or a character that cannot be printed; keep it to one line"],
    ),
    (
        "a guard of more than all",
        [("[signals]", "[guards]\nmoved_arr = { share = 15 }\n\n[signals]")],
        ["guards.moved_arr.share: should be at most 1"],
    ),
    (
        "a guard that is true",
        [("[signals]", "[guards]\nmoved_arr = true\n\n[signals]")],
        ["guards.moved_arr: should be false, which switches it off, or its limits"],
    ),
    (
        "a weekday",
        [("[signals]", '[calendar]\nweekday = "mon"\n\n[signals]')],
        [
            (
                "calendar.weekday: should be 'monday', 'tuesday', 'wednesday', "
                "'thursday', 'friday', 'saturday' or 'sunday'; "
                "did you mean `monday`?"
            )
        ],
    ),
    (
        "a time of day",
        [("[signals]", '[calendar]\nat = "24:00"\n\n[signals]')],
        ['calendar.at: should be a time of day, as in "06:00"'],
    ),
    (
        "a time zone",
        [("[signals]", '[calendar]\ntime_zone = "Paris"\n\n[signals]')],
        ["calendar.time_zone: there is no time zone `Paris`; names are like Europe/Paris or UTC"],
    ),
    (
        "a folder of time zones",
        [("[signals]", '[calendar]\ntime_zone = "Europe"\n\n[signals]')],
        ["calendar.time_zone: there is no time zone `Europe`; names are like Europe/Paris or UTC"],
    ),
    (
        "a path as a time zone",
        [("[signals]", '[calendar]\ntime_zone = "../etc/passwd"\n\n[signals]')],
        ["calendar.time_zone: there is no time zone `../etc/passwd`; names are like Europe/Paris or UTC"],
    ),
    ("an escape in a key", [("[signals]", '"\\u001b[31m" = 5\n\n[signals]')], ["bands[1].?[31m: unknown key"]),
]


@pytest.mark.parametrize(("edits", "expected"), [each[1:] for each in BROKEN], ids=[each[0] for each in BROKEN])
def test_a_broken_policy_says_what_is_broken_and_where(edits: list[tuple[str, str]], expected: list[str]) -> None:
    assert mistakes(edited(*edits)) == expected


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = edited(
        ('"pool"', '"pol"'),
        ("within_days = 60", "within_days = 0"),
        ('name = "up"', 'name = "up"\ncolour = "red"'),
        ('"arr > 1"', '"ar > 1"'),
        ("{arr}", "{ar}"),
    )
    assert [one.split(":")[0] for one in mistakes(text)] == [
        "bands[0].owner",
        "signals.tickets.within_days",
        "rules[0].colour",
        "rules[0].when",
        "rules[0].because",
    ]
    with pytest.raises(Mistake, match=r"^my\.toml has 5 mistakes:\n  bands"):
        read_policy(text, source="my.toml")


def test_a_mistake_in_a_fact_is_not_told_again_where_it_is_read() -> None:
    text = edited(
        ("[[rules]]", '[facts]\nrisky = "helth < 5"\nworse = "risky and arr > 1"\n\n[[rules]]'),
        ('"arr > 1"', '"worse and tickets > 0"'),
        ("{arr}", "{worse}"),
    )
    assert mistakes(text) == ["facts.risky: column 1: unknown fact `helth`"]


def test_crossing_floors_are_told_for_each_segment_with_both_bands() -> None:
    text = DEFAULT.replace("accounts_per_csm = 250", "accounts_per_csm = 30", 1)
    assert mistakes(text) == [
        "economics: floors rise with the bands, but `high` starts at $45,000 and `low` below it at $60,000",
        (
            "economics.segments.enterprise: floors rise with the bands, "
            "but `high` starts at $30,000 and `low` below it at $40,000"
        ),
        (
            "economics.segments.self_serve: floors rise with the bands, "
            "but `high` starts at $56,250 and `low` below it at $75,000"
        ),
    ]


def test_any_number_of_the_lowest_bands_may_be_pooled() -> None:
    text = DEFAULT.replace('name = "low"\nowner = "named"', 'name = "low"\nowner = "pool"', 1)
    assert [band.pooled for band in read_policy(text, source="x").bands] == [True, True, False, False]
    gap = DEFAULT.replace('name = "high"\nowner = "named"', 'name = "high"\nowner = "pool"', 1)
    assert mistakes(gap) == ["bands[2].owner: the pool serves the lowest bands, and `low` below it has named owners"]


def test_facts_that_double_each_other_are_stopped_before_they_fill_the_memory() -> None:
    doubling = "".join(f'f{n} = "f{n - 1} + f{n - 1}"\n' for n in range(1, 60))
    found = mistakes(edited(("[[rules]]", f'[facts]\nf0 = "arr"\n{doubling}\n[[rules]]')))
    assert found == ["facts.f11: grows to 4,095 terms once its facts are put in, and 4,000 is the most"]


def test_facts_that_nest_each_other_are_stopped_before_they_go_too_deep() -> None:
    nesting = "".join(f'f{n} = "abs(f{n - 1} + 1)"\n' for n in range(1, 60))
    found = mistakes(edited(("[[rules]]", f'[facts]\nf0 = "arr"\n{nesting}\n[[rules]]')))
    assert found == ["facts.f25: nested 51 levels deep once its facts are put in, and 50 is the most"]


def test_two_rules_of_one_name_are_told() -> None:
    again = SMALL.split("[[rules]]")[1]
    assert mistakes(f"{SMALL}\n[[rules]]{again}") == ["rules[1].name: rules[0] is already called `up`"]


def test_values_of_every_wrong_type_are_told_and_never_crash() -> None:
    keys = ("name", "bands", "economics", "attributes", "signals", "facts", "rules", "guards", "calendar", "cases")
    for value in (
        "5",
        '"x"',
        "true",
        "[]",
        "[1]",
        "{}",
        "{a = 1}",
        "[{}]",
        "2026-01-31",
        "1.5",
        "[[]]",
        "{a = []}",
        "{a = {}}",
    ):
        for key in keys:
            kept = "" if key in ("signals", "bands", "rules", "name") else SMALL
            with suppress(Mistake):
                read_policy(f"{key} = {value}\n{kept}", source="x")


VALUES = (
    "5",
    "-1",
    "true",
    '""',
    '"x"',
    '"high"',
    "[]",
    '["low"]',
    "{}",
    "inf",
    "1e-30",
    '"\\u0000"',
    "[[1]]",
    '"arr > "',
    "1.5",
)


def test_no_edit_of_the_default_policy_does_anything_but_read_or_tell() -> None:
    r = Random(7)  # noqa: S311  draws test data
    lines = [line for line in DEFAULT.splitlines() if not line.startswith("#")]
    read = told = 0
    for _ in range(150):
        edited_lines = list(lines)
        for _ in range(r.randint(1, 3)):
            place = r.randrange(len(edited_lines))
            key, equals, _ = edited_lines[place].partition(" = ")
            edited_lines[place] = f"{key} = {r.choice(VALUES)}" if equals else r.choice(lines)
        try:
            read_policy("\n".join(edited_lines), source="x")
            read += 1
        except Mistake:
            told += 1
    assert read > 10
    assert told > 50
