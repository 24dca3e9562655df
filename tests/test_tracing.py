"""Traces: the spans of a run, what they say, and that there are none unless somebody wants them."""

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from app import tracing
from app.demo import DEMO_AS_OF
from app.errors import Mistake
from app.pipeline import RunResult, recompute
from app.policy.read import default_policy
from app.settings.model import Settings, Telemetry
from app.tick import follow_up
from tests.company import company, company_template, company_url
from tests.notify.endpoints import answer, say_nothing, serve

__all__ = ["company", "company_template", "company_url"]

ROOT = Path(__file__).parent.parent
SLOT = DEMO_AS_OF.date()


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Where the spans of this test are."""
    exporter = InMemorySpanExporter()
    with tracing.traced(SimpleSpanProcessor(exporter)):
        yield exporter


def run(engine: Engine, *, dry_run: bool = False) -> RunResult:
    return recompute(engine, default_policy(), DEMO_AS_OF, kind="scheduled", slot=SLOT, dry_run=dry_run)


def tree(spans: Sequence[ReadableSpan]) -> dict[str, list[str]]:
    """The names of the spans below each, in order of their start; None's are those without one above them."""
    names = {span.context.span_id: span.name for span in spans if span.context is not None}
    below: dict[str, list[str]] = {}
    for span in sorted(spans, key=lambda one: one.start_time or 0):
        above = names[span.parent.span_id] if span.parent is not None else ""
        below.setdefault(above, []).append(span.name)
    return below


def test_a_run_is_a_span_with_its_steps_below(company: Engine, spans: InMemorySpanExporter) -> None:
    result = run(company)
    found = spans.get_finished_spans()
    assert tree(found) == {"": ["run"], "run": ["decide", "assign", "guard", "apply"]}
    (whole,) = [span for span in found if span.name == "run"]
    assert dict(whole.attributes or {}) == {
        "bandshift.kind": "scheduled",
        "bandshift.run_id": str(result.run_id),
        "bandshift.slot": SLOT.isoformat(),
        "bandshift.policy_sha": default_policy().sha256,
    }
    assert whole.resource.attributes["service.name"] == "bandshift"
    assert whole.status.status_code == StatusCode.UNSET


def test_a_dry_run_is_a_preview_that_applies_nothing(company: Engine, spans: InMemorySpanExporter) -> None:
    run(company, dry_run=True)
    assert tree(spans.get_finished_spans()) == {"": ["preview"], "preview": ["decide", "assign", "guard"]}


def test_what_fails_is_told_by_its_kind_and_not_by_its_message(company: Engine, spans: InMemorySpanExporter) -> None:
    with company.begin() as connection:
        connection.execute(text("ALTER TABLE band_history ADD CHECK (reason = 'secret') NOT VALID"))
    with pytest.raises(DBAPIError):
        run(company)
    failed = {span.name: span.status.description for span in spans.get_finished_spans() if not span.status.is_ok}
    assert failed == {"run": "IntegrityError", "apply": "IntegrityError"}
    for span in spans.get_finished_spans():
        assert span.events == ()
        assert "secret" not in span.to_json()


def test_delivering_is_a_span(company: Engine, spans: InMemorySpanExporter) -> None:
    follow_up(company, Settings(), DEMO_AS_OF, deadline=DEMO_AS_OF + timedelta(minutes=1), stop=lambda: False)
    assert [span.name for span in spans.get_finished_spans()] == ["deliver"]


def test_spans_hold_no_customers(company: Engine, spans: InMemorySpanExporter) -> None:
    run(company)
    told = "".join(span.to_json() for span in spans.get_finished_spans())
    with company.connect() as connection:
        words = connection.execute(text("SELECT account_id FROM accounts UNION SELECT name FROM accounts")).scalars()
        assert not [word for word in words if word in told]


def test_without_an_endpoint_there_are_no_spans_and_nothing_is_imported() -> None:
    code = (
        "import sys\n"
        "from app.settings.model import Settings\n"
        "from app import tracing\n"
        "with tracing.exported(Settings()), tracing.span('run', run_id='x'):\n"
        "    pass\n"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_an_endpoint_without_the_extra_is_a_mistake_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)
    with pytest.raises(Mistake, match=r"bandshift\[otel\]"), tracing.exported(to("http://127.0.0.1:1")):
        pytest.fail("it was exported")


def to(endpoint: str) -> Settings:
    return Settings(telemetry=Telemetry(otlp_endpoint=endpoint))


@pytest.mark.parametrize(("given", "path"), [("", "/v1/traces"), ("/", "/v1/traces"), ("/otel/traces", "/otel/traces")])
def test_a_collector_is_sent_the_spans_before_the_command_ends(company: Engine, given: str, path: str) -> None:
    with serve(answer(200)) as collector:
        base = "http://" + collector.url.split("/")[2]
        with tracing.exported(to(base + given)):
            result = run(company)
        (request,) = collector.requests
    assert request.path == path
    sent = ExportTraceServiceRequest.FromString(request.body)
    found = [span for one in sent.resource_spans for scope in one.scope_spans for span in scope.spans]
    assert {span.name for span in found} == {"run", "decide", "assign", "guard", "apply"}
    (whole,) = [span for span in found if span.name == "run"]
    ids = {pair.key: pair.value.string_value for pair in whole.attributes}
    assert ids["bandshift.run_id"] == str(result.run_id)


def test_a_collector_that_says_nothing_holds_nobody_up_for_long(company: Engine) -> None:
    done = threading.Event()

    def work() -> None:
        with tracing.exported(to(base)):
            assert run(company).status == "applied"
        done.set()

    with serve(say_nothing) as collector, capture_logs():
        base = "http://" + collector.url.split("/")[2]
        worker = threading.Thread(target=work)
        worker.start()
        assert done.wait(4 * tracing.EXPORT_TIMEOUT_S)
        worker.join()
