"""`bandshift history`: the story of an account, or a slice of everybody's."""

from collections.abc import Sequence
from datetime import UTC
from typing import IO, Annotated

import typer
from sqlalchemy import Connection

from app.cli.options import Format, Output, OutputFormat, Verbose, read_end, read_instant
from app.cli.output import open_output
from app.database import open_engine
from app.history import Change, Slice, Standing, count_changes, read_changes, read_standing
from app.report.history import write_changes_csv, write_changes_table, write_history_json, write_standing
from app.report.names import Names, read_names
from app.report.page import Page
from app.settings import load_settings

_SHOWN = 50


def history(
    *,
    account: Annotated[str | None, typer.Argument(help="The account's id; without it, everybody's moves.")] = None,
    since: Annotated[str | None, typer.Option(help="From this date or instant on, in UTC.", metavar="D")] = None,
    until: Annotated[
        str | None, typer.Option(help="Up to the end of this date, or before this instant.", metavar="D")
    ] = None,
    band: Annotated[str | None, typer.Option(help="Into or out of this band.")] = None,
    rule: Annotated[str | None, typer.Option(help="Because of this rule.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="The latest so many; default: 50 in a table, else all.", metavar="N")
    ] = None,
    form: OutputFormat = Format.TABLE,
    output: Output = None,
    verbose: Verbose = False,
) -> None:
    """Tell the story of an account, or list past moves."""
    del verbose
    wanted = Slice(
        account_id=account,
        since=read_instant(since, "--since", UTC) if since is not None else None,
        until=read_end(until, "--until", UTC) if until is not None else None,
        band=band,
        rule=rule,
    )
    latest = _SHOWN if limit is None and form is Format.TABLE else limit
    with (
        open_output(output) as out,
        open_engine(load_settings()) as engine,
        engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True) as connection,
    ):
        standing = read_standing(connection, account) if account is not None else None
        changes = read_changes(connection, wanted, latest)
        match form:
            case Format.JSON:
                write_history_json(out, standing, changes)
            case Format.CSV:
                write_changes_csv(out, changes)
            case Format.TABLE:
                shown = tuple(changes)
                more = len(shown) == latest
                earlier = count_changes(connection, wanted) - len(shown) if more else 0
                _table(out, standing, shown, earlier, _names(connection, standing, shown))


def _names(connection: Connection, standing: Standing | None, shown: Sequence[Change]) -> Names:
    accounts = {change.account_id for change in shown} if standing is None else set()
    csms = {standing.owner_id} if standing is not None and standing.owner_id else set()
    return read_names(connection, accounts, csms)


def _table(out: IO[str], standing: Standing | None, shown: Sequence[Change], earlier: int, names: Names) -> None:
    page = Page(out)
    if standing is not None:
        write_standing(page, standing, names)
    write_changes_table(page, shown, names, of_one=standing is not None, earlier=earlier)
