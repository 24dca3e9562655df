"""`bandshift demo`: a sample company in an empty database."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from app.cli.options import Verbose, read_instant
from app.database import open_engine
from app.demo import COMPANY, CROWD, DEMO_ACCOUNTS, DEMO_SEED, fill
from app.settings import load_settings


class Make(StrEnum):
    """What the company looks like."""

    COMPANY = "company"
    CROWD = "crowd"


def demo(
    *,
    accounts: Annotated[int, typer.Option(help="How many accounts the company has.")] = DEMO_ACCOUNTS,
    seed: Annotated[int, typer.Option(help="Another number makes another company.")] = DEMO_SEED,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="The instant it is made for; default: now.", metavar="T")
    ] = None,
    profile: Annotated[
        Make,
        typer.Option(help="company: 18 months of signals. crowd: many small accounts with few signals, to measure."),
    ] = Make.COMPANY,
    verbose: Verbose = False,
) -> None:
    """Fills an empty database with a sample company; the same options make the same one."""
    del verbose
    moment = datetime.now(UTC) if as_of is None else read_instant(as_of, "--as-of", UTC)
    with open_engine(load_settings()) as engine, engine.begin() as connection:
        make = COMPANY if profile is Make.COMPANY else CROWD
        written = fill(connection, accounts=accounts, seed=seed, as_of=moment, profile=make)
    for table, rows in written.items():
        typer.echo(f"{rows:>12,}  {table}")
    made_for = f"{moment:%Y-%m-%dT%H:%MZ}"
    typer.echo(f"made for {made_for}; next: python -m app.recompute --dry-run --as-of {made_for}")
