"""`bandshift recompute`: the weekly run, by hand or from a scheduler, and its report."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from types import ModuleType
from typing import IO, Annotated

import typer
from sqlalchemy import Engine

from app import metrics, pipeline, tracing
from app.cli.options import Format, Output, OutputFormat, PolicyFile, Verbose, read_instant
from app.cli.output import is_kept_back, open_output
from app.cli.plans import stopped, stopped_and_how_to_go_on, write_plan_table
from app.cli.slot import LastRead, read_slot, recompute_slot, require_slot
from app.database import open_engine, scratch_engine
from app.errors import Guarded
from app.figures import sentence
from app.pipeline import RunResult
from app.report.approval import ask
from app.report.csv import write_csv
from app.report.json import write_json
from app.settings import Settings, load_settings
from app.tick import end_untold

_OF_DEMO = " of the sample company"


def recompute(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would happen and write nothing.")] = False,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            help="Decide as of this date (its first moment) or instant, in the policy's time zone; default: now.",
            metavar="T",
        ),
    ] = None,
    slot: Annotated[
        str | None,
        typer.Option(
            "--slot",
            help="Run the slot whose turn it is (`latest`), as the worker does, or that of a date.",
            metavar="latest|DATE",
        ),
    ] = None,
    policy: PolicyFile = None,
    form: OutputFormat = Format.TABLE,
    output: Output = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Use the sample company in a scratch database, deleted after.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Show so many of each list in the table.", metavar="N")] = 5,
    everything: Annotated[bool, typer.Option("--all", help="Show every list of the table whole.")] = False,
    verbose: Verbose = False,
) -> None:
    """Move the accounts that the policy moves, and report why.

    Evaluates every account, moves those whose band should change, settles who owns them, and writes it all to the
    history, in one transaction; with --dry-run it only reports.

    With --slot latest it is what the worker does: it may be called as often as one likes, runs each week's slot once,
    tries again what failed, and passes over what is too late. With --slot DATE it runs that slot if it is not done.
    """
    del verbose  # its callback has done the work
    settings = load_settings()
    day = read_slot(slot, as_of=as_of, demo=demo) if slot is not None else None
    read = LastRead(policy or settings.policy)
    now = instant = _demo().DEMO_AS_OF if demo else datetime.now(UTC)  # the one time that the clock is read
    if slot is None or dry_run:
        require_slot(day, read(), now)
        if as_of is not None:
            instant = read_instant(as_of, "--as-of", read.policy.calendar.time_zone)
    with (
        open_output(output) as out,
        tracing.exported(settings),
        _engine(settings, demo=demo) as engine,
        nullcontext() if demo or dry_run else metrics.published(engine, settings, now),
    ):
        report = _Report(out, form, read, engine, demo=demo, limit=None if everything else limit)
        if slot is None or dry_run:
            result = pipeline.recompute(
                engine,
                read.policy,
                instant,
                dry_run=dry_run,
                answer_within=timedelta(hours=settings.worker.answer_within_hours),
                meanwhile=report if report.needs_no_database and is_kept_back(output) else None,
            )
            if not demo and not dry_run:
                end_untold(engine, settings, datetime.now(UTC))
        else:
            result = recompute_slot(engine, settings, read, day, now)
        report(result)
    if result.status == "blocked":
        raise Guarded(stopped_and_how_to_go_on(result.plan, result.run_id))


@dataclass
class _Report:
    """The report of a run, written when it is first asked for."""

    out: IO[str]
    form: Format
    read: LastRead
    engine: Engine
    _: KW_ONLY
    demo: bool
    limit: int | None
    written: bool = False

    @property
    def needs_no_database(self) -> bool:
        """Whether it is made of the plan alone; the table shows names too."""
        return self.form is not Format.TABLE

    def __call__(self, result: RunResult) -> None:
        """The report is written, unless it is already."""
        if self.written:
            return
        policy, plan = self.read.policy, result.plan
        match self.form:
            case Format.TABLE:
                title = ("Dry run" if result.run_id is None else f"Run {result.run_id}") + _OF_DEMO * self.demo
                ending = _ending(result)
                write_plan_table(self.out, self.engine, policy, plan, title=title, ending=ending, limit=self.limit)
            case Format.JSON:
                write_json(self.out, policy, plan, run_id=result.run_id, status=result.status)
            case Format.CSV:
                write_csv(self.out, policy, plan)
        self.written = True


@contextmanager
def _engine(settings: Settings, *, demo: bool) -> Iterator[Engine]:
    """The database of the settings; for the demo a scratch one with the sample company in it."""
    if not demo:
        with open_engine(settings) as engine:
            yield engine
        return
    company = _demo()
    with scratch_engine() as engine:
        with engine.begin() as connection:
            company.fill(connection, accounts=company.DEMO_ACCOUNTS, seed=company.DEMO_SEED, as_of=company.DEMO_AS_OF)
        yield engine


def _demo() -> ModuleType:
    """The sample company, loaded for those who ask for it: who runs a real one would wait for it each time."""
    return import_module("app.demo")


def _ending(result: RunResult) -> str:
    """What has come of the plan, and what to do next."""
    match result.status:
        case "planned":
            return "Nothing was written. Run the same without --dry-run to apply this plan."
        case "applied":
            return "Applied. `bandshift history ACCOUNT` tells the story of an account."
        case "nothing":
            return "Nothing to do: every account is where the policy wants it."
        case "blocked":
            told = sentence(stopped(result.plan, result.run_id))
            if result.run_id is None or result.lapses_at is None:
                return f"{told} If the figures are right, raise the limit under [guards] in the policy."
            return f"{told} {ask(result.run_id, result.plan.sha256, result.lapses_at)}"
