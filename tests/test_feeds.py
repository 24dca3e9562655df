"""Whether what used to arrive every week still does, as the tables tell it."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import Connection, insert, text

from app.feeds import ENGAGEMENT, Feed, read_feeds, select_signal_feeds
from app.policy.read import read_policy
from app.tables import account_signals
from tests.small_company import AS_OF, POLICY, add_account, policy

DAYS = 10
GUARDED = policy(f"[guards]\nstale_after_days = {DAYS}\n")
LAST_WEEK_STARTS = AS_OF - timedelta(days=DAYS)
TICK = timedelta(microseconds=1)


def add_signals(connection: Connection, kind: str, instants: Iterable[datetime | str]) -> None:
    rows = [
        {"account_id": "A", "signal_id": uuid4().hex, "kind": kind, "occurred_at": at, "value": 1} for at in instants
    ]
    connection.execute(insert(account_signals), rows)


def feeds(connection: Connection) -> dict[str, Feed]:
    return {feed.name: feed for feed in read_feeds(connection, GUARDED, AS_OF)}


def weeks_back(*weeks: int) -> list[datetime]:
    return [LAST_WEEK_STARTS - timedelta(weeks=week) for week in weeks]


def test_a_kind_that_the_policy_does_not_read_is_no_feed(connection: Connection) -> None:
    add_signals(connection, "horoscope", [AS_OF])
    assert feeds(connection) == {"health": Feed("health", None, 0), "ticket": Feed("ticket", None, 0)}


def test_each_of_the_eight_weeks_before_the_stale_span_counts_once(connection: Connection) -> None:
    add_signals(connection, "health", [*weeks_back(0, 1, 2, 4, 5, 7), *(at - TICK for at in weeks_back(7, 7))])
    feed = feeds(connection)["health"]
    assert (feed.newest, feed.weeks, feed.is_weekly) == (LAST_WEEK_STARTS, 6, True)


def test_the_weeks_end_where_the_stale_span_starts_and_go_back_no_further(connection: Connection) -> None:
    add_signals(connection, "health", [LAST_WEEK_STARTS + TICK, *weeks_back(8), AS_OF - timedelta(days=1)])
    feed = feeds(connection)["health"]
    assert (feed.newest, feed.weeks, feed.is_weekly) == (AS_OF - timedelta(days=1), 0, False)


def test_the_future_and_the_infinite_do_not_exist(connection: Connection) -> None:
    add_signals(connection, "health", [AS_OF + TICK, "infinity", "-infinity"])
    add_signals(connection, "ticket", [AS_OF])
    assert feeds(connection) == {"health": Feed("health", None, 0), "ticket": Feed("ticket", AS_OF, 0)}


def test_engagement_is_a_feed_of_a_policy_that_reads_it(connection: Connection) -> None:
    reads = read_policy(
        POLICY.replace('when = "tickets > 2"', 'when = "tickets > 2 and quiet_days < 10"'), source="the test's policy"
    )
    for number, at in enumerate(weeks_back(0, 1, 2, 3, 4, 6)):
        add_account(connection, f"A{number}", last_engaged_at=at)
    add_account(connection, "later", last_engaged_at=AS_OF + TICK)
    add_account(connection, "gone", last_engaged_at=AS_OF, status="churned")
    add_account(connection, "never", last_engaged_at=None)
    *_, feed = read_feeds(connection, reads, AS_OF)
    assert feed == Feed(ENGAGEMENT, LAST_WEEK_STARTS, 6)


def test_without_the_guard_nothing_is_read(connection: Connection) -> None:
    assert read_feeds(connection, policy(), AS_OF) == ()


def test_the_questions_to_the_signals_are_probes_of_their_index(connection: Connection) -> None:
    connection.execute(
        text(
            "INSERT INTO account_signals (account_id, signal_id, kind, occurred_at)"
            " SELECT 'A' || n % 500, n::text, CASE n % 2 WHEN 0 THEN 'health' ELSE 'ticket' END,"
            " CAST(:as_of AS timestamptz) - n * interval '10 minutes' FROM generate_series(1, 20000) n"
        ),
        {"as_of": AS_OF},
    )
    connection.execute(text("ANALYZE account_signals"))
    statement = select_signal_feeds(["health", "ticket"], DAYS, AS_OF).compile(
        dialect=connection.dialect, compile_kwargs={"render_postcompile": True}
    )
    plan = "\n".join(
        row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", statement.params).all()
    )  # fmt: skip
    assert "Seq Scan" not in plan
    assert plan.count("account_signals_kind_occurred_at_idx") == 18


@pytest.mark.parametrize(("weeks", "weekly"), [(5, False), (6, True), (8, True)])
def test_six_of_eight_weeks_is_weekly(weeks: int, weekly: bool) -> None:
    assert Feed("health", AS_OF, weeks).is_weekly is weekly
