"""Who may answer a run that a guard stopped, and until when; and that only one answer is ever given."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import Engine, event, func, select
from sqlalchemy.exc import DBAPIError, OperationalError

from app.answers import find, lapse_overdue, read_awaiting, reject
from app.errors import BandshiftError, Busy, Mistake, StalePlan
from app.pipeline import recompute
from app.runs import take_lock
from app.tables import outbox, runs
from tests.small_company import RESTLESS, WEEK, assert_sound, contents, policy
from tests.stopped_company import (
    MONDAY,
    MOVES,
    SLOT,
    TUESDAY,
    answer_of,
    company,
    ledger,
    made_by,
    nothing_changes,
    say_yes,
    set_account,
    stop,
    stopped,
    stopped_template,
    strict,
    told,
)

__all__ = ["company", "stopped", "stopped_template"]


# ---- Refused ---------------------------------------------------------------------------------------------------------


def test_a_run_is_approved_once(company: Engine, stopped: UUID) -> None:
    say_yes(company, stopped)
    with nothing_changes(company, runs, outbox), pytest.raises(Mistake) as caught:
        say_yes(company, stopped, by="kim")
    assert str(caught.value) == f"run {stopped} is answered already: approved on 2026-03-10 by lee"


def test_a_run_that_no_guard_stopped_cannot_be_answered(company: Engine) -> None:
    with company.connect() as connection:
        run_id = connection.execute(select(runs.c.run_id)).scalar_one()
    for answer in (lambda: say_yes(company, run_id), lambda: reject(company, run_id, by="lee", now=TUESDAY)):
        with pytest.raises(Mistake, match="does not await approval: it is applied"):
            answer()
    with pytest.raises(Mistake, match="there is no run"):
        say_yes(company, uuid4())


@pytest.mark.parametrize(
    ("sha", "error", "why"),
    [
        ("0" * 64, StalePlan, "is not the plan of run"),
        ("deadbeef", StalePlan, "is not the plan of run"),
        ("dead", Mistake, "8 or more characters"),
        ("latest-plan", Mistake, "8 or more characters"),
        ("", Mistake, "8 or more characters"),
    ],
)
def test_another_plan_than_the_one_named_is_not_approved(
    company: Engine, stopped: UUID, sha: str, error: type[BandshiftError], why: str
) -> None:
    with nothing_changes(company, runs, outbox), pytest.raises(error, match=why):
        say_yes(company, stopped, plan_sha=sha)
    assert answer_of(company, stopped) == (None, None)


@pytest.mark.parametrize("length", [64, 12, 8])
def test_a_plan_is_named_by_its_hash_or_the_beginning_of_it(company: Engine, stopped: UUID, length: int) -> None:
    sha = ledger(company, stopped).plan_sha[:length]
    assert say_yes(company, stopped, plan_sha=f" {sha.upper()} ", dry_run=True).made == 4


def test_a_plan_of_another_policy_is_stale(company: Engine, stopped: UUID) -> None:
    with nothing_changes(company, runs, outbox), pytest.raises(StalePlan, match="policy in force is small"):
        say_yes(company, stopped, policy(RESTLESS))
    assert answer_of(company, stopped) == (None, None)
    assert say_yes(company, stopped).made == 4


@pytest.mark.parametrize("by", ["", "  ", "lee\nkim", "x" * 501, "\x1b[31mlee"])
def test_who_answers_has_a_name_of_one_line(company: Engine, stopped: UUID, by: str) -> None:
    for answer in (
        lambda: say_yes(company, stopped, by=by),
        lambda: reject(company, stopped, by=by, now=TUESDAY),
        lambda: reject(company, stopped, by="lee", now=TUESDAY, reason=by),
    ):
        with nothing_changes(company, runs), pytest.raises(Mistake, match=r"--by|--reason"):
            answer()


# ---- Found -----------------------------------------------------------------------------------------------------------


def test_a_run_is_found_by_its_id_its_beginning_or_as_the_latest_that_waits(company: Engine, stopped: UUID) -> None:
    later = stop(company, kind="manual", slot=None)
    with company.connect() as connection:
        assert find(connection, "latest").run_id == later
        assert find(connection, str(stopped)).run_id == stopped
        assert find(connection, f" {str(stopped)[:30].upper()}").run_id == stopped
        assert [one.run_id for one in read_awaiting(connection)] == [stopped, later]
        with pytest.raises(Mistake, match="beginning of several runs"):
            find(connection, str(stopped)[:5])
        for wanted, why in (
            ("ffffffff", "there is no run ffffffff"),
            ("abc", "is no run: give its id, 4 or more"),
            ("last", "is no run"),
            ("%%%%", "is no run"),
        ):
            with pytest.raises(Mistake, match=why):
                find(connection, wanted)


def test_without_a_run_that_waits_there_is_no_latest(company: Engine) -> None:
    with company.connect() as connection, pytest.raises(Mistake, match="no run awaits approval"):
        find(connection, "latest")


# ---- Rejected --------------------------------------------------------------------------------------------------------


def test_a_rejected_run_moves_nothing_and_cannot_be_approved(company: Engine, stopped: UUID) -> None:
    with nothing_changes(company):
        reject(company, stopped, by="lee", now=TUESDAY, reason="the feed was wrong.")
    row = ledger(company, stopped)
    assert (row.status, row.answer, row.answered_by, row.answered_at) == ("blocked", "rejected", "lee", TUESDAY)
    assert row.error.endswith("over the limit of 0.9 (10%). Rejected: the feed was wrong.")
    with pytest.raises(Mistake, match="answered already: rejected on 2026-03-10 by lee"):
        say_yes(company, stopped)
    with pytest.raises(Mistake, match="answered already"):
        reject(company, stopped, by="kim", now=TUESDAY)
    assert_sound(company)


# ---- Lapsed ----------------------------------------------------------------------------------------------------------


def lapse(engine: Engine, now: datetime, slot_due: date | None = SLOT) -> tuple[UUID, ...]:
    with engine.begin() as connection:
        return lapse_overdue(connection, now, slot_due)


def test_a_run_that_nobody_answers_in_time_lapses_and_says_so(company: Engine, stopped: UUID) -> None:
    until = ledger(company, stopped).lapses_at
    assert lapse(company, until - timedelta(seconds=1)) == ()
    with nothing_changes(company):
        assert lapse(company, until) == (stopped,)
        assert lapse(company, until + WEEK) == ()
    row = ledger(company, stopped)
    assert (row.status, row.answer, row.answered_by, row.answered_at) == ("blocked", "lapsed", None, until)
    assert row.error.endswith(f" Lapsed: nobody answered by {until:%Y-%m-%d %H:%M} UTC.")
    assert told(company, stopped) == [("run.blocked", None), ("run.lapsed", None)]
    with pytest.raises(Mistake, match="answered already: lapsed"):
        say_yes(company, stopped)
    assert_sound(company)


def test_how_long_an_answer_may_take_is_asked_of_the_run(company: Engine, stopped: UUID) -> None:
    soon = stop(company, kind="manual", slot=None, answer_within=timedelta(hours=1))
    row = ledger(company, soon)
    assert row.lapses_at - row.finished_at == timedelta(hours=1)
    assert lapse(company, row.lapses_at) == (soon,)


def test_a_run_lapses_when_the_next_slot_falls_due(company: Engine, stopped: UUID) -> None:
    assert lapse(company, MONDAY + WEEK, SLOT + WEEK) == (stopped,)
    assert ledger(company, stopped).error.endswith("Lapsed: the slot 2026-03-16 has fallen due since.")


def test_a_run_of_no_slot_lapses_with_the_next_slot_only_where_slots_are_run(company: Engine) -> None:
    set_account(company, "B1", arr=50)
    set_account(company, "A1", arr=150)
    by_hand = stop(company, kind="manual", slot=None)
    assert lapse(company, MONDAY + WEEK, SLOT + WEEK) == ()
    next_monday = recompute(company, strict(), MONDAY + WEEK, dry_run=False, kind="scheduled", slot=SLOT + WEEK)
    assert next_monday.status == "blocked"
    assert lapse(company, MONDAY + WEEK, SLOT + WEEK) == (by_hand,)


def test_a_run_lapses_when_one_planned_later_has_taken_effect(company: Engine, stopped: UUID) -> None:
    later = stop(company, kind="manual", slot=None)
    say_yes(company, later)
    with pytest.raises(Mistake, match="answered already: lapsed"):
        say_yes(company, stopped)
    assert "planned later, took effect since" in ledger(company, stopped).error
    assert_sound(company)


def test_a_recompute_by_hand_overtakes_what_waits(company: Engine, stopped: UUID) -> None:
    done = recompute(company, policy(RESTLESS), TUESDAY, dry_run=False)
    assert done.status == "applied"
    assert lapse(company, TUESDAY) == (stopped,)
    assert str(done.run_id) in ledger(company, stopped).error


def test_approving_an_earlier_run_leaves_a_later_one_waiting(company: Engine, stopped: UUID) -> None:
    later = stop(company, kind="manual", slot=None)
    say_yes(company, stopped)
    assert answer_of(company, later) == (None, None)
    with pytest.raises(StalePlan, match="it is in low now"):
        say_yes(company, later)


def test_an_overdue_run_lapses_even_when_nobody_but_the_approver_looks(company: Engine, stopped: UUID) -> None:
    until = ledger(company, stopped).lapses_at
    with pytest.raises(Mistake, match="cannot be approved any more: nobody answered by"):
        say_yes(company, stopped, now=until, dry_run=True)
    assert answer_of(company, stopped) == (None, None)
    with pytest.raises(Mistake, match="answered already: lapsed"):
        say_yes(company, stopped, now=until)
    assert answer_of(company, stopped) == ("lapsed", None)
    assert told(company, stopped)[-1] == ("run.lapsed", None)


# ---- At the same time ------------------------------------------------------------------------------------------------


def test_while_a_run_is_at_work_an_approval_is_busy(company: Engine, stopped: UUID) -> None:
    with company.begin() as connection:
        take_lock(connection)
        with nothing_changes(company, runs, outbox), pytest.raises(Busy):
            say_yes(company, stopped)
    assert say_yes(company, stopped).made == 4


def test_while_somebody_answers_nobody_else_can(company: Engine, stopped: UUID) -> None:
    with company.begin() as connection:
        connection.execute(select(runs).where(runs.c.run_id == stopped).with_for_update(key_share=True))
        with pytest.raises(Busy, match="is being answered"):
            reject(company, stopped, by="kim", now=TUESDAY)
        with pytest.raises(Busy, match="is being answered"):
            say_yes(company, stopped)
        assert lapse(company, MONDAY + WEEK, SLOT + WEEK) == ()
    assert answer_of(company, stopped) == (None, None)


def test_of_eight_people_who_answer_at_once_one_is_heard(company: Engine, stopped: UUID) -> None:
    barrier = threading.Barrier(8)
    heard: list[str] = []

    def answer(number: int) -> None:
        barrier.wait()
        try:
            if number % 4 == 3:
                reject(company, stopped, by=f"p{number}", now=TUESDAY)
            else:
                say_yes(company, stopped, by=f"p{number}")
            heard.append(f"p{number}")
        except (Busy, Mistake):
            pass

    people = [threading.Thread(target=answer, args=(number,)) for number in range(8)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert len(heard) == 1
    answer_given, by = answer_of(company, stopped)
    assert by == heard[0]
    with company.connect() as connection:
        carried_out = select(func.count()).where(runs.c.kind == "approval", runs.c.status == "applied")
        assert connection.execute(carried_out).scalar_one() == (answer_given == "approved")
    assert_sound(company)


def test_of_two_approvers_one_carries_it_out(company: Engine, stopped: UUID) -> None:
    barrier = threading.Barrier(2)
    ends: list[str] = []

    def answer(by: str) -> None:
        barrier.wait()
        try:
            ends.append(say_yes(company, stopped, by=by).status)
        except (Busy, Mistake) as error:
            ends.append(type(error).__name__)

    people = [threading.Thread(target=answer, args=(by,)) for by in ("lee", "kim")]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert ends.count("applied") == 1
    assert set(ends) <= {"applied", "Busy", "Mistake"}
    assert len(made_by(company, approval_of(company, stopped))) == 4
    assert_sound(company)


def approval_of(engine: Engine, run_id: UUID) -> UUID:
    with engine.connect() as connection:
        found = select(runs.c.run_id).where(runs.c.approves == run_id, runs.c.status == "applied")
        applied: UUID = connection.execute(found).scalar_one()
    return applied


# ---- Dying half-way --------------------------------------------------------------------------------------------------


@contextmanager
def killed_at(engine: Engine, step: int) -> Iterator[Callable[[], int]]:
    """The backend is terminated just before the `step`th statement; yields how many statements there were."""
    seen = 0
    dsn = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)

    def strike(_: Any, cursor: Any, *__: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == step:
            with psycopg.connect(dsn, autocommit=True) as killer:
                killer.execute("SELECT pg_terminate_backend(%s, 5000)", [cursor.connection.info.backend_pid])

    event.listen(engine, "before_cursor_execute", strike)
    try:
        yield lambda: seen
    finally:
        event.remove(engine, "before_cursor_execute", strike)


@pytest.mark.long
def test_an_approval_that_is_killed_at_any_statement_leaves_the_run_to_be_approved(
    company: Engine, stopped: UUID
) -> None:
    step = failures = 0
    while True:
        step += 1
        with killed_at(company, step) as statements:
            try:
                with unchanged_on_error(company):
                    result = say_yes(company, stopped)
            except DBAPIError:
                assert answer_of(company, stopped) == (None, None), step
                failures += 1
                continue
        assert step > statements()
        break
    assert failures > 15
    assert result.made == 4
    assert answer_of(company, stopped) == ("approved", "lee")
    assert_sound(company)


@contextmanager
def unchanged_on_error(engine: Engine) -> Iterator[None]:
    """What fails has changed nothing of what only a run that takes effect may change."""
    before = contents(engine, *MOVES)
    try:
        yield
    except DBAPIError:
        assert contents(engine, *MOVES) == before
        raise


def test_an_approval_whose_commit_s_answer_is_lost_is_looked_up(company: Engine, stopped: UUID) -> None:
    lost: list[bool] = []

    def lose_the_answer(connection: Any) -> None:
        ours = connection.connection.driver_connection
        if not lost and ours.execute("SELECT count(*) FROM runs WHERE kind = 'approval'").fetchone()[0]:
            lost.append(True)
            ours.commit()
            raise OperationalError("COMMIT", {}, psycopg.OperationalError("server closed the connection unexpectedly"))

    event.listen(company, "commit", lose_the_answer)
    try:
        result = say_yes(company, stopped)
    finally:
        event.remove(company, "commit", lose_the_answer)
    assert (lost, result.status, result.made) == ([True], "applied", 4)
    assert answer_of(company, stopped) == ("approved", "lee")
    assert_sound(company)
