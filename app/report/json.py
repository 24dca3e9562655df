"""The report for programs: one JSON object, stable, in UTF-8. `docs/json.md` says what each key means.

It is written piece by piece, so that a million moves need no more memory than one. Every item of a list is on a line of
its own. Money is a JSON number with two decimals, written from the Decimal and so exact; evidence is the database's own
JSON, passed on as it came.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring
from typing import IO
from uuid import UUID

from app.plan import Book, Decision, Flow, LapsedPin, OwnerChange, Plan, Verdict, Waiting
from app.policy.model import Policy
from app.reasons import reason
from app.report.summary import Move, counts, flows, moves

SCHEMA = 1
"""The version of the object; it rises when a key goes or changes its meaning, not when one is added."""

Fields = Mapping[str, str]
"""The keys of an object, each with its value already as JSON text."""


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
        "schema": _text(SCHEMA),
        "run_id": _text(str(run_id) if run_id else None),
        "as_of": _instant(plan.as_of),
        "policy": _object({"name": _text(plan.policy_name), "sha256": _text(plan.policy_sha)}),
        "plan_sha256": _text(plan.sha256),
        "status": _text(status),
        "counts": _text(counts(plan)),
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
        "notes": ({"note": _text(note)} for note in plan.notes),
        **(more or {}),
    }
    out.write("{\n")
    for key, value in head.items():
        out.write(f'  "{key}": {value},\n')
    out.writelines(_lists(lists))
    out.write("}\n")


def _lists(lists: Mapping[str, Iterable[Fields]]) -> Iterator[str]:
    for position, (key, items) in enumerate(lists.items(), start=1):
        yield f'  "{key}": ['
        separator = "\n"
        for item in items:
            yield f"{separator}    {_object(item)}"
            separator = ",\n"
        yield ("]" if separator == "\n" else "\n  ]") + (",\n" if position < len(lists) else "\n")


def _flow(flow: Flow) -> Fields:
    return {
        "from": _text(flow.from_band),
        "to": _text(flow.to_band),
        "accounts": _text(flow.accounts),
        "value": _money(flow.value),
    }


def _move(policy: Policy, move: Move) -> Fields:
    decision = move.decision
    return {
        **_bands(decision),
        "reason": _text(reason(policy, decision)),
        "evidence": _evidence(decision),
        "from_owner_id": _text(decision.owner_id),
        "to_owner_id": _text(move.to_owner_id),
    }


def _pending(policy: Policy, decision: Decision) -> Fields:
    weeks = {"weeks": _text(decision.weeks), "confirm_weeks": _text(policy.rule[decision.rule].confirm_weeks)}
    return {**_bands(decision), **weeks, "reason": _text(reason(policy, decision)), "evidence": _evidence(decision)}


def _noted(policy: Policy, decision: Decision) -> Fields:
    return {**_bands(decision), "reason": _text(reason(policy, decision)), "evidence": _evidence(decision)}


def _contested(policy: Policy, decision: Decision) -> Fields:
    return {"against": _text(decision.against), **_noted(policy, decision)}


def _bands(decision: Decision) -> Fields:
    return {
        "account_id": _text(decision.account_id),
        "from_band": _text(decision.from_band),
        "to_band": _text(decision.to_band),
        "move": _text(decision.move),
        "rule": _text(decision.rule),
    }


def _owner_change(change: OwnerChange) -> Fields:
    return {
        "account_id": _text(change.account_id),
        "from_owner_id": _text(change.from_owner_id),
        "to_owner_id": _text(change.to_owner_id),
        "why": _text(change.why),
        "reason": _text(change.reason),
    }


def _book(book: Book) -> Fields:
    return {
        "csm_id": _text(book.csm_id),
        "accounts_before": _text(book.accounts_before),
        "accounts_after": _text(book.accounts_after),
        "max_accounts": _text(book.max_accounts),
        "share_before": _share(book.accounts_before, book.max_accounts),
        "share_after": _share(book.accounts_after, book.max_accounts),
        "value_before": _money(book.value_before),
        "value_after": _money(book.value_after),
        "max_book": _money(book.max_book),
        "arrivals": _text(book.arrivals),
        "departures": _text(book.departures),
    }


def _share(accounts: int, most: int) -> str:
    """What part of a book's size is taken; null for a book of no size."""
    return f"{accounts / most:.4f}" if most > 0 else "null"


def _lapsed_pin(pin: LapsedPin) -> Fields:
    return {
        "account_id": _text(pin.account_id),
        "band": _text(pin.band),
        "owner_id": _text(pin.owner_id),
        "pinned_by": _text(pin.pinned_by),
        "expires_at": _instant(pin.expires_at),
        "reason": _text(pin.reason),
    }


def _waiting(waiting: Waiting, as_of: datetime) -> Fields:
    return {
        "account_id": _text(waiting.account_id),
        "band": _text(waiting.band),
        "since": _instant(waiting.since),
        "value": _money(waiting.value),
        "days": _text(max((as_of - waiting.since).days, 0)),
    }


def _guard(verdict: Verdict) -> Fields:
    return {
        "guard": _text(verdict.guard),
        "tripped": _text(verdict.tripped),
        "actual": _number(verdict.actual),
        "limit": _number(verdict.limit),
        "unit": _text(verdict.unit),
        "detail": _text(verdict.detail),
    }


def _evidence(decision: Decision) -> str:
    return _object({"facts": decision.facts, "rules": decision.rules})


def _object(fields: Fields) -> str:
    return _layout(tuple(fields)) % tuple(fields.values())


@lru_cache(maxsize=64)
def _layout(keys: tuple[str, ...]) -> str:
    """An object of these keys, with a place for each value; a million objects have a dozen layouts between them."""
    return "{" + ", ".join(f'"{key}": %s' for key in keys) + "}"


def _text(value: str | int | Mapping[str, int] | None) -> str:
    # Nearly all are texts, and json.dumps takes ten times as long to find out that one is.
    return encode_basestring(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _money(value: Decimal | None) -> str:
    return "null" if value is None else f"{value:.2f}"


def _number(value: Decimal) -> str:
    return f"{value:f}"


def _instant(instant: datetime) -> str:
    return _text(f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
