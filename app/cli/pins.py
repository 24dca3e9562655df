"""`bandshift pin`, `unpin` and `pins`: what people decided against the rules, and until when."""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Annotated

import typer

from app import pins as kept
from app.cli.options import Format, Output, OutputFormat, PolicyFile, Verbose, read_end, read_instant
from app.cli.output import open_output
from app.database import open_engine
from app.figures import day
from app.pins import Wish, read_pins
from app.policy.read import load_policy
from app.report.page import Page
from app.report.pins import write_pins_csv, write_pins_json, write_pins_table
from app.settings import load_settings

Account = Annotated[str, typer.Argument(help="The account's id.")]
By = Annotated[str, typer.Option(help="Who decides it: a name or an address.", metavar="WHO")]


def pin(
    *,
    account: Account,
    until: Annotated[str, typer.Option(help="To the end of this date, in the policy's time zone.", metavar="DATE")],
    reason: Annotated[str, typer.Option(help="Why, for those who ask later.", metavar="TEXT")],
    by: By,
    band: Annotated[str | None, typer.Option(help="Keep it in this band.", metavar="B")] = None,
    owner: Annotated[str | None, typer.Option(help="Keep it with this CSM.", metavar="CSM")] = None,
    policy: PolicyFile = None,
    verbose: Verbose = False,
) -> None:
    """Pin an account to a band, an owner or both, until a date.

    The next run obeys it. A pin that the account has already is replaced.
    """
    del verbose
    settings = load_settings()
    chosen = load_policy(policy or settings.policy)
    ends = _end(until, chosen.calendar.time_zone)
    wish = Wish(account_id=account, band=band, owner_id=owner, until=ends, reason=reason, by=by)
    with open_engine(settings) as engine, engine.begin() as connection:
        replaced = kept.pin(connection, chosen, wish, datetime.now(UTC))
    instead = f", in place of the pin {_to(replaced.band, replaced.owner_id)}" if replaced is not None else ""
    typer.echo(f"{account} is pinned {_to(band, owner)} until {until.strip()}{instead}")
    typer.echo("the next run obeys it; `bandshift recompute --dry-run` shows what that does")


def unpin(*, account: Account, by: By, policy: PolicyFile = None, verbose: Verbose = False) -> None:
    """Take an account's pin back: from the next run on the rules decide again."""
    del verbose
    settings = load_settings()
    chosen = load_policy(policy or settings.policy)
    with open_engine(settings) as engine, engine.begin() as connection:
        was = kept.unpin(connection, chosen, account, by, datetime.now(UTC))
    until = day(was.expires_at.astimezone(chosen.calendar.time_zone))
    typer.echo(f"{account} is no longer pinned {_to(was.band, was.owner_id)}, which was to last until {until}")


def pins(
    *,
    policy: PolicyFile = None,
    form: OutputFormat = Format.TABLE,
    output: Output = None,
    verbose: Verbose = False,
) -> None:
    """List the pins that nobody took back, and which of them have lapsed."""
    del verbose
    settings = load_settings()
    chosen = load_policy(policy or settings.policy)
    now = datetime.now(UTC)
    with open_output(output) as out:
        with open_engine(settings) as engine, engine.connect() as connection:
            listed = read_pins(connection, chosen)
        match form:
            case Format.JSON:
                write_pins_json(out, listed, now)
            case Format.CSV:
                write_pins_csv(out, listed, now)
            case Format.TABLE:
                write_pins_table(Page(out), listed, now, chosen.calendar.time_zone)


def _end(until: str, zone: tzinfo) -> datetime:
    """The instant at which the pin ends; of a date the last second, so that it reads as that date."""
    ends = read_end(until, "--until", zone)
    return ends if ends == read_instant(until, "--until", zone) else ends - timedelta(seconds=1)


def _to(band: str | None, owner_id: str | None) -> str:
    return "to " + " and ".join(filter(None, (band, owner_id)))
