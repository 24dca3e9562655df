"""Deciding: one set-based SELECT from the accounts, their signals and the policy to what should happen to whom.

    accounts + coverage + pins --> book --> hopefuls + signals --> candidates --judged--> decisions

The book has a row for every account and stays in the database. Whoever no rule could decide, whatever its signals say,
is dropped before those are read; the few of whom some rule has something to say go through the layers that judge them.
`docs/deciding.md` is the contract.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Compiled, Connection, Select, select

from app.decide import candidates, families, judge, outcome
from app.decide.book import Question, joined, measured, placed, valued
from app.decide.census import take_census
from app.decide.columns import check_columns
from app.decide.layers import Rows
from app.decide.sources import LIVE, Sources
from app.decide.spans import EVERYBODY, Span, within
from app.decide.stream import compiled, stream_rows
from app.plan import Decision, decisions_of
from app.policy.model import Policy
from app.readers import Task

__all__ = ["LIVE", "Sources", "check_columns", "decide", "decision_statement", "in_parts", "take_census"]


def decision_statement(policy: Policy, as_of: datetime, sources: Sources = LIVE) -> Select[Any]:
    """The statement whose rows are the decisions, ordered by account id."""
    ask = Question(policy, as_of, sources)
    book = whole_book(ask)
    hopefuls = book.where(candidates.could_be_candidate(ask, book)).cte("hopefuls")
    known = Rows(measured(ask, hopefuls).subquery("measured"))
    rows = judged(ask, Rows(known.where(candidates.is_candidate(ask, known)).subquery("candidates")))
    if ask.families:
        return families.select_decisions(ask, families.together(ask, rows))
    return (
        select(*outcome.decision_columns(ask, rows))
        .select_from(rows.source)
        .where(rows["outcome"].is_not(None))
        .order_by(rows["account_id"])
    )


def whole_book(ask: Question) -> Rows:
    """The book, with what is known of every account before its signals are read: its value and its ranks."""
    book = Rows(joined(ask).subquery("book"))
    book = book.plus(lambda rows: valued(ask, rows), name="valued").plus(lambda rows: placed(ask, rows), name="placed")
    return families.named(ask, book) if ask.families else book


def judged(ask: Question, known: Rows) -> Rows:
    """The candidates, whose signals are known, with what every rule says of them and what follows."""
    return (
        known.plus(lambda rows: [judge.stage(ask, rows).label("stage")], name="staged")
        .plus(lambda rows: judge.conditions(ask, rows), name="conditions")
        .plus(lambda rows: judge.looks(ask, rows), name="looks")
        .plus(lambda rows: judge.safe_targets(ask, rows), name="safe_targets")
        .plus(lambda rows: judge.results(ask, rows), name="results")
        .plus(lambda rows: judge.picks(ask, rows), name="picks")
        .plus(lambda rows: outcome.lifted(ask, rows), name="lifted")
        .plus(lambda rows: outcome.outcomes(ask, rows), name="outcomes")
        .plus(lambda rows: outcome.destinations(ask, rows), name="destinations")
    )


def decide(connection: Connection, policy: Policy, as_of: datetime, sources: Sources = LIVE) -> Iterator[Decision]:
    """The decisions of one run, ordered by account id and streamed; accounts that stay never leave Postgres.

    `as_of` is aware. Raises nothing of its own; a lost connection surfaces as the driver's error.
    """
    statement = decision_statement(policy, as_of, sources)
    return (Decision(*row) for row in stream_rows(connection, statement))


def in_parts(connection: Connection, policy: Policy, as_of: datetime, spans: Sequence[Span]) -> list[Task]:
    """The work of `decide` as tasks, for any connections that see the same: put one behind the other, all decisions.

    There is one for each of the spans, or one for all where accounts cannot be decided apart.
    """
    if not Question(policy, as_of, LIVE).separable:
        spans = (EVERYBODY,)
    sources = within(LIVE, spans)
    statement = compiled(connection, decision_statement(policy, as_of, sources))
    return [partial(_decide_span, statement, span) for span in spans]


def _decide_span(statement: Compiled, span: Span, connection: Connection) -> tuple[Decision, ...]:
    return tuple(decisions_of(stream_rows(connection, statement, span.parameters)))
