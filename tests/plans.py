"""Plans built by hand, for the tests of what is done with a plan."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from msgspec import structs

from app.plan import BandCount, Book, Census, Decision, OwnerChange, Plan, Verdict, Waiting
from app.policy.model import Policy

AS_OF = datetime(2026, 3, 2, 6, tzinfo=UTC)


def decision(account_id: str = "A-1", **fields: Any) -> Decision:
    """A demotion by `value_lost` with the given fields instead; `facts`, `rules` and `state` may be objects."""
    base = Decision(
        account_id=account_id,
        outcome="move",
        move="demote",
        from_band="high",
        to_band="low",
        rule="value_lost",
        against=None,
        value=Decimal("9000.00"),
        arr=Decimal("9000.00"),
        weeks=None,
        facts='{"value": 9000.00, "demotion_floor": 38250.00}',
        rules='{"value_lost": "fired"}',
        state='{"held_by": "value_lost", "held_from": "high"}',
        owner_id="C-1",
        segment=None,
        region=None,
        language=None,
    )
    texts = {name: json.dumps(value) for name, value in fields.items() if isinstance(value, dict)}
    return structs.replace(base, **(fields | texts))


def plan(policy: Policy, *decisions: Decision, **fields: Any) -> Plan:
    """A plan of these decisions at AS_OF over a census of 2,000 accounts, with the given fields instead."""
    census = Census(
        bands=(
            BandCount("tech", 1500, Decimal(6_000_000), Decimal(5_500_000)),
            BandCount("low", 400, Decimal(8_000_000), Decimal(7_000_000)),
            BandCount("high", 90, Decimal(9_000_000), Decimal(8_000_000)),
            BandCount("strategic", 10, Decimal(6_000_000), Decimal(5_000_000)),
            BandCount(None, 0, Decimal(0), Decimal(0)),
        ),
        missing={"adoption": 120, "health": 3, "arr": 0},
    )
    base = Plan(
        as_of=AS_OF,
        policy_name=policy.name,
        policy_sha=policy.sha256,
        decisions=tuple(sorted(decisions, key=lambda decision: decision.account_id)),
        owner_changes=(),
        waitlist=(),
        books=(),
        census=census,
        verdicts=(),
    )
    return replace(base, **fields)


def a_monday(policy: Policy) -> Plan:
    """A plan with something of everything."""
    expansion = {"seats_before": 40, "seats_now": 95, "value": 6100}
    rescue = {"renewal_on": "2026-04-20", "adoption": 0.315}
    return plan(
        policy,
        decision("A-0001"),
        decision("A-0002", value=Decimal("12345.60"), facts={"value": 12345.60, "demotion_floor": 38250}),
        decision("A-0003", move="graduate", from_band="low", to_band="high", rule="expansion", facts=expansion),
        decision(
            "A-0004",
            move="graduate",
            from_band="tech",
            to_band="low",
            rule="value_gained",
            value=Decimal(8000),
            owner_id=None,
            facts={"value": 8000, "earned_band": "low"},
        ),
        decision("A-0005", move="intervene", from_band="low", to_band="high", rule="renewal_rescue", facts=rescue),
        decision("A-0006", move="return", from_band="high", to_band="low", rule="usage_decline", state={}),
        decision("A-0007", move="leave", to_band=None, rule="left", value=None, facts={}),
        decision("A-0008", move="enter", from_band=None, to_band="tech", rule="entry", value=None, owner_id=None),
        decision(
            "A-0009",
            outcome="pending",
            weeks=1,
            value=Decimal(30000),
            facts={"value": 30000, "demotion_floor": 38250},
        ),
        decision("A-0010", outcome="review", rule="quiet", facts={"quiet_days": 95, "cadence_days": 30}),
        decision(
            "A-0011",
            outcome="contested",
            move="graduate",
            from_band="low",
            to_band="high",
            rule="expansion",
            against="quiet",
            facts=expansion | {"quiet_days": 95, "cadence_days": 30},
        ),
        decision("A-0012", outcome="state", to_band="high"),
        owner_changes=(
            OwnerChange("A-0001", "C-1", "C-2", "band_change", "C-1 does not serve low", "low", Decimal(9000)),
            OwnerChange("A-0003", "C-1", "C-2", "band_change", "C-2 has the most room", "high", Decimal(9000)),
            OwnerChange("A-0007", "C-1", None, "left", "it is no longer an active customer", None, None),
            OwnerChange("A-0900", "C-9", "C-2", "departure", "C-9 has left; C-2 has room", "low", Decimal(7500)),
        ),
        waitlist=(Waiting("A-0004", "low", AS_OF - timedelta(days=21), Decimal(8000)),),
        books=(
            Book("C-1", 40, 38, Decimal(2_000_000), Decimal(1_982_000), 40, None, 0, 2),
            Book("C-2", 250, 252, Decimal(5_000_000), Decimal(5_018_000), 250, Decimal(6_000_000), 2, 0),
        ),
        notes=("the pin of A-0012 to C-9 counts for nothing: they have left",),
        verdicts=(
            Verdict("moved_accounts", Decimal(8), Decimal(200), "accounts", False, "8 accounts move, at most 200 may"),
            Verdict("csm_book", Decimal(2), Decimal(85), "accounts", False, "at most 2 accounts in one book, 85 may"),
        ),
    )
