"""The report for programs: one JSON object, stable, in UTF-8. `docs/json.md` says what each key means.

It is written piece by piece, so that a million moves need no more memory than one. Every item of a list is on a line of
its own. Money is a JSON number with two decimals, written from the Decimal and so exact; evidence is the database's own
JSON, passed on as it came.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import IO, Any
from uuid import UUID

from msgspec import Raw
from msgspec.json import Encoder

from app.plan import Book, Decision, Flow, LapsedPin, OwnerChange, Plan, Verdict, Waiting
from app.policy.model import Policy
from app.reasons import reason
from app.report.summary import Move, counts, flows, moves

SCHEMA = 1
"""The version of the object; it rises when a key goes or changes its meaning, not when one is added."""

Fields = Mapping[str, Any]
"""An object of the report: texts, whole numbers, None, and `Raw` where the JSON is already at hand."""


def write_json(
    out: IO[str],
    policy: Policy,
    plan: Plan,
    *,
    run_id: UUID | None,
    status: str,
    about: Fields | None = None,
    more: Mapping[str, Iterable[Fields]] | None = None,
) -> None:
    """The whole object is written to `out`, with a newline at its end.

    `status` is planned, applied, blocked or nothing; `run_id` is None for a dry run. `about` are
    further keys and `more` further lists.
    """
    head = {
        "schema": SCHEMA,
        "run_id": str(run_id) if run_id else None,
        "as_of": _instant(plan.as_of),
        "policy": {"name": plan.policy_name, "sha256": plan.policy_sha},
        "plan_sha256": plan.sha256,
        "status": status,
        "counts": counts(plan),
        **(about or {}),
    }
    lists: Mapping[str, Iterable[Fields]] = {
        "flows": map(_flow, flows(plan, policy)),
        "moves": (_move(policy, move) for move in moves(plan)),
        "pending": (_pending(policy, decision) for decision in plan.of("pending")),
        "reviews": (_noted(policy, decision) for decision in plan.of("review")),
        "contested": (_contested(policy, decision) for decision in plan.of("contested")),
        "waitlist": (_waiting(waiting, plan.as_of) for waiting in plan.waitlist),
        "guards": map(_guard, plan.verdicts),
        "owner_changes": map(_owner_change, plan.owner_changes),
        "books": map(_book, plan.books),
        "lapsed_pins": map(_lapsed_pin, plan.lapsed_pins),
        "notes": ({"note": note} for note in plan.notes),
        **(more or {}),
    }
    out.write("{\n")
    for key, value in head.items():
        out.write(f'  "{key}": {_written(value)},\n')
    out.writelines(_lists(lists))
    out.write("}\n")


def _lists(lists: Mapping[str, Iterable[Fields]]) -> Iterator[str]:
    for position, (key, items) in enumerate(lists.items(), start=1):
        yield f'  "{key}": ['
        separator = "\n"
        for item in items:
            yield f"{separator}    {_written(item)}"
            separator = ",\n"
        yield ("]" if separator == "\n" else "\n  ]") + (",\n" if position < len(lists) else "\n")


def _flow(flow: Flow) -> Fields:
    return {
        "from": flow.from_band,
        "to": flow.to_band,
        "accounts": flow.accounts,
        "value": _money(flow.value),
    }


def _move(policy: Policy, move: Move) -> Fields:
    decision = move.decision
    return {
        **_bands(decision),
        "reason": reason(policy, decision),
        "evidence": _evidence(decision),
        "from_owner_id": decision.owner_id,
        "to_owner_id": move.to_owner_id,
    }


def _pending(policy: Policy, decision: Decision) -> Fields:
    weeks = {"weeks": decision.weeks, "confirm_weeks": policy.rule[decision.rule].confirm_weeks}
    return {**_bands(decision), **weeks, "reason": reason(policy, decision), "evidence": _evidence(decision)}


def _noted(policy: Policy, decision: Decision) -> Fields:
    return {**_bands(decision), "reason": reason(policy, decision), "evidence": _evidence(decision)}


def _contested(policy: Policy, decision: Decision) -> Fields:
    return {"against": decision.against, **_noted(policy, decision)}


def _bands(decision: Decision) -> Fields:
    return {
        "account_id": decision.account_id,
        "from_band": decision.from_band,
        "to_band": decision.to_band,
        "move": decision.move,
        "rule": decision.rule,
    }


def _owner_change(change: OwnerChange) -> Fields:
    return {
        "account_id": change.account_id,
        "from_owner_id": change.from_owner_id,
        "to_owner_id": change.to_owner_id,
        "why": change.why,
        "reason": change.reason,
    }


def _book(book: Book) -> Fields:
    return {
        "csm_id": book.csm_id,
        "accounts_before": book.accounts_before,
        "accounts_after": book.accounts_after,
        "max_accounts": book.max_accounts,
        "share_before": _share(book.accounts_before, book.max_accounts),
        "share_after": _share(book.accounts_after, book.max_accounts),
        "value_before": _money(book.value_before),
        "value_after": _money(book.value_after),
        "max_book": _money(book.max_book),
        "arrivals": book.arrivals,
        "departures": book.departures,
    }


def _share(accounts: int, most: int) -> Raw | None:
    """What part of a book's size is taken; None for a book of no size."""
    return Raw(f"{accounts / most:.4f}") if most > 0 else None


def _lapsed_pin(pin: LapsedPin) -> Fields:
    return {
        "account_id": pin.account_id,
        "band": pin.band,
        "owner_id": pin.owner_id,
        "pinned_by": pin.pinned_by,
        "expires_at": _instant(pin.expires_at),
        "reason": pin.reason,
    }


def _waiting(waiting: Waiting, as_of: datetime) -> Fields:
    return {
        "account_id": waiting.account_id,
        "band": waiting.band,
        "since": _instant(waiting.since),
        "value": _money(waiting.value),
        "days": max((as_of - waiting.since).days, 0),
    }


def _guard(verdict: Verdict) -> Fields:
    return {
        "guard": verdict.guard,
        "tripped": verdict.tripped,
        "actual": _number(verdict.actual),
        "limit": _number(verdict.limit),
        "unit": verdict.unit,
        "detail": verdict.detail,
    }


def _evidence(decision: Decision) -> Raw:
    return Raw(f'{{"facts": {decision.facts}, "rules": {decision.rules}}}')


_encode = Encoder().encode


def _written(value: Any) -> str:
    return _encode(value).decode()


def _money(value: Decimal | None) -> Raw | None:
    return None if value is None else Raw(f"{value:.2f}")


def _number(value: Decimal) -> Raw:
    return Raw(f"{value:f}")


def _instant(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
