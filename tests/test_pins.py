"""Pins: what is refused, what a pin replaces, how runs obey it, and how it ends."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from app import pins, pipeline
from app.errors import Mistake
from app.pins import Wish, read_lapsed, read_pins
from app.tables import pins as pins_table
from tests.small_company import (
    AS_OF,
    NO_GUARDS,
    RESTLESS,
    WEEK,
    add_account,
    add_csm,
    add_pin,
    assert_sound,
    policy,
    rows,
    where,
)


@pytest.fixture
def staffed(database: Engine) -> Engine:
    """Two accounts after their first run, A in low with ann and P with the pool; bob serves high, gone has left."""
    with database.begin() as connection:
        add_account(connection, "A", 200)
        add_account(connection, "P", 5)
        add_account(connection, "L", 200, status="churned")
        add_csm(connection, "ann", "low")
        add_csm(connection, "bob", "high")
        add_csm(connection, "gone", "low", "high", active=False)
    assert pipeline.recompute(database, policy(), AS_OF, dry_run=False).status == "applied"
    return database


def wish(**fields: Any) -> Wish:
    asked = {
        "account_id": "A",
        "band": "high",
        "owner_id": "bob",
        "until": AS_OF + 4 * WEEK,
        "reason": "a launch",
        "by": "lee",
    }
    return Wish(**{**asked, **fields})


def refused(engine: Engine, **fields: Any) -> list[str]:
    with engine.connect() as connection, pytest.raises(Mistake) as mistake:
        pins.pin(connection, policy(), wish(**fields), AS_OF)
    return [str(problem) for problem in mistake.value.problems] or [str(mistake.value)]


def place(engine: Engine, at: Any = AS_OF, **fields: Any) -> pins.Pin | None:
    with engine.begin() as connection:
        return pins.pin(connection, policy(), wish(**fields), at)


def applied(engine: Engine, weeks: int) -> pipeline.RunResult:
    return pipeline.recompute(engine, policy(RESTLESS), AS_OF + weeks * WEEK, dry_run=False)


# ---- What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"account_id": "nobody"}, "there is no account 'nobody': `bandshift history`"),
        ({"account_id": "a"}, "there is no account 'a'; did you mean A?"),
        ({"account_id": "L"}, "L is no longer an active customer, so no pin can hold it"),
        ({"band": None, "owner_id": None}, "a pin needs --band, --owner or both"),
        ({"band": "hihg"}, "--band 'hihg' is no band of policy small; did you mean `high`?"),
        ({"band": "x", "owner_id": None}, "--band 'x' is no band of policy small; there are tech"),
        ({"owner_id": "bobb"}, "--owner 'bobb' is no CSM; did you mean `bob`?"),
        ({"owner_id": "BOB "}, "--owner 'BOB ' is no CSM; did you mean `bob`?"),
        ({"owner_id": "gone"}, "--owner gone has left; pin it to somebody who has not"),
        ({"owner_id": "ann"}, "--owner ann serves low and not high"),
        ({"band": None}, "--owner bob serves high and not low"),
        ({"band": "tech"}, "the pool serves tech, so nobody can own the account there; name a higher --band"),
        ({"account_id": "P", "band": None}, "the pool serves tech, so nobody can own the account there"),
        ({"until": AS_OF}, "--until 2026-03-02 is in the past; a pin ends in the future"),
        ({"until": AS_OF - WEEK}, "--until 2026-02-23 is in the past; a pin ends in the future"),
        ({"until": AS_OF + 53 * WEEK}, "--until 2027-03-08 is more than 365 days ahead, owners.pin_max_days"),
        ({"reason": "  "}, "--reason is empty; say it in a few words"),
        ({"by": "a\nb"}, "--by has a line break or a character that cannot be printed; keep it to one line"),
        ({"reason": "x" * 501}, "--reason is longer than 500 characters"),
    ],
)
def test_a_pin_that_cannot_be_is_refused_in_one_line(staffed: Engine, fields: dict[str, Any], said: str) -> None:
    (line,) = refused(staffed, **fields)
    assert line.startswith(said)
    with staffed.connect() as connection:
        assert rows(connection, pins_table) == []


def test_all_mistakes_of_a_pin_are_told_at_once(staffed: Engine) -> None:
    told = refused(staffed, account_id="nobody", band="x", owner_id="y", until=AS_OF, reason="", by="")
    assert [line.split(" ", 2)[:2] for line in told] == [
        ["there", "is"],
        ["--band", "'x'"],
        ["--owner", "'y'"],
        ["--until", "2026-03-02"],
        ["--reason", "is"],
        ["--by", "is"],
    ]


def test_the_longest_pin_ends_with_its_last_day_in_the_time_zone_of_the_policy(staffed: Engine) -> None:
    last = (AS_OF + timedelta(days=365)).replace(hour=23, minute=59, second=59)
    assert place(staffed, until=last) is None
    assert refused(staffed, until=last + timedelta(seconds=2)) != []


# ---- Placing, replacing, taking back -----


def test_a_pin_is_obeyed_until_it_is_taken_back(staffed: Engine) -> None:
    place(staffed)
    applied(staffed, 1)
    assert where(staffed)["A"] == ("high", "bob")
    assert_sound(staffed)
    with staffed.begin() as connection:
        was = pins.unpin(connection, policy(), "A", "kim", AS_OF + WEEK)
    assert (was.band, was.owner_id, was.pinned_by) == ("high", "bob", "lee")
    applied(staffed, 2)
    assert where(staffed)["A"] == ("low", "ann")
    assert_sound(staffed)


def test_a_pin_replaces_the_one_that_stands_and_keeps_it_on_record(staffed: Engine) -> None:
    assert place(staffed) is None
    replaced = place(staffed, at=AS_OF + timedelta(hours=1), band="low", owner_id=None, by="kim")
    assert replaced is not None
    assert (replaced.band, replaced.owner_id) == ("high", "bob")
    with staffed.connect() as connection:
        kept = rows(connection, pins_table, "band", "unpinned_by")
        assert kept == [("high", "kim"), ("low", None)]
        assert [pin.band for pin in read_pins(connection, policy())] == ["low"]


def test_two_who_pin_one_account_at_once_take_turns(staffed: Engine) -> None:
    """The second waits for the first, and replaces what it placed; neither meets a broken constraint."""
    with staffed.connect() as first, staffed.connect() as second:
        pins.pin(first, policy(), wish(), AS_OF)
        second.exec_driver_sql("SET lock_timeout = '200ms'")
        with pytest.raises(Exception, match="lock timeout"):
            pins.pin(second, policy(), wish(by="kim"), AS_OF + timedelta(seconds=1))
        second.rollback()
        first.commit()
        replaced = pins.pin(second, policy(), wish(by="kim"), AS_OF + timedelta(seconds=1))
        second.commit()
    assert replaced is not None


@pytest.mark.parametrize(
    ("account", "said"),
    [("A", "A has no pin; `bandshift pins` lists"), ("a", "there is no account 'a'; did you mean A?")],
)
def test_an_account_without_a_pin_cannot_be_unpinned(staffed: Engine, account: str, said: str) -> None:
    with staffed.connect() as connection, pytest.raises(Mistake) as mistake:
        pins.unpin(connection, policy(), account, "kim", AS_OF)
    assert str(mistake.value).startswith(said)


# ---- What becomes of pins -----


def test_the_list_says_which_pins_have_no_effect_and_why(connection: Connection) -> None:
    for account_id in ("A", "B", "C", "D", "E"):
        add_account(connection, account_id, 200)
    add_account(connection, "F", 200, status="churned")
    add_csm(connection, "ann")
    add_csm(connection, "gone", active=False)
    add_pin(connection, "A", band="high", owner_id="ann")
    add_pin(connection, "B", owner_id="gone")
    add_pin(connection, "C", owner_id="who")
    add_pin(connection, "D", band="bronze")
    add_pin(connection, "E", band="tech", owner_id="ann")
    add_pin(connection, "F", band="high")
    add_pin(connection, "Z", band="high")
    assert {pin.account_id: pin.problem for pin in read_pins(connection, policy())} == {
        "A": None,
        "B": "gone has left",
        "C": "there is no CSM who",
        "D": "the policy has no band bronze",
        "E": "the pool serves tech",
        "F": "the account is no longer active",
        "Z": "the account is no longer active",
    }


def test_a_pin_that_lapses_is_reported_by_the_first_run_after_it_and_never_again(staffed: Engine) -> None:
    place(staffed, until=AS_OF + 2 * WEEK)
    told = [[pin.account_id for pin in applied(staffed, week).plan.lapsed_pins] for week in (1, 2, 3)]
    assert told == [[], ["A"], []]
    assert where(staffed)["A"] == ("low", "ann")
    assert_sound(staffed)


def test_a_blocked_run_leaves_a_lapsed_pin_to_be_told_by_the_next(staffed: Engine) -> None:
    place(staffed, until=AS_OF + WEEK)
    strict = policy(NO_GUARDS.replace("fewest_accounts = false", "fewest_accounts = 9"))
    assert pipeline.recompute(staffed, strict, AS_OF + WEEK, dry_run=False).status == "blocked"
    assert [pin.account_id for pin in applied(staffed, 2).plan.lapsed_pins] == ["A"]


def test_a_pin_that_was_taken_back_or_replaced_does_not_lapse(staffed: Engine) -> None:
    place(staffed, until=AS_OF + WEEK)
    place(staffed, at=AS_OF + timedelta(days=1), until=AS_OF + 3 * WEEK)
    with staffed.connect() as connection:
        assert read_lapsed(connection, AS_OF + 2 * WEEK) == ()


def test_a_pin_to_a_csm_who_left_is_told_in_the_report_and_stops_nothing(staffed: Engine) -> None:
    place(staffed)
    with staffed.begin() as connection:
        connection.exec_driver_sql("UPDATE csms SET active = false WHERE csm_id = 'bob'")
        add_csm(connection, "eve", "high")
    result = applied(staffed, 1)
    assert result.status == "applied"
    (note,) = result.plan.notes
    assert "A" in note
    assert "bob" in note
    assert "left" in note
    assert where(staffed)["A"] == ("high", "eve")
    assert_sound(staffed)
