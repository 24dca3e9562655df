"""`bandshift policy`: check a policy, show it, and the JSON Schema for editors."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from app.cli.options import Output, Verbose
from app.cli.output import open_output
from app.database import open_unchecked, scratch_engine
from app.errors import Mistake, Problem
from app.figures import counted
from app.policy.cases import Case, read_cases
from app.policy.check import check, warn
from app.policy.model import Policy
from app.policy.read import default_policy, read_policy, read_shape, read_text, toml_of
from app.policy.schema import schema_text
from app.rehearsal import run_cases
from app.report.page import Page
from app.report.policy import write_policy
from app.settings import load_settings

app = typer.Typer(help="Check a policy, show it, and its JSON Schema for editors.", no_args_is_help=True)

File = Annotated[
    Path | None,
    typer.Argument(help="The policy; default: $BANDSHIFT_POLICY, else the shipped one.", metavar="FILE"),
]


@app.command("check")
def check_policy(
    *,
    file: File = None,
    cases: Annotated[
        Path | None, typer.Option(help="A file with further [[cases]] to run.", metavar="FILE", exists=False)
    ] = None,
    output: Output = None,
    verbose: Verbose = False,
) -> None:
    """Report every mistake in a policy, and run its cases.

    The cases are decided by a database that is not written to: $DATABASE_URL, else one that is made for it and deleted.
    """
    del verbose
    with open_output(output) as out:
        text, source = _read(file)
        policy = read_policy(text, source=source)
        own = read_cases(read_shape(text, source=source).cases, policy, source=source)
        further = _cases_of(cases, policy) if cases is not None else ()
        problems = [*check(policy)]
        with _rehearsing((*own, *further)) as connection:
            if connection is not None:
                problems += run_cases(connection, policy, own)
                problems += [
                    Problem(f"{cases} {each.where}", each.what) for each in run_cases(connection, policy, further)
                ]
        page = Page(out)
        for warning in warn(policy):
            page.line(f"warning: {warning}")
        if problems:
            count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
            raise Mistake(f"{source} has {count}:", problems)
        counts = (len(policy.bands), "band"), (len(policy.rules), "rule"), (len(own) + len(further), "case")
        page.line(f"{source}: {', '.join(counted(*each) for each in counts)}: no mistakes")


@app.command(short_help="Explain a policy: bands, floors, rules, guards.")
def show(
    *,
    file: File = None,
    toml: Annotated[bool, typer.Option("--toml", help="The file itself, to copy and change.")] = False,
    output: Output = None,
    verbose: Verbose = False,
) -> None:
    """Explain a policy: bands, floors with their arithmetic, rules in sentences."""
    del verbose
    with open_output(output) as out:
        text, source = _read(file)
        if toml:
            out.write(text)
            return
        write_policy(Page(out), read_policy(text, source=source), read_shape(text, source=source))


@app.command()
def schema(*, output: Output = None, verbose: Verbose = False) -> None:
    """Print the JSON Schema of a policy file, for editors."""
    del verbose
    with open_output(output) as out:
        out.write(schema_text())


def _read(file: Path | None) -> tuple[str, str]:
    """The policy's text, and how messages call it."""
    path = file if file is not None else load_settings().policy
    return (default_policy().body, "the default policy") if path is None else (read_text(path), str(path))


def _cases_of(path: Path, policy: Policy) -> tuple[Case, ...]:
    """The cases of a file that holds nothing else."""
    data = toml_of(read_text(path), str(path))
    others = sorted(data.keys() - {"cases"})
    if others or not isinstance(data.get("cases"), list):
        what = f"and not {', '.join(others)}" if others else "and there are none"
        raise Mistake(f"{path} should hold [[cases]] {what}")
    return read_cases(data["cases"], policy, source=str(path))


@contextmanager
def _rehearsing(cases: tuple[Case, ...]) -> Iterator[Connection | None]:
    """A connection that cannot write, if there are cases to run."""
    if not cases:
        yield None
        return
    settings = load_settings()
    opened = scratch_engine() if settings.database_url is None else open_unchecked(settings)
    with opened as engine, engine.connect().execution_options(postgresql_readonly=True) as connection:
        yield connection
