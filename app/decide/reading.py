"""One account read rule by rule: every condition with its values under its lens, and what came of it.

The statement is the deciding one, without the filter that drops whoever nothing can happen to, over one account. So
what is shown is what was decided, and not a second opinion.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from msgspec import structs
from sqlalchemy import ARRAY, Boolean, Connection, FromClause, Integer, Select, any_, case, cast, literal, select

from app.decide import families, judge, judged, outcome, whole_book
from app.decide.book import Lens, Question, measured
from app.decide.expressions import compile_expression
from app.decide.facts import shown_facts
from app.decide.layers import Column, Rows
from app.decide.outcome import facts_object
from app.decide.sources import LIVE, Sources
from app.plan import Decision
from app.policy.model import FAMILY, Policy, Rule
from app.tables import Id

Kind = Literal["now", "entry", "kept"]
Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reading:
    """What one rule says of the account.

    Its condition is read through the lens `kind` in `band`; `holds` is None where a fact is missing that decides it,
    and `facts` are its values there. `came_of` is what the decision made of it, in words. Without a band to read it in
    (the account has none yet) there are no facts.
    """

    rule: Rule
    kind: Kind
    band: str | None
    holds: bool | None
    facts: Facts
    came_of: str


@dataclass(frozen=True, slots=True)
class Objection:
    """A demotion that stands against a rise of the account to `band`: it would leave it at once, or is held down."""

    rule: Rule
    kind: Kind
    band: str
    facts: Facts


@dataclass(frozen=True, slots=True)
class Family:
    """The account's family by its root: its highest band, who has that on the merits, and the account's own merits."""

    root: str
    band: str
    by: str
    merits: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """How one account is decided. `stage` is the step of docs/deciding.md that does it; None: it is no concern of ours.

    `decision` is None where there is nothing to report. `family` is None where families do not stand together, too.
    """

    stage: str | None
    band: str | None
    own_band: str | None
    intervention: str | None
    earned_band: str | None
    value: Decimal | None
    decision: Decision | None
    readings: tuple[Reading, ...]
    objections: tuple[Objection, ...]
    family: Family | None


def read_judgement(connection: Connection, policy: Policy, account_id: str, as_of: datetime) -> Judgement | None:
    """How the account is decided at `as_of`; None for one that neither `accounts` nor `coverage` knows."""
    kin = families.read_kin(connection, account_id) if policy.owners.families == "highest_band" else [account_id]
    ask = Question(policy, as_of, _sources(policy, kin, as_of))
    book = whole_book(ask)
    those = book.where(book["account_id"] == any_(_ids(kin))).cte("those")
    known = Rows(measured(ask, those).subquery("measured"))
    rows = families.together(ask, judged(ask, known)) if ask.families else judged(ask, known)
    its = rows["account_id"] == account_id
    found = connection.execute(select(*_columns(ask, rows)).select_from(rows.source).where(its)).one_or_none()
    if found is None:
        return None
    row: Mapping[str, Any] = dict(found._mapping)
    decided = Decision(*found[: len(structs.fields(Decision))])
    objections = tuple(_objections(ask, row))
    facts = _facts_there(connection, ask, known.where(known["account_id"] == account_id), objections)
    return Judgement(
        stage=row["stage"],
        band=row["band"],
        own_band=row["own_band"],
        intervention=row["intervention"],
        earned_band=row["earned_band"],
        value=row["value"],
        decision=decided if row["outcome"] is not None and row["outcome"] != "state" else None,
        readings=tuple(_reading(ask, row, rule) for rule in policy.rules),
        objections=tuple(
            Objection(rule, kind, policy.bands[rank].name, facts[place])
            for place, (rule, kind, rank) in enumerate(objections)
        ),
        family=_family(row) if ask.families else None,
    )


def _family(row: Mapping[str, Any]) -> Family | None:
    if row["family"] is None or row["family_band"] is None:
        return None
    return Family(row["family"], row["family_band"], row["family_by"], row["merits"])


def _ids(account_ids: list[str]) -> Column:
    return literal(account_ids, ARRAY(Id))


def _sources(policy: Policy, account_ids: list[str], as_of: datetime) -> Sources:
    """The tables with these accounts alone; all of them where a fact compares them with the others."""
    if "value_rank" in Question(policy, as_of, LIVE).facts.names:
        return LIVE

    def alone(table: FromClause) -> FromClause:
        return select(table).where(table.c.account_id == any_(_ids(account_ids))).subquery(getattr(table, "name", None))

    return Sources(alone(LIVE.accounts), alone(LIVE.account_signals), alone(LIVE.coverage), alone(LIVE.pins))


def _decision_columns(ask: Question, rows: Rows) -> list[Column]:
    return families.decision_columns(ask, rows) if ask.families else outcome.decision_columns(ask, rows)


def _columns(ask: Question, rows: Rows) -> Iterator[Column]:
    """Those of the decision, then the stage, the bands by name, and those of every rule."""
    yield from _decision_columns(ask, rows)
    if ask.families:
        yield rows["family"]
        yield rows["family_by"]
        yield ask.name_of(rows["family_rank"]).label("family_band")
        yield ask.name_of(rows["merits"]).label("merits")
    yield rows["stage"]
    yield rows["band"]
    yield rows["intervention"]
    yield rows["held_by"]
    yield rows["held_from"]
    yield ask.name_of(rows["own_rank"]).label("own_band")
    yield ask.name_of(rows["earned_rank"]).label("earned_band")
    yield rows["earned_rank"]
    yield rows["own_rank"]
    own = rows["own_rank"]
    for rule in ask.policy.rules:
        yield judge.applies(ask, rows, rule).label(f"applies_{rule.name}")
        yield rows[f"r_{rule.name}"]
        yield cast(rows[f"t_{rule.name}"], Integer).label(f"t_{rule.name}")
        for kind in _kinds(rule):
            lens = Lens(ask, rows, kind, own)
            stands = own.is_not(None)
            yield case((stands, cast(compile_expression(rule.when, lens.reader), Boolean))).label(f"{kind}_{rule.name}")
            yield case((stands, facts_object(ask, lens, shown_facts(rule)))).label(f"{kind}_facts_{rule.name}")
    for name in rows:
        if name.startswith(("e_", "h_")):
            yield rows[name]


def _kinds(rule: Rule) -> tuple[Kind, ...]:
    """The lenses that the rule may be read through in the account's own band."""
    return ("now", "kept") if rule.move == "intervene" else ("now",)


def _reading(ask: Question, row: Mapping[str, Any], rule: Rule) -> Reading:
    in_force = row["stage"] == "lifted" and row["intervention"] == rule.name
    kind: Kind = "kept" if in_force else "now"
    holds = row[f"{kind}_{rule.name}"]
    return Reading(
        rule=rule,
        kind=kind,
        band=row["own_band"],
        holds=holds,
        facts=row[f"{kind}_facts_{rule.name}"] or {},
        came_of=_came_of(ask, row, rule, holds=holds, in_force=in_force),
    )


_NOT_ASKED: Mapping[str | None, str] = {
    None: "not asked: the account is not active",
    "left": "not asked: it is no longer an active customer",
    "pin": "not asked: a pin decides",
    "enter": "not asked: its value decides where it enters",
    "unknown": "not asked: its band is not in the policy, so its value decides",
    "settling": "not asked: it changed band less than six days ago",
}


def _came_of(ask: Question, row: Mapping[str, Any], rule: Rule, *, holds: bool | None, in_force: bool) -> str:
    if row[f"r_{rule.name}"] is not None:
        return str(row[f"r_{rule.name}"])
    if row["stage"] in _NOT_ASKED:
        return _NOT_ASKED[row["stage"]]
    if in_force:
        return "holds: it is lifted by this" if holds else "is over"
    if row["stage"] == "lifted" and rule.move != "graduate":
        return f"not asked: {'its family' if row['intervention'] == FAMILY else row['intervention']} lifts it"
    if not row[f"applies_{rule.name}"]:
        return f"does not apply: {_why_not(ask, row, rule)}"
    return "did not fire: a fact is missing" if holds is None else "did not fire"


def _why_not(ask: Question, row: Mapping[str, Any], rule: Rule) -> str:
    """Why the rule is not for this account, in the order in which that is judged."""
    segment, own = row["segment"], row["own_band"]
    if own not in rule.from_bands:
        bands = ", ".join(band.name for band in ask.policy.bands if band.name in rule.from_bands)
        return f"it is for accounts in {bands}"
    if rule.segments is not None and segment not in rule.segments:
        return f"it is for segment {', '.join(sorted(rule.segments))}"
    if segment in rule.except_segments:
        return f"it is not for segment {segment}"
    target = row[f"t_{rule.name}"]
    if target is None:
        return "its value is unknown"
    way = "under" if rule.move == "demote" else "above"
    last = len(ask.policy.bands) - 1
    there = ask.policy.bands[min(max(target, 0), last)].name
    return f"{there} is not {way} {own}"


def _objections(ask: Question, row: Mapping[str, Any]) -> Iterator[tuple[Rule, Kind, int]]:
    """What stands against a rise, by band from the lowest: each demotion, its lens and the rank of the band."""
    held = ask.policy.rule.get(row["held_by"] or "")
    for band in ask.policy.bands[1:]:
        rises = [rule for rule in ask.policy.graduations if _wants(row, rule, band.rank)]
        enters = row["stage"] in {"enter", "unknown"} and band.rank <= (row["earned_rank"] or 0)
        held_down = row[f"h_{band.rank}"] and any(not rule.overrides_hold for rule in rises)
        if held is not None and held_down:
            in_band = band.name in held.from_bands
            yield held, "kept", band.rank if in_band else ask.ranks[row["held_from"]]
        for rule in ask.policy.demotions:
            stands = enters or any(rule.name not in rise.despite for rise in rises)
            if stands and row.get(f"e_{rule.name}_{band.rank}"):
                yield rule, "entry", band.rank


def _wants(row: Mapping[str, Any], rule: Rule, rank: int) -> bool:
    """Whether the graduation says that the account should rise to this rank or further."""
    own, target = row["own_rank"], row[f"t_{rule.name}"]
    return row[f"r_{rule.name}"] is not None and own is not None and target is not None and own < rank <= target


def _facts_there(
    connection: Connection, ask: Question, one: Select[Any], objections: tuple[tuple[Rule, Kind, int], ...]
) -> list[Facts]:
    """The facts of each objection's rule under its lens."""
    if not objections:
        return []
    known = Rows(one.subquery("one"))
    columns = [
        facts_object(ask, Lens(ask, known, kind, literal(rank, Integer)), shown_facts(rule)).label(f"facts_{place}")
        for place, (rule, kind, rank) in enumerate(objections)
    ]
    return list(connection.execute(select(*columns).select_from(known.source)).one())
