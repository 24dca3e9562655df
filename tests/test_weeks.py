"""Weeks of life at random: accounts come, grow and go, CSMs join and leave, people pin; every invariant holds."""

from datetime import timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, update

from app.pipeline import recompute
from app.policy.model import Policy
from app.tables import accounts, csms, pins
from tests.examples import seeds
from tests.small_company import (
    AS_OF,
    TOGETHER,
    WEEK,
    add_account,
    add_csm,
    add_pin,
    add_signal,
    assert_sound,
    contents,
    policy,
)

WEEKS = 10


def happen(connection: Connection, random: Random, week: int) -> None:
    """What happens in one week."""
    for number in range(random.randint(0, 6)):
        arr = random.choice([None, 10, 99, 100, 500, 999, 1000, 5000])
        segment = random.choice([None, "smb", "enterprise"])
        adoption, parent = random.choice([None, 0.1, 0.9]), random.choice([None, f"A{random.randint(0, week):02}-0"])
        fields = {"segment": segment, "adoption": adoption, "parent_id": parent}
        add_account(connection, f"A{week:02}-{number}", arr, **fields)
    known = [f"A{earlier:02}-{number}" for earlier in range(week) for number in range(6)]
    for account_id in random.sample(known, min(len(known), 8)):
        change: dict[str, Any] = random.choice(
            [
                {"arr": 20},
                {"arr": 400},
                {"arr": 3000},
                {"adoption": 0.1},
                {"adoption": 0.8},
                {"status": "churned"},
                {"standalone": True},
            ]
        )
        connection.execute(update(accounts).where(accounts.c.account_id == account_id).values(change))
        if random.random() < 0.3:
            at = AS_OF + week * WEEK - timedelta(days=random.randint(0, 6))
            add_signal(connection, account_id, "health", at, random.choice([10, 90]))
    if random.random() < 0.5:
        bands = random.choice([("low",), ("high",), ("low", "high")])
        segments = random.choice([None, ["smb"]])
        add_csm(connection, f"c{week:02}", *bands, segments=segments, max_book=random.choice([None, 2000]))
    if random.random() < 0.3:
        leaver = f"c{random.randrange(week + 1):02}"
        connection.execute(update(csms).where(csms.c.csm_id == leaver).values(active=False))
    if known and random.random() < 0.5:
        pinned = random.choice(known)
        connection.execute(
            update(pins).where(pins.c.account_id == pinned, pins.c.unpinned_at.is_(None)).values(unpinned_at=AS_OF)
        )
        add_pin(
            connection,
            pinned,
            pinned_at=AS_OF + week * WEEK - timedelta(days=1),
            owner_id=f"c{random.randrange(week + 1):02}",
            band=random.choice([None, "tech", "low", "high"]),
            expires_at=AS_OF + (week + random.randint(0, 4)) * WEEK,
        )


@pytest.mark.parametrize("chosen", [policy(), policy(TOGETHER)], ids=["each by itself", "families together"])
@pytest.mark.parametrize("seed", seeds(4, some=1))
def test_weeks_at_random_leave_every_invariant_standing(database: Engine, seed: int, chosen: Policy) -> None:
    random = Random(seed)  # noqa: S311 - a fixed sequence is the point
    moved = handed_over = waited = 0
    for week in range(WEEKS):
        with database.begin() as connection:
            happen(connection, random, week)
        dry = recompute(database, chosen, AS_OF + week * WEEK, dry_run=True)
        result = recompute(database, chosen, AS_OF + week * WEEK, dry_run=False)
        assert result.plan.sha256 == dry.plan.sha256
        assert result.status == ("applied" if dry.status == "planned" else "nothing")
        assert_sound(database)
        before = contents(database)
        assert recompute(database, chosen, AS_OF + week * WEEK, dry_run=True).status == "nothing"
        assert contents(database) == before
        moved += sum(1 for _ in result.plan.of("move"))
        handed_over += len(result.plan.owner_changes)
        waited += len(result.plan.waitlist)
    assert min(moved, handed_over, waited) > 0
