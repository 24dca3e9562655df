"""A random world written into Postgres, decided there, and held against the oracle's decisions, field by field."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Table, Text, cast, delete, select
from sqlalchemy.dialects.postgresql import JSONB

from app.plan import Decision
from app.policy.model import Policy
from app.tables import account_signals, accounts, coverage, pins
from tests.oracle import Expected
from tests.oracle_expressions import Rung
from tests.oracle_rows import Account, Coverage, Pending, Pin, Signal
from tests.random_accounts import World

STATE = (
    "held_by",
    "held_from",
    "intervention",
    "intervention_from",
    "intervention_until",
    "spent_intervention",
    "pending",
    "has_risen",
    "fell_with",
)
SAME = ("outcome", "move", "from_band", "to_band", "rule", "against", "value", "arr", "weeks")
SAME_ROW = ("owner_id", "segment", "region", "language")
OPAQUE = "a fingerprint"


# ---- Into the tables and back ----------------------------------------------------------------------------------------


def store(connection: Connection, world: World) -> None:
    """The tables hold this world and nothing else."""
    for table in (accounts, account_signals, coverage, pins):
        connection.execute(delete(table))
    _copy(connection, accounts, [columns_of(account) for account in world.accounts])
    _copy(connection, account_signals, [columns_of(signal) for signal in world.signals])
    _copy(connection, coverage, [coverage_row(row) for row in world.coverage])
    _copy(connection, pins, [pin_row(pin) for pin in world.pins])


def read_world(connection: Connection, policy: Policy, as_of: datetime) -> World:
    """What a run of the policy at as_of would read of the tables."""

    def rows(table: Table, of: type) -> list[dict[str, Any]]:
        wanted = [table.c[field.name] for field in fields(of)]
        columns = [
            cast(column, Text).label(column.name) if isinstance(column.type, JSONB) else column for column in wanted
        ]
        return [dict(row) for row in connection.execute(select(*columns)).mappings()]

    return World(
        policy,
        as_of,
        tuple(Account(**row | {"attributes": _loads(row["attributes"])}) for row in rows(accounts, Account)),
        tuple(Signal(**row) for row in rows(account_signals, Signal)),
        tuple(
            Coverage(**row | {"pending": _pending(_loads(row["pending"] or "{}"))}) for row in rows(coverage, Coverage)
        ),
        tuple(Pin(**row) for row in rows(pins, Pin)),
    )


def _pending(counts: Mapping[str, Any]) -> dict[str, Pending]:
    return {
        name: Pending(int(entry["weeks"]), datetime.fromisoformat(entry["seen_at"])) for name, entry in counts.items()
    }


def store_coverage(connection: Connection, rows: Iterable[Coverage], gone: Iterable[str] = ()) -> None:
    """`coverage` holds these rows in place of what it had for their accounts, and none for the accounts gone."""
    rows = list(rows)
    replaced = [*(row.account_id for row in rows), *gone]
    connection.execute(delete(coverage).where(coverage.c.account_id.in_(replaced)))
    _copy(connection, coverage, [coverage_row(row) for row in rows])


def columns_of(row: Account | Signal | Coverage | Pin) -> dict[str, Any]:
    """A row's columns, not copied as `asdict` would."""
    return {field.name: getattr(row, field.name) for field in fields(row)}


def coverage_row(row: Coverage) -> dict[str, Any]:
    """The columns of a row of coverage."""
    named = columns_of(row)
    counts = {name: {"weeks": entry.weeks, "seen_at": entry.seen_at.isoformat()} for name, entry in row.pending.items()}
    return named | {"pending": counts or None}


def pin_row(pin: Pin) -> dict[str, Any]:
    """The columns of a pin, with its paperwork."""
    return columns_of(pin) | {"reason": "so", "pinned_by": "somebody"}


def _copy(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    columns = [column.name for column in table.columns if column.name in rows[0]]
    raw = connection.connection.driver_connection
    assert raw is not None
    with raw.cursor() as cursor, cursor.copy(f"COPY {table.name} ({', '.join(columns)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row([_cell(row[column]) for column in columns])


def _cell(value: Any) -> Any:
    return to_json(value) if isinstance(value, dict) else value


def to_json(value: Any) -> str:
    """JSON in which a Decimal is a number with the digits that it has."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {to_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(to_json(item) for item in value) + "]"
    return json.dumps(value)


def carried_out(before: Coverage | None, decision: Decision, policy: Policy, as_of: datetime) -> Coverage | None:
    """The row of coverage after one of the SQL's decisions, None when the account has left."""
    if decision.to_band is None:
        return None
    state = json.loads(decision.state)
    left = {name: state.get(name) for name in STATE} | {"has_risen": state.get("has_risen", False)}
    until = left["intervention_until"]
    left["intervention_until"] = datetime.fromisoformat(until) if until else None
    left["pending"] = _pending(left["pending"] or {})
    if decision.outcome != "move":
        assert before is not None, "only a move brings an account in"
        return replace(before, **left)
    owned = before.first_owned_at if before else None
    if owned is None and not policy.band[decision.to_band].pooled:
        owned = as_of
    entered = Coverage(decision.account_id, decision.to_band, as_of, decision.rule, decision.owner_id, owned)
    return replace(entered, **left)


# ---- Held against the oracle -----------------------------------------------------------------------------------------


def differences(expected: Expected | None, decided: Decision | None) -> list[str]:
    """What differs between the oracle's decision and the SQL's, a line each."""
    if expected is None or decided is None:
        return [] if expected is None and decided is None else [f"oracle: {expected}", f"SQL:    {decided}"]
    found = [
        f"{name}: oracle {wanted!r}, SQL {got!r}"
        for name in (*SAME, *SAME_ROW)
        if (wanted := getattr(expected, name)) != (got := getattr(decided, name))
    ]
    for name, told, json_text in (
        ("facts", facts_told(expected.facts), decided.facts),
        ("rules", dict(expected.rules), decided.rules),
        ("state", state_told(expected.after), decided.state),
    ):
        got = read_back(json_text, opaque=name == "state")
        found += [
            f"{name}.{key}: oracle {told.get(key)!r}, SQL {got.get(key)!r}"
            for key in sorted(told.keys() | got.keys())
            if told.get(key) != got.get(key)
        ]
    return found + [f"facts: {number} is not written plainly" for number in crooked_numbers(decided.facts)]


def facts_told(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as JSON carries them; missing ones left out."""
    return {name: _told(value) for name, value in facts.items() if value is not None}


def _told(value: Any) -> Any:
    if isinstance(value, Rung):
        return value.name
    if isinstance(value, datetime):
        return value.timestamp()
    return value.isoformat() if isinstance(value, date) else value


def state_told(after: Coverage | None) -> dict[str, Any]:
    """The columns of coverage that a decision's state shows, those that are NULL or false left out."""
    if after is None:
        return {}
    told: dict[str, Any] = {name: getattr(after, name) for name in STATE if getattr(after, name)}
    if "pending" in told:
        told["pending"] = {name: _pending_told(entry) for name, entry in after.pending.items()}
    if "fell_with" in told:
        told["fell_with"] = OPAQUE
    if after.intervention_until:
        told["intervention_until"] = after.intervention_until.timestamp()
    return told


def _pending_told(entry: Pending) -> dict[str, Any]:
    return {"weeks": Decimal(entry.weeks), "seen_at": entry.seen_at.timestamp()}


def read_back(text: str, *, opaque: bool) -> dict[str, Any]:
    """A JSON object with exact numbers, instants as seconds, NULLs left out; a fingerprint is an opaque token."""
    read = {name: _instants(value) for name, value in _loads(text).items() if value is not None}
    if opaque and "fell_with" in read:
        read["fell_with"] = OPAQUE
    return read


def _loads(text: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    return loaded


def _instants(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _instants(item) for name, item in value.items()}
    if isinstance(value, str) and "T" in value:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return value
        return moment.timestamp() if moment.tzinfo else value
    return value


def crooked_numbers(text: str) -> list[str]:
    """The numbers of a JSON object that carry trailing zeros or an exponent."""
    seen: list[str] = []

    def look(token: str) -> Decimal:
        if "e" in token.lower() or ("." in token and token.endswith("0")):
            seen.append(token)
        return Decimal(token)

    json.loads(text, parse_float=look)
    return seen
