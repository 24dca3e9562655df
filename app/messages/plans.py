"""What CS ops is told of a plan: that a run carried it out (`run.summary`), or that a guard stopped it (`run.blocked`).

Lists are cut to the items that matter most; `total` says how many there are, and the reports show them all.
"""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from app.messages.message import BLOCKED, SUMMARY, Row, instant, row
from app.plan import Decision, LapsedPin, Plan, Waiting
from app.policy.model import Policy
from app.reasons import reason
from app.report.names import Names
from app.report.summary import Head, Summary, counts, summarise
from app.runs import guards_json

NamesOf = Callable[[Collection[str], Collection[str]], Names]
"""The names of these accounts and of these CSMs."""

SHOWN = 20
"""So many items of each list are in a message."""


def summary(plan: Plan, policy: Policy, run_id: UUID, names: NamesOf) -> Row:
    """The message of what a run did, who waits for a CSM, and which accounts a person has to decide on.

    `names` is asked once for those of the accounts and of the CSMs in it.
    """
    made = summarise(plan, policy, SHOWN)
    named = names(*_named_in(plan, made))
    payload = {
        **_plan(plan, policy, made),
        "waitlist": _head(made.waitlist, lambda item: _waiting(item, plan.as_of, named)),
        "reviews": _head(made.reviews, lambda item: _noted(policy, item, named)),
        "contested": _head(made.contested, lambda item: _noted(policy, item, named)),
        "lapsed_pins": _head(Head(plan.lapsed_pins[:SHOWN], len(plan.lapsed_pins)), lambda pin: _pin(pin, named)),
        "notes": list(plan.notes),
    }
    return row(run_id, SUMMARY, payload, plan.as_of)


def blocked(plan: Plan, policy: Policy, run_id: UUID, lapses_at: datetime) -> Row:
    """The message that asks for approval of a plan that guards stopped, with the commands that answer.

    After `lapses_at` it can no longer be approved.
    """
    payload = {
        **_plan(plan, policy, summarise(plan, policy, SHOWN)),
        "plan_sha256": plan.sha256,
        "lapses_at": instant(lapses_at),
        "commands": {
            "approve": f"bandshift approve {run_id} --plan-sha {plan.sha256} --by WHO",
            "reject": f"bandshift reject {run_id} --by WHO",
        },
        "notes": list(plan.notes),
    }
    return row(run_id, BLOCKED, payload, plan.as_of)


def _named_in(plan: Plan, made: Summary) -> tuple[frozenset[str], frozenset[str]]:
    """The accounts and the CSMs that a summary names."""
    owned: tuple[Decision | LapsedPin, ...] = (
        *made.reviews.shown,
        *made.contested.shown,
        *plan.lapsed_pins[:SHOWN],
    )
    account_ids = (item.account_id for item in (*owned, *made.waitlist.shown))
    return frozenset(account_ids), frozenset(item.owner_id for item in owned if item.owner_id)


def _plan(plan: Plan, policy: Policy, made: Summary) -> dict[str, Any]:
    """What every message of a plan begins with."""
    return {
        "as_of": instant(plan.as_of),
        "time_zone": policy.calendar.time_zone.key,
        "currency": policy.currency,
        "policy": {"name": plan.policy_name, "sha256": plan.policy_sha},
        "counts": counts(plan),
        "flows": [
            {"from": flow.from_band, "to": flow.to_band, "accounts": flow.accounts, "value": float(flow.value)}
            for flow in made.flows
        ],
        "rules": [
            {"move": group.move, "rule": group.rule, "accounts": group.moves.total, "value": float(group.value)}
            for group in made.groups
        ],
        "guards": guards_json(plan.verdicts),
    }


def _head(head: Head[Any], write: Any) -> dict[str, Any]:
    return {"total": head.total, "shown": [write(item) for item in head.shown]}


def _waiting(waiting: Waiting, as_of: datetime, names: Names) -> dict[str, Any]:
    return {
        "account_id": waiting.account_id,
        "name": names.accounts.get(waiting.account_id),
        "band": waiting.band,
        "days": max((as_of - waiting.since).days, 0),
        "value": _money(waiting.value),
    }


def _noted(policy: Policy, decision: Decision, names: Names) -> dict[str, Any]:
    return {
        "account_id": decision.account_id,
        "name": names.accounts.get(decision.account_id),
        "band": decision.from_band,
        "owner_id": decision.owner_id,
        "owner_name": names.csms.get(decision.owner_id or ""),
        "value": _money(decision.value),
        "rule": decision.rule,
        "against": decision.against,
        "reason": reason(policy, decision),
    }


def _pin(pin: LapsedPin, names: Names) -> dict[str, Any]:
    return {
        "account_id": pin.account_id,
        "name": names.accounts.get(pin.account_id),
        "band": pin.band,
        "owner_id": pin.owner_id,
        "owner_name": names.csms.get(pin.owner_id or ""),
        "pinned_by": pin.pinned_by,
        "expires_at": instant(pin.expires_at),
        "reason": pin.reason,
    }


def _money(value: Any) -> float | None:
    return None if value is None else float(value)
