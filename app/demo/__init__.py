"""A sample company, made from nothing: to try bandshift out, and to measure it.

`fill` writes a company's accounts, signals, CSMs and present coverage into an empty database. The same `accounts`,
`seed` and `as_of` give the same rows, byte for byte, whatever the server's version; every date is relative to
`as_of`, at which the weekly feeds have just arrived. Nobody in it exists.

The present coverage is a year old, and half a year for customers that signed later, as a yearly tiering leaves it:
bands and owners that have gone stale. The first run on it moves about one account in thirteen, through every rule of
the default policy, and no guard of that policy stops it. Around those lie accounts that the rules nearly move:
pending, in review, contested, held down, pinned, on the waitlist, without a known value, and at, a cent over and a
cent under every floor.

How it is made: `decks` says how many accounts live which story in which band, segment and region; `accounts` draws a
steady account for a card of the deck and `stories` turns it into what the story says; `signals` gives it the
measurements, meetings and events that bear it out; `people` hires the CSMs and deals the accounts to their books;
`write` copies it all in, a batch at a time, so that memory does not grow with the company; and `history` records
where the coverage came from.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import Connection, literal, select, text

from app.demo.decks import COMPANY, CROWD, QUIET, Profile
from app.demo.write import write
from app.errors import Mistake
from app.policy.read import default_policy
from app.tables import account_signals, coverage, csm_absences, csms, pins, runs
from app.tables import accounts as accounts_table

__all__ = ["COMPANY", "CROWD", "DEMO_ACCOUNTS", "DEMO_AS_OF", "DEMO_SEED", "MOST_ACCOUNTS", "QUIET", "Profile", "fill"]

DEMO_ACCOUNTS = 2000
DEMO_SEED = 1
DEMO_AS_OF = datetime(2026, 11, 16, 6, tzinfo=UTC)
"""A Monday at six: the instant for which `recompute --demo` makes its company and decides."""

MOST_ACCOUNTS = 9_999_999
"""As many as the ids have digits for."""


def fill(
    connection: Connection, *, accounts: int, seed: int, as_of: datetime, profile: Profile = COMPANY
) -> Mapping[str, int]:
    """The empty database holds a company, in the caller's transaction; the rows of each table are counted.

    `as_of` counts to the minute. Raises Mistake when there is anything in the database already, or the size makes no
    sense.
    """
    if not 1 <= accounts <= MOST_ACCOUNTS:
        raise Mistake(f"a sample company has 1 to {MOST_ACCOUNTS:,} accounts, not {accounts:,}")
    if as_of.tzinfo is None:
        raise Mistake(f"as_of needs a time zone: {as_of.isoformat()}Z is the instant in UTC")
    _refuse_unless_empty(connection)
    moment = as_of.astimezone(UTC).replace(second=0, microsecond=0)
    written = write(connection, profile, default_policy(), accounts=accounts, seed=seed, as_of=moment)
    # So that the first run does not meet tables without statistics.
    connection.execute(text("ANALYZE accounts, account_signals, coverage, band_history, owner_history, csms"))
    return dict(written)


def _refuse_unless_empty(connection: Connection) -> None:
    """Raises Mistake when a table that the company would fill has a row.

    Slots that were skipped do not count: a worker that is already there writes one down before there is anything.
    """
    for table in _FILLED:
        rows = select(literal(1)).select_from(table)
        if table is runs:
            rows = rows.where(runs.c.status != "skipped")
        if connection.execute(select(rows.exists())).scalar_one():
            raise Mistake(
                f"the database is not empty, {table.name} has rows: a sample company is made in an empty one only;"
                " point DATABASE_URL or BANDSHIFT_HOME to another, or try `python -m app.recompute --demo --dry-run`"
            )


_FILLED = (accounts_table, account_signals, csms, csm_absences, coverage, pins, runs)
