"""`bandshift load`: CSV files into the tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from app.database import open_engine
from app.figures import counted, printable
from app.load.datasets import DatasetName
from app.load.mapping import load_mapping
from app.load.outcome import DatasetCounts, LoadResult
from app.load.run import MAX_ERRORS
from app.load.run import Progress as Report
from app.load.run import load as load_files
from app.policy.model import Policy
from app.policy.read import load_policy
from app.runs import new_run_id
from app.settings import Settings, load_settings


def _file(help_text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(help=help_text, metavar="FILE")
    return option


def load(  # noqa: PLR0917 - Typer calls it with keywords
    csms: Annotated[Path | None, _file("The team: id, name, bands, limits.")] = None,
    accounts: Annotated[Path | None, _file("The accounts and their facts.")] = None,
    absences: Annotated[Path | None, _file("When CSMs are away.")] = None,
    signals: Annotated[Path | None, _file("Dated events of the accounts.")] = None,
    coverage: Annotated[Path | None, _file("Present bands and owners, once, to begin with.")] = None,
    mapping: Annotated[Path | None, _file("TOML that says what the files' columns mean; see docs/loading.md.")] = None,
    quarantine: Annotated[Path | None, _file("Write bad rows to this new file and load the rest.")] = None,
    policy: Annotated[Path | None, _file("The policy whose bands CSMs and coverage may name.")] = None,
    max_errors: Annotated[int, typer.Option(min=1, help="How many bad rows to show of each file.")] = MAX_ERRORS,
) -> None:
    """Load CSV files (plain or gzipped) into the database: all of them, or nothing.

    Rows are inserted or updated by their ids and never deleted; loading the same files twice changes nothing. Bad rows
    stop the load, each with its line and reason, unless --quarantine takes them.
    """
    given: dict[DatasetName, Path | None] = {
        "csms": csms,
        "accounts": accounts,
        "absences": absences,
        "signals": signals,
        "coverage": coverage,
    }
    files = {name: path for name, path in given.items() if path is not None}
    settings = load_settings()
    how = load_mapping(mapping)
    known = _policy(policy, settings, has_coverage=coverage is not None)
    now = datetime.now(UTC)
    with open_engine(settings) as engine, _progress() as report:
        result = load_files(
            engine,
            files,
            instant=now,
            run_id=new_run_id(now),
            mapping=how,
            policy=known,
            quarantine=quarantine,
            max_errors=max_errors,
            progress=report,
        )
    _tell(result)


def _policy(path: Path | None, settings: Settings, *, has_coverage: bool) -> Policy | None:
    """The policy that was named, here or in the environment; without one, the shipped one where there has to be one."""
    chosen = path or settings.policy
    return load_policy(chosen) if chosen is not None or has_coverage else None


@contextmanager
def _progress() -> Iterator[Report | None]:
    """A bar per file on a terminal; nothing when stderr goes elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        tasks = {}

        def report(dataset: DatasetName, done: int, size: int) -> None:
            if dataset not in tasks:
                tasks[dataset] = bars.add_task(dataset, total=size or None)
            bars.update(tasks[dataset], completed=done)

        yield report


def _tell(result: LoadResult) -> None:
    """The counts are on stdout; what was quarantined is on stderr."""
    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column("loaded")
    for name in ("read", "inserted", "updated", "unchanged", "skipped", "bad"):
        table.add_column(name, justify="right")
    for count in result.counts:
        table.add_row(count.dataset, *_figures(count))
    Console(highlight=False).print(table)
    if result.quarantine is not None:
        console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        console.print(f"{counted(result.bad, 'bad row')} went to {result.quarantine}:")
        for bad in result.bad_rows:
            console.print(f"  {printable(str(bad.problem))}")
        hidden = result.bad - len({(bad.dataset, bad.line) for bad in result.bad_rows})
        if hidden:
            console.print(f"  and {hidden:,} more")


def _figures(count: DatasetCounts) -> list[str]:
    numbers = (count.read, count.inserted, count.updated, count.unchanged, count.skipped, count.bad)
    return [f"{number:,}" for number in numbers]
