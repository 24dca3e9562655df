"""The pins, for people and for programs, by account id."""

import csv
import json
from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo
from typing import IO

from app.figures import counted, day
from app.pins import Pin
from app.report.csv import cell
from app.report.history import SCHEMA, instant
from app.report.page import Column, Page, Row

COLUMNS = (
    "account_id",
    "band",
    "owner_id",
    "state",
    "problem",
    "pinned_at",
    "expires_at",
    "pinned_by",
    "reason",
)
"""The keys of a pin. `state` is in_force, of_no_effect (then `problem` says why) or lapsed."""


def write_pins_table(page: Page, pins: Sequence[Pin], now: datetime, zone: tzinfo) -> None:
    """The pins, each with who wants it, why, and what keeps it from having effect; dates are those of `zone`."""
    if not pins:
        page.line("No pins")
        return
    lapsed = sum(pin.lapsed(now) for pin in pins)
    page.line(counted(len(pins), "pin") + (f", {lapsed:,} lapsed" if lapsed else ""), style="bold")
    columns = [
        Column("Account"),
        Column("Name", flexible=True),
        Column("Band"),
        Column("Owner"),
        Column("Until"),
        Column(""),
    ]
    page.table(columns, [_row(pin, now, zone) for pin in pins])


def write_pins_json(out: IO[str], pins: Sequence[Pin], now: datetime) -> None:
    """One object: `schema` and `pins`, a pin on each line."""
    lines = ",\n".join(f"    {json.dumps(dict(_fields(pin, now)), ensure_ascii=False)}" for pin in pins)
    body = f"\n{lines}\n  " if lines else ""
    out.write(f'{{\n  "schema": {SCHEMA},\n  "pins": [{body}]\n}}\n')


def write_pins_csv(out: IO[str], pins: Sequence[Pin], now: datetime) -> None:
    """A header and a row for each pin, safe as `app.report.csv` says."""
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows([cell(content) for _, content in _fields(pin, now)] for pin in pins)


def _row(pin: Pin, now: datetime, zone: tzinfo) -> Row:
    state = "lapsed" if pin.lapsed(now) else "no effect" if pin.problem else ""
    problem = f"; it has no effect, for {pin.problem}" if pin.problem and not pin.lapsed(now) else ""
    told = f"{pin.pinned_by}, on {day(pin.pinned_at.astimezone(zone))}: {pin.reason}{problem}"
    until = day(pin.expires_at.astimezone(zone))
    cells = (pin.account_id, pin.name or "", pin.band or "", pin.owner_id or "", until, state)
    return Row(cells, note=told, style="yellow" if state else None)


def _fields(pin: Pin, now: datetime) -> Iterator[tuple[str, str | None]]:
    """The keys of a pin with their values, in the order of COLUMNS."""
    yield "account_id", pin.account_id
    yield "band", pin.band
    yield "owner_id", pin.owner_id
    yield "state", "lapsed" if pin.lapsed(now) else "of_no_effect" if pin.problem else "in_force"
    yield "problem", pin.problem
    yield "pinned_at", instant(pin.pinned_at)
    yield "expires_at", instant(pin.expires_at)
    yield "pinned_by", pin.pinned_by
    yield "reason", pin.reason
