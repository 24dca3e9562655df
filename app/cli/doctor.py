"""`bandshift doctor`: whether the invariants hold."""

import typer

from app.cli.options import Output, Verbose
from app.cli.output import open_output
from app.database import open_engine, open_unchecked
from app.doctor import Finding, examine
from app.errors import ExitCode
from app.figures import counted
from app.report.page import Page
from app.settings import load_settings


def doctor(*, output: Output = None, verbose: Verbose = False) -> None:
    """Check the invariants; exit code 1 if one is broken."""
    del verbose
    settings = load_settings()
    # The schema of the user's database is one of the things to look at; the embedded one is always migrated.
    opened = open_engine if settings.database_url is None else open_unchecked
    with (
        open_output(output) as out,
        opened(settings) as engine,
        engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True) as connection,
    ):
        page = Page(out)
        failed = 0
        for finding in examine(connection):
            _write(page, finding)
            failed += not finding.holds
        page.line()
        page.line("All holds." if not failed else f"{counted(failed, 'check')} failed.", style="bold")
    if failed:
        raise typer.Exit(ExitCode.FAILED)


def _write(page: Page, finding: Finding) -> None:
    """One line, and the first offenders if there are any."""
    if finding.count is None:
        page.line(f"  --  {finding.code:<8}  {finding.title}", style="dim")
        page.line(f"{'':16}no run to ask yet", style="dim")
        return
    verdict, style = ("ok", None) if finding.holds else ("BAD", "red")
    many = "" if finding.holds else f": {counted(finding.count, 'offender')}"
    page.line(f"{verdict:>4}  {finding.code:<8}  {finding.title}{many}", style=style)
    for offender in finding.offenders:
        page.paragraph(f"{offender.id} {offender.what}", indent=16)
    if finding.count > len(finding.offenders):
        page.line(f"{'':16}... and {finding.count - len(finding.offenders):,} more")
