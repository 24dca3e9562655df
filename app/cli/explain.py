"""`bandshift explain`: why an account is in its band and with its owner."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from app.cli.options import Format, Output, OutputFormat, PolicyFile, Verbose, read_instant
from app.cli.output import open_output
from app.database import open_engine
from app.errors import Mistake
from app.explain import explain as explain_account
from app.policy.read import load_policy
from app.report.explain import write_explanation, write_explanation_json
from app.report.page import Page
from app.settings import load_settings


def explain(
    *,
    account: Annotated[str, typer.Argument(help="The account's id.")],
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", help="As a run at this date or instant would see it; default: now.", metavar="T"),
    ] = None,
    policy: PolicyFile = None,
    form: OutputFormat = Format.TABLE,
    output: Output = None,
    everybody: Annotated[
        bool, typer.Option("--all", help="List every CSM, and not only who comes into question.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Say why an account is in its band, and why its owner is its owner.

    Shows each rule's condition with its values and what came of it, and each CSM with what excludes them.
    """
    del verbose
    if form is Format.CSV:
        raise Mistake("an explanation is no table; use --format table or json")
    settings = load_settings()
    chosen = load_policy(policy or settings.policy)
    now = datetime.now(UTC)
    instant = now if as_of is None else read_instant(as_of, "--as-of", chosen.calendar.time_zone)
    with (
        open_output(output) as out,
        open_engine(settings) as engine,
        engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True) as connection,
    ):
        told = explain_account(connection, chosen, account, instant)
        if form is Format.JSON:
            write_explanation_json(out, chosen, told)
        else:
            write_explanation(Page(out), chosen, told, everybody=everybody)
