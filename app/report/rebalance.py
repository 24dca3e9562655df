"""What a rebalance changes, for people and for programs."""

import csv
import json
from dataclasses import asdict
from decimal import Decimal
from typing import IO, Any
from uuid import UUID

from msgspec import structs

from app.figures import counted, sentence, short_money
from app.plan import Book, OwnerChange, Plan
from app.policy.model import Policy
from app.report.csv import cell
from app.report.history import SCHEMA, instant
from app.report.names import Names
from app.report.page import Column, Page, Row
from app.runs import guards_json

COLUMNS = ("account_id", "band", "value", "from_owner_id", "to_owner_id", "reason")

_ENDINGS = {
    "planned": "Nothing was written. Run the same without --dry-run to apply this.",
    "applied": "Applied.",
    "nothing": "Nothing to do: no move that is allowed would make the books more even.",
    "blocked": "A guard stops this; nothing moved.",
}


def write_rebalance_table(page: Page, policy: Policy, plan: Plan, names: Names, *, status: str) -> None:
    """The accounts that change hands, and the books that they leave and join."""
    changes = plan.owner_changes
    page.line(f"Rebalance: {counted(len(changes), 'account')} with another owner", style="bold")
    columns = [
        Column("Account"),
        Column("Name", flexible=True),
        Column("Band"),
        Column("Value", right=True),
        Column("Owner"),
    ]
    page.table(columns, [_row(policy, change, names) for change in changes])
    books = [book for book in plan.books if book.arrivals or book.departures]
    if books:
        page.heading("Owners' books")
        titles = ("Accounts", "Share", "Value", "Changes")
        columns = [Column("CSM"), Column("Name", flexible=True), *(Column(title, right=True) for title in titles)]
        page.table(columns, [_book(policy, book, names) for book in books])
    for note in plan.notes:
        page.paragraph(sentence(note))
    for verdict in plan.tripped:
        page.paragraph(f"STOP {verdict.guard}: {verdict.detail}", style="red")
    page.line()
    page.paragraph(_ENDINGS[status], style="bold")


def write_rebalance_json(out: IO[str], plan: Plan, *, run_id: UUID | None, status: str) -> None:
    """One object, as docs/json.md says."""
    told = {
        "schema": SCHEMA,
        "run_id": str(run_id) if run_id else None,
        "as_of": instant(plan.as_of),
        "policy": {"name": plan.policy_name, "sha256": plan.policy_sha},
        "plan_sha256": plan.sha256,
        "status": status,
        "owner_changes": [_plain(structs.asdict(change)) for change in plan.owner_changes],
        "books": [_plain(asdict(book)) for book in plan.books],
        "guards": guards_json(plan.verdicts),
        "notes": list(plan.notes),
    }
    json.dump(told, out, ensure_ascii=False, indent=2)
    out.write("\n")


def write_rebalance_csv(out: IO[str], plan: Plan) -> None:
    """A header and a row for each account, safe as `app.report.csv` says."""
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows([cell(getattr(change, name)) for name in COLUMNS] for change in plan.owner_changes)


def share_of(accounts: int, most: int) -> str:
    """What part of a book's size is taken; of a book of no size, nothing can be said."""
    return f"{round(100 * accounts / most)}%" if most > 0 else "-"


def _row(policy: Policy, change: OwnerChange, names: Names) -> Row:
    value = "unknown" if change.value is None else short_money(change.value, policy.currency)
    owners = f"{change.from_owner_id} -> {change.to_owner_id}"
    cells = (change.account_id, names.accounts.get(change.account_id, ""), change.band or "", value, owners)
    return Row(cells, note=sentence(change.reason))


def _book(policy: Policy, book: Book, names: Names) -> Row:
    shares = (share_of(accounts, book.max_accounts) for accounts in (book.accounts_before, book.accounts_after))
    return Row(
        (
            book.csm_id,
            names.csms.get(book.csm_id, ""),
            f"{book.accounts_before:,} -> {book.accounts_after:,} of {book.max_accounts:,}",
            " -> ".join(shares),
            " -> ".join(short_money(value, policy.currency) for value in (book.value_before, book.value_after)),
            f"+{book.arrivals:,} -{book.departures:,}",
        )
    )


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in fields.items()}
