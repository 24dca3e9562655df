"""What a run logs: every event bears its id, its slot and its policy, and none of them stays bound after it."""

import io
import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
import structlog
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from app.demo import DEMO_AS_OF
from app.logs import configure_logs
from app.pipeline import recompute
from app.policy.read import default_policy
from app.settings.model import Worker
from app.slots import run_due
from tests.company import company, company_template, company_url
from tests.test_logs import _restored, written

__all__ = ["_restored", "company", "company_template", "company_url"]

SLOT = DEMO_AS_OF.date()


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the logs go, as where nobody watches."""
    stream = io.StringIO()
    configure_logs(stream=stream)
    yield stream
    assert structlog.contextvars.get_contextvars() == {}


def run(engine: Engine) -> None:
    recompute(engine, default_policy(), DEMO_AS_OF, dry_run=False, kind="scheduled", slot=SLOT)


def bound(stream: io.StringIO) -> dict[str, dict[str, object]]:
    """The events by name."""
    return {str(event["event"]): event for event in written(stream)}


def test_a_run_that_takes_effect_says_which_slot_and_policy_it_is_of(company: Engine, stream: io.StringIO) -> None:
    run(company)
    events = bound(stream)
    assert "run.applied" in events
    for event in events.values():
        assert (event["slot"], event["policy_sha"]) == (SLOT.isoformat(), default_policy().sha256)
        assert len(str(event["run_id"])) == 36


def test_so_does_one_that_fails_and_one_that_a_guard_stops(company: Engine, stream: io.StringIO) -> None:
    with company.begin() as connection:
        connection.execute(text("ALTER TABLE band_history ADD CONSTRAINT no CHECK (reason = '') NOT VALID"))
    with pytest.raises(DBAPIError):
        run(company)
    with company.begin() as connection:
        connection.execute(text("ALTER TABLE band_history DROP CONSTRAINT no"))
        connection.execute(text("UPDATE accounts SET status = 'churned' WHERE left(md5(account_id), 1) < 'c'"))
    run(company)
    events = bound(stream)
    assert set(events) == {"run.failed", "run.blocked"}
    for event in events.values():
        assert (event["slot"], event["policy_sha"]) == (SLOT.isoformat(), default_policy().sha256)
    assert events["run.failed"]["run_id"] != events["run.blocked"]["run_id"]


def test_a_run_by_hand_and_a_dry_run_have_no_slot(company: Engine, stream: io.StringIO) -> None:
    for dry_run in (True, False):
        recompute(company, default_policy(), DEMO_AS_OF, dry_run=dry_run)
    events = bound(stream)
    assert set(events) == {"run.planned", "run.applied"}
    for event in events.values():
        assert "slot" not in event
        assert event["policy_sha"] == default_policy().sha256
    assert "run_id" not in events["run.planned"]


def test_the_run_of_a_slot_that_the_worker_makes_bears_them_too(company: Engine, stream: io.StringIO) -> None:
    worker = Worker(first_slot="latest")
    outcome = run_due(company, default_policy, worker, DEMO_AS_OF + timedelta(hours=1))
    assert outcome.standing == "done"
    event = bound(stream)["run.applied"]
    assert (event["slot"], event["policy_sha"]) == (SLOT.isoformat(), default_policy().sha256)
    assert json.loads(stream.getvalue().splitlines()[-1])
