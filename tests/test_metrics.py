"""The metrics: that they tell what the ledger holds, get where they are wanted, and never stop a run."""

import base64
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic, time
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from sqlalchemy import URL, Engine, event, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from app import metrics, pipeline
from app.cli import main
from app.demo import DEMO_AS_OF
from app.errors import Mistake
from app.metrics import Ticks, exporter
from app.policy.read import default_policy
from app.runs import new_run_id
from app.settings.model import Metrics, Settings
from app.tables import band_history, coverage, deliveries, outbox, policies
from app.tables import runs as ledger
from tests.company import company, company_template, company_url, settled, settled_template, settled_url
from tests.conftest import engine_on
from tests.forked import Forks

__all__ = ["company", "company_template", "company_url", "settled", "settled_template", "settled_url"]

ROOT = Path(__file__).parent.parent
SLOT = DEMO_AS_OF.date()
HOUR = timedelta(hours=1)
Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def told(engine: Engine, now: datetime = DEMO_AS_OF + HOUR, settings: Settings | None = None) -> Samples:
    """What the metrics say: a value by the sample's name and labels."""
    return samples(metrics.exposition(engine, settings or Settings(), now))


def samples(exposed: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposed)
        for sample in family.samples
    }


def value(said: Samples, name: str, **labels: str) -> float | None:
    return said.get((f"bandshift_{name}", frozenset(labels.items())))


def run_row(status: str, *, slot: date | None = None, at: datetime = DEMO_AS_OF, **more: Any) -> dict[str, Any]:
    kind = "scheduled" if slot else "manual"
    times = {"as_of": at, "started_at": at, "finished_at": at}
    return {"run_id": new_run_id(at), "kind": kind, "slot": slot, "status": status, **times, **more}


def add_run(engine: Engine, *rows: dict[str, Any]) -> None:
    with engine.begin() as connection:
        connection.execute(insert(policies).values(policy_sha="known", name="x", body="", first_used_at=DEMO_AS_OF))
        for row in rows:
            connection.execute(insert(ledger).values(policy_sha="known", **row))


def standing(said: Samples) -> str:
    """The one standing that the newest slot has."""
    (only,) = [
        dict(labels)["standing"]
        for (name, labels), number in said.items()
        if name == "bandshift_slot_standing" and number == 1
    ]
    return only


def test_the_last_success_is_told_with_its_moves_by_rule_and_band(settled: Engine) -> None:
    said = told(settled)
    with settled.connect() as connection:
        run = connection.execute(select(ledger).where(ledger.c.kind == "manual")).one()
        of = func.coalesce(band_history.c.from_band, ""), func.coalesce(band_history.c.to_band, "")
        moved = connection.execute(
            select(band_history.c.move, band_history.c.rule, *of, func.count())
            .where(band_history.c.run_id == run.run_id)
            .group_by(band_history.c.move, band_history.c.rule, *of)
        ).all()
        waiting = connection.scalar(select(func.count()).where(coverage.c.waiting_since.is_not(None)))
    assert value(said, "last_success_timestamp_seconds") == pytest.approx(run.finished_at.timestamp())
    assert value(said, "last_success_duration_seconds") == run.duration_ms / 1000
    assert value(said, "last_success_accounts") == run.counts["accounts"] > 0
    assert value(said, "last_success_owner_changes") == run.counts["owner_changes"] > 0
    assert value(said, "last_success_policy_info", policy_sha=run.policy_sha) == 1
    for outcome, counted in (("pending", "pending"), ("review", "reviews"), ("contested", "contested")):
        assert value(said, "last_success_not_moved", outcome=outcome) == run.counts[counted]
    labels = ("move", "rule", "from_band", "to_band")
    assert len(moved) > 5
    for *names, accounts in moved:
        assert value(said, "last_success_moves", **dict(zip(labels, names, strict=True))) == accounts
    assert (
        sum(number for (name, _), number in said.items() if name == "bandshift_last_success_moves")
        == (run.counts["moves"])
    )
    assert value(said, "waitlist_accounts") == waiting == run.counts["waitlist"] > 0
    assert value(said, "runs_total", kind="manual", status="applied") == 1


def test_an_empty_ledger_has_no_last_success_and_waits_for_its_next_slot(database: Engine) -> None:
    said = told(database, DEMO_AS_OF - HOUR)
    assert value(said, "last_success_timestamp_seconds") is None
    assert value(said, "last_failure_timestamp_seconds") is None
    assert value(said, "open_slot_timestamp_seconds") == DEMO_AS_OF.timestamp()
    assert value(said, "slot_lateness_seconds") == 0
    assert value(said, "ledger_readable") == 1


def test_a_slot_that_nobody_runs_is_late_and_one_that_is_done_makes_way_for_the_next(company: Engine) -> None:
    add_run(company, run_row("applied", slot=SLOT - timedelta(weeks=1), at=DEMO_AS_OF - timedelta(weeks=1)))
    said = told(company, DEMO_AS_OF + 3 * HOUR)
    assert standing(said) == "open"
    assert value(said, "open_slot_timestamp_seconds") == DEMO_AS_OF.timestamp()
    assert value(said, "slot_lateness_seconds") == 3 * 3600
    pipeline.recompute(company, default_policy(), DEMO_AS_OF, dry_run=False, kind="scheduled", slot=SLOT)
    said = told(company, DEMO_AS_OF + 3 * HOUR)
    assert standing(said) == "done"
    assert value(said, "open_slot_timestamp_seconds") == (DEMO_AS_OF + timedelta(weeks=1)).timestamp()
    assert value(said, "slot_lateness_seconds") == 0


def test_failed_attempts_are_counted_and_a_slot_that_is_given_up_stays_open(company: Engine) -> None:
    sha = default_policy().sha256
    with company.begin() as connection:
        connection.execute(insert(policies).values(policy_sha=sha, name="x", body="", first_used_at=DEMO_AS_OF))
        attempts = [run_row("failed", slot=SLOT, at=DEMO_AS_OF + n * HOUR, failure="bug") for n in range(5)]
        connection.execute(insert(ledger).values([{**row, "policy_sha": sha} for row in attempts[:2]]))
    said = told(company, DEMO_AS_OF + 2 * HOUR)
    assert (standing(said), value(said, "slot_failed_attempts")) == ("open", 2)
    assert value(said, "last_failure_timestamp_seconds") == (DEMO_AS_OF + HOUR).timestamp()
    with company.begin() as connection:
        connection.execute(insert(ledger).values([{**row, "policy_sha": sha} for row in attempts[2:]]))
    said = told(company, DEMO_AS_OF + 6 * HOUR)
    assert (standing(said), value(said, "slot_failed_attempts")) == ("failed", 5)
    assert value(said, "open_slot_timestamp_seconds") == DEMO_AS_OF.timestamp()
    assert value(said, "runs_total", kind="scheduled", status="failed") == 5


def test_runs_that_await_approval_are_told_and_what_stopped_them_is_counted(company: Engine) -> None:
    lapses = DEMO_AS_OF + 100 * HOUR

    def verdicts(*tripped: str) -> list[dict[str, Any]]:
        return [{"guard": guard, "tripped": guard in tripped} for guard in ("moved_arr", "csm_book", "moved_accounts")]

    add_run(
        company,
        run_row("blocked", guards=verdicts("moved_arr"), answer="rejected", at=DEMO_AS_OF - HOUR),
        run_row("blocked", slot=SLOT, guards=verdicts("moved_arr", "csm_book"), lapses_at=lapses),
        run_row("applied", guards=verdicts(), at=DEMO_AS_OF - 2 * HOUR),
    )
    said = told(company)
    assert standing(said) == "awaiting"
    assert value(said, "awaiting_approval_runs") == 1
    assert value(said, "awaiting_approval_lapses_timestamp_seconds") == lapses.timestamp()
    assert value(said, "guard_trips_total", guard="moved_arr") == 2
    assert value(said, "guard_trips_total", guard="csm_book") == 1
    assert value(said, "guard_trips_total", guard="moved_accounts") is None


def test_deliveries_are_told_by_how_they_stand(settled: Engine) -> None:
    with settled.begin() as connection:
        ids = connection.execute(select(outbox.c.message_id).order_by(outbox.c.message_id)).scalars().all()
        oldest = connection.scalar(select(func.min(outbox.c.created_at)))
        common = {"channel": "ops", "next_attempt_at": DEMO_AS_OF, "gives_up_at": DEMO_AS_OF}
        for message_id, (status, attempts) in zip(
            ids, (("waiting", 0), ("waiting", 3), ("waiting", 1), ("parked", 9)), strict=False
        ):
            row = {"message_id": message_id, "status": status, "attempts": attempts, **common}
            connection.execute(insert(deliveries).values(row))
    said = told(settled)
    expected = {"unseen": len(ids) - 4, "waiting": 1, "failing": 2, "parked": 1}
    assert {state: value(said, "outbox_deliveries", state=state) for state in expected} == expected
    assert oldest is not None
    assert value(said, "outbox_oldest_timestamp_seconds") == oldest.timestamp()


def test_a_policy_that_cannot_be_read_is_told_and_hides_nothing_but_the_slots(settled: Engine, tmp_path: Path) -> None:
    broken = tmp_path / "policy.toml"
    broken.write_text("name = ", encoding="utf-8")
    said = told(settled, settings=Settings(policy=broken))
    assert value(said, "policy_readable") == 0
    assert value(said, "open_slot_timestamp_seconds") is None
    assert value(said, "last_success_timestamp_seconds") is not None


@pytest.mark.parametrize(
    "spoil", ["ALTER TABLE runs RENAME TO gone", "UPDATE bandshift_version SET version_num = '2020_01_01_0000'"]
)
def test_a_ledger_that_cannot_be_read_is_told_as_such(settled: Engine, spoil: str) -> None:
    with settled.begin() as connection:
        connection.execute(text(spoil))
    said = told(settled)
    assert value(said, "ledger_readable") == 0
    assert value(said, "build_info", version=metrics_version()) == 1
    assert value(said, "last_success_timestamp_seconds") is None


def metrics_version() -> str:
    from app import __version__  # noqa: PLC0415 - only here

    return __version__


def exposed(engine: Engine) -> dict[str, Metric]:
    """Every family there is, a worker's included, by name, of a ledger in which everything has happened."""
    add_run(
        engine,
        run_row("failed", at=DEMO_AS_OF - HOUR, failure="bug"),
        run_row("blocked", guards=[{"guard": "moved_arr", "tripped": True}], lapses_at=DEMO_AS_OF + HOUR),
    )
    live = exporter.Live(engine, Settings(), Ticks(DEMO_AS_OF), lambda: DEMO_AS_OF + HOUR)
    return {family.name: family for family in live.collect()}


def test_names_and_helps_follow_the_conventions_of_prometheus(settled: Engine) -> None:
    families = exposed(settled)
    assert len(families) > 20
    for name, family in families.items():
        assert name.startswith("bandshift_")
        assert family.documentation.endswith(".")
        assert family.samples, name
        for sample in family.samples:
            assert sample.timestamp is None  # the textfile collector takes none
            if family.type == "counter":
                assert sample.name == f"{name}_total"
            if name.endswith("_timestamp_seconds"):
                assert 1_700_000_000 < sample.value < 2_500_000_000


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_has_nothing_to_say(settled: Engine) -> None:
    exposed(settled)
    said = metrics.exposition(settled, Settings(), DEMO_AS_OF + HOUR)
    checked = subprocess.run(["promtool", "check", "metrics"], input=said, capture_output=True, text=True, check=False)  # noqa: S607 - whichever there is
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_documentation_lists_every_metric_with_its_labels(settled: Engine) -> None:
    listed = {}
    for line in (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("| `bandshift_"):
            name, labels = (cell.strip() for cell in line.strip("|").split("|")[:2])
            listed[name.strip("`")] = set(filter(None, labels.split(", ")))
    found: dict[str, set[str]] = {}
    for family in exposed(settled).values():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    assert listed == found


def test_no_metric_names_a_customer_or_a_csm(settled: Engine) -> None:
    said = metrics.exposition(settled, Settings(), DEMO_AS_OF + HOUR)
    with settled.connect() as connection:
        names = connection.execute(text("SELECT name FROM accounts UNION SELECT name FROM csms")).scalars().all()
        ids = connection.execute(text("SELECT account_id FROM accounts UNION SELECT csm_id FROM csms")).scalars().all()
    assert not [word for word in (*names, *ids) if word and word in said]


# ---- Served ----------------------------------------------------------------------------------------------------------


@contextmanager
def serving(engine: Engine, ticks: Ticks | None = None) -> Iterator[str]:
    """The URL at which the metrics are served."""
    with exporter.serve(engine, Settings(), ticks or Ticks(), lambda: DEMO_AS_OF + HOUR) as port:
        yield f"http://127.0.0.1:{port}/metrics"


def fetch(url: str) -> str:
    with urlopen(url, timeout=30) as answer:  # noqa: S310 - our own server
        assert answer.status == 200
        body: bytes = answer.read()
    return body.decode()


def test_a_worker_serves_what_the_command_prints_and_its_own_ticks(settled: Engine) -> None:
    ticks = Ticks()
    with serving(settled, ticks) as url:
        assert value(samples(fetch(url)), "worker_last_tick_timestamp_seconds") is None
        ticks.note(DEMO_AS_OF)
        said = dict(samples(fetch(url)))
    assert said.pop(("bandshift_worker_last_tick_timestamp_seconds", frozenset())) == DEMO_AS_OF.timestamp()
    assert said == told(settled)


def test_many_scrapes_ask_the_database_once(settled: Engine) -> None:
    asked = []
    event.listen(settled, "before_cursor_execute", lambda *arguments: asked.append(arguments[2]))
    with serving(settled) as url:
        threads = [threading.Thread(target=fetch, args=(url,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum("bandshift_version" in statement and "version_num" in statement for statement in asked) == 1


def test_while_the_database_is_away_that_is_what_is_served(settled_url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "FRESH_S", 0)
    with engine_on(settled_url) as engine, serving(engine) as url:
        assert value(samples(fetch(url)), "ledger_readable") == 1
        away = engine.url.set(port=1, query={}, host="127.0.0.1")
        with engine_on(away) as nowhere, serving(nowhere) as its_url:
            with capture_logs() as logs:
                assert value(samples(fetch(its_url)), "ledger_readable") == 0
            assert [entry["event"] for entry in logs] == ["metrics.unread"]
        engine.dispose()  # its connections are gone; new ones are made
        assert value(samples(fetch(url)), "ledger_readable") == 1


def test_a_worker_tells_that_it_looked_at_the_ledger(company_url: URL, forks: Forks) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BANDSHIFT_")},
        "DATABASE_URL": company_url.render_as_string(hide_password=False),
        "BANDSHIFT_METRICS__PORT": str(port),
    }
    worker = subprocess.Popen(
        [*forks.python, "-m", "app.worker"], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        looked, deadline = None, monotonic() + 60
        while looked is None and monotonic() < deadline and worker.poll() is None:
            try:
                looked = value(samples(fetch(f"http://127.0.0.1:{port}/")), "worker_last_tick_timestamp_seconds")
            except URLError:  # it is still starting
                threading.Event().wait(0.05)
        assert looked == pytest.approx(time(), abs=60)
    finally:
        worker.terminate()
        _, logs = worker.communicate(timeout=60)
    assert worker.returncode == 0, logs
    assert '"metrics.served"' in logs


def test_a_port_that_is_taken_is_a_mistake(settled: Engine) -> None:
    with serving(settled) as url:
        port = int(url.split(":")[2].split("/")[0])
        taken = Settings(metrics=Metrics(port=port))
        refused = pytest.raises(Mistake, match=f"cannot be served at 127.0.0.1:{port}")
        with refused, metrics.served(settled, taken, lambda: DEMO_AS_OF):
            pytest.fail("it was served")


def test_without_a_port_nothing_is_served_and_ticks_are_kept(settled: Engine) -> None:
    with metrics.served(settled, Settings(), lambda: DEMO_AS_OF) as ticks:
        ticks.note(DEMO_AS_OF)
    assert ticks.last == DEMO_AS_OF


# ---- Written and pushed ----------------------------------------------------------------------------------------------


def test_a_text_file_is_replaced_whole_and_holds_what_the_command_prints(settled: Engine, tmp_path: Path) -> None:
    path = tmp_path / "bandshift.prom"
    path.write_text("old", encoding="utf-8")
    before = path.stat().st_ino
    metrics.publish(settled, Settings(metrics=Metrics(textfile=path)), DEMO_AS_OF + HOUR)
    assert samples(path.read_text(encoding="utf-8")) == told(settled)
    assert path.stat().st_ino != before
    assert list(tmp_path.iterdir()) == [path]


def test_a_text_file_that_cannot_be_written_is_logged_and_stops_nothing(settled: Engine, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "bandshift.prom"
    with capture_logs() as logs:
        metrics.publish(settled, Settings(metrics=Metrics(textfile=path)), DEMO_AS_OF)
    assert [(entry["event"], entry["path"]) for entry in logs] == [("metrics.unwritten", str(path))]


class Gateway(BaseHTTPRequestHandler):
    """A Pushgateway that keeps what it was sent."""

    def do_PUT(self) -> None:
        kept: list[tuple[str, str | None, str]] = self.server.kept  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        kept.append((self.path, self.headers["Authorization"], body))
        self.send_response(self.server.answer)  # type: ignore[attr-defined]
        if self.server.answer == 302:  # type: ignore[attr-defined]
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def gateway() -> Iterator[Callable[[int], tuple[str, list[tuple[str, str | None, str]]]]]:
    """Starts a Pushgateway that gives this answer; returns its address and what it was sent."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: int) -> tuple[str, list[tuple[str, str | None, str]]]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
        server.kept, server.answer = [], answer  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"127.0.0.1:{server.server_port}", server.kept  # type: ignore[attr-defined]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def pushing(url: str) -> Settings:
    return Settings(metrics=Metrics(push_url=SecretStr(url), job="weekly"))


def test_a_pushgateway_is_sent_what_the_command_prints(settled: Engine, gateway: Any) -> None:
    address, kept = gateway(202)
    metrics.publish(settled, pushing(f"http://me:p%40ss@{address}/base/"), DEMO_AS_OF + HOUR)
    ((path, authorization, body),) = kept
    assert path == "/base/metrics/job/weekly"
    assert authorization == "Basic " + base64.b64encode(b"me:p@ss").decode()
    assert samples(body) == told(settled)


@pytest.mark.parametrize("answer", [302, 400, 500])
def test_a_pushgateway_that_says_no_is_logged_without_its_url(settled: Engine, gateway: Any, answer: int) -> None:
    address, kept = gateway(answer)
    with capture_logs() as logs:
        metrics.publish(settled, pushing(f"http://me:hush@{address}/hush"), DEMO_AS_OF)
    assert logs == [{"event": "metrics.unpushed", "status": answer, "log_level": "warning"}]
    assert len(kept) == 1  # no redirect was followed
    assert "hush" not in repr(logs)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/hush", "http://hush.invalid/", "https://127.0.0.1:1/hush"])
def test_a_pushgateway_that_is_not_there_is_logged_without_its_url(settled: Engine, url: str) -> None:
    with capture_logs() as logs:
        metrics.publish(settled, pushing(url), DEMO_AS_OF)
    assert [entry["event"] for entry in logs] == ["metrics.unpushed"]
    assert "hush" not in repr(logs)


# ---- Commands --------------------------------------------------------------------------------------------------------


def test_the_command_prints_the_metrics(
    settled_url: URL, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", settled_url.render_as_string(hide_password=False))
    with pytest.raises(SystemExit) as ended:
        main(["metrics"])
    assert not ended.value.code
    assert value(samples(capsys.readouterr().out), "ledger_readable") == 1


@pytest.mark.parametrize(("arguments", "writes"), [([], True), (["--dry-run"], False)])
def test_a_run_writes_the_metrics_and_a_dry_run_does_not(
    company_url: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], writes: bool
) -> None:
    path = tmp_path / "bandshift.prom"
    monkeypatch.setenv("DATABASE_URL", company_url.render_as_string(hide_password=False))
    monkeypatch.setenv("BANDSHIFT_METRICS__TEXTFILE", str(path))
    with pytest.raises(SystemExit):
        main(["recompute", "--as-of", DEMO_AS_OF.isoformat(), *arguments])
    assert path.exists() == writes
    if writes:
        assert value(samples(path.read_text(encoding="utf-8")), "runs_total", kind="manual", status="applied") == 1


def test_a_run_that_fails_writes_the_metrics_too(
    company_url: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bandshift.prom"
    monkeypatch.setenv("DATABASE_URL", company_url.render_as_string(hide_password=False))
    monkeypatch.setenv("BANDSHIFT_METRICS__TEXTFILE", str(path))
    with engine_on(company_url) as engine, engine.begin() as connection:
        connection.execute(text("ALTER TABLE band_history ADD CHECK (move = 'never') NOT VALID"))
    with pytest.raises(DBAPIError, match="band_history"):
        main(["recompute", "--as-of", DEMO_AS_OF.isoformat()])
    assert value(samples(path.read_text(encoding="utf-8")), "runs_total", kind="manual", status="failed") == 1


@pytest.mark.parametrize("module", ["prometheus_client", "opentelemetry"])
def test_no_command_waits_for_what_it_does_not_use(module: str) -> None:
    code = f"import app.cli, app.worker, sys; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_instants_of_a_run_are_in_utc(settled: Engine) -> None:
    with settled.begin() as connection:
        connection.execute(update(ledger).values(finished_at=datetime(2026, 11, 16, 12, tzinfo=UTC)))
        connection.execute(text("SET TIME ZONE 'Asia/Kathmandu'"))
    assert value(told(settled), "last_success_timestamp_seconds") == datetime(2026, 11, 16, 12, tzinfo=UTC).timestamp()
