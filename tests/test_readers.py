from datetime import timedelta
from importlib.resources import files
from itertools import pairwise
from threading import Event
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, func, literal, select, text
from sqlalchemy.exc import DBAPIError

from app import readers
from app.decide import LIVE, decide, in_parts
from app.decide.book import Question
from app.decide.census import Tally, census_of, take_tally, tally_in_parts
from app.decide.spans import Span, read_spans
from app.demo import DEMO_AS_OF, fill
from app.pipeline import recompute
from app.policy.read import default_policy, read_policy
from app.readers import beside, sharing_out
from app.tables import accounts

LONG_S = 20.0


def count(connection: Connection) -> Any:
    return connection.execute(select(func.count()).select_from(accounts)).scalar_one()


def add_account(engine: Engine, account_id: str) -> None:
    with engine.begin() as other:
        other.execute(accounts.insert().values(account_id=account_id))


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
def test_connections_beside_see_what_the_first_one_saw(database: Engine, isolation: Any) -> None:
    add_account(database, "a")
    with database.connect().execution_options(isolation_level=isolation) as first, beside(database, first) as others:
        add_account(database, "b")
        assert [count(other) for other in others] == [1]


def test_connections_beside_only_read(database: Engine) -> None:
    write = accounts.insert().values(account_id="a")
    with (
        database.connect() as first,
        beside(database, first) as (other,),
        pytest.raises(DBAPIError, match="read-only transaction"),
    ):
        other.execute(write)


def test_where_no_other_connection_is_to_be_had_a_run_reads_alone(database: Engine) -> None:
    with database.begin() as connection:
        fill(connection, accounts=200, seed=1, as_of=DEMO_AS_OF)
    with_two = recompute(database, default_policy(), DEMO_AS_OF, dry_run=True)
    narrow = create_engine(database.url, pool_size=1, max_overflow=0, pool_timeout=0.01)
    alone = recompute(narrow, default_policy(), DEMO_AS_OF, dry_run=True)
    narrow.dispose()
    assert alone.plan.sha256 == with_two.plan.sha256
    assert alone.plan.decisions


def test_tasks_are_answered_by_whoever_is_free(database: Engine) -> None:
    def task(number: int) -> Any:
        return lambda connection: connection.execute(select(literal(number))).scalar_one()

    with database.connect() as first, beside(database, first) as others:
        for connections in ((first, *others), (first,)):
            with sharing_out(connections) as share_out:
                answers = [share_out(task(number), later=number % 3 == 0) for number in range(20)]
                assert [answer() for answer in reversed(answers)] == list(reversed(range(20)))
                assert [answer() for answer in answers] == list(range(20))


def test_what_is_for_later_is_begun_last_and_by_the_others(database: Engine) -> None:
    begun, at_work, may_end = [], Event(), Event()

    def task(name: str) -> Any:
        def noted(connection: Connection) -> None:
            begun.append((name, connection is first))
            if name in {"long", "later"}:
                at_work.set()
                assert may_end.wait(LONG_S)

        return noted

    with database.connect() as first, beside(database, first) as others, sharing_out((first, *others)) as share_out:
        long = share_out(task("long"))
        assert at_work.wait(LONG_S)
        later, *rest = share_out(task("later"), later=True), share_out(task("a")), share_out(task("b"))
        rest[0]()
        assert begun == [("long", False), ("a", True)]
        rest[1]()
        may_end.set()
        long(), later()
    assert begun == [("long", False), ("a", True), ("b", True), ("later", False)]
    with database.connect() as first, sharing_out((first,)) as share_out:
        later, early = share_out(task("later"), later=True), share_out(task("c"))
        early()
        assert begun[-1] == ("c", True)
        later()
        assert begun[-1] == ("later", True)


def fails(connection: Connection) -> Any:
    return connection.execute(text("SELECT 1 / 0"))


def lasts(connection: Connection) -> Any:
    return connection.execute(text("SELECT pg_sleep(:s)"), {"s": LONG_S})


FAILED = pytest.raises(DBAPIError, match="division by zero")


def test_an_error_ends_what_the_others_are_at(database: Engine) -> None:
    began = monotonic()
    with database.connect() as first, beside(database, first) as others:
        with FAILED, sharing_out((first, *others)) as share_out:
            share_out(lasts)
            fails(first)
        first.rollback()
    for tasks in ([fails, lasts], [lasts, fails]):
        with (
            database.connect() as first,
            beside(database, first) as others,
            FAILED,
            sharing_out((first, *others)) as share_out,
        ):
            for answer in [share_out(task) for task in tasks]:
                answer()
    assert monotonic() - began < LONG_S


def test_an_error_that_nobody_called_for_is_raised_at_the_end(database: Engine) -> None:
    failed = Event()

    def fails_alone(connection: Connection) -> Any:
        try:
            fails(connection)
        finally:
            failed.set()

    with (
        database.connect() as first,
        beside(database, first) as others,
        FAILED,
        sharing_out((first, *others)) as share_out,
    ):
        share_out(fails_alone)
        assert failed.wait(LONG_S)
    with (
        database.connect() as first,
        beside(database, first) as others,
        FAILED,
        sharing_out((first, *others)) as share_out,
    ):
        failed.clear()
        share_out(fails_alone)
        assert failed.wait(LONG_S)
        share_out(count)()


def test_an_error_ends_what_the_others_were_only_about_to_begin(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, cancel = Event(), readers._cancel

    def telling(connection: Connection) -> None:
        cancel(connection)
        told.set()

    def begins_late(connection: Connection) -> Any:
        assert told.wait(LONG_S)
        return lasts(connection)

    monkeypatch.setattr(readers, "_cancel", telling)
    began = monotonic()
    for tasks in ([fails, begins_late], [begins_late, fails]):
        told.clear()
        with (
            database.connect() as first,
            beside(database, first) as others,
            FAILED,
            sharing_out((first, *others)) as share_out,
        ):
            for answer in [share_out(task) for task in tasks]:
                answer()
    assert monotonic() - began < LONG_S


@pytest.mark.parametrize("cuts", [["acc-0000100"], ["", "acc-0000050", "acc-0000050x", "zzz"], ["acc-0000199"]])
def test_what_is_read_in_spans_is_as_read_at_once(connection: Connection, cuts: list[str]) -> None:
    fill(connection, accounts=200, seed=1, as_of=DEMO_AS_OF)
    policy, as_of = default_policy(), DEMO_AS_OF + timedelta(days=7)
    spans = [Span(start, end) for start, end in pairwise([None, *cuts, None])]
    found = [decision for task in in_parts(connection, policy, as_of, spans) for decision in task(connection)]
    assert found == list(decide(connection, policy, as_of))
    assert found
    ask = Question(policy, as_of, LIVE)
    together = Tally([row for task in tally_in_parts(ask, spans) for row in task(connection)])
    at_once = take_tally(connection, ask)
    assert together.books() == at_once.books()
    assert census_of(ask, together, {}) == census_of(ask, at_once, {})


def test_spans_hold_every_account_and_are_about_alike(connection: Connection) -> None:
    connection.execute(
        text(
            "INSERT INTO coverage (account_id, band, band_since, band_rule)"
            " SELECT 'a' || lpad(n::text, 6, '0'), 'tech', now(), 'entry' FROM generate_series(1, 30000) AS n"
        )
    )
    connection.execute(text("ANALYZE coverage"))
    spans = read_spans(connection, 4)
    assert (spans[0].start, spans[-1].end) == (None, None)
    assert [one.end for one in spans[:-1]] == [one.start for one in spans[1:]]
    assert len(spans) > 1


def test_few_accounts_are_one_span(connection: Connection) -> None:
    assert list(read_spans(connection, 4)) == [Span()]


def test_accounts_that_are_ranked_among_each_other_are_decided_together(database: Engine) -> None:
    shipped = (files("app.policy") / "default.toml").read_text()
    rules, _, _ = shipped.partition("[[cases]]")
    ranked = rules.replace('"value < demotion_floor"', '"value < demotion_floor and value_rank > 3"')
    assert ranked != rules
    policy = read_policy(ranked, source="ranked.toml")
    with database.begin() as connection:
        fill(connection, accounts=200, seed=1, as_of=DEMO_AS_OF)
    with database.connect() as first:
        alone = list(decide(first, policy, DEMO_AS_OF))
    assert list(recompute(database, policy, DEMO_AS_OF, dry_run=True).plan.decisions) == alone
