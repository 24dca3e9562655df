"""The sample company on its way into the database: made in batches, each copied in before the next is made."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import cast

import psycopg
from psycopg import sql
from sqlalchemy import Connection

from app.demo import names
from app.demo.accounts import Account, Draw, Levels, levels, steady
from app.demo.decks import SEGMENTS, Card, Profile, deal
from app.demo.history import write_history
from app.demo.people import Books, absences, close_books, hire
from app.demo.rows import DAY, Calendar, Cell, array, line, money
from app.demo.signals import engaged_minutes, signals
from app.demo.stories import told
from app.load.cover import RULE
from app.policy.model import Policy

BATCH = 2000

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "accounts": (
        "account_id", "name", "status", "segment", "region", "language", "parent_id", "standalone", "currency", "arr",
        "expansion_arr", "strategic_importance", "product_complexity", "seats", "adoption", "contract_term_months",
        "renewal_on", "last_engaged_at", "onboarded_at", "first_value_at", "signed_on", "synced_at",
    ),
    "account_signals": ("account_id", "signal_id", "kind", "occurred_at", "value", "detail"),
    "coverage": (
        "account_id", "band", "band_since", "band_rule", "owner_id", "owner_since", "first_owned_at", "waiting_since",
        "held_by", "held_from", "pending",
    ),
    "csms": (
        "csm_id", "name", "email", "bands", "regions", "languages", "max_accounts", "max_book", "max_new_per_run",
        "hired_on", "active",
    ),
    "csm_absences": ("csm_id", "starts_on", "ends_on", "reason"),
    "pins": ("account_id", "pinned_at", "band", "reason", "pinned_by", "expires_at"),
}  # fmt: skip
"""The columns that are written, in the order of the rows below; the others keep their defaults."""


@dataclass(slots=True)
class Company:
    """A company in the making: what all its accounts share, and the rows that are not copied in yet."""

    profile: Profile
    deck: Sequence[Card]
    levels: Mapping[str, Levels]
    calendar: Calendar
    books: Books
    draw: Draw
    rows: dict[str, list[str]] = field(default_factory=lambda: {table: [] for table in COLUMNS})

    def add(self, table: str, *cells: Cell) -> None:
        """One more row of `table`, its cells in the order of COLUMNS."""
        self.rows[table].append(line(cells))


def write(
    connection: Connection, profile: Profile, policy: Policy, *, accounts: int, seed: int, as_of: datetime
) -> Counter[str]:
    """The company's rows are in the database, in the caller's transaction; how many of each table comes back."""
    deck = deal(profile, seed)
    company = Company(
        profile=profile,
        deck=deck,
        levels={segment: levels(policy, segment) for segment in SEGMENTS},
        calendar=Calendar(as_of),
        books=hire(profile, deck, accounts),
        draw=Random(seed + 1).random,  # noqa: S311 - it draws a company, not a secret
    )
    written: Counter[str] = Counter()
    for first in range(0, accounts, BATCH):
        for number in range(first, min(first + BATCH, accounts)):
            _add_account(company, number)
        written += _copy(connection, company)
    close_books(company.books)
    _add_csms(company, as_of)
    written += _copy(connection, company)
    return written + write_history(connection, as_of)


def account_id(number: int) -> str:
    """The id of account `number`, as a CRM would have it."""
    return f"acc-{number + 1:07d}"


def _add_account(company: Company, number: int) -> None:
    card = company.deck[number % len(company.deck)]
    level = company.levels[card.segment]
    account = told(steady(card, level, company.draw), level, company.draw)
    _add_facts(company, number, account)
    key, instant, rows = account_id(number), company.calendar.instant, company.rows["account_signals"]
    for count, (kind, minutes, value, detail) in enumerate(signals(account, company.profile, company.draw)):
        rows.append(line((key, f"{count:03d}", kind, instant(minutes), value, detail)))
    if card.band:
        _add_coverage(company, number, account, card.band)


def _add_facts(company: Company, number: int, account: Account) -> None:
    """The account's row. One in twenty heads a family of the three that follow it; some of those stand alone."""
    calendar, card = company.calendar, account.card
    family, place = divmod(number, _FAMILY_EVERY)
    parent = number - place if 0 < place < _FAMILY_SIZE else None
    standalone = parent is not None and place == _FAMILY_SIZE - 1 and family % 3 == 0
    # Of others the region is missing now and then, and the segment where that changes no floor.
    known = card.story != "steady" or card.band != "tech"
    heads = place == 0 and card.band in ("high", "strategic")
    name = names.company(number) if not heads else names.holding(number)
    arr = None if account.value is None else account.value - (account.expansion or 0)
    onboarded = None if account.onboarding_days is None else account.signed_days - account.onboarding_days
    if onboarded is not None and onboarded < 0:
        onboarded = None
    first_value = None if onboarded is None or onboarded < _FIRST_VALUE_DAYS else onboarded - number % _FIRST_VALUE_DAYS
    company.add(
        "accounts",
        account_id(number),
        name if parent is None else names.member(parent, place, standalone=standalone),
        account.status,
        card.segment if known or number % 31 or card.segment not in _USUAL_FLOORS else None,
        card.region if known or number % 29 else None,
        account.language,
        None if parent is None else account_id(parent),
        "t" if standalone else "f",
        account.currency,
        money(arr),
        money(account.expansion),
        account.importance,
        account.complexity,
        account.seats,
        None if account.adoption is None else f"{account.adoption / 100:.2f}",
        account.term,
        None if account.renewal_days is None else calendar.date(-account.renewal_days),
        calendar.instant(engaged_minutes(account)),
        None if onboarded is None else calendar.instant(onboarded * DAY),
        None if first_value is None else calendar.instant(first_value * DAY),
        calendar.date(account.signed_days),
        calendar.instant(0),
    )


def _add_coverage(company: Company, number: int, account: Account, band: str) -> None:
    since = company.calendar.instant(account.imported_days * DAY)
    owner = None
    if band in company.profile.books and not account.waiting:
        owner = company.books.owner(account.card, account.value or 0)
    waits = band in company.profile.books and owner is None
    pending = None
    if account.pending:
        rule, weeks = account.pending
        seen = company.calendar.instant(7 * DAY)
        pending = f'{{"{rule}": {{"weeks": {weeks}, "seen_at": "{seen}"}}}}'
    held_by, held_from = account.held or (None, None)
    company.add(
        "coverage",
        account_id(number),
        band,
        since,
        RULE,
        owner,
        since if owner else None,
        since if owner else None,
        since if waits else None,
        held_by,
        held_from,
        pending,
    )
    if account.pinned:
        pinned, until = company.calendar.instant(30 * DAY), company.calendar.instant(-60 * DAY)
        company.add("pins", account_id(number), pinned, band, "in talks with its board", "cs-ops", until)


def _add_csms(company: Company, as_of: datetime) -> None:
    calendar = company.calendar
    for csm in company.books.csms:
        company.add(
            "csms",
            csm.csm_id,
            csm.name,
            csm.email,
            array(csm.bands),
            array([csm.region]),
            array(csm.languages),
            csm.max_accounts,
            money(csm.max_book),
            csm.max_new_per_run,
            calendar.date(csm.hired_days),
            "t" if csm.active else "f",
        )
    for away in absences(company.books, as_of.date()):
        company.add("csm_absences", away.csm_id, away.starts_on.isoformat(), away.ends_on.isoformat(), away.reason)


def _copy(connection: Connection, company: Company) -> Counter[str]:
    """The rows made so far are in the database, and forgotten here; how many of each table comes back."""
    driver = cast("psycopg.Connection", connection.connection.driver_connection)
    written: Counter[str] = Counter()
    for table, rows in company.rows.items():
        if rows:
            columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS[table]))
            statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), columns)
            with driver.cursor() as cursor, cursor.copy(statement) as copy:
                copy.write("".join(rows))
            written[table] += len(rows)
            rows.clear()
    return written


_USUAL_FLOORS = ("smb", "mid_market")
_FAMILY_EVERY, _FAMILY_SIZE = 20, 4
_FIRST_VALUE_DAYS = 45
