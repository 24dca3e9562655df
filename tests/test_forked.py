"""A forked process of bandshift is to its parent what one is that was started."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forked import ROOT, Forks
from tests.processes import until


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "BANDSHIFT_HOME": str(tmp_path), "COLUMNS": "100"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "app", "--help"],
        ["-m", "app", "settings", "--format", "csv"],
        ["-m", "app", "recompte"],
        ["-m", "app.recompute", "--as-of", "x"],
        ["-m", "app.worker"],
        ["-c", "import sys; sys.exit(7)"],
    ],
)
def test_it_says_and_ends_as_one_that_was_started(
    forks: Forks, environment: dict[str, str], tmp_path: Path, arguments: list[str]
) -> None:
    environment |= {"BANDSHIFT_WORKER__ATTEMPTS": "x"} if arguments[1] == "app.worker" else {}
    ends = [
        subprocess.run(
            [*python, *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        for python in ([sys.executable], forks.python)
    ]
    started, forked = [(end.returncode, end.stdout, without_time(end.stderr)) for end in ends]
    assert forked == started


def without_time(logged: str) -> str:
    return "\n".join(line.split('"timestamp"')[0] for line in logged.splitlines())


@pytest.mark.parametrize(("sent", "ends"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -9)])
def test_it_gets_the_signals_of_its_client_and_dies_with_it(
    forks: Forks, environment: dict[str, str], tmp_path: Path, sent: signal.Signals, ends: int
) -> None:
    environment["DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/nowhere"
    command = [*forks.python, "-m", "app.worker"]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as client:
        assert client.stderr is not None
        assert "database.unavailable" in client.stderr.readline()
        client.send_signal(sent)
        client.stderr.read()  # ends when the last who writes to it has gone
        until(lambda: client.poll() is not None)
    assert client.returncode == ends
