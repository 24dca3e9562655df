"""The metrics, as Prometheus knows them: their names, what each means, and their samples.

Instants are told as instants, in seconds since 1970, and never as ages: an age is wrong as soon as it is written to a
file. What belongs to the last run is a gauge; the counters count rows of the ledger, which are never taken away.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import get_args

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

from app import __version__, migrate
from app.due import Standing
from app.metrics import Ticks
from app.metrics.reading import Figures, Slot, Success
from app.notify.backlog import Backlog

PREFIX = "bandshift"

Counts = Mapping[tuple[str], int] | Mapping[tuple[str, str], int]


def of_process(*, readable: bool, schema: str | None) -> Iterator[Metric]:
    """What can be told whatever the database says. `schema` is the one it has; None if it has none, or does not say."""
    yield _info("build", "The version of bandshift that tells this.", {"version": __version__})
    yield _info(
        "schema", "The schema's revision, and the one needed.", {"found": schema or "", "needed": migrate.head()}
    )
    yield _gauge("ledger_readable", "Whether the ledger could be read, 1 or 0.", int(readable))


def of_ticks(ticks: Ticks) -> Iterator[Metric]:
    """What only a worker can tell, of itself."""
    yield _instant("worker_last_tick_timestamp_seconds", "When the worker last looked at the ledger.", ticks.last)


def of_ledger(figures: Figures) -> Iterator[Metric]:
    """What the database tells."""
    yield from _of_success(figures.success)
    yield _instant("last_failure_timestamp_seconds", "When the last run that failed began.", figures.failed_at)
    yield from _of_slot(figures.now, figures.slot)
    yield _counts("runs", "Runs in the ledger, by kind and how they ended.", ("kind", "status"), figures.runs)
    trips = {(guard,): count for guard, count in figures.trips.items()}
    yield _counts("guard_trips", "Runs that each guard has stopped.", ("guard",), trips)
    yield _gauge("awaiting_approval_runs", "Runs that a guard stopped and nobody has answered for.", figures.awaiting)
    yield _instant(
        "awaiting_approval_lapses_timestamp_seconds",
        "When the first of them can be approved no more.",
        figures.lapses_at,
    )
    yield _gauge("waitlist_accounts", "Accounts in a named band for which no CSM has room.", figures.waitlist)
    yield _instant("waitlist_oldest_timestamp_seconds", "Since when the first of them waits.", figures.waiting_since)
    yield from _of_outbox(figures.backlog)


def _of_success(success: Success | None) -> Iterator[Metric]:
    moves = GaugeMetricFamily(
        f"{PREFIX}_last_success_moves",
        "Accounts moved by that run. No band before is that they entered, none after that they left.",
        labels=("move", "rule", "from_band", "to_band"),
    )
    outcomes = GaugeMetricFamily(
        f"{PREFIX}_last_success_not_moved", "Accounts that run did not move although a rule fired.", labels=("outcome",)
    )
    if success is not None:
        for labels, accounts in success.moves.items():
            moves.add_metric(labels, accounts)
        for outcome in ("pending", "reviews", "contested"):
            outcomes.add_metric((outcome.removesuffix("s"),), success.counts.get(outcome, 0))
        policy = {"policy_sha": success.policy_sha}
        yield _info("last_success_policy", "The policy of that run, by its hash.", policy)
    yield _instant(
        "last_success_timestamp_seconds",
        "When the last run that evaluated the rules and took effect had ended.",
        success.finished_at if success is not None else None,
    )
    for name, about, value in (
        ("duration_seconds", "How long that run took.", success.duration_ms / 1000 if success is not None else None),
        ("accounts", "Accounts it evaluated.", success.counts.get("accounts", 0) if success is not None else None),
        (
            "owner_changes",
            "Accounts whose owner it changed.",
            success.counts.get("owner_changes", 0) if success is not None else None,
        ),
    ):
        yield _gauge(f"last_success_{name}", about, value)
    yield moves
    yield outcomes


def _of_slot(now: datetime, slot: Slot | None) -> Iterator[Metric]:
    yield _gauge("policy_readable", "Whether the policy file can be read, 1 or 0.", int(slot is not None))
    if slot is None:
        return
    yield _instant(
        "open_slot_timestamp_seconds", "When the slot that has to be run next fell due, or falls due.", slot.opens_at
    )
    late = max(0.0, (now - slot.opens_at).total_seconds())
    yield _gauge("slot_lateness_seconds", "How long ago the slot that has to be run fell due; 0 if it did not.", late)
    standing = GaugeMetricFamily(
        f"{PREFIX}_slot_standing", "How the newest slot stands: 1 for that, 0 for the others.", labels=("standing",)
    )
    for name in get_args(Standing):
        standing.add_metric((name,), int(name == slot.standing))
    yield standing
    yield _gauge("slot_failed_attempts", "Attempts of the newest slot that failed.", slot.failed)


def _of_outbox(backlog: Backlog) -> Iterator[Metric]:
    states = GaugeMetricFamily(
        f"{PREFIX}_outbox_deliveries",
        "Deliveries that have not ended: unseen (a message nobody looked at yet), waiting, failing, or parked.",
        labels=("state",),
    )
    states.add_metric(("unseen",), backlog.unseen)
    states.add_metric(("waiting",), backlog.waiting - backlog.failing)
    states.add_metric(("failing",), backlog.failing)
    states.add_metric(("parked",), backlog.parked)
    yield states
    yield _instant("outbox_oldest_timestamp_seconds", "When the oldest message of them was made.", backlog.oldest)


def _gauge(name: str, about: str, value: float | None) -> Metric:
    """A gauge; without a value it has no sample."""
    family = GaugeMetricFamily(f"{PREFIX}_{name}", about)
    if value is not None:
        family.add_metric((), value)
    return family


def _instant(name: str, about: str, instant: datetime | None) -> Metric:
    return _gauge(name, about, instant.timestamp() if instant is not None else None)


def _info(name: str, about: str, labels: Mapping[str, str]) -> Metric:
    return InfoMetricFamily(f"{PREFIX}_{name}", about, value=dict(labels))


def _counts(name: str, about: str, labels: tuple[str, ...], counts: Counts) -> Metric:
    family = CounterMetricFamily(f"{PREFIX}_{name}", about, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count)
    return family
