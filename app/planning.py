"""From the tables to a plan: what is decided, who owns it, what the guards say. Nothing is written.

Each step is a module; what of them is read by which connection, and when, is here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import chain

from sqlalchemy import Connection, func, literal, select

from app import runs
from app.circumstances import completed
from app.decide import LIVE, check_columns, in_parts, take_census
from app.decide.book import Question
from app.decide.census import Tally, census_of, count_measured, tally_in_parts
from app.decide.spans import EVERYBODY, read_spans
from app.feeds import Feed, read_feeds
from app.guards import Findings, judge
from app.owners import assign
from app.pins import read_lapsed
from app.plan import Decision, Plan
from app.policy.model import Policy
from app.readers import sharing_out
from app.rebalance import Balance, read_movable
from app.roster import claims, read_families, read_roster, roster_of, unserved
from app.tracing import span
from app.unsettled import read_unsettled

Planner = Callable[[Connection, Policy, datetime, Sequence[Connection]], Plan]
"""Plans as a transaction sees the tables, with the help of other connections that see the same."""

_SETTINGS = {"work_mem": "128MB", "hash_mem_multiplier": "2", "lock_timeout": "60s"}
"""Of a run's transaction. Its few statements pass over whole tables, and spilling to disk is what would be slow; a
row that somebody else holds on to fails the run instead of hanging it.
"""
_SHARING = {"max_parallel_workers_per_gather": "0"}
"""Beside that, where several connections share the reading: each is a worker, and to give it workers of its own would
have each of those hash for itself what the others hash too.
"""


def make_plan(connection: Connection, policy: Policy, as_of: datetime, beside: Sequence[Connection] = ()) -> Plan:
    """The plan of a run at `as_of`, guards included, as the connection's transaction sees the tables.

    Connections `beside` it that see the same take a part of the reading. Raises Mistake when the policy does not fit
    the live columns.
    """
    connections = (connection, *beside)
    for one in connections:
        _set_up(one, _SETTINGS | _SHARING if beside else _SETTINGS)
    check_columns(connection)
    ask = Question(policy, as_of, LIVE)
    spans = read_spans(connection, len(connections)) if beside else (EVERYBODY,)
    pooled = frozenset(band.name for band in policy.bands if band.pooled)
    with sharing_out(connections) as share_out:
        tallies = list(map(share_out, tally_in_parts(ask, spans)))  # first, for to write what decides takes its time
        parts = list(map(share_out, in_parts(connection, policy, as_of, spans)))
        asked_unsettled = share_out(partial(read_unsettled, policy=policy, as_of=as_of))
        asked_feeds = share_out(partial(read_feeds, policy=policy, as_of=as_of))
        asked_measured = share_out(partial(count_measured, ask=ask), later=True)
        with span("decide"):
            tally = Tally(tuple(chain.from_iterable(rows() for rows in tallies)))
            decisions = tuple(chain.from_iterable(part() for part in parts))
            unsettled, feeds = asked_unsettled(), asked_feeds()
        with span("assign"):
            members = read_families(connection, [*_served(decisions, pooled), *(row[0] for row in unsettled)])
            roster = roster_of(connection, policy, as_of, tally=tally, members=members, unsettled=unsettled)
            claimed = completed(connection, policy, as_of, claims(decisions, roster))
            owners = assign(pooled, roster.csms, claimed, as_of)
            measured = asked_measured()
    plan = Plan(
        as_of=as_of,
        policy_name=policy.name,
        policy_sha=policy.sha256,
        decisions=decisions,
        owner_changes=owners.changes,
        waitlist=owners.waitlist,
        books=owners.books,
        census=census_of(ask, tally, measured),
        verdicts=(),
        notes=(*roster.notes, *unserved(policy, roster.csms, owners.waitlist), *owners.notes),
        lapsed_pins=read_lapsed(connection, as_of),
    )
    return _guarded(connection, policy, plan, feeds)


def _served(decisions: Iterable[Decision], pooled: AbstractSet[str]) -> Iterator[str]:
    """The accounts that move into a band where somebody serves them."""
    for decision in decisions:
        if decision.outcome == "move" and decision.to_band is not None and decision.to_band not in pooled:
            yield decision.account_id


def _set_up(connection: Connection, settings: Mapping[str, str]) -> None:
    """The transaction has these settings, until it ends."""
    of_transaction = literal(value=True)
    connection.execute(select(*(func.set_config(name, value, of_transaction) for name, value in settings.items())))


def make_rebalance(
    connection: Connection, policy: Policy, as_of: datetime, beside: Sequence[Connection] = (), *, max_moves: int
) -> Plan:
    """The plan that evens out the books with at most `max_moves` changes of owner, and does nothing else."""
    del beside  # there is little to read
    check_columns(connection)
    census = take_census(connection, policy, as_of)
    roster = read_roster(connection, policy, as_of)
    balance = Balance(roster.csms, read_movable(connection, policy, as_of, roster))
    changes = balance.moves(max_moves)
    plan = Plan(
        as_of=as_of,
        policy_name=policy.name,
        policy_sha=policy.sha256,
        decisions=(),
        owner_changes=changes,
        waitlist=(),
        books=balance.books(),
        census=census,
        verdicts=(),
        notes=roster.notes,
    )
    return _guarded(connection, policy, plan, read_feeds(connection, policy, as_of))


def _guarded(connection: Connection, policy: Policy, plan: Plan, feeds: Sequence[Feed]) -> Plan:
    """The plan with the verdicts of its guards."""
    with span("guard"):
        return replace(plan, verdicts=judge(policy, _findings(connection, plan, feeds)))


def _findings(connection: Connection, plan: Plan, feeds: Sequence[Feed]) -> Findings:
    return Findings(
        as_of=plan.as_of,
        census=plan.census,
        decisions=plan.decisions,
        owner_changes=plan.owner_changes,
        books=plan.books,
        feeds=feeds,
        last_run=runs.last_run(connection, plan.as_of),
    )
