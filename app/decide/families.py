"""Families that stand together: after every account's own decision, the highest band among their merits keeps them all.

"Families" in `docs/deciding.md`, in SQL. Nothing here is in the statement of a policy that does not ask for it. The
members of families all pass through the judging, as each of them may be the one that the others go by. Each function
adds one layer of columns to the judged rows:

    own_outcome    of the own decision                  print             the fingerprint of its facts
    merits         the rank that this leaves it         family_rank       the highest of the merits in its family
    stands         the rank where this has it stand     family_by         who has that first
    kept_rank      where its family keeps it, NULL      family_print      the fingerprint of all its family's facts
                   where the own decision is all        family_signal_at  the newest signal of any of its family
    stays          whether its family had lifted it to kept_rank already
"""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
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
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB, array

from app.decide import outcome
from app.decide.book import Question, fingerprint
from app.decide.layers import Rows
from app.decide.sources import LIVE
from app.families import select_kin
from app.policy.model import FAMILY, ITS_FAMILY

Column = ColumnElement[Any]


def read_kin(connection: Connection, account_id: str) -> list[str]:
    """The ids of the account's whole family, its own among them; its own alone without one."""
    kin = select_kin(LIVE.accounts).cte("kin")
    root = select(kin.c.family).where(kin.c.account_id == account_id).scalar_subquery()
    found = connection.execute(select(kin.c.account_id).where(kin.c.family == root).order_by(kin.c.account_id))
    return list(found.scalars()) or [account_id]


def named(ask: Question, book: Rows) -> Rows:
    """The book with the root of each active account's family; NULL for who has none."""
    kin = select_kin(ask.sources.accounts).subquery("kin")
    family = case((book["is_active"], kin.c.family)).label("family")
    joined = book.source.outerjoin(kin, kin.c.account_id == book["account_id"])
    return Rows(select(*book.values(), family).select_from(joined).subquery("named"))


def together(ask: Question, judged: Rows) -> Rows:
    """The judged rows, families as wholes among them, with what becomes of each account for its family's sake."""
    return (
        judged.plus(lambda rows: merits(ask, rows), name="merits")
        .plus(relatives, name="relatives")
        .plus(kept, name="kept")
        .plus(lambda rows: [_stays(rows).label("stays")], name="stays")
        .plus(_happens, name="happens")
    )


def merits(ask: Question, rows: Rows) -> list[Column]:
    """`own_outcome`, `merits`, `stands` and `print` of every account."""
    stage, present = rows["stage"], rows["present_rank"]
    at_rest = or_(stage.is_(None), stage == "settling", and_(stage == "pin", present == rows["pin_rank"]))
    moves = and_(rows["outcome"] == "move", not_(func.coalesce(at_rest, false())))
    by_its_own = case(
        (or_(stage.is_(None), stage == "left"), null()),
        (stage == "pin", rows["pin_rank"]),
        (and_(moves, rows["move"] != "intervene"), rows["to_rank"]),
        else_=rows["own_rank"],
    )
    return [
        case((at_rest, null()), else_=rows["outcome"]).label("own_outcome"),
        cast(by_its_own, Integer).label("merits"),
        case((moves, rows["to_rank"]), else_=rows["present_rank"]).label("stands"),
        fingerprint(ask, rows).label("print"),
    ]


def relatives(rows: Rows) -> list[Column]:
    """What the family comes to; an account without one is its own."""
    whose = func.coalesce(rows["family"], rows["account_id"])
    order = (rows["merits"].desc().nulls_last(), rows["account_id"])
    # A sum, in whatever order: to hash a text of everybody's would cost each member as much as the family is large.
    one = func.hashtextextended(func.concat_ws(" ", rows["account_id"], rows["print"], rows["pin_rank"]), 0)
    return [
        func.first_value(rows["merits"]).over(partition_by=whose, order_by=order).label("family_rank"),
        func.first_value(rows["account_id"]).over(partition_by=whose, order_by=order).label("family_by"),
        cast(func.sum(one).over(partition_by=whose), Text).label("family_print"),
        func.max(rows["newest_signal_at"]).over(partition_by=whose).label("family_signal_at"),
    ]


def kept(rows: Rows) -> list[Column]:
    """`kept_rank`, and whether that is a rise."""
    left_alone = or_(rows["stage"].is_(None), rows["stage"].in_(["left", "pin", "settling"]))
    newer = func.coalesce(rows["family_signal_at"] > rows["band_since"], false())
    same = func.coalesce(rows["fell_with"] == _remembered(rows), false())
    present = rows["present_rank"]
    most = case(
        (and_(same, not_(newer), present.is_not(None)), func.least(rows["family_rank"], present)),
        else_=rows["family_rank"],
    )
    lifts = and_(rows["family"].is_not(None), not_(left_alone), most > rows["stands"])
    return [case((func.coalesce(lifts, false()), most)).label("kept_rank")]


def _remembered(rows: Rows) -> Column:
    """What an account of a family that falls remembers: its own facts, and behind them its family's."""
    return rows["print"] + rows["family_print"]


def _stays(rows: Rows) -> Column:
    lifted = and_(rows["stage"] == "lifted", rows["intervention"] == FAMILY)
    return func.coalesce(and_(lifted, rows["kept_rank"] == rows["present_rank"]), false())


def _happens(rows: Rows) -> list[Column]:
    """`happens`, `by_move`, `by_rule` and `to`: the decision with its family in it."""
    level, present = rows["kept_rank"], rows["present_rank"]
    noted = case((rows["counted"].is_distinct_from(rows["pending"]), literal("state")))
    picked: list[tuple[Column, Column, Column, Column]] = [
        (level.is_(None), rows["own_outcome"], rows["move"], rows["rule"]),
        (rows["stays"], noted, literal(""), literal("")),
        (rows["stage"] == "enter", literal("move"), literal("enter"), literal(FAMILY)),
        (rows["stage"] == "unknown", literal("move"), literal("settle"), literal(FAMILY)),
        (level > present, literal("move"), literal("intervene"), literal(FAMILY)),
        (level < present, rows["own_outcome"], rows["move"], rows["rule"]),
    ]
    return [
        case(*((when, what) for when, what, _, _ in picked), else_=literal("move")).label("happens"),
        case(*((when, move) for when, _, move, _ in picked), else_=literal("settle")).label("by_move"),
        case(*((when, rule) for when, _, _, rule in picked), else_=literal(FAMILY)).label("by_rule"),
        func.coalesce(level, rows["to_rank"], type_=Integer).label("to"),
    ]


def select_decisions(ask: Question, rows: Rows) -> Select[Any]:
    """The decisions of rows that `together` has made, ordered by account id."""
    return (
        select(*decision_columns(ask, rows))
        .select_from(rows.source)
        .where(rows["happens"].is_not(None))
        .order_by(rows["account_id"])
    )


def decision_columns(ask: Question, rows: Rows) -> list[Column]:
    """The columns of `app.plan.Decision`, in its order."""
    own = {column.key: column for column in outcome.decision_columns(ask, rows)}
    alone = rows["kept_rank"].is_(None)
    ours: dict[str, Column] = {
        "outcome": rows["happens"],
        "move": rows["by_move"],
        "to_band": ask.name_of(rows["to"]),
        "rule": rows["by_rule"],
        "against": case((alone, own["against"])),
        "weeks": case((alone, own["weeks"])),
        "facts": cast(_facts(ask, rows, cast(own["facts"], JSONB)), Text),
        "state": cast(_state(ask, rows, cast(own["state"], JSONB)), Text),
    }
    return [ours[name].label(name) if name in ours else column for name, column in own.items()]


def _facts(ask: Question, rows: Rows, own: Column) -> Column:
    """The facts of the account's own move, if it made one, and why its family keeps it."""
    moves, alone = rows["own_outcome"] == "move", or_(rows["kept_rank"].is_(None), rows["stays"])
    family = func.jsonb_build_object(
        "band", ask.name_of(rows["family_rank"]),
        "by", rows["family_by"],
        "own_band", ask.name_of(rows["merits"]),
        "own_rule", case((moves, rows["rule"])),
    )  # fmt: skip
    told = func.jsonb_build_object(ITS_FAMILY, func.jsonb_strip_nulls(family), type_=JSONB)
    return case((or_(moves, alone), own), else_=_NOTHING).op("||")(case((alone, _NOTHING), else_=told))


_NOTHING = cast(literal("{}"), JSONB)


def _state(ask: Question, rows: Rows, own: Column) -> Column:
    """The columns of `coverage` after the decision: what the own decision leaves behind, and then the family's lift."""
    alone, rises = rows["kept_rank"].is_(None), rows["kept_rank"] > rows["present_rank"]
    moves, move = rows["own_outcome"] == "move", rows["move"]
    falls = and_(moves, or_(move == "return", and_(move == "demote", rows["has_risen"])), rows["family"].is_not(None))
    cleared = case(
        (or_(alone, rows["stays"]), array([], type_=Text)),
        (rises, array(["pending", "intervention_until", "fell_with"])),
        else_=array(["pending", "intervention_until"]),
    )
    lift = func.jsonb_build_object(
        "intervention", FAMILY, "intervention_from", ask.name_of(rows["merits"]), type_=JSONB
    )
    falling = func.jsonb_build_object("fell_with", _remembered(rows), type_=JSONB)
    return (
        case((rows["stays"], _as_it_was(rows)), (func.coalesce(falls, false()), own.op("||")(falling)), else_=own)
        .op("-")(cleared)
        .op("||")(case((or_(alone, rows["stays"]), _NOTHING), else_=lift))
        .op("||")(case((rises, func.jsonb_build_object("has_risen", true(), type_=JSONB)), else_=_NOTHING))
    )


_KEPT = (
    "held_by", "held_from", "intervention", "intervention_from", "intervention_until", "spent_intervention",
    "fell_with",
)  # fmt: skip


def _as_it_was(rows: Rows) -> Column:
    """The columns of `coverage` as they are, with the confirmations of this run."""
    parts: list[Any] = [part for name in _KEPT for part in (name, rows[name])]
    parts += ["pending", rows["counted"], "has_risen", case((rows["has_risen"], true()))]
    return func.jsonb_strip_nulls(func.jsonb_build_object(*parts))
