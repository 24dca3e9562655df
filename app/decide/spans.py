"""Spans of account ids: the accounts in parts that are decided apart, each by a statement of its own.

The parts are cut where a sample of `coverage` says that they are about alike. How they are cut changes nothing but
the time it takes: every account lies in one span.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sqlalchemy import ARRAY, Connection, Double, FromClause, Text, bindparam, func, literal, or_, select, tablesample

from app.decide.sources import Sources
from app.tables import Id, coverage

_SAMPLE_PERCENT = 1
_FROM, _TO = "from_account_id", "to_account_id"


@dataclass(frozen=True, slots=True)
class Span:
    """The accounts from this id, inclusive, up to that one; None is no limit."""

    start: str | None = None
    end: str | None = None

    @property
    def parameters(self) -> dict[str, str | None]:
        """The parameters of a statement that reads `within` the span; none of one that reads everybody."""
        return {_FROM: self.start, _TO: self.end} if self != EVERYBODY else {}


EVERYBODY = Span()


def within(sources: Sources, spans: Sequence[Span]) -> Sources:
    """The sources with the accounts of one of the spans, which the statement takes as its parameters."""
    if len(spans) == 1:
        return sources
    return Sources(_within(sources.accounts), sources.account_signals, _within(sources.coverage), sources.pins)


def _within(table: FromClause) -> FromClause:
    start, end = bindparam(_FROM, None, Id), bindparam(_TO, None, Id)
    # Postgres plans for the parameters that it is given, so that a limit that is none costs nothing.
    in_span = (or_(start.is_(None), table.c.account_id >= start), or_(end.is_(None), table.c.account_id < end))
    return select(table).where(*in_span).subquery(getattr(table, "name", None))


def read_spans(connection: Connection, parts: int) -> Sequence[Span]:
    """About `parts` spans, in order, that hold every account between them; one where there are few accounts."""
    cuts = list(dict.fromkeys(connection.execute(_select_cuts(parts)).scalar_one() or ()))
    return [Span(start, end) for start, end in pairwise([None, *cuts, None])]


def _select_cuts(parts: int) -> Any:
    shares = literal([place / parts for place in range(1, parts)], ARRAY(Double))
    sampled = tablesample(coverage, func.system(_SAMPLE_PERCENT), name="sampled", seed=literal(0))
    return select(
        func.percentile_disc(shares).within_group(sampled.c.account_id.asc()).label("cuts").cast(ARRAY(Text))
    ).select_from(sampled)
