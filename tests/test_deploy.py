"""The ready files are valid where they are to be used, and what each starts does the week's run, once."""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from apscheduler.triggers.cron import CronTrigger
from sqlalchemy import URL, Engine, select

from app.demo import fill
from app.tables import runs
from tests import deployments
from tests.conftest import engine_on
from tests.deployments import DSN, INSTALLED, KUBERNETES, SYSTEMD, Start
from tests.forked import Forks

ROOT = Path(__file__).parent.parent
QUARTER_HOURLY = "*/15 * * * *"
ONE_LOOK = ("bandshift", "recompute", "--slot", "latest")
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")


@pytest.fixture
def company(database: Engine) -> Engine:
    """A company as of now, so that the run of the latest slot finds its feeds fresh."""
    with database.begin() as connection:
        fill(connection, accounts=300, seed=1, as_of=datetime.now(UTC))
    return database


@pytest.fixture
def machine(tmp_path: Path, forks: Forks) -> Path:
    """A folder that stands for the root of a machine with bandshift installed."""
    programs = tmp_path / INSTALLED.lstrip("/")
    programs.mkdir(parents=True)
    for name, arguments in (("bandshift", '-m app "$@"'), ("python", '"$@"')):
        install(programs / name, f"exec {shlex.join(forks.python)} {arguments}")
    install(programs / "logger", f'exec cat >>"{tmp_path}/syslog"')
    return tmp_path


def install(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def popen(start: Start, machine: Path, url: URL) -> subprocess.Popen[str]:
    """The command under way, its files in place; the latest slot is due, however late."""
    for path, text in start.files.items():
        file = machine / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace(DSN, url.render_as_string(hide_password=False)))
    given = {
        name: str(machine / value.lstrip("/")) if value.startswith("/") else value
        for name, value in start.environment.items()
    }
    programs = machine / INSTALLED.lstrip("/")
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "BANDSHIFT_WORKER__FIRST_SLOT": "latest",
        "BANDSHIFT_WORKER__MAX_LATENESS_HOURS": "8760",
        "BANDSHIFT_METRICS__PORT": str(free_port()),
        **given,
    }
    command = [part.replace(INSTALLED, f"{programs}/") for part in start.command]
    command[0] = shutil.which(command[0], path=environment["PATH"]) or command[0]
    return subprocess.Popen(
        command, env=environment, cwd=machine, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def slots(engine: Engine) -> list[tuple[str, str]]:
    """Every row of the ledger that bears a slot."""
    with engine.connect() as connection:
        rows = connection.execute(select(runs.c.kind, runs.c.status).where(runs.c.slot.is_not(None)))
        return [(kind, status) for kind, status in rows]


def one_look(file: str) -> Start:
    match file:
        case "cron":
            return deployments.cron()[2]
        case "airflow":
            return deployments.airflow()[1]
        case "dagster":
            return deployments.dagster()[1]
        case "bandshift.service":
            return deployments.systemd(file)
        case _:
            return deployments.kubernetes(file)


@pytest.mark.parametrize("file", ["cron", "airflow", "dagster", "bandshift.service", "cronjob.yaml"])
def test_what_a_scheduler_starts_does_the_slot_once(file: str, company: Engine, machine: Path) -> None:
    start = one_look(file)
    assert " ".join(ONE_LOOK) in " ".join(start.command)
    for _ in range(2):
        with popen(start, machine, company.url) as process:
            output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        assert slots(company) == [("scheduled", "applied")], output


@pytest.mark.parametrize("file", ["worker.yaml", "bandshift-worker.service"])
def test_a_worker_that_is_started_does_the_slot_and_ends_when_told_to(
    file: str, company: Engine, machine: Path
) -> None:
    start = deployments.kubernetes(file) if file.endswith(".yaml") else deployments.systemd(file)
    with popen(start, machine, company.url) as process:
        try:
            until(lambda: bool(slots(company)) or process.poll() is not None)
        finally:
            process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert slots(company) == [("scheduled", "applied")], output
    assert process.returncode == 0, output


def until(holds: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)


def test_the_migration_job_migrates(blank_url: URL, machine: Path) -> None:
    with popen(deployments.kubernetes("migrate.yaml"), machine, blank_url) as process:
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    with engine_on(blank_url) as engine:
        assert slots(engine) == []


@pytest.mark.parametrize(
    ("file", "document"), deployments.documents(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_manifest_is_what_kubernetes_takes(file: str, document: dict[str, Any]) -> None:
    if document["kind"] == "Kustomization":  # not the cluster's: kubectl reads it
        assert {*document["resources"]} <= {path.name for path in KUBERNETES.iterdir()}
    else:
        kubernetes_validate.validate(document, "1.30", strict=True)
        assert document["metadata"]["labels"]["app.kubernetes.io/name"] == "bandshift", file


def test_a_manifest_with_a_wrong_key_is_refused() -> None:
    (document,) = [document for name, document in deployments.documents() if name == "cronjob.yaml"]
    document["spec"]["concurrency"] = "Forbid"
    with pytest.raises(kubernetes_validate.ValidationError, match="concurrency"):
        kubernetes_validate.validate(document, "1.30", strict=True)


@pytest.mark.parametrize("file", ["worker.yaml", "cronjob.yaml", "migrate.yaml"])
def test_a_pod_has_no_rights_and_no_variables_it_does_not_ask_for(file: str) -> None:
    (document,) = [document for name, document in deployments.documents() if name == file]
    pod = deployments.pod(document)
    assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    rights = container["securityContext"]
    assert (rights["readOnlyRootFilesystem"], rights["allowPrivilegeEscalation"]) == (True, False)
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize(
    "schedule",
    [deployments.cron()[0], deployments.airflow()[0], deployments.dagster()[0]],
    ids=["cron", "airflow", "dagster"],
)
def test_a_schedule_looks_as_often_as_the_worker(schedule: str) -> None:
    assert schedule == QUARTER_HOURLY
    at_three = datetime(2026, 11, 22, 3, 0, 1, tzinfo=UTC)
    found = CronTrigger.from_crontab(schedule, timezone=UTC).get_next_fire_time(None, at_three)
    assert found == datetime(2026, 11, 22, 3, 15, tzinfo=UTC)


def test_the_cron_job_looks_as_often_and_never_twice_at_a_time() -> None:
    (spec,) = [document["spec"] for name, document in deployments.documents() if name == "cronjob.yaml"]
    assert (spec["schedule"], spec["timeZone"], spec["concurrencyPolicy"]) == (QUARTER_HOURLY, "Etc/UTC", "Forbid")
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0


def test_the_cron_table_is_one_that_cron_takes() -> None:
    _, user, _ = deployments.cron()
    text = deployments.CRON.read_text()
    assert user == "bandshift"
    assert text.endswith("\n")  # cron leaves out a last line without
    assert "%" not in text  # which cron would take for a line end


def test_the_timer_makes_up_for_what_it_missed() -> None:
    timer = deployments.unit("bandshift.timer")
    assert timer["Timer"]["Persistent"] == "true"
    assert timer["Install"]["WantedBy"] == "timers.target"


@needs_systemd
def test_the_units_are_what_systemd_takes(machine: Path) -> None:
    units = []
    for file in SYSTEMD.iterdir():
        unit = machine / file.name
        unit.write_text(file.read_text().replace(INSTALLED, f"{machine}{INSTALLED}"))
        units.append(unit)
    assert len(units) == 3
    assert analyze("verify", *map(str, units)) == ""


@needs_systemd
def test_systemd_says_when_the_timer_looks() -> None:
    calendar = deployments.unit("bandshift.timer")["Timer"]["OnCalendar"]
    assert "*-*-* *:00/15:00" in analyze("calendar", calendar)


@needs_systemd
@pytest.mark.parametrize("file", ["bandshift.service", "bandshift-worker.service"])
def test_a_service_is_exposed_to_little(file: str) -> None:
    analyze("security", "--offline=true", "--threshold=20", str(SYSTEMD / file))  # of 100; it fails above


def analyze(*arguments: str) -> str:
    ended = subprocess.run(["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, check=False)  # noqa: S607
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stderr if arguments[0] == "verify" else ended.stdout
