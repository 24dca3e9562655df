"""The ledger, for people and for programs, the latest run first."""

import csv
import json
from collections.abc import Iterator, Sequence
from datetime import tzinfo
from typing import IO, Any

from app.figures import counted, sentence
from app.ledger import Entry
from app.report.csv import cell
from app.report.history import SCHEMA, instant
from app.report.page import Column, Page, Row

COLUMNS = (
    "run_id", "kind", "slot", "status", "answer", "as_of", "started_at", "finished_at", "duration_ms", "accounts",
    "moves", "owner_changes", "policy_sha", "plan_sha", "approves", "lapses_at", "answered_at", "answered_by",
    "failure", "error",
)  # fmt: skip
"""The keys of a run, in order."""


def write_runs_table(page: Page, entries: Sequence[Entry], zone: tzinfo) -> None:
    """The runs, each with what stopped it or how it was answered; times are those of `zone`."""
    page.line(counted(len(entries), "run") if entries else "No runs", style="bold")
    titles = ("Run", "As of", "Kind", "Slot", "Status")
    columns = [*map(Column, titles), Column("Moves", right=True), Column("Owners", right=True)]
    page.table(columns, [_row(entry, zone) for entry in entries])


def write_runs_json(out: IO[str], entries: Sequence[Entry]) -> None:
    """One object: `schema` and `runs`, a run on each line."""
    lines = ",\n".join(f"    {json.dumps(dict(_fields(entry)), ensure_ascii=False)}" for entry in entries)
    body = f"\n{lines}\n  " if lines else ""
    out.write(f'{{\n  "schema": {SCHEMA},\n  "runs": [{body}]\n}}\n')


def write_runs_csv(out: IO[str], entries: Sequence[Entry]) -> None:
    """A header and a row for each run, safe as `app.report.csv` says."""
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows([_cell(content) for _, content in _fields(entry)] for entry in entries)


def _row(entry: Entry, zone: tzinfo) -> Row:
    changed = entry.status in {"applied", "blocked"}
    figures = (f"{entry.counts.get(name, 0):,}" if changed else "" for name in ("moves", "owner_changes"))
    cells = (
        str(entry.run_id),
        f"{entry.as_of.astimezone(zone):%Y-%m-%d %H:%M}",
        entry.kind,
        entry.slot.isoformat() if entry.slot is not None else "",
        entry.standing,
        *figures,
    )
    style = {"awaiting": "yellow", "failed": "red"}.get(entry.standing)
    return Row(cells, note=" ".join(_told(entry, zone)), style=style)


def _told(entry: Entry, zone: tzinfo) -> Iterator[str]:
    if entry.approves is not None:
        yield f"Approves run {entry.approves}."
    if entry.failure is not None:
        yield f"({entry.failure})"
    if entry.error is not None:
        yield sentence(" ".join(entry.error.split()))
    if entry.answered_by is not None and entry.answered_at is not None:
        yield f"{entry.answered_by} {entry.answer} it on {entry.answered_at.astimezone(zone):%Y-%m-%d %H:%M}."
    elif entry.standing == "awaiting" and entry.lapses_at is not None:
        yield f"It can be approved until {entry.lapses_at.astimezone(zone):%Y-%m-%d %H:%M}."


def _fields(entry: Entry) -> Iterator[tuple[str, str | int | None]]:
    """The keys of a run with their values, in the order of COLUMNS."""
    for name in COLUMNS:
        value: Any = entry.counts.get(name) if name in {"accounts", "moves", "owner_changes"} else getattr(entry, name)
        match value:
            case None | int():
                yield name, value
            case _ if name.endswith("_at") or name == "as_of":
                yield name, instant(value)
            case _:
                yield name, str(value)


def _cell(content: str | int | None) -> str:
    return str(content) if isinstance(content, int) else cell(content)
