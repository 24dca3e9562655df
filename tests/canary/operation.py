"""What the worker and the metrics let out."""

import io
import logging
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from threading import Event
from time import monotonic
from urllib.request import urlopen

import psutil
import psycopg

from app import database, metrics
from app.logs import configure_logs
from app.settings import Metrics
from app.settings.catalogue import variable
from app.settings.read import read_settings
from app.tick import step
from tests.canary import secrets
from tests.canary.faults import raising
from tests.canary.parrots import closed_port
from tests.canary.secrets import leaks
from tests.canary.story import NEXT_WEEK, Story
from tests.canary.surfaces import surface
from tests.canary.unusable import every_path, quoted
from tests.test_docs import ROOT

PATIENCE_S = 180
"""A machine that does other things beside is slow to start a process and to stop it."""


@surface("the metrics, as they are served", "bandshift_ledger_readable 1.0")
def _(story: Story) -> str:
    with database.open_engine(story.settings) as engine:
        settings = story.settings.model_copy(update={"metrics": Metrics(port=closed_port())})
        url = f"http://127.0.0.1:{settings.metrics.port}/metrics"
        with metrics.served(engine, settings, lambda: datetime.now(UTC)), urlopen(url) as answer:
            return f"{answer.headers}\n{answer.read().decode()}"


@surface("the metrics in a file", "bandshift_ledger_readable 1.0")
def _(story: Story) -> str:
    publish_metrics(story)
    return (story.folder / "metrics.prom").read_text(encoding="utf-8")


@surface("what is said of metrics that cannot be pushed", "metrics.unpushed")
def _(story: Story) -> str:
    heard = len(story.http.heard)
    told = publish_metrics(story)
    assert leaks("".join(story.http.heard[heard:])) == [secrets.PUSH]
    return told


@surface("what is said of metrics that can be pushed nowhere", "metrics.unpushed")
def _(story: Story) -> str:
    return publish_metrics(story, f"http://user:{secrets.PUSH}@127.0.0.1:{closed_port()}/{secrets.PUSH}")


def publish_metrics(story: Story, push_url: str | None = None) -> str:
    """What is logged while the metrics are written and pushed."""
    environ = story.environ | {"BANDSHIFT_METRICS__TEXTFILE": str(story.folder / "metrics.prom")}
    settings = read_settings(environ | ({"BANDSHIFT_METRICS__PUSH_URL": push_url} if push_url else {})).settings
    stream = io.StringIO()
    with story.surrounded(environ), database.open_engine(settings) as engine:
        configure_logs(level=logging.DEBUG, stream=stream)
        metrics.publish(engine, settings, datetime.now(UTC))
    return stream.getvalue()


@surface("the files that are left", "bandshift_ledger_readable")
def _(story: Story) -> str:
    publish_metrics(story)
    files = [path for path in story.folder.rglob("*") if path.is_file()]
    return "\n".join(f"{path}\n{path.read_bytes().decode('latin-1')}" for path in files)


@surface("the traces", "run.plan")
def _(story: Story) -> str:
    heard = len(story.http.heard)
    told = traced(story, status=200)
    bodies = [one.partition("\n\n")[2] for one in story.http.heard[heard:]]
    assert all(secrets.OTLP in one for one in story.http.heard[heard:])
    return told + "".join(bodies)


@surface("what is said of traces that are refused", "Failed to export")
def _(story: Story) -> str:
    return traced(story, status=401)


def traced(story: Story, *, status: int) -> str:
    """What a run says whose traces get this answer."""
    story.http.status = status
    where = {"BANDSHIFT_TELEMETRY__OTLP_ENDPOINT": f"http://{story.http.address}"}
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization={secrets.OTLP}"}
    dry_run = ("recompute", "--dry-run", "--as-of", NEXT_WEEK.isoformat(), "-v")
    ended = story.run(*dry_run, environ=story.environ | where | headers)
    assert (ended.code, ended.bug) == (0, None), ended.err
    return ended.out + ended.err


@surface("what a worker logs", '"event": "outbox.delivered"')
def _(story: Story) -> str:
    story.run("outbox", "retry", "--all")
    return worked(story, story.environ, "message.postponed")


@surface("what a worker logs of a server that is away", "database.unavailable")
def _(story: Story) -> str:
    away = f"postgresql://u:{quoted()}@127.0.0.1:{closed_port()}/d"
    return worked(story, story.environ | {"DATABASE_URL": away}, "database.unavailable")


@surface("what a worker says of settings that cannot be used", "worker.refused")
def _(story: Story) -> str:
    return worked(story, {variable(path): secrets.DSN for path in every_path("x")}, "worker.refused")


@surface("what a tick says of an error that quotes the URL", "tick.failed")
def _(story: Story) -> str:
    stream = io.StringIO()
    with story.surrounded(story.environ):
        configure_logs(level=logging.DEBUG, stream=stream)
        for error in (RuntimeError(story.dsn), psycopg.OperationalError(story.dsn), OSError(story.dsn)):
            step("deliver", partial(raising(error)))
    return stream.getvalue()


def wait_until(holds: Callable[[], bool]) -> bool:
    """Whether it holds before patience ends."""
    deadline, pause = monotonic() + PATIENCE_S, Event()
    while not holds() and monotonic() < deadline:
        pause.wait(0.05)
    return holds()


def worked(story: Story, environ: Mapping[str, str], until: str) -> str:
    """What a worker wrote, until it logged that event and was told to stop; and how it is listed as a process."""
    log = story.folder / "worker.log"
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("BANDSHIFT_", "DATABASE_URL"))}
    with log.open("wb") as stream:
        worker = psutil.Popen(
            [sys.executable, "-m", "app.worker"],
            cwd=story.folder,
            env=plain | {"PYTHONPATH": str(ROOT)} | dict(environ),
            stdout=stream,
            stderr=stream,
        )
    try:
        listed = " ".join(worker.cmdline())
        assert wait_until(lambda: until in log.read_text(encoding="utf-8") or worker.poll() is not None)
        worker.terminate()
        worker.wait(PATIENCE_S)
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()
    return f"{listed}\n{log.read_text(encoding='utf-8')}"
