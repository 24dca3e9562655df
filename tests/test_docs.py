"""What the documentation shows is what happens: its SQL runs, its commands print what it says they print.

`UPDATE_GOLDEN=1 pytest tests/test_docs.py` writes the commands' output into the README anew, to be read in the diff.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, insert, text

from app.demo import DEMO_AS_OF
from app.errors import ExitCode
from app.tables import band_history, runs
from tests.company import company_template, settled, settled_template, settled_url
from tests.forked import Forks

__all__ = ["company_template", "settled", "settled_template", "settled_url"]

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
QUERIES = ROOT / "docs" / "queries.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(path: Path, kind: str) -> list[str]:
    """The fenced blocks of this kind in a document."""
    return [block for found, block in FENCE.findall(path.read_text(encoding="utf-8")) if found == kind]


def questions() -> Iterator[tuple[str, str]]:
    """Every query in the documents, with where it is from."""
    for path in (README, *sorted((ROOT / "docs").glob("*.md"))):
        for number, block in enumerate(blocks(path, "sql"), start=1):
            if block.lstrip().upper().startswith(("SELECT", "WITH")):
                yield f"{path.name}-{number}", block


@pytest.mark.parametrize("query", [query for _, query in questions()], ids=[name for name, _ in questions()])
def test_a_query_in_the_documents_runs(settled: Engine, query: str) -> None:
    with settled.connect() as connection:
        rows = connection.execute(text(query)).all()
    assert rows or "AS back" in query  # nobody can have bounced after one run


def test_the_readme_shows_the_six_queries_of_the_docs() -> None:
    assert blocks(README, "sql") == blocks(QUERIES, "sql")
    assert len(blocks(QUERIES, "sql")) == 6


def bounce(connection: Connection) -> str:
    """An account that went down and came back within weeks; its id."""
    account_id: str = connection.execute(
        text("SELECT account_id FROM coverage WHERE band = 'high' AND band_rule = 'import' ORDER BY 1 LIMIT 1")
    ).scalar_one()
    for weeks, before, after in ((1, "high", "low"), (9, "low", "high")):
        at = DEMO_AS_OF + timedelta(weeks=weeks)
        run = {"run_id": UUID(int=weeks), "kind": "manual", "as_of": at, "started_at": at, "status": "applied"}
        move = {
            "account_id": account_id,
            "run_id": UUID(int=weeks),
            "changed_at": at,
            "move": "demote",
            "rule": "quiet",
        }
        connection.execute(insert(runs).values(**run))
        connection.execute(
            insert(band_history).values(**move, from_band=before, to_band=after, reason="so", evidence={})
        )
    return account_id


def test_the_query_for_accounts_that_bounced_finds_them(settled: Engine) -> None:
    with settled.connect() as connection:
        account_id = bounce(connection)
        (row,) = connection.execute(text(blocks(QUERIES, "sql")[5]))
    assert (row.account_id, row.band, row.went_to) == (account_id, "high", "low")


def test_the_query_for_a_date_counts_every_account_once(settled: Engine) -> None:
    query = blocks(QUERIES, "sql")[0].replace("2026-06-01", "2100-01-01")
    with settled.connect() as connection:
        now = connection.execute(text("SELECT band, count(*) FROM coverage GROUP BY band")).all()
        assert sorted(connection.execute(text(query)).all()) == sorted(now)


def test_the_query_for_a_book_ends_at_what_the_csm_owns(settled: Engine) -> None:
    with settled.connect() as connection:
        csm_id, owned = connection.execute(
            text(
                "SELECT owner_id, count(*) FROM coverage WHERE owner_id IS NOT NULL GROUP BY 1 ORDER BY 2 DESC LIMIT 1"
            )
        ).one()
        rows = connection.execute(text(blocks(QUERIES, "sql")[4].replace("csm-0001", csm_id))).all()
    assert rows[-1].book == owned


@pytest.mark.long
def test_the_commands_of_the_readme_print_what_it_says(tmp_path: Path, forks: Forks) -> None:
    text_ = README.read_text(encoding="utf-8")
    environment = shell(tmp_path, forks.python)

    def printed(block: re.Match[str]) -> str:
        if block[1] != "console":
            return block[0]
        commands = [line for line in block[2].splitlines() if line.startswith("$ ")]
        outputs = [f"{command}\n{output(command[2:], tmp_path, environment)}" for command in commands]
        return f"```console\n{''.join(outputs)}```"

    real = FENCE.sub(printed, text_)
    if os.environ.get("UPDATE_GOLDEN"):
        README.write_text(real, encoding="utf-8")
    assert real == README.read_text(encoding="utf-8"), "UPDATE_GOLDEN=1 writes the README's output anew"


def shell(folder: Path, python: Sequence[str] = (sys.executable,)) -> dict[str, str]:
    """The environment of a reader who follows the README: `bandshift` and `python` are ours, nothing else is set."""
    bin_ = folder / "bin"
    bin_.mkdir()
    for name, arguments in (("bandshift", "-m app"), ("python", "")):
        (bin_ / name).write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {shlex.join(python)} {arguments} "$@"\n')
        (bin_ / name).chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if name in {"HOME", "LANG", "TMPDIR"}}
    return {**kept, "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}"}


def output(command: str, folder: Path, environment: dict[str, str]) -> str:
    """What the command prints."""
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],  # noqa: S607 - the reader's own
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def test_the_readme_lists_every_exit_code() -> None:
    table = README.read_text(encoding="utf-8")
    assert [code for code in ExitCode if not re.search(rf"^\| {code.value} \| ", table, re.MULTILINE)] == []


def test_the_links_of_the_documents_lead_somewhere() -> None:
    for path in (README, *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"
