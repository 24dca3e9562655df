"""What `bandshift policy show` prints: a policy as its owner would explain it, with the arithmetic of every floor."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from app.figures import money, percent, short_money
from app.policy.floors import FloorOf, price
from app.policy.model import Guards, Owners, Policy, Share
from app.policy.shape import FactShape, PolicyShape, RuleShape, SignalShape
from app.policy.wording import listed
from app.report.page import Column, Page, Row


def write_policy(page: Page, policy: Policy, shape: PolicyShape) -> None:
    """The whole policy is on the page: bands, floors per segment, facts, rules in sentences, guards and calendar."""
    page.line(f"{policy.name}, {policy.sha256[:12]}, amounts in {policy.currency}", style="bold")
    _bands(page, shape)
    _floors(page, shape)
    _names(page, "Your own columns", {name: str(kind) for name, kind in shape.attributes.items()})
    _names(page, "Signals", {name: signal_in_words(signal) for name, signal in shape.signals.items()})
    _names(page, "Facts", {name: _expression(fact) for name, fact in shape.facts.items()})
    _rules(page, shape)
    _names(page, "Guards: a plan stops if", dict(_guards(policy.guards)))
    _names(page, "Owners", dict(_owners(policy.owners)))
    zone, at = shape.calendar.time_zone, shape.calendar.at
    page.heading(f"Due every {shape.calendar.weekday} at {at:%H:%M}, {zone}")


def _bands(page: Page, shape: PolicyShape) -> None:
    page.heading("Bands, lowest first")
    columns = [
        Column("band"),
        Column("served by"),
        Column("accounts per CSM", right=True),
        Column("contact", right=True),
    ]
    page.table(
        columns,
        [
            Row(
                (
                    band.name,
                    "the pool" if band.owner == "pool" else "a named CSM",
                    f"{band.accounts_per_csm:,}",
                    f"every {band.cadence_days} days" if band.cadence_days else "none fixed",
                )
            )
            for band in shape.bands
        ],
    )


def _floors(page: Page, shape: PolicyShape) -> None:
    priced, _ = price(shape.bands, shape.economics)
    page.heading("Floors: the least value of an account in each band")
    page.paragraph(f"value = {shape.economics.value}", 2)
    if any(each.cost for floors in priced.values() for each in floors):
        page.paragraph("floor = cost of a CSM x staffing / cost ratio / accounts per CSM", 2)
    for segment, floors in priced.items():
        page.line()
        others = "segment not named below" if len(priced) > 1 else "segment"
        page.line(f"  {segment}" if segment is not None else f"  any {others}, or none")
        _floor_table(page, shape, segment, floors)


def _floor_table(page: Page, shape: PolicyShape, segment: str | None, floors: Sequence[FloorOf]) -> None:
    columns = [
        Column("band"),
        Column("floor", right=True),
        Column("kept to", right=True),
        Column("book", right=True),
        Column("worth", right=True),
        Column("because"),
    ]
    rows = []
    for band, each in zip(shape.bands, floors, strict=True):
        differs = shape.economics.segments[segment].accounts_per_csm if segment is not None else {}
        book = differs.get(band.name, band.accounts_per_csm)
        bottom = each is floors[0]
        rows.append(
            Row(
                (
                    each.band,
                    money(each.floor, each.currency),
                    "" if bottom else money(each.demotion, each.currency),
                    f"{book:,}",
                    "" if bottom else short_money(each.floor * book, each.currency),
                    "it takes every account" if bottom else _arithmetic(each),
                )
            )
        )
    page.table(columns, rows, indent=4)


def _arithmetic(floor: FloorOf) -> str:
    """Where a floor comes from, without its result."""
    if floor.cost is None:
        return "written in the policy"
    return floor.arithmetic.rpartition(" = ")[0]


def _names(page: Page, heading: str, named: Mapping[str, str]) -> None:
    """Names with what they stand for, which goes on under itself."""
    if not named:
        return
    page.heading(heading)
    width = max(len(name) for name in named)
    for name, words in named.items():
        _hanging(page, f"  {name:{width}}  ", words)


def _hanging(page: Page, label: str, text: str) -> None:
    """The label, and the text beside it, wrapped to the right of the label."""
    first, *others = textwrap.wrap(
        text, max(page.width - len(label), 20), break_long_words=False, break_on_hyphens=False
    ) or [""]
    page.line(f"{label}{first}")
    for line in others:
        page.line(" " * len(label) + line)


def signal_in_words(signal: SignalShape) -> str:
    """A signal fact as a phrase: `count of api_ticket in 60 days, since the last move`."""
    measure = {
        "count": f"how many {signal.kind}",
        "sum": f"sum of {signal.kind}",
        "max": f"largest {signal.kind}",
        "min": f"smallest {signal.kind}",
        "latest": f"latest {signal.kind}",
        "days_since": f"days since the latest {signal.kind}",
        "value_ago": f"{signal.kind} as of {signal.days_ago} days ago",
    }[signal.measure]
    found = measure
    if signal.within_days is not None and signal.until_days_ago:
        found += f", from {signal.within_days} to {signal.until_days_ago} days ago"
    elif signal.within_days is not None:
        found += f" in {signal.within_days} days"
    elif signal.until_days_ago:
        found += f", up to {signal.until_days_ago} days ago"
    counts_events = signal.measure in ("count", "sum", "max", "min")
    is_event = counts_events if signal.event is None else signal.event
    return f"{found}, since the last move" if is_event else found


def _expression(fact: FactShape) -> str:
    return " ".join(fact.expr.split())


def _rules(page: Page, shape: PolicyShape) -> None:
    page.heading("Rules, in order: of each kind the first that fires decides")
    for number, rule in enumerate(shape.rules, start=1):
        off = "" if rule.enabled else " (switched off)"
        _hanging(page, f"  {number:2}. ", f"{rule.name}{off} {rule_in_words(rule)}")
        for sentence in _options(rule):
            _hanging(page, " " * 8, sentence)
        _hanging(page, " " * 8, f'"{rule.because}"')


def rule_in_words(rule: RuleShape) -> str:
    """The rule's move and where it applies: `demotes from high or strategic to the band below`."""
    verb = {"graduate": "graduates", "demote": "demotes", "intervene": "lifts for a time"}[rule.move]
    targets = {"earned_band": "the band that its value carries", "next": "the next band", "previous": "the band below"}
    sentence = f"{verb} an account"
    if rule.segments:
        sentence += f" of {listed(rule.segments, 'or')}"
    if rule.except_segments:
        sentence += f", unless of {listed(rule.except_segments, 'or')},"
    if rule.from_:
        sentence += f" from {listed(rule.from_, 'or')}"
    return f"{sentence} to {targets.get(rule.to, rule.to)}"


def _options(rule: RuleShape) -> Iterator[str]:
    """What the rule asks for, and how it is held back."""
    yield f"when {' '.join(rule.when.split())}"
    if rule.for_weeks is not None:
        yield f"for {_weeks(rule.for_weeks)} at most"
    if rule.confirm_weeks > 1:
        yield f"once that was true on {rule.confirm_weeks} weekly runs in a row"
    if rule.min_stay_weeks:
        yield f"after {_weeks(rule.min_stay_weeks)} in its band"
    if rule.protect_when is not None:
        yield f"to review, not to move, when {' '.join(rule.protect_when.split())}"
    if rule.overrides_hold:
        yield "even if what took it down is still true"
    if rule.despite is not None:
        grace = f", which wait {_weeks(rule.grace_weeks)} after" if rule.grace_weeks else ""
        yield f"even if {listed(rule.despite, 'or')} would take it back{grace}"


def _weeks(count: int) -> str:
    return "1 week" if count == 1 else f"{count} weeks"


def _guards(guards: Guards) -> Iterator[tuple[str, str]]:
    """Each guard with what trips it."""
    shares: tuple[tuple[str, Share | None, str], ...] = (
        ("moved_accounts", guards.moved_accounts, "of the accounts move"),
        ("moved_arr", guards.moved_arr, "of the ARR moves"),
        ("csm_book", guards.csm_book, "of one CSM's book comes or goes"),
        ("shrunken_input", guards.shrunken_input, "of the accounts are gone since the last run"),
        ("missing_facts", guards.missing_facts, "of the accounts lost a fact that a rule reads"),
    )
    for name, share, what in shares:
        yield name, "switched off" if share is None else f"more than {_limit(share)} {what}"
    yield "fewest_accounts", f"there are fewer than {guards.fewest_accounts:,} accounts"
    stale = guards.stale_after_days
    yield "stale_after_days", "switched off" if stale is None else f"a weekly feed brought nothing for {stale} days"


def _limit(share: Share) -> str:
    shown = percent(Decimal(share.share))
    return f"{shown}, and more than {share.at_least:,}," if share.at_least else shown


_FAMILIES: Mapping[str, str] = {
    "own_merits": "each account of a family is in the band that its own facts give it",
    "highest_band": "all accounts of a family are in the highest band that one of them has on its merits",
}


def _owners(owners: Owners) -> Iterator[tuple[str, str]]:
    """Each term on which accounts change hands."""
    intake, ramp = owners.max_new_per_run, owners.ramp_weeks
    yield "stable_days", f"a new owner stays for {owners.stable_days} days, unless they leave or a pin says otherwise"
    away = f"who is away for more than {owners.absence_days} days is given no accounts"
    yield "absence_days", f"{away}, from {owners.notice_days} days before"
    most = (
        "no limit"
        if intake is None
        else f"{percent(intake.share)} of their book, or {intake.at_least:,} if that is more"
    )
    yield "max_new_per_run", f"what a CSM without a number of their own is given in one run: {most}"
    yield "ramp_weeks", f"a new CSM's intake grows to that in {_weeks(ramp)}" if ramp else "a new CSM is given as many"
    yield "renewal_days", f"no move for balance within {owners.renewal_days} days of a renewal"
    yield "pin_max_days", f"no pin lasts longer than {owners.pin_max_days} days"
    yield "families", _FAMILIES[owners.families]
