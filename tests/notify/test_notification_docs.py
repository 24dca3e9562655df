"""`docs/notifications.md` shows messages as they are, and a verifier that verifies."""

import json
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, update

from app import messages, pipeline
from app.demo import DEMO_AS_OF
from app.messages import TOPICS
from app.plan import LapsedPin
from app.policy.read import default_policy
from app.report.names import Names
from app.settings import Settings
from app.tables import accounts, outbox
from tests.company import company_template, settled, settled_template, settled_url
from tests.notify.endpoints import serve
from tests.notify.told import SECRET, deliver, settings, tell, webhook
from tests.plans import AS_OF, a_monday
from tests.test_docs import blocks

__all__ = ["company_template", "settled", "settled_template", "settled_url"]

PAGE = Path(__file__).parent.parent.parent / "docs" / "notifications.md"
EXAMPLES = {example["type"]: example for example in map(json.loads, blocks(PAGE, "json"))}
RUN = UUID("019c0000-0000-7000-8000-000000000001")
POLICY = default_policy()


def shape(value: Any) -> Any:
    """The keys of objects, at every depth; of a list those of its first item, of anything else nothing."""
    match value:
        case dict():
            return {key: shape(item) for key, item in value.items()}
        case [first, *_]:
            return [shape(first)]
        case _:
            return None


def written() -> Iterator[dict[str, Any]]:
    """A message of each topic but the digest."""
    pin = LapsedPin("A-0012", "high", None, "lee", "so", AS_OF)
    full = a_monday(POLICY)
    plan = type(full)(**{**vars(full), "lapsed_pins": (pin,)})
    yield messages.summary(plan, POLICY, RUN, lambda *_: Names())
    yield messages.blocked(plan, POLICY, RUN, AS_OF + timedelta(days=5))
    yield messages.lapsed(RUN, AS_OF.date(), "so", AS_OF)
    yield messages.skipped(RUN, AS_OF.date(), "so", AS_OF)
    for attempt in (1, 5):
        yield messages.failed(RUN, AS_OF.date(), attempt=attempt, of=5, error="so", failure="bug", at=AS_OF)


def test_every_topic_has_an_example() -> None:
    assert set(EXAMPLES) == set(TOPICS)
    assert all(f"`{topic}`" in PAGE.read_text(encoding="utf-8") for topic in TOPICS)


@pytest.mark.parametrize("row", list(written()), ids=[row["topic"] for row in written()])
def test_an_example_has_the_keys_of_the_message(row: dict[str, Any]) -> None:
    example = EXAMPLES[row["topic"]]["data"]
    assert shape(example) | {"contested": None, "notes": None} == shape(row["payload"]) | {
        "contested": None,
        "notes": None,
    }


def test_the_example_of_a_digest_has_its_keys(settled: Engine) -> None:
    with settled.begin() as connection:
        connection.execute(update(accounts).values(attributes={"champion": "Jo"}))
        owned = "(SELECT account_id FROM coverage WHERE band = '{}' AND owner_id IS NOT NULL ORDER BY 1 LIMIT 3)"
        for change, band in (("arr = 5000000", "high"), ("status = 'churned'", "low")):
            connection.exec_driver_sql(f"UPDATE accounts SET {change} WHERE account_id IN {owned.format(band)}")
    result = pipeline.recompute(settled, POLICY, DEMO_AS_OF + timedelta(hours=1), dry_run=False)
    with settled.connect() as connection:
        mine = outbox.c.run_id == result.run_id, outbox.c.topic == messages.DIGEST
        payloads = connection.execute(select(outbox.c.payload).where(*mine)).scalars().all()
    example = EXAMPLES["csm.digest"]["data"]
    leaves_out = {"arrivals": None, "departures": None}
    assert all(shape(payload) | leaves_out == shape(example) | leaves_out for payload in payloads)
    arrivals = [shape(item) for payload in payloads for item in payload["arrivals"]]
    departures = [shape(item) for payload in payloads for item in payload["departures"]]
    assert arrivals or departures
    told = shape(example["arrivals"][0])
    gone = {key.replace("from_owner", "to_owner"): item for key, item in told.items()}
    assert all(item == told for item in arrivals)
    assert all(item == gone for item in departures)


def test_the_channels_shown_are_settings() -> None:
    (text,) = blocks(PAGE, "toml")
    channels = tomllib.loads(text)["channels"]
    secrets = {"secret": SECRET, "url": "https://hooks.slack.com/services/x", "password": "x"}
    for channel in channels.values():
        for name in [key for key in channel if key.endswith("_file")]:
            del channel[name]
            channel[name.removesuffix("_file")] = secrets[name.removesuffix("_file")]
    assert set(Settings(channels=channels).channels) == {"ops", "chat", "mail"}


def test_the_verifier_shown_accepts_what_is_genuine_and_nothing_else(database: Engine) -> None:
    (source,) = blocks(PAGE, "python")
    shown: dict[str, Any] = {}
    exec(source, shown)  # noqa: S102 - it is our own document
    now = datetime.now(UTC)
    tell(database, at=now)
    with serve() as endpoint:
        deliver(database, settings(ops=webhook(endpoint.url)), now)
    (request,) = endpoint.requests
    is_genuine = shown["is_genuine"]
    assert is_genuine(SECRET, request.headers, request.body)
    assert not is_genuine(SECRET, request.headers, request.body + b" ")
    earlier = str(int(request.headers["webhook-timestamp"]) - 1)
    assert not is_genuine(SECRET, {**request.headers, "webhook-timestamp": earlier}, request.body)
    assert not is_genuine("whsec_" + "A" * 32, request.headers, request.body)
