"""How things stand, for people and for monitors."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime, tzinfo
from typing import IO, Any

from app.answers import Stopped
from app.figures import counted, sentence
from app.report.history import SCHEMA, instant
from app.report.page import Column, Page, Row
from app.status import Ended, Status

_STANDINGS = {
    "open": "yet to be run",
    "done": "done",
    "awaiting": "awaits approval",
    "rejected": "was rejected",
    "lapsed": "lapsed, nobody approved it in time",
    "skipped": "was passed over",
    "failed": "given up, every try failed",
}


def write_status_table(page: Page, status: Status, zone: tzinfo) -> None:
    """All is well, or what is not; then how things stand. Times are those of `zone`."""
    if not status.problems:
        page.line("All is well", style="bold")
    for problem in status.problems:
        page.paragraph(sentence(problem), style="red")
    page.table([Column(""), Column("")], [Row(row) for row in _rows(status, zone)])
    for stopped in status.awaiting:
        page.line()
        page.paragraph(_awaits(stopped, zone), style="yellow")
        page.line(f"  bandshift approve {stopped.run_id} --plan-sha {(stopped.plan_sha or '')[:12]} --by WHO")


def write_status_json(out: IO[str], status: Status) -> None:
    """One object, as docs/json.md says."""
    slots, backlog = status.slots, status.backlog
    told = {
        "schema": SCHEMA,
        "now": instant(status.now),
        "healthy": not status.problems,
        "problems": list(status.problems),
        "database": {"needed": status.schema.needed, "found": status.schema.found},
        "slot": _slot(status) if slots is not None else None,
        "next_slot": {"slot": slots.next.isoformat(), "due_at": instant(slots.next_due)} if slots is not None else None,
        "last_slot": _ended(status.last_slot),
        "last_run": _ended(status.last_run),
        "last_failure": _ended(status.last_failure),
        "awaiting": [_stopped(stopped) for stopped in status.awaiting],
        "outbox": _plain(asdict(backlog)) if backlog is not None else None,
    }
    json.dump(told, out, ensure_ascii=False, indent=2)
    out.write("\n")


def _rows(status: Status, zone: tzinfo) -> Iterator[tuple[str, str]]:
    slots, backlog = status.slots, status.backlog
    if status.last_slot is not None:
        yield "Last slot run", f"{status.last_slot.slot}, as of {_at(status.last_slot.as_of, zone)}"
    if status.last_run is not None and status.last_run != status.last_slot:
        yield "Last run", f"{status.last_run.kind}, as of {_at(status.last_run.as_of, zone)}"
    if slots is not None:
        standing = "no slot was run here yet" if slots.standing is None else _STANDINGS[slots.standing]
        yield "Latest slot", f"{slots.latest}, due {_at(slots.fell_due, zone)}: {standing}"
        yield "Next slot", f"{slots.next}, due {_at(slots.next_due, zone)}"
    if status.last_failure is not None:
        failure = status.last_failure
        why = " ".join((failure.error or "").split())
        yield "Last failure", f"{failure.kind}, {_at(failure.started_at, zone)}: {why} ({failure.failure or 'unknown'})"
    if backlog is not None:
        waiting = counted(backlog.unseen + backlog.waiting, "message")
        yield "Outbox", f"{waiting} to deliver, {backlog.failing:,} failed so far, {backlog.parked:,} parked"
    yield "Schema", status.schema.found or "none"


def _awaits(stopped: Stopped, zone: tzinfo) -> str:
    of = f" of the slot {stopped.slot}" if stopped.slot is not None else ""
    until = f", until {_at(stopped.lapses_at, zone)}" if stopped.lapses_at is not None else ""
    return f"A {stopped.kind} run{of}, as of {_at(stopped.as_of, zone)}, awaits approval{until}:"


def _at(moment: datetime, zone: tzinfo) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M}"


def _slot(status: Status) -> Mapping[str, Any] | None:
    slots = status.slots
    if slots is None:
        return None
    return {
        "slot": slots.latest.isoformat(),
        "due_at": instant(slots.fell_due),
        "standing": slots.standing,
        "late": slots.late.isoformat() if slots.late is not None else None,
        "late_s": int(slots.late_by.total_seconds()) if slots.late_by is not None else None,
    }


def _ended(run: Ended | None) -> Mapping[str, Any] | None:
    return _plain(asdict(run)) if run is not None else None


def _stopped(stopped: Stopped) -> Mapping[str, Any]:
    shown = ("run_id", "kind", "slot", "as_of", "started_at", "plan_sha", "lapses_at")
    tripped = [verdict["guard"] for verdict in stopped.guards if verdict["tripped"]]
    return {**_plain({name: getattr(stopped, name) for name in shown}), "guards": tripped}


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _value(value) for name, value in fields.items()}


def _value(value: Any) -> Any:
    match value:
        case None | int():
            return value
        case datetime():
            return instant(value)
        case _:
            return str(value)
