"""The alert rules and the dashboard: that they ask for metrics there are, and the alerts lead to what is to be done."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import Engine

from app.demo import DEMO_AS_OF
from app.due import Standing
from app.metrics import Ticks, exporter
from app.settings.model import Settings
from tests.company import company_template, settled, settled_template, settled_url
from tests.test_metrics import HOUR, add_run, run_row

__all__ = ["company_template", "settled", "settled_template", "settled_url"]

ROOT = Path(__file__).parent.parent
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "bandshift.json"
BEHAVIOUR = Path(__file__).parent / "alerts_behaviour.yml"
NAME = re.compile(r"\bbandshift_\w+")
SELECTOR = re.compile(r"\b(bandshift_\w+)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
GROUPED = re.compile(r"\b(?:by|on|without)\s*\(([^)]*)\)")
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return read


def expressions() -> Iterator[tuple[str, str]]:
    """Every PromQL expression there is, with where it stands."""
    for rule in alerts():
        yield rule["alert"], rule["expr"]
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in dashboard()["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]


@pytest.fixture
def known(settled: Engine) -> dict[str, set[str]]:
    """The names of all samples, with their labels and those that a scrape adds."""
    add_run(
        settled,
        run_row("failed", at=DEMO_AS_OF - HOUR, failure="bug"),
        run_row("blocked", guards=[{"guard": "moved_arr", "tripped": True}], lapses_at=DEMO_AS_OF + HOUR),
    )
    live = exporter.Live(settled, Settings(), Ticks(DEMO_AS_OF), lambda: DEMO_AS_OF + HOUR)
    labels: dict[str, set[str]] = {}
    for family in live.collect():
        for sample in family.samples:
            labels.setdefault(sample.name, {"job", "instance"}).update(sample.labels)
    return labels


def test_every_expression_asks_for_metrics_and_labels_that_there_are(known: dict[str, set[str]]) -> None:
    asked = list(expressions())
    assert len(asked) > 30
    for where, expression in asked:
        names = NAME.findall(expression)
        assert names, where
        assert set(names) <= set(known), where
        for name, selector in SELECTOR.findall(expression):
            assert {label for label, _ in MATCHER.findall(selector)} <= known[name], where
        for grouped in GROUPED.findall(expression):
            labels = {label.strip() for label in grouped.split(",")}
            assert any(labels <= known[name] for name in names), where


def test_every_value_of_a_label_that_is_asked_for_can_be(known: dict[str, set[str]]) -> None:
    values = {
        "standing": set(Standing.__args__),  # type: ignore[attr-defined]
        "state": {"unseen", "waiting", "failing", "parked"},
        "job": {"$job"},
    }
    for where, expression in expressions():
        for _, selector in SELECTOR.findall(expression):
            for label, value in MATCHER.findall(selector):
                assert value in values[label], where


def test_most_metrics_are_shown_or_watched(known: dict[str, set[str]]) -> None:
    asked = {name for _, expression in expressions() for name in NAME.findall(expression)}
    unseen = {
        "bandshift_last_failure_timestamp_seconds",
        "bandshift_awaiting_approval_lapses_timestamp_seconds",
    }
    assert set(known) - asked == unseen


def test_every_alert_says_how_bad_it_is_and_leads_to_what_is_to_be_done() -> None:
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ")).strip().lower().replace(" ", "-")
        for line in (ROOT / "docs" / "operating.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("#")
    }
    names = [rule["alert"] for rule in alerts()]
    assert len(names) == len(set(names)) >= 5
    for rule in alerts():
        kebab = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", rule["alert"].removeprefix("Bandshift")).lower()
        document, anchor = rule["annotations"]["runbook"].split("#")
        assert document == "docs/operating.md"
        assert anchor == f"alert-{kebab}"
        assert anchor in headings
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def test_the_dashboard_is_whole_and_its_panels_do_not_overlap() -> None:
    read = dashboard()
    assert read["uid"] == "bandshift"
    ids = [panel["id"] for panel in read["panels"]]
    assert len(ids) == len(set(ids)) > 10
    cells: set[tuple[int, int]] = set()
    for panel in read["panels"]:
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in own) < 24
        assert not cells & own, panel["title"]
        cells |= own
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, cwd=ROOT)  # noqa: S607 - whichever there is


@needs_promtool
def test_promtool_reads_every_expression(tmp_path: Path) -> None:
    assert promtool("check", "rules", str(RULES)).returncode == 0
    shown = [expression for _, expression in expressions() if not expression.startswith("label_values")]
    rules = [
        {"record": f"r{number}", "expr": expression.replace("$__range", "1h")}
        for number, expression in enumerate(shown)
    ]
    file = tmp_path / "shown.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "shown", "rules": rules}]}), encoding="utf-8")
    checked = promtool("check", "rules", str(file))
    assert checked.returncode == 0, checked.stderr


@needs_promtool
def test_the_alerts_fire_when_they_should_and_only_then() -> None:
    checked = promtool("test", "rules", str(BEHAVIOUR))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_behaviour_of_every_alert_is_described() -> None:
    described = yaml.safe_load(BEHAVIOUR.read_text(encoding="utf-8"))
    fired = {
        test["alertname"] for part in described["tests"] for test in part["alert_rule_test"] if test.get("exp_alerts")
    }
    assert fired == {rule["alert"] for rule in alerts()}
