"""What happened, for people and for programs: an account's standing and its changes, or a slice of everybody's."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from decimal import Decimal
from typing import IO, Any
from uuid import UUID

from app.figures import counted, day, sentence
from app.history import Change, Standing
from app.report.csv import cell
from app.report.names import Names
from app.report.page import Column, Page, Row

SCHEMA = 1


def write_history_json(out: IO[str], standing: Standing | None, changes: Iterable[Change]) -> None:
    """One object: `schema`, `account` (null for a slice) and `changes`, a change on each line, as they come."""
    account = json.dumps(asdict(standing) if standing else None, default=_plain, ensure_ascii=False)
    out.write(f'{{\n  "schema": {SCHEMA},\n  "account": {account},\n  "changes": [')
    separator = "\n"
    for change in changes:
        out.write(f"{separator}    {_json(change)}")
        separator = ",\n"
    out.write("]\n}\n" if separator == "\n" else "\n  ]\n}\n")


def write_changes_csv(out: IO[str], changes: Iterable[Change]) -> None:
    """A header with the fields of `Change`, and a row for each, as they come; safe as `app.report.csv` says."""
    writer = csv.writer(out, lineterminator="\r\n")
    names = [field.name for field in fields(Change)]
    writer.writerow(names)
    writer.writerows([_cell(getattr(change, name)) for name in names] for change in changes)


def write_standing(page: Page, standing: Standing, names: Names) -> None:
    """Where the account stands: its band, owner, and all that holds or awaits it."""
    page.line("  ".join(filter(None, (standing.account_id, standing.name))), style="bold")
    page.table([Column(""), Column("")], [Row(row) for row in _standing(standing, names)])


def write_changes_table(page: Page, changes: Sequence[Change], names: Names, *, of_one: bool, earlier: int) -> None:
    """The changes, oldest first, each with its reason; `of_one` account, or of several, then with their names."""
    page.heading(f"History, {counted(len(changes) + earlier, 'change')}" if changes else "No changes")
    if earlier:
        page.line(f"  ... {earlier:,} earlier; --limit {len(changes) + earlier} shows all")
    columns = [
        Column("When"),
        *([] if of_one else [Column("Account"), Column("Name", flexible=True)]),
        Column("Bands"),
        Column("Rule"),
        Column("Owner" if of_one else "New owner"),
    ]
    page.table(columns, [_row(change, names, of_one=of_one) for change in changes])


def _row(change: Change, names: Names, *, of_one: bool) -> Row:
    account = () if of_one else (change.account_id, names.accounts.get(change.account_id, ""))
    bands = "" if change.move == "owner" else _arrow(change.from_band or "(new)", change.to_band or "(left)")
    owners = _arrow(_owner(change.from_owner_id), _owner(change.to_owner_id))
    if not of_one:
        owners = "" if change.from_owner_id == change.to_owner_id else _owner(change.to_owner_id)
    owner = f"; {change.owner_reason}" if change.owner_reason not in {None, change.reason} and of_one else ""
    reason = sentence(f"{change.reason.rstrip('.')}{owner}")
    return Row((day(change.changed_at), *account, bands, change.rule, owners), note=reason)


def _standing(standing: Standing, names: Names) -> Iterator[tuple[str, str]]:
    if standing.status is None:
        yield "Status", "no longer among the accounts"
    elif standing.status != "active":
        yield "Status", standing.status
    if standing.band is None:
        yield "Band", "none"
    else:
        yield "Band", f"{standing.band} since {_since(standing.band_since)}, by {standing.band_rule}"
        owner = f"since {_since(standing.owner_since)}" if standing.owner_id else ""
        yield "Owner", " ".join(filter(None, (_named(standing.owner_id, names), owner)))
    if standing.waiting_since:
        yield "Waiting", f"for an owner since {day(standing.waiting_since)}"
    if standing.held_by:
        yield "Held", f"down by {standing.held_by}, out of {standing.held_from}, until that stops being true"
    if standing.intervention:
        until = f", until {day(standing.intervention_until)} at the latest" if standing.intervention_until else ""
        yield "Lifted", f"by {standing.intervention} from {standing.intervention_from}{until}"
    for rule, entry in sorted((standing.pending or {}).items()):
        seen = str(entry.get("seen_at", ""))[:10]
        yield "Pending", f"{rule}, seen {counted(int(entry['weeks']), 'week')}, last on {seen}"
    if pin := standing.pin:
        to = " and ".join(filter(None, (pin.band, pin.owner_id)))
        yield "Pinned", f"to {to} by {pin.pinned_by} on {day(pin.pinned_at)} until {day(pin.expires_at)}: {pin.reason}"


def _since(instant: datetime | None) -> str:
    return day(instant) if instant else "unknown"


def _owner(owner_id: str | None) -> str:
    return owner_id or "the pool"


def _named(owner_id: str | None, names: Names) -> str:
    if owner_id is None:
        return "the pool"
    name = names.csms.get(owner_id)
    return f"{name} ({owner_id})" if name else owner_id


def _arrow(before: str, after: str) -> str:
    return after if before == after else f"{before} -> {after}"


def _json(change: Change) -> str:
    """A change as one JSON object, its value a number with two decimals."""
    plain = asdict(change)
    value = plain.pop("value")
    text = json.dumps(plain, default=_plain, ensure_ascii=False)
    return f'{text[:-1]}, "value": {"null" if value is None else f"{value:.2f}"}}}'


def _plain(value: Any) -> str:
    match value:
        case datetime():
            return instant(value)
        case _:
            return str(value)


def instant(moment: datetime) -> str:
    """An instant as programs read it: ISO, and in UTC with a Z."""
    return moment.isoformat().replace("+00:00", "Z")


def _cell(value: Any) -> str:
    match value:
        case datetime():
            return instant(value)
        case UUID():
            return str(value)
        case Decimal() | str() | None:
            return cell(value)
        case _:
            raise TypeError(f"no cell for {type(value).__name__}")
