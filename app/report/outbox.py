"""What is in the outbox, for people and for programs: a line for each message in each channel."""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import IO

from app.figures import counted
from app.notify.outbox import Entry, State
from app.report.csv import cell
from app.report.history import SCHEMA, instant
from app.report.page import Column, Page, Row

COLUMNS = (
    "message_id",
    "topic",
    "recipient",
    "run_id",
    "created_at",
    "state",
    "channel",
    "attempts",
    "next_attempt_at",
    "ended_at",
    "last_error",
)
"""The keys of an entry. `state` is unseen, waiting, parked, delivered, dropped or untold."""


def write_outbox_table(page: Page, entries: Sequence[Entry], left_out: int) -> None:
    """The entries with what went wrong last; instants are UTC."""
    if not entries:
        page.line("Nothing of that kind is in the outbox")
        return
    counts = Counter(entry.state for entry in entries)
    page.line(", ".join(f"{counts[state]:,} {state}" for state in State if counts[state]), style="bold")
    columns = [
        Column("Message"),
        Column("Topic"),
        Column("For"),
        Column("Made"),
        Column("Channel"),
        Column("State"),
        Column("Attempts", right=True),
        Column("Next"),
    ]
    page.table(columns, [_row(entry) for entry in entries])
    if left_out:
        page.line(f"  and {counted(left_out, 'other')}; --limit shows more", style="dim")


def write_outbox_json(out: IO[str], entries: Sequence[Entry]) -> None:
    """One object: `schema` and `messages`, an entry on each line."""
    lines = ",\n".join(f"    {json.dumps(dict(_fields(entry)), ensure_ascii=False)}" for entry in entries)
    body = f"\n{lines}\n  " if lines else ""
    out.write(f'{{\n  "schema": {SCHEMA},\n  "messages": [{body}]\n}}\n')


def write_outbox_csv(out: IO[str], entries: Sequence[Entry]) -> None:
    """A header and a row for each entry, safe as `app.report.csv` says."""
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows(
        [content if isinstance(content, int) else cell(content) for _, content in _fields(entry)] for entry in entries
    )


def _row(entry: Entry) -> Row:
    cells = (
        entry.message_id,
        entry.topic,
        entry.recipient or "",
        _minute(entry.created_at),
        entry.channel or "",
        entry.state,
        f"{entry.attempts:,}" if entry.channel else "",
        _minute(entry.next_attempt_at),
    )
    return Row(cells, note=entry.last_error or "", style="yellow" if entry.state == "parked" else None)


def _minute(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at is not None else ""


def _fields(entry: Entry) -> Iterator[tuple[str, str | int | None]]:
    """The keys of an entry with their values, in the order of COLUMNS."""
    yield "message_id", entry.message_id
    yield "topic", entry.topic
    yield "recipient", entry.recipient
    yield "run_id", str(entry.run_id)
    yield "created_at", instant(entry.created_at)
    yield "state", entry.state
    yield "channel", entry.channel
    yield "attempts", entry.attempts
    yield "next_attempt_at", instant(entry.next_attempt_at) if entry.next_attempt_at else None
    yield "ended_at", instant(entry.ended_at) if entry.ended_at else None
    yield "last_error", entry.last_error
