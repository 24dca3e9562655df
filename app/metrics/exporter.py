"""The metrics on their way out, through the Prometheus client."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Lock
from time import monotonic
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit

import structlog
from prometheus_client import CollectorRegistry, Metric, generate_latest, push_to_gateway, start_http_server
from prometheus_client.exposition import basic_auth_handler, default_handler, write_to_textfile
from prometheus_client.registry import Collector
from pydantic import SecretStr
from sqlalchemy import Connection, Engine, func, literal, select

from app.errors import Mistake
from app.metrics import Ticks
from app.metrics.families import of_ledger, of_process, of_ticks
from app.metrics.reading import read_figures, read_schema
from app.migrate import head
from app.runs import describe
from app.settings import Settings

FRESH_S = 10
"""However often it is scraped, the database is asked no more often than this."""

STATEMENT_TIMEOUT = "5s"
"""A scrape that takes longer is given up by Prometheus anyway."""

PUSH_TIMEOUT_S = 10

log = structlog.get_logger()


class Gathered(Collector):
    """Metrics that were gathered before."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.metrics = metrics

    def collect(self) -> Sequence[Metric]:
        """The metrics."""
        return self.metrics


class Live(Collector):
    """Metrics as they are when they are asked for, or were a moment before; safe to ask from many threads."""

    def __init__(self, engine: Engine, settings: Settings, ticks: Ticks, clock: Callable[[], datetime]) -> None:
        self.engine, self.settings, self.ticks, self.clock = engine, settings, ticks, clock
        self.lock = Lock()
        self.read_at = float("-inf")
        self.metrics: tuple[Metric, ...] = ()

    def collect(self) -> Iterator[Metric]:
        """The metrics of the database, and those of this process."""
        with self.lock:
            if monotonic() - self.read_at >= FRESH_S:
                self.metrics = gather(self.engine, self.settings, self.clock())
                self.read_at = monotonic()
            gathered = self.metrics
        yield from gathered
        yield from of_ticks(self.ticks)


def collect(engine: Engine, settings: Settings, now: datetime) -> CollectorRegistry:
    """A registry with the metrics as they are now."""
    registry = CollectorRegistry()
    registry.register(Gathered(gather(engine, settings, now)))
    return registry


def gather(engine: Engine, settings: Settings, now: datetime) -> tuple[Metric, ...]:
    """Every metric that is told of the database; without those of the ledger where it cannot be read."""
    schema: str | None = None
    try:
        with _snapshot(engine) as connection:
            schema = read_schema(connection)
            if schema != head():
                return tuple(of_process(readable=False, schema=schema))
            figures = read_figures(connection, now, settings)
        return (*of_process(readable=True, schema=schema), *of_ledger(figures))
    except Exception as error:  # noqa: BLE001 - metrics never stop what they tell of, and say that they are missing
        log.warning("metrics.unread", error=describe(error))
        return tuple(of_process(readable=False, schema=schema))


@contextmanager
def _snapshot(engine: Engine) -> Iterator[Connection]:
    """A connection that sees one moment, writes nothing, and waits for nothing long."""
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.connect() as connection, connection.execution_options(**options).begin():
        connection.execute(select(func.set_config("statement_timeout", STATEMENT_TIMEOUT, literal(value=True))))
        yield connection


def text(registry: CollectorRegistry) -> str:
    """The metrics in the text format."""
    return generate_latest(registry).decode()


def write(registry: CollectorRegistry, path: Path) -> None:
    """The file holds the metrics, whole at any moment; or the log says why it does not."""
    try:
        write_to_textfile(str(path), registry)
    except OSError as error:
        log.warning("metrics.unwritten", path=str(path), error=error.strerror or type(error).__name__)


def push(registry: CollectorRegistry, url: SecretStr, job: str) -> None:
    """The Pushgateway holds the metrics in place of what it held of this job; or the log says why it does not.

    A user and a password in the URL are sent as basic authentication. No message quotes the URL: it may be a secret.
    """
    parts = urlsplit(url.get_secret_value())
    handler = default_handler
    if parts.username is not None:
        user, password = unquote(parts.username), unquote(parts.password or "")
        handler = partial(basic_auth_handler, username=user, password=password)
    gateway = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    try:
        push_to_gateway(gateway, job, registry, timeout=PUSH_TIMEOUT_S, handler=handler)
    except HTTPError as error:
        with error:
            log.warning("metrics.unpushed", status=error.code)
    except Exception as error:  # noqa: BLE001 - what a URL and a network can make of it, and none of it stops a run
        log.warning("metrics.unpushed", error=type(error).__name__)


@contextmanager
def serve(engine: Engine, settings: Settings, ticks: Ticks, clock: Callable[[], datetime]) -> Iterator[int]:
    """The metrics are served, on threads of their own; yields the port. Raises Mistake if it cannot be had."""
    address, port = settings.metrics.address, settings.metrics.port or 0
    registry = CollectorRegistry()
    registry.register(Live(engine, settings, ticks, clock))
    try:
        server, thread = start_http_server(port, address, registry)
    except OSError as error:
        raise Mistake(f"metrics cannot be served at {address}:{port}: {error.strerror or error}") from None
    log.info("metrics.served", address=address, port=server.server_port)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
