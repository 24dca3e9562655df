"""Traces of what a run does, by OpenTelemetry; nothing at all unless the settings name where they go.

The extra `otel` brings the library, which is imported only then. Spans hold ids and counts. Of an error they tell its
kind, never its message, which may quote data.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app import __version__
from app.errors import Mistake
from app.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Tracer

EXPORT_TIMEOUT_S = 5
"""The end of a command waits no longer than this for a collector that does not answer."""

_tracers: list["Tracer"] = []
"""The one in use, if there is one."""


@contextmanager
def span(name: str, **attributes: str | int | None) -> Iterator[None]:
    """What is done within is a span of this name, below the one that is open; attributes of None are left out."""
    if not _tracers:
        yield
        return
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - see above

    known = {f"bandshift.{key}": value for key, value in attributes.items() if value is not None}
    with _tracers[-1].start_as_current_span(
        name, attributes=known, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield
        except BaseException as error:
            current.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


@contextmanager
def exported(settings: Settings) -> Iterator[None]:
    """Spans go to the settings' endpoint, if they name one; those that have ended were sent when this ends.

    Raises Mistake when the extra is not installed. A collector that is away costs some seconds at the end, and no more.
    """
    endpoint = settings.telemetry.otlp_endpoint
    if endpoint is None:
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        raise Mistake(
            "telemetry.otlp_endpoint is set, and what sends traces is not installed: pip install 'bandshift[otel]'"
        ) from None
    if not urlsplit(endpoint).path.strip("/"):
        endpoint = endpoint.rstrip("/") + "/v1/traces"
    with traced(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_TIMEOUT_S))):
        yield


@contextmanager
def traced(processor: "SpanProcessor") -> Iterator[None]:
    """Spans go to the processor, which is shut down after."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - see above
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

    resource = Resource.create({"service.name": "bandshift", "service.version": __version__})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    _tracers.append(provider.get_tracer("bandshift", __version__))
    try:
        yield
    finally:
        _tracers.pop()
        provider.shutdown()
