"""The outcome: from what each rule said to one decision per account, its evidence, and the state it leaves behind."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Numeric,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    not_,
    null,
    or_,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.decide.book import Lens, Question, fingerprint
from app.decide.expressions import compile_expression
from app.decide.facts import shown_facts
from app.decide.judge import by_rule
from app.decide.layers import Rows
from app.policy.catalogue import BUILT_IN
from app.policy.expressions import Type
from app.tables import Instant

Column = ColumnElement[Any]


def lifted(ask: Question, rows: Rows) -> list[Column]:
    """For an account under an intervention: the rank it goes to, and whether the intervention ran out while TRUE."""
    present, own = rows["present_rank"], rows["own_rank"]
    in_time = func.coalesce(rows["intervention_until"] > literal(ask.as_of, Instant), False)
    rises_to = by_rule(rows, rows["fired_g"], ask.policy.graduations, "s_", Integer)
    holding = and_(rows["lift_is_true"], in_time)
    rests_at = func.greatest(own, rises_to, type_=Integer)
    return [
        rises_to.label("rises_to"),
        case(
            (rows["stage"] != "lifted", null()),
            (rises_to > present, rises_to),
            (not_(holding), rests_at),
            else_=null(),
        ).label("rests_at"),
        and_(rows["lift_is_true"], not_(in_time)).label("ran_out"),
    ]


def outcomes(ask: Question, rows: Rows) -> list[Column]:
    """`outcome`, `move`, `rule` and `against`; an account with no outcome has nothing to report."""
    stage, present = rows["stage"], rows["present_rank"]
    rests, ends = rows["rests_at"], rows["rests_at"].is_not(None)
    by_merit = func.coalesce(rows["rises_to"] == rests, False)
    fired_i, fired_d, fired_g = (rows[f"fired_{kind}"] for kind in "idg")
    in_review = func.coalesce(rows["review_d"], rows["review_g"])
    pending = func.coalesce(rows["pending_i"], rows["pending_d"], rows["pending_g"])
    state_changes = or_(
        rows["counted"].is_distinct_from(rows["pending"]),
        and_(stage == "rules", rows["spent_intervention"].is_not(None), not_(rows["spent_is_true"])),
    )
    rules = stage == "rules"
    picked: list[tuple[Column, str, Column, Column]] = [
        (stage == "left", "move", literal("leave"), literal("left")),
        (and_(stage == "pin", rows["band"].is_(None)), "move", literal("enter"), literal("pin")),
        (stage == "pin", "move", literal("pin"), literal("pin")),
        (stage == "enter", "move", literal("enter"), literal("entry")),
        (stage == "unknown", "move", literal("settle"), literal("entry")),
        (
            and_(ends, rests == present),
            "move",
            literal("settle"),
            case((by_merit, fired_g), else_=rows["intervention"]),
        ),
        (and_(ends, by_merit, rests > present), "move", literal("graduate"), fired_g),
        (ends, "move", literal("return"), rows["intervention"]),
        (and_(rules, fired_i.is_not(None)), "move", literal("intervene"), fired_i),
        (and_(rules, fired_d.is_not(None), fired_g.is_not(None)), "contested", literal("graduate"), fired_g),
        (and_(rules, fired_d.is_not(None)), "move", literal("demote"), fired_d),
        (and_(rules, fired_g.is_not(None)), "move", literal("graduate"), fired_g),
        (and_(rules, in_review.is_not(None)), "review", _kind_of(ask, in_review), in_review),
        (and_(rules, pending.is_not(None)), "pending", _kind_of(ask, pending), pending),
        (state_changes, "state", literal(""), literal("")),
    ]
    contested = and_(rules, fired_i.is_(None), fired_d.is_not(None), fired_g.is_not(None))
    return [
        case(*((when, literal(outcome)) for when, outcome, _, _ in picked), else_=null()).label("outcome"),
        case(*((when, move) for when, _, move, _ in picked), else_=null()).label("move"),
        case(*((when, rule) for when, _, _, rule in picked), else_=null()).label("rule"),
        case((contested, fired_d)).label("against"),
    ]


def _kind_of(ask: Question, name: Column) -> Column:
    """The move of the rule of this name."""
    branches = [(name == rule.name, literal(str(rule.move))) for rule in ask.policy.rules]
    return case(*branches, else_=null()) if branches else cast(null(), Text)


def destinations(ask: Question, rows: Rows) -> list[Column]:
    """`to_rank`, where the move leads, and `weeks`, how often a pending rule was confirmed."""
    policy, move, rule = ask.policy, rows["move"], rows["rule"]
    going_down = (*policy.demotions, *policy.interventions)
    confirmed = [item for item in policy.rules if item.confirm_weeks > 1]
    return [
        case(
            (move == "leave", null()),
            (rows["stage"] == "pin", rows["pin_rank"]),
            (rows["stage"].in_(["enter", "unknown"]), rows["entry_rank"]),
            (rows["rests_at"].is_not(None), rows["rests_at"]),
            (rows["outcome"] == "state", rows["present_rank"]),
            (move == "graduate", by_rule(rows, rule, policy.graduations, "s_", Integer)),
            else_=by_rule(rows, rule, going_down, "t_", Integer),
        ).label("to_rank"),
        case((rows["outcome"] == "pending", by_rule(rows, rule, confirmed, "n_", Integer))).label("weeks"),
    ]


def decision_columns(ask: Question, rows: Rows) -> list[Column]:
    """The columns of `app.plan.Decision`, in its order."""
    return [
        rows["account_id"],
        rows["outcome"],
        rows["move"],
        rows["band"].label("from_band"),
        ask.name_of(rows["to_rank"]).label("to_band"),
        rows["rule"],
        rows["against"],
        rows["value"],
        rows["arr"],
        rows["weeks"],
        cast(_facts(ask, rows), Text).label("facts"),
        cast(_rules(ask, rows), Text).label("rules"),
        cast(_state(ask, rows), Text).label("state"),
        rows["owner_id"],
        rows["segment"],
        rows["region"],
        rows["language"],
    ]


def _facts(ask: Question, rows: Rows) -> Column:
    """The facts that the deciding rule shows, as one JSON object."""
    own = rows["own_rank"]
    now, kept = Lens(ask, rows, "now", own), Lens(ask, rows, "kept", own)
    ended = and_(rows["move"].in_(["return", "settle"]), rows["rule"] == rows["intervention"])
    branches: list[tuple[Column, Column]] = [
        (rows["rule"] == "entry", facts_object(ask, now, ("earned_band", "value"))),
        (rows["rule"].in_(["left", "pin", ""]), func.jsonb_build_object()),
    ]
    branches += [
        (and_(ended, rows["rule"] == rule.name), facts_object(ask, kept, shown_facts(rule)))
        for rule in ask.policy.interventions
    ]
    for rule in ask.policy.graduations:
        for demotion in ask.policy.demotions:
            both = tuple(sorted({*shown_facts(rule), *shown_facts(demotion)}))
            pair = and_(rows["rule"] == rule.name, rows["against"] == demotion.name)
            branches.append((pair, facts_object(ask, now, both)))
    branches += [(rows["rule"] == rule.name, facts_object(ask, now, shown_facts(rule))) for rule in ask.policy.rules]
    return case(*branches, else_=func.jsonb_build_object())


def facts_object(ask: Question, lens: Lens, names: Iterable[str]) -> Column:
    """The facts under the lens as one JSON object, as people read them."""
    parts: list[Any] = []
    for name in names:
        parts += [literal(name), _readable(ask, lens, name)]
    return func.jsonb_build_object(*parts, type_=JSONB)


def _readable(ask: Question, lens: Lens, name: str) -> Column:
    """A fact as people read it: bands by name, numbers without trailing zeros."""
    derived = ask.policy.facts.get(name)
    column = compile_expression(derived, lens.reader) if derived is not None else lens.fact(name)
    match derived.type if derived is not None else type_of(ask, name):
        case Type.BAND:
            return ask.name_of(column)
        case Type.NUMBER:
            return func.trim_scale(column, type_=Numeric())
        case _:
            return column


def type_of(ask: Question, name: str) -> Type:
    """The type of a base fact."""
    if name in ask.policy.signals:
        return Type.NUMBER
    return ask.policy.attributes.get(name) or BUILT_IN[name]


def _rules(ask: Question, rows: Rows) -> Column:
    parts: list[Any] = []
    for rule in ask.policy.rules:
        parts += [literal(rule.name), rows[f"r_{rule.name}"]]
    if not parts:
        return func.jsonb_build_object()
    return func.jsonb_strip_nulls(func.jsonb_build_object(*parts, type_=JSONB))


def _state(ask: Question, rows: Rows) -> Column:
    """The columns of `coverage` after the decision, NULL and false left out: the table of `docs/deciding.md`."""
    move, moves = rows["move"], rows["outcome"] == "move"
    starts_over = and_(moves, move.in_(["pin", "enter", "leave"]))
    clears_hold = and_(
        moves, or_(move.in_(["pin", "enter", "leave", "settle"]), and_(move == "graduate", _reaches(ask, rows)))
    )
    demotes, lifts = and_(moves, move == "demote"), and_(moves, move == "intervene")
    spent = case(
        (starts_over, null()),
        (and_(moves, move.in_(["return", "settle"]), rows["stage"] == "lifted", rows["ran_out"]), rows["intervention"]),
        (and_(rows["stage"] == "rules", not_(rows["spent_is_true"])), null()),
        else_=rows["spent_intervention"],
    )
    return func.jsonb_strip_nulls(
        func.jsonb_build_object(
            "held_by", case((clears_hold, null()), (demotes, rows["rule"]), else_=rows["held_by"]),
            "held_from", case((clears_hold, null()), (demotes, rows["band"]), else_=rows["held_from"]),
            "intervention", case((lifts, rows["rule"]), (moves, null()), else_=rows["intervention"]),
            "intervention_from", case((lifts, rows["band"]), (moves, null()), else_=rows["intervention_from"]),
            "intervention_until", case((lifts, _until(ask, rows)), (moves, null()), else_=rows["intervention_until"]),
            "spent_intervention", spent,
            "pending", case((moves, null()), else_=rows["counted"]),
            "has_risen", case((_has_risen(rows, moves, starts_over), True)),
            "fell_with", _fell_with(ask, rows, moves, starts_over),
        )
    )  # fmt: skip


def _reaches(ask: Question, rows: Rows) -> Column:
    """Whether a graduation brings the account back to the band it was held from; true for a band that is gone."""
    return func.coalesce(rows["to_rank"] >= ask.rank_of(rows["held_from"]), True)


def _until(ask: Question, rows: Rows) -> Column:
    """When the intervention that fires now runs out."""
    ends = [
        (rows["rule"] == rule.name, literal(ask.as_of + timedelta(weeks=rule.for_weeks), Instant))
        for rule in ask.policy.interventions
    ]
    return case(*ends, else_=null()) if ends else cast(null(), Instant)


def _has_risen(rows: Rows, moves: Column, starts_over: Column) -> Column:
    rises = and_(moves, rows["move"].in_(["graduate", "intervene"]))
    return or_(rises, and_(not_(starts_over), func.coalesce(rows["has_risen"], False)))


def _fell_with(ask: Question, rows: Rows, moves: Column, starts_over: Column) -> Column:
    move = rows["move"]
    falls = and_(moves, or_(move == "return", and_(move == "demote", rows["has_risen"])))
    clears = or_(starts_over, and_(moves, move.in_(["graduate", "intervene"])))
    return case((clears, null()), (falls, fingerprint(ask, rows)), else_=rows["fell_with"])
