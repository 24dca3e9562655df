"""`bandshift recompute`, from its options to its exit code."""

import csv
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jsonschema
import pytest
from sqlalchemy import URL, Engine, text
from sqlalchemy.exc import IntegrityError

from app.demo import DEMO_AS_OF
from app.runs import LOCK_KEY
from tests.cli.conftest import Run, dsn

AS_OF = DEMO_AS_OF.isoformat()
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "plan.schema.json").read_text(encoding="utf-8"))


def counted(engine: Engine) -> dict[str, int]:
    """How many rows each table that a run writes has."""
    tables = ("band_history", "owner_history", "runs", "outbox", "policies")
    with engine.connect() as connection:
        return {table: connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in tables}


@contextmanager
def strict_policy(folder: Path) -> Iterator[str]:
    """A policy under which hardly anything may move."""
    text_ = (Path(__file__).parents[2] / "app" / "policy" / "default.toml").read_text(encoding="utf-8")
    path = folder / "strict.toml"
    path.write_text(
        text_.replace("moved_accounts = { share = 0.10, at_least = 25 }", "moved_accounts = { share = 0.001 }")
    )
    yield str(path)


def test_a_dry_run_reports_and_writes_nothing(bandshift: Run, company: Engine) -> None:
    before = counted(company)
    ended = bandshift("recompute", "--dry-run", "--as-of", AS_OF)
    assert (ended.code, counted(company)) == (0, before)
    assert ended.out.startswith("Dry run\nAs of     2026-11-16 06:00 UTC\n")
    assert ended.out.endswith("Nothing was written. Run the same without --dry-run to apply this plan.\n")


def test_a_run_applies_and_a_second_finds_nothing_to_do(bandshift: Run, company: Engine) -> None:
    first = bandshift("recompute", "--as-of", AS_OF)
    assert first.code == 0
    assert "\nApplied." in first.out
    after = counted(company)
    second = bandshift("recompute", "--as-of", AS_OF)
    assert (second.code, second.out.splitlines()[-1]) == (
        0,
        "Nothing to do: every account is where the policy wants it.",
    )
    assert {**after, "runs": after["runs"] + 1} == counted(company)


def test_the_three_formats_tell_of_the_same_moves(bandshift: Run, company: Engine) -> None:
    report = json.loads(bandshift("recompute", "--dry-run", "--as-of", AS_OF, "--format", "json").out)
    jsonschema.validate(report, SCHEMA, format_checker=jsonschema.FormatChecker())
    rows = list(
        csv.DictReader(io.StringIO(bandshift("recompute", "--dry-run", "--as-of", AS_OF, "--format", "csv").out))
    )
    table = bandshift("recompute", "--dry-run", "--as-of", AS_OF, "--all").out
    ids = [move["account_id"] for move in report["moves"]]
    assert ids
    assert [row["account_id"] for row in rows] == ids
    assert [row["reason"] for row in rows] == [move["reason"] for move in report["moves"]]
    assert [account_id for account_id in ids if account_id not in table] == []


def test_a_report_is_the_same_bytes_each_time(bandshift: Run, company: Engine) -> None:
    for form in ("table", "json", "csv"):
        first, second = (bandshift("recompute", "--dry-run", "--as-of", AS_OF, "--format", form).out for _ in range(2))
        assert first == second


def test_a_guard_that_trips_reports_its_reason_and_exits_3(bandshift: Run, company: Engine, tmp_path: Path) -> None:
    before = counted(company)
    with strict_policy(tmp_path) as policy:
        ended = bandshift("recompute", "--as-of", AS_OF, "--policy", policy)
        dry = bandshift("recompute", "--dry-run", "--as-of", AS_OF, "--policy", policy)
    assert ended.code == dry.code == 3
    assert "STOP  moved_accounts" in ended.out
    assert "bandshift: a guard stopped this plan and nothing moved; moved_accounts: " in ended.err
    assert "bandshift: a guard would stop this plan; moved_accounts: " in dry.err
    assert {**before, "runs": before["runs"] + 1, "policies": 1, "outbox": 1} == counted(company)
    run_id = re.search(r"bandshift approve (\S+) --plan-sha [0-9a-f]{12} --by WHO\n", ended.err)
    assert run_id is not None
    assert f"  bandshift reject {run_id[1]} --by WHO\n" in ended.out
    assert "bandshift approve" not in dry.out + dry.err


def test_a_run_beside_another_is_busy_and_exits_4(bandshift: Run, company: Engine) -> None:
    with company.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        ended = bandshift("recompute", "--as-of", AS_OF)
    assert ended.code == 4
    assert "bandshift: another run is at work" in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--as-of", "yesterday"], "--as-of 'yesterday' is neither a date (2026-03-02) nor an instant"),
        (["--as-of", "2026-13-01"], "--as-of '2026-13-01' is neither"),
        (["--as-of", "0001-01-01"], "from 1900 to 2199"),
        (["--as-of", "2199-01-01"], "is in the future; only a dry run can look ahead"),
        (["--policy", "nowhere.toml"], "there is no file nowhere.toml"),
        (["--output", "."], "--output . is a folder; name a file in it"),
        (
            ["--output", "nowhere/report.txt"],
            "--output nowhere/report.txt cannot be written: no such file or directory",
        ),
        (["--format", "xml"], "'xml' is not one of 'table', 'json', 'csv'"),
        (["--limit", "0"], "Input should be greater than or equal to 1"),
        (["--dryrun"], "No such option: --dryrun"),
    ],
)
def test_a_mistake_is_told_and_exits_2(bandshift: Run, arguments: list[str], said: str) -> None:
    ended = bandshift("recompute", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert "Traceback" not in ended.err


def test_a_mistake_is_one_line(bandshift: Run) -> None:
    (line,) = [line for line in bandshift("recompute", "--as-of", "x").err.splitlines() if not line.startswith("{")]
    assert line.startswith("bandshift: --as-of 'x' is neither a date (2026-03-02) nor an instant (2026-03-02T")


def test_every_problem_of_a_policy_is_told(bandshift: Run, tmp_path: Path) -> None:
    policy = tmp_path / "broken.toml"
    policy.write_text('name = 3\nbands = []\nwhat = "this"\n')
    ended = bandshift("recompute", "--policy", str(policy))
    assert ended.code == 2
    assert len(ended.err.splitlines()) > 2


def test_a_date_is_its_first_moment_in_the_policys_time_zone(bandshift: Run, company: Engine, tmp_path: Path) -> None:
    text_ = (Path(__file__).parents[2] / "app" / "policy" / "default.toml").read_text(encoding="utf-8")
    tokyo = tmp_path / "tokyo.toml"
    tokyo.write_text(text_.replace('time_zone = "UTC"', 'time_zone = "Asia/Tokyo"'))
    options = ("--dry-run", "--format", "json", "--policy", str(tokyo), "--as-of")
    for written, meant in (
        ("2026-11-16", "2026-11-15T15:00:00Z"),
        ("2026-11-16T06:00", "2026-11-15T21:00:00Z"),
        ("2026-11-16T06:00Z", "2026-11-16T06:00:00Z"),
    ):
        assert json.loads(bandshift("recompute", *options, written).out)["as_of"] == meant


def test_the_policy_of_the_environment_is_used(
    bandshift: Run, company: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with strict_policy(tmp_path) as policy:
        monkeypatch.setenv("BANDSHIFT_POLICY", policy)
        assert bandshift("recompute", "--dry-run", "--as-of", AS_OF).code == 3


def test_a_file_appears_whole_and_stdout_stays_empty(bandshift: Run, company: Engine, tmp_path: Path) -> None:
    straight = bandshift("recompute", "--dry-run", "--as-of", AS_OF).out
    report = tmp_path / "report.txt"
    ended = bandshift("recompute", "--dry-run", "--as-of", AS_OF, "--output", str(report))
    assert (ended.code, ended.out) == (0, "")
    assert report.read_text(encoding="utf-8") == straight
    assert list(tmp_path.iterdir()) == [report]


def test_a_run_that_fails_leaves_the_file_as_it_was(bandshift: Run, company: Engine, tmp_path: Path) -> None:
    report = tmp_path / "report.txt"
    report.write_text("last week's")
    with company.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        assert bandshift("recompute", "--output", str(report)).code == 4
    assert report.read_text() == "last week's"
    assert list(tmp_path.iterdir()) == [report]


@pytest.mark.parametrize("form", ["json", "csv"])
def test_a_run_that_applies_writes_the_file_that_its_dry_run_promised(
    bandshift: Run, company: Engine, tmp_path: Path, form: str
) -> None:
    def without_the_run(report: str) -> list[str]:
        return [line for line in report.splitlines() if not line.startswith(('  "run_id":', '  "status":'))]

    promised = bandshift("recompute", "--dry-run", "--as-of", AS_OF, "--format", form).out
    report = tmp_path / "report"
    ended = bandshift("recompute", "--as-of", AS_OF, "--format", form, "--output", str(report))
    assert (ended.code, ended.out) == (0, "")
    with report.open(encoding="utf-8", newline="") as file:
        assert without_the_run(file.read()) == without_the_run(promised)
    if form == "json":
        assert json.loads(report.read_text())["status"] == "applied"


def test_a_run_that_fails_while_it_is_applied_leaves_no_file(bandshift: Run, company: Engine, tmp_path: Path) -> None:
    with company.begin() as connection:
        connection.execute(text("ALTER TABLE band_history ADD CONSTRAINT never CHECK (changed_at IS NULL) NOT VALID"))
    report = tmp_path / "report.json"
    with pytest.raises(IntegrityError):
        bandshift("recompute", "--as-of", AS_OF, "--format", "json", "--output", str(report))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_an_output_without_room_is_told_in_one_line(bandshift: Run, company: Engine) -> None:
    ended = bandshift("recompute", "--dry-run", "--as-of", AS_OF, "--format", "json", "--output", "/dev/full")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.splitlines()[-1] == "bandshift: --output /dev/full cannot be written: no space left on device"


def test_a_link_to_a_file_stays_a_link(bandshift: Run, company: Engine, tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    bandshift("recompute", "--dry-run", "--as-of", AS_OF, "--format", "json", "-o", str(tmp_path / "link.json"))
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "real.json").read_text())["schema"] == 1


def test_a_database_without_a_schema_is_told_what_to_run(
    run: Run, blank_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", dsn(blank_url))
    ended = run("recompute", "--dry-run")
    assert (ended.code, ended.out) == (2, "")
    assert "bandshift: the database has no bandshift schema yet: run `bandshift db upgrade`" in ended.err


def test_a_server_that_is_away_is_one_line_without_the_password(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:s3cr3t@127.0.0.1:1/db")
    ended = run("recompute", "--dry-run")
    assert (ended.code, ended.out) == (1, "")
    assert "s3cr3t" not in ended.err
    assert "Traceback" not in ended.err


def test_logs_go_to_stderr_and_name_no_customer(bandshift: Run, company: Engine) -> None:
    ended = bandshift("recompute", "--as-of", AS_OF)
    events = [json.loads(line)["event"] for line in ended.err.splitlines() if line.startswith("{")]
    assert "run.applied" in events
    with company.connect() as connection:
        names = connection.execute(text("SELECT name FROM accounts WHERE name IS NOT NULL")).scalars().all()
    assert [name for name in names if name in ended.err] == []
