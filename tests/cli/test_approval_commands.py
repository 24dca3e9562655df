"""`bandshift approve`, `reject`, `runs` and `status`, from their options to their exit codes."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sqlalchemy import Engine, text

from app.policy.read import default_policy
from app.runs import LOCK_KEY
from tests.cli.conftest import Run

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "plan.schema.json").read_text(encoding="utf-8"))
COMMAND = re.compile(r"^  bandshift approve (\S+) --plan-sha ([0-9a-f]{12}) --by WHO$", re.MULTILINE)


@pytest.fixture
def strict_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped policy, but that a guard stops any three moves; it is the one in force."""
    path = tmp_path / "strict.toml"
    body = re.sub(
        r"^moved_accounts = .*$", "moved_accounts = { share = 0.001 }", default_policy().body, flags=re.MULTILINE
    )
    path.write_text(body, encoding="utf-8")
    monkeypatch.setenv("BANDSHIFT_POLICY", str(path))
    return path


@pytest.fixture
def stopped(bandshift: Run, strict_policy: Path) -> tuple[str, str]:
    """The company's first run, which a guard has stopped: its id and the beginning of its plan's hash."""
    ended = bandshift("recompute", "--limit", "1")
    assert ended.code == 3
    found = COMMAND.search(ended.out)
    assert found is not None
    assert COMMAND.search(ended.err) is not None
    return found[1], found[2]


def count(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        found: int = connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
        return found


def rejoined(words: str) -> str:
    """A wrapped text as one line."""
    return " ".join(words.split())


def test_the_command_that_the_report_shows_approves_the_run(
    bandshift: Run, company: Engine, stopped: tuple[str, str]
) -> None:
    run_id, sha = stopped
    dry = bandshift("approve", run_id, "--plan-sha", sha, "--by", "lee", "--dry-run", "--limit", "1")
    assert dry.code == 0
    before = count(company, "band_history")
    approval = f"Approval of run {run_id} by lee: "
    assert re.match(rf"{approval}would make (\d+) of \1 approved changes\n\nDry run of it\n", dry.out)
    ended = bandshift("approve", run_id, "--plan-sha", sha, "--by", "lee", "--limit", "1")
    assert ended.code == 0
    assert re.match(rf"{approval}made (\d+) of \1 approved changes\n\nRun ", ended.out)
    assert "Approved and applied." in ended.out
    assert "Waived: it was approved." in rejoined(ended.out)
    assert count(company, "band_history") > before
    assert bandshift("doctor").code == 0
    again = bandshift("approve", run_id, "--by", "kim")
    assert again.code == 2
    assert again.err.splitlines()[-1].endswith(" by lee")


def test_what_has_changed_since_is_listed(bandshift: Run, company: Engine, stopped: tuple[str, str]) -> None:
    with company.begin() as connection:
        moving = "SELECT account_id FROM kept_moves WHERE move = 'leave' ORDER BY account_id LIMIT 1"
        back = connection.execute(text(moving)).scalar_one()
        connection.execute(text("UPDATE accounts SET status = 'active' WHERE account_id = :id"), {"id": back})
        staying = (
            "SELECT c.account_id FROM coverage c JOIN accounts a USING (account_id) WHERE a.status = 'active'"
            " AND NOT EXISTS (SELECT FROM kept_moves k WHERE k.account_id = c.account_id) ORDER BY 1 LIMIT 1"
        )
        gone = connection.execute(text(staying)).scalar_one()
        connection.execute(text("UPDATE accounts SET status = 'churned' WHERE account_id = :id"), {"id": gone})
    ended = bandshift("approve", "latest", "--by", "lee", "--dry-run")
    assert ended.code == 0
    assert "\nApproved, and not made so: 1 account\n" in ended.out
    assert "\nNot approved, and left to the next run: " in ended.out
    told = json.loads(bandshift("approve", "latest", "--by", "lee", "--dry-run", "--format", "json").out)
    jsonschema.validate(told, SCHEMA)
    assert [(one["account_id"], one["move"], one["moved"]) for one in told["left"]] == [(back, "leave", False)]
    assert gone in {one["account_id"] for one in told["unapproved"]}
    assert told["approves"]["run_id"] == stopped[0]
    assert (told["approves"]["by"], told["approves"]["made"]) == ("lee", told["approves"]["kept"] - 1)
    assert told["approves"]["plan_sha256"].startswith(stopped[1])
    rows = list(
        csv.DictReader(io.StringIO(bandshift("approve", stopped[0][:30], "--by", "lee", "--format", "csv").out))
    )
    assert len(rows) == told["counts"]["moves"]
    assert {back, gone}.isdisjoint(row["account_id"] for row in rows)


REFUSED = (
    (("latest", "--by", "lee", "--plan-sha", "0123456789ab"), 5, "is not the plan of run"),
    (("latest", "--by", "lee", "--plan-sha", "xyz"), 2, "--plan-sha is no hash"),
    (("latest", "--by", " "), 2, "--by is empty"),
    (("latest",), 2, "Missing option '--by'"),
    (("01", "--by", "lee"), 2, "is no run"),
    (("ffffffff", "--by", "lee"), 2, "there is no run"),
)


def test_an_approval_that_is_refused_writes_nothing(bandshift: Run, company: Engine, stopped: tuple[str, str]) -> None:
    before = count(company, "runs"), count(company, "outbox")
    for arguments, code, said in REFUSED:
        ended = bandshift("approve", *arguments)
        assert (ended.code, ended.out) == (code, ""), arguments
        assert said in ended.err
    assert (count(company, "runs"), count(company, "outbox")) == before
    assert bandshift("runs", "--status", "awaiting").out.startswith("1 run\n")
    assert stopped[0] in bandshift("status").out


def test_with_another_policy_in_force_the_plan_is_stale(
    bandshift: Run, stopped: tuple[str, str], strict_policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BANDSHIFT_POLICY")
    ended = bandshift("approve", "latest", "--by", "lee")
    assert ended.code == 5
    assert "the policy in force is default" in ended.err
    assert bandshift("approve", "latest", "--by", "lee", "--policy", str(strict_policy), "--dry-run").code == 0


def test_while_a_run_is_at_work_an_approval_exits_4(bandshift: Run, company: Engine, stopped: tuple[str, str]) -> None:
    with company.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        assert bandshift("approve", "latest", "--by", "lee").code == 4


def test_a_rejected_run_is_done_with(bandshift: Run, company: Engine, stopped: tuple[str, str]) -> None:
    ended = bandshift("reject", "latest", "--by", "lee", "--reason", "the feed was wrong")
    assert (ended.code, ended.out) == (0, f"run {stopped[0]} is rejected; the next run decides anew\n")
    assert bandshift("reject", stopped[0], "--by", "lee").code == 2
    assert bandshift("approve", stopped[0], "--by", "lee").code == 2
    assert bandshift("approve", "latest", "--by", "lee").code == 2
    listed = rejoined(bandshift("runs").out)
    assert "Rejected: the feed was wrong. lee rejected it on" in listed


def test_the_runs_are_listed_with_what_became_of_them(bandshift: Run, stopped: tuple[str, str]) -> None:
    assert f"{stopped[0]}  " in bandshift("runs", "--status", "awaiting").out
    assert "It can be approved until " in rejoined(bandshift("runs").out)
    bandshift("approve", "latest", "--by", "lee")
    assert bandshift("runs", "--status", "awaiting").out == "No runs\n"
    told: list[dict[str, Any]] = json.loads(bandshift("runs", "--format", "json").out)["runs"]
    made, approved = told[:2]
    assert (made["kind"], made["status"], made["approves"]) == ("approval", "applied", stopped[0])
    assert (approved["run_id"], approved["status"], approved["answer"]) == (stopped[0], "blocked", "approved")
    assert (approved["answered_by"], approved["moves"]) == ("lee", made["moves"])
    assert approved["plan_sha"].startswith(stopped[1])
    assert {one["kind"] for one in told[2:]} == {"import"}
    rows = list(csv.DictReader(io.StringIO(bandshift("runs", "--format", "csv", "--limit", "2").out)))
    assert [row["run_id"] for row in rows] == [made["run_id"], stopped[0]]
    assert list(rows[0]) == list(made)
    assert rows[1]["error"].startswith(approved["error"][:20])
    assert [one["run_id"] for one in json.loads(
        bandshift("runs", "--status", "blocked", "--format", "json").out
    )["runs"]] == [stopped[0]]  # fmt: skip
    assert bandshift("runs", "--status", "sleeping").code == 2


def test_the_runs_are_listed_while_the_policy_cannot_be_read(bandshift: Run, strict_policy: Path) -> None:
    strict_policy.write_text("[bands", encoding="utf-8")
    told = bandshift("runs")
    assert (told.code, told.out.splitlines()[0]) == (0, "2 runs")
    assert told.err.endswith("; times are UTC\n")


def test_status_says_what_waits_and_exits_1_when_something_is_wrong(
    bandshift: Run, company: Engine, stopped: tuple[str, str]
) -> None:
    ended = bandshift("status")
    assert ended.code == 0
    assert ended.out.startswith("All is well\n")
    assert COMMAND.search(ended.out) is not None
    with company.begin() as connection:
        connection.execute(text(
            "INSERT INTO deliveries (message_id, channel, status, next_attempt_at, gives_up_at)"
            " SELECT message_id, 'ops', 'parked', now(), now() FROM outbox"
        ))  # fmt: skip
    ended = bandshift("status", "--format", "json")
    told = json.loads(ended.out)
    assert (ended.code, told["healthy"], told["outbox"]["parked"]) == (1, False, 1)
    assert bandshift("status", "--format", "csv").code == 2


def test_status_of_a_database_without_the_schema_exits_1(
    run: Run, blank: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = blank.url.set(drivername="postgresql").render_as_string(hide_password=False)
    monkeypatch.setenv("DATABASE_URL", url)
    ended = run("status")
    assert ended.code == 1
    assert "bandshift db upgrade" in rejoined(ended.out)


def test_status_of_a_database_that_is_away_exits_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:1/none")
    ended = run("status")
    assert (ended.code, ended.out) == (1, "")
    assert "the database cannot be reached" in ended.err
    assert "secret" not in ended.err
