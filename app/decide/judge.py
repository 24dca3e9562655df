"""Judging the candidates: what each rule says of an account, and what follows. `docs/deciding.md` in SQL.

An account's *stage* is the step of that page that decides it. Each function below adds one layer of columns:

    c_<rule>   the rule applies and its condition is TRUE        t_<rule>  the rank it wants
    n_<rule>   runs that confirmed it, this one included         r_<rule>  what came of it, NULL where it said nothing
    e_<rule>_<rank>  a demotion that would leave the band at once on entry
    h_<rank>         the hold stands against the band
    s_<rule>   a graduation's highest safe rank
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Text,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    not_,
    null,
    or_,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.decide.book import SETTLING, Lens, Question, fingerprint, own_print
from app.decide.expressions import holds
from app.decide.layers import Rows
from app.policy.model import EARNED, NEXT, PREVIOUS, Band, Rule
from app.tables import Instant

Column = ColumnElement[Any]

FIRED, REVIEW, SPENT = "fired", "review", "blocked by spent"
NOTHING_NEW, MINIMUM_STAY = "blocked by nothing new", "blocked by minimum stay"


def by_stage(ask: Question, rows: Rows, *, covered: Column, pin: Column, rules: Column, **each: Column) -> Column:
    """What is given for the step of the page that decides the account.

    `covered` is for accounts that left, NULL or false where they have no coverage either; `each` has the rest.
    """
    has_coverage = rows["band"].is_not(None)
    unsettled = or_(rows["band_rule"] == "import", not_(ask.before(SETTLING, rows["band_since"])))
    return case(
        (not_(rows["is_active"]), covered),
        (rows["pin_rank"].is_not(None), pin),
        (not_(has_coverage), each["enter"]),
        (or_(rows["own_rank"].is_(None), rows["present_rank"].is_(None)), each["unknown"]),
        (not_(unsettled), each["settling"]),
        (rows["intervention"].is_not(None), each["lifted"]),
        else_=rules,
    )


def stage(ask: Question, rows: Rows) -> Column:
    """The name of the step that decides the account, NULL where it is no concern of ours."""
    left = case((rows["band"].is_not(None), literal("left")))
    names = {name: literal(name) for name in ("pin", "enter", "unknown", "settling", "lifted", "rules")}
    return by_stage(ask, rows, covered=left, **names)


def target(ask: Question, rows: Rows, rule: Rule, own: Column) -> Column:
    """The rank that the rule wants for an account in the band of rank `own`."""
    match rule.to:
        case name if name == EARNED:
            return rows["earned_rank"]
        case name if name == NEXT:
            return own + 1
        case name if name == PREVIOUS:
            return own - 1
        case name:
            return literal(ask.ranks[name], Integer)


def fits_segment(rows: Rows, rule: Rule) -> Column:
    """Whether the rule is for accounts of this segment."""
    segment = rows["segment"]
    included = func.coalesce(segment.in_(sorted(rule.segments)), false()) if rule.segments is not None else true()
    excluded = func.coalesce(segment.in_(sorted(rule.except_segments)), false()) if rule.except_segments else false()
    return and_(included, not_(excluded))


def applies(ask: Question, rows: Rows, rule: Rule) -> Column:
    """Whether the rule applies in the account's own band and wants a band in its direction; never NULL."""
    own = rows["own_rank"]
    here = own.in_([band.rank for band in ask.policy.bands if _leads(ask, rule, band)])
    if rule.to != EARNED:
        return and_(here, fits_segment(rows, rule))
    earned = rows["earned_rank"]
    direction = earned < own if rule.move == "demote" else earned > own
    return and_(here, fits_segment(rows, rule), func.coalesce(direction, false()))


def _leads(ask: Question, rule: Rule, band: Band) -> bool:
    """Whether the rule is for accounts in this band, and its target exists and lies in its direction from there."""
    own = band.rank
    if band.name not in rule.from_bands:
        return False
    match rule.to:
        case name if name == EARNED:
            return True
        case name if name == NEXT:
            wanted = own + 1
        case name if name == PREVIOUS:
            wanted = own - 1
        case name:
            wanted = ask.ranks[name]
    return 0 <= wanted < len(ask.ranks) and (wanted < own if rule.move == "demote" else wanted > own)


def conditions(ask: Question, rows: Rows) -> list[Column]:
    """c_ and t_ of every rule, and whether the intervention that lifts the account, or is spent, is still TRUE."""
    now = Lens(ask, rows, "now", rows["own_rank"])
    kept = Lens(ask, rows, "kept", rows["own_rank"])
    columns: list[Column] = []
    for rule in ask.policy.rules:
        stages = ["rules", "lifted"] if rule.move == "graduate" else ["rules"]
        said = and_(applies(ask, rows, rule), holds(rule.when, now.reader))
        columns.append(case((rows["stage"].in_(stages), said), else_=false()).label(f"c_{rule.name}"))
        columns.append(target(ask, rows, rule, rows["own_rank"]).label(f"t_{rule.name}"))
    for name, column in (("lift_is_true", "intervention"), ("spent_is_true", "spent_intervention")):
        columns.append(_by_name(rows[column], ask.policy.interventions, kept).label(name))
    columns.append(_nothing_new(ask, rows).label("nothing_new"))
    return columns


def _by_name(name: Column, rules: Sequence[Rule], lens: Lens) -> Column:
    """Whether the condition of the rule of this name is TRUE under the lens; false for no such rule."""
    branches = [(name == rule.name, holds(rule.when, lens.reader)) for rule in rules]
    return case(*branches, else_=false()) if branches else false()


def _nothing_new(ask: Question, rows: Rows) -> Column:
    newer = func.coalesce(rows["newest_signal_at"] > rows["band_since"], false())
    return case(
        (rows["fell_with"].is_not(None), and_(not_(newer), own_print(ask, rows) == fingerprint(ask, rows))),
        else_=false(),
    )


def looks(ask: Question, rows: Rows) -> list[Column]:
    """e_ of every demotion and h_ of every band above the lowest, where a rise is in question."""
    rises = or_(rows["stage"].in_(["enter", "unknown"]), *(rows[f"c_{rule.name}"] for rule in ask.policy.graduations))
    columns: list[Column] = []
    for band in ask.policy.bands[1:]:
        rank = literal(band.rank, Integer)
        entry = Lens(ask, rows, "entry", rank)
        for rule in ask.policy.demotions:
            if band.name not in rule.from_bands:
                continue
            leaves = func.coalesce(target(ask, rows, rule, rank) < rank, false())
            stands = and_(fits_segment(rows, rule), leaves, holds(rule.when, entry.reader))
            columns.append(case((rises, stands), else_=false()).label(f"e_{rule.name}_{band.rank}"))
        held = and_(rises, rows["held_by"].is_not(None))
        columns.append(case((held, _held_at(ask, rows, band.rank)), else_=false()).label(f"h_{band.rank}"))
    return columns


def _held_at(ask: Question, rows: Rows, rank: int) -> Column:
    """Whether the demotion that took the account down is still TRUE of the band of this rank."""
    branches = []
    for rule in ask.policy.demotions:
        if ask.policy.bands[rank].name in rule.from_bands:
            still = holds(rule.when, Lens(ask, rows, "kept", literal(rank, Integer)).reader)
        else:
            held_rank = ask.rank_of(rows["held_from"])
            there = Lens(ask, rows, "kept", held_rank)
            still = and_(held_rank.is_not(None), holds(rule.when, there.reader))
        branches.append((rows["held_by"] == rule.name, still))
    return case(*branches, else_=false()) if branches else false()


def _against(ask: Question, rows: Rows, rule: Rule | None, rank: int) -> list[tuple[Column, Column]]:
    """(condition, name of the objection) of everything that stands against a rise to `rank`, in order."""
    objections: list[tuple[Column, Column]] = []
    if rule is not None and not rule.overrides_hold:
        objections.append((rows[f"h_{rank}"], literal("hold of ") + rows["held_by"]))
    for demotion in ask.policy.demotions:
        column = f"e_{demotion.name}_{rank}"
        if column in rows and not (rule is not None and demotion.name in rule.despite):
            objections.append((rows[column], literal(demotion.name)))
    return objections


def _highest_safe(ask: Question, rows: Rows, rule: Rule | None, wanted: Column, above: Column) -> Column:
    """The highest rank above `above` and up to `wanted` with nothing against it, or NULL."""
    branches = []
    for rank in range(len(ask.ranks) - 1, 0, -1):
        objections = [condition for condition, _ in _against(ask, rows, rule, rank)]
        safe = not_(or_(false(), *objections))
        branches.append((and_(wanted >= rank, above < rank, safe), literal(rank, Integer)))
    return case(*branches, else_=null())


def safe_targets(ask: Question, rows: Rows) -> list[Column]:
    """s_ of every graduation, b_ what stands against it, the entry's rank, and n_ of every rule to be confirmed."""
    columns: list[Column] = []
    for rule in ask.policy.graduations:
        wanted = rows[f"t_{rule.name}"]
        columns.append(_highest_safe(ask, rows, rule, wanted, rows["own_rank"]).label(f"s_{rule.name}"))
        named = []
        for rank in range(1, len(ask.ranks)):
            named += [(and_(wanted == rank, said), name) for said, name in _against(ask, rows, rule, rank)]
        columns.append((case(*named, else_=null()) if named else cast(null(), Text)).label(f"b_{rule.name}"))
    entry = _highest_safe(ask, rows, None, rows["earned_rank"], literal(0, Integer))
    columns.append(func.coalesce(entry, 0, type_=Integer).label("entry_rank"))
    for rule in ask.policy.rules:
        if rule.confirm_weeks > 1:
            seen = rows["pending"][rule.name]
            weeks = cast(seen["weeks"].astext, Integer)
            due = cast(seen["seen_at"].astext, Instant) <= literal(ask.as_of - SETTLING, Instant)
            count = case((seen.is_(null()), 1), (due, weeks + 1), else_=weeks)
            columns.append(case((rows[f"c_{rule.name}"], count)).label(f"n_{rule.name}"))
    return columns


def results(ask: Question, rows: Rows) -> list[Column]:
    """r_ of every rule, and `counted`, the pending counts after this run."""
    now = Lens(ask, rows, "now", rows["own_rank"])
    columns: list[Column] = []
    for rule in ask.policy.rules:
        said = rows[f"c_{rule.name}"]
        judged = _judged(ask, rows, rule, now)
        what = case(*judged, else_=FIRED) if judged else literal(FIRED)
        columns.append(case((said, cast(what, Text))).label(f"r_{rule.name}"))
    return [*columns, _counted(ask, rows).label("counted")]


def _judged(ask: Question, rows: Rows, rule: Rule, now: Lens) -> list[tuple[Column, Any]]:
    """The (condition, result) pairs that keep a rule from firing, in the order of the page."""
    pairs: list[tuple[Column, Any]] = []
    if rule.move == "intervene":
        spent = and_(rows["spent_is_true"], rows["spent_intervention"] == rule.name)
        pairs += [(func.coalesce(spent, false()), SPENT), (rows["nothing_new"], NOTHING_NEW)]
    if rule.min_stay_weeks:
        pairs.append((ask.before(timedelta(weeks=rule.min_stay_weeks), rows["band_since"]), MINIMUM_STAY))
    if rule.move == "demote":
        for graduation in ask.policy.graduations:
            if rule.name in graduation.despite and graduation.grace_weeks:
                grace = ask.before(timedelta(weeks=graduation.grace_weeks), rows["band_since"])
                pairs.append(
                    (and_(rows["band_rule"] == graduation.name, grace), f"blocked by grace of {graduation.name}")
                )
    if rule.move == "graduate":
        pairs.append((rows["nothing_new"], NOTHING_NEW))
        pairs.append((rows[f"s_{rule.name}"].is_(None), literal("blocked by ") + rows[f"b_{rule.name}"]))
    if rule.confirm_weeks > 1:
        count = rows[f"n_{rule.name}"]
        shown = literal("pending ") + cast(count, Text) + literal(f" of {rule.confirm_weeks}")
        pairs.append((count < rule.confirm_weeks, shown))
    if rule.protect_when is not None:
        pairs.append((holds(rule.protect_when, now.reader), REVIEW))
    return pairs


def _counted(ask: Question, rows: Rows) -> Column:
    parts: list[Any] = []
    for rule in ask.policy.rules:
        if rule.confirm_weeks > 1:
            count, seen = rows[f"n_{rule.name}"], rows["pending"][rule.name]
            weeks_before = cast(seen["weeks"].astext, Integer)
            seen_at = case((count == weeks_before, seen["seen_at"]), else_=func.to_jsonb(literal(ask.as_of, Instant)))
            entry = func.jsonb_build_object("weeks", count, "seen_at", seen_at)
            parts += [literal(rule.name), case((count.is_not(None), entry))]
    if not parts:
        return cast(null(), JSONB)
    counts = func.jsonb_strip_nulls(func.jsonb_build_object(*parts))
    return func.nullif(counts, func.jsonb_build_object(), type_=JSONB)


def first(rows: Rows, rules: Iterable[Rule], result: str, *, begins: bool = False) -> Column:
    """The name of the first of `rules` of which this came, or NULL."""
    branches = []
    for rule in rules:
        column = rows[f"r_{rule.name}"]
        branches.append((column.startswith(result) if begins else column == result, literal(rule.name)))
    return case(*branches, else_=null()) if branches else cast(null(), Text)


def by_rule(rows: Rows, name: Column, rules: Iterable[Rule], prefix: str, empty: Any) -> Column:
    """The column `<prefix><rule>` of the rule that `name` names."""
    branches = [(name == rule.name, rows[f"{prefix}{rule.name}"]) for rule in rules]
    return case(*branches, else_=null()) if branches else cast(null(), empty)


def picks(ask: Question, rows: Rows) -> list[Column]:
    """The first rule of each kind that fired, is in review, or is pending."""
    policy = ask.policy
    columns: list[Column] = []
    kinds = (("i", policy.interventions), ("d", policy.demotions), ("g", policy.graduations))
    for kind, rules in kinds:
        columns.append(first(rows, rules, FIRED).label(f"fired_{kind}"))
        columns.append(first(rows, rules, REVIEW).label(f"review_{kind}"))
        columns.append(first(rows, rules, "pending ", begins=True).label(f"pending_{kind}"))
    return columns
