"""A container engine, where there is one: what it takes to build the image and to bring the composed system up."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PYTHON_IMAGE = os.environ.get("TEST_PYTHON_IMAGE", "python:3.11-slim-bookworm")
POSTGRES_IMAGE = os.environ.get("TEST_POSTGRES_IMAGE", "postgres:18-bookworm")
WANTED = os.environ.get("TEST_CONTAINERS", "")
"""Building and bringing up takes minutes, so only who asks gets it. `required`: not to run is to fail; anything else:
to run where an engine answers."""


def engine_or_skip() -> None:
    """Skips unless there is all that it takes; fails instead where the tests are required."""
    missing = _missing()
    if missing is None:
        return
    if WANTED == "required":
        pytest.fail(f"TEST_CONTAINERS=required, and {missing}")
    pytest.skip(missing)


def _missing() -> str | None:
    """What is missing to run containers."""
    if not WANTED:
        return "it takes minutes and a container engine: TEST_CONTAINERS=required asks for it"
    if shutil.which("docker") is None:
        return "there is no docker here"
    if _run("docker", "info").returncode:
        return "no container engine answers `docker info`"
    if _compose() is None:
        return "there is neither `docker compose` nor docker-compose"
    return None


def _compose() -> tuple[str, ...] | None:
    for command in (("docker", "compose"), ("docker-compose",)):
        if shutil.which(command[0]) and _run(*command, "version").returncode == 0:
            return command
    return None


def _run(*command: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env={**os.environ, **(environment or {})}, cwd=ROOT, capture_output=True, text=True, check=False
    )


def docker(*arguments: str) -> str:
    """What docker says to stdout; it has to succeed."""
    ended = _run("docker", *arguments)
    assert ended.returncode == 0, f"docker {' '.join(arguments)}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def inspect(what: str) -> dict[str, Any]:
    """All that the engine knows of a container or an image."""
    (found,) = json.loads(docker("inspect", what))
    assert isinstance(found, dict)
    return found


def build(tag: str, *options: str) -> None:
    """The image of this checkout is there. The host's network is the one that is known to reach the package index."""
    python = f"PYTHON_IMAGE={PYTHON_IMAGE}"
    docker("build", "-q", "--network", "host", "--build-arg", python, *options, "-t", tag, ".")


def until(holds: Callable[[], object], seconds: float, what: str) -> None:
    """`holds` holds, within so many seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{seconds:.0f} s have passed: {what}"
        time.sleep(0.2)


@dataclass(frozen=True, slots=True)
class System:
    """A composed system of its own name, of docker-compose.yml and what a test lays over it."""

    name: str
    image: str
    overlays: tuple[Path, ...]

    def compose(self, *arguments: str) -> str:
        """What compose says; it has to succeed."""
        ended = self.try_compose(*arguments)
        assert ended.returncode == 0, f"compose {' '.join(arguments)}\n{ended.stdout}{ended.stderr}{self.logs()}"
        return ended.stdout

    def try_compose(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """How compose ends."""
        files = [part for file in ("docker-compose.yml", *self.overlays) for part in ("-f", str(file))]
        environment = {"IMAGE": self.image, "POSTGRES_IMAGE": POSTGRES_IMAGE, "PYTHON_IMAGE": PYTHON_IMAGE}
        compose = _compose()
        assert compose is not None
        return _run(*compose, "-p", self.name, *files, *arguments, environment=environment)

    def up(self, *services: str, profile: str = "") -> None:
        """The services, or all of the profile's and those without one, are started."""
        self.compose(*(("--profile", profile) if profile else ()), "up", "-d", "--no-build", *services)

    def container(self, service: str) -> dict[str, Any]:
        """What the engine knows of the service's container; nothing, before it is there."""
        id_ = docker(
            "ps", "-aq",
            "--filter", f"label=com.docker.compose.project={self.name}",
            "--filter", f"label=com.docker.compose.service={service}",
            "--filter", "label=com.docker.compose.oneoff=False",
        ).strip()  # fmt: skip
        return inspect(id_) if id_ else {}

    def state(self, service: str) -> dict[str, Any]:
        """The state of the service's container."""
        found: dict[str, Any] = self.container(service).get("State", {})
        return found

    def exit_code(self, service: str, seconds: float = 90) -> int:
        """How a service that ends has ended."""
        until(lambda: self.state(service).get("Status") == "exited", seconds, f"{service} has not ended{self.logs()}")
        code: int = self.state(service)["ExitCode"]
        return code

    def await_health(self, service: str, health: str, seconds: float = 90) -> None:
        """The service's health is this."""

        def is_so() -> bool:
            found: str = self.state(service).get("Health", {}).get("Status", "")
            return found == health

        until(is_so, seconds, f"{service} is not {health}: {self.state(service)}")

    def execute(self, service: str, *command: str) -> str:
        """What the command prints in the service's container; it has to succeed."""
        return self.compose("exec", "-T", service, *command)

    def query(self, sql: str) -> str:
        """The rows, unadorned, as the server's superuser sees them."""
        psql = 'PGPASSWORD=$(cat /run/secrets/postgres_password) exec psql -h 127.0.0.1 -U bandshift -tAc "$0"'
        return self.execute("db", "sh", "-c", psql, sql).strip()

    def logs(self) -> str:
        """The last that the services said."""
        return self.try_compose("logs", "--no-color", "--tail", "40").stdout


@contextmanager
def system(name: str, image: str, *overlays: Path) -> Iterator[System]:
    """A system of that name, of which nothing is up yet and nothing is left after."""
    made = System(name, image, overlays)
    try:
        yield made
    finally:
        made.compose("--profile", "sample", "down", "-v", "--remove-orphans", "-t", "5")
