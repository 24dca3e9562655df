"""Who is judged at all: the accounts of which some rule could have something to say.

Most accounts stay as they are, and their own row shows it. So they are dropped twice: before their signals are read,
if no rule could move them whatever those say, and after, if none does.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, case, false, literal, or_, select, true

from app.decide.book import Lens, Question
from app.decide.expressions import holds
from app.decide.judge import applies, by_stage
from app.decide.layers import Rows
from app.decide.relax import necessary
from app.decide.signals import in_window
from app.policy.expressions import facts_of
from app.policy.model import Rule
from app.tables import Instant

Column = ColumnElement[Any]


def could_be_candidate(ask: Question, book: Rows) -> Column:
    """Whether the account, whose signals are not read yet, could be a candidate when they are."""
    return _has_something_to_report(ask, book, [_could_hold(ask, book, rule) for rule in ask.policy.rules])


def is_candidate(ask: Question, rows: Rows) -> Column:
    """Whether the account may have something to report: all others are dropped before the judging starts."""
    own = Lens(ask, rows, "now", rows["own_rank"])
    return _has_something_to_report(ask, rows, [holds(rule.when, own.reader) for rule in ask.policy.rules])


def _has_something_to_report(ask: Question, rows: Rows, conditions: Sequence[Column]) -> Column:
    carries_state = or_(rows["spent_intervention"].is_not(None), rows["pending"].is_not(None))
    says = [
        and_(applies(ask, rows, rule), condition) for rule, condition in zip(ask.policy.rules, conditions, strict=True)
    ]
    alone = by_stage(
        ask,
        rows,
        covered=rows["band"].is_not(None),
        pin=rows["present_rank"].is_distinct_from(rows["pin_rank"]),
        enter=true(),
        unknown=true(),
        settling=false(),
        lifted=true(),
        rules=or_(carries_state, *says),
    )
    # Where families stand together, each of them may be what the others go by.
    return or_(alone, rows["family"].is_not(None)) if ask.families else alone


def _could_hold(ask: Question, book: Rows, rule: Rule) -> Column:
    """Whether the rule's condition could be TRUE once the account's signals are known.

    Of an account with none of the occasions that the condition counts, so much is known already.
    """
    own = book["own_rank"]
    at_best = holds(necessary(rule.when, ask.facts.unread), Lens(ask, book, "now", own).reader)
    counted = facts_of(rule.when) & ask.facts.occasional.keys()
    if not counted:
        return at_best
    none = Lens(ask, book, "now", own, without=counted)
    at_best_without = holds(necessary(rule.when, ask.facts.unread - counted), none.reader)
    signals = ask.sources.account_signals
    # Not EXISTS, which no parallel worker looks up in a hash. Distinct, so that the hash is as small as it looks.
    have_one = (
        select(signals.c.account_id)
        .where(
            or_(*(and_(*in_window(ask.facts.occasional[name], signals.c, ask.as_of)) for name in sorted(counted))),
            signals.c.occurred_at <= literal(ask.as_of, Instant),
        )
        .distinct()
    )
    return case((book["account_id"].in_(have_one), at_best), else_=at_best_without)
