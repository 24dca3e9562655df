"""A statement that was kept is the one that would have been written, to the last parameter."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection

from app.decide import LIVE
from app.decide.spans import Span, within
from app.policy.model import Policy
from app.policy.read import default_policy
from tests.kept_statements import OFTEN, Asked, Given, Keeper, fingerprint_of
from tests.random_expressions import seeded
from tests.random_policies import random_policy
from tests.small_company import TOGETHER, policy

AS_OF = datetime(2026, 3, 2, 6, tzinfo=UTC)
INSTANTS = [
    AS_OF + timedelta(days=days, hours=hours) for days, hours in ((0, 0), (7, 17), (27, 1), (244, 23), (-800, 5))
]
AUCKLAND = replace(default_policy().calendar, time_zone=ZoneInfo("Pacific/Auckland"))


def keeper(connection: Connection, chosen: Policy) -> Keeper:
    """One that has just kept the policy's statement, if it can be kept: it is asked for as often as that."""
    found = Keeper()
    found.times.update([fingerprint_of(chosen)] * (OFTEN - 1))
    found.compiled(connection, Asked(chosen, AS_OF, LIVE))
    assert len(found.kept) == 1
    return found


@pytest.mark.parametrize(
    "chosen",
    [default_policy(), replace(default_policy(), calendar=AUCKLAND), policy(), policy(TOGETHER)],
    ids=["default", "in Auckland", "small", "families"],
)
def test_a_kept_statement_is_the_one_that_would_be_written(connection: Connection, chosen: Policy) -> None:
    known = keeper(connection, chosen)
    assert all(known.kept.values())
    for instant in INSTANTS:
        same(connection, known, Asked(chosen, instant, LIVE))


def same(connection: Connection, known: Keeper, asked: Asked) -> None:
    found, written = known.compiled(connection, asked), asked.written(connection)
    assert str(found) == str(written)
    assert repr(found.params) == repr(written.params)


@pytest.mark.long
def test_random_policies_are_kept_as_they_would_be_written_or_not_at_all(connection: Connection) -> None:
    kept = set()
    for seed in range(8):
        chosen = random_policy(seeded(seed))
        known = keeper(connection, chosen)
        kept.add(all(known.kept.values()))
        same(connection, known, Asked(chosen, INSTANTS[seed % len(INSTANTS)], LIVE))
    assert kept == {True, False}


def test_what_moves_otherwise_is_written_each_time(connection: Connection) -> None:
    chosen = policy(**{"tickets > 2": "tickets > 2 AND days_until_quarter_end < 30"})
    known = keeper(connection, chosen)
    assert list(known.kept.values()) == [None]
    same(connection, known, Asked(chosen, INSTANTS[0], LIVE))


def test_what_somebody_else_has_kept_is_not_written_again(connection: Connection, tmp_path: Path) -> None:
    chosen, others = policy(), Keeper(tmp_path)
    for _ in range(OFTEN - 1):
        assert not isinstance(others.compiled(connection, Asked(chosen, AS_OF, LIVE)), Given)
    assert isinstance(others.compiled(connection, Asked(chosen, AS_OF, LIVE)), Given)
    for instant in INSTANTS[1:3]:
        known = Keeper(tmp_path)
        assert isinstance(known.compiled(connection, Asked(chosen, instant, LIVE)), Given)
        same(connection, known, Asked(chosen, instant, LIVE))


def test_what_is_asked_of_other_rows_or_in_another_zone_is_written_each_time(connection: Connection) -> None:
    known = keeper(connection, policy())
    same(connection, known, Asked(policy(), AS_OF.astimezone(timezone(timedelta(hours=9))), LIVE))
    same(connection, known, Asked(policy(), AS_OF, within(LIVE, (Span(), Span()))))
