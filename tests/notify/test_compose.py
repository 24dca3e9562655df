"""What messages say, of real runs and of hand-made plans."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, Text, any_, cast, literal, select, update

from app import messages, pipeline
from app.demo import DEMO_AS_OF
from app.messages import TOPICS
from app.notify.compose import compose
from app.notify.letter import Letter
from app.notify.mail import html, plain
from app.notify.message import Message
from app.notify.slack import render
from app.plan import LapsedPin, Verdict
from app.policy.read import default_policy
from app.report.names import Names
from app.tables import accounts, csms, outbox
from tests.company import company_template, settled, settled_template, settled_url
from tests.notify.told import NOW
from tests.plans import AS_OF, a_monday
from tests.small_company import add_pin

__all__ = ["company_template", "settled", "settled_template", "settled_url"]

RUN = UUID("019c0000-0000-7000-8000-000000000001")
POLICY = default_policy()


def letter(row: dict[str, Any]) -> Letter:
    return compose(Message(row["message_id"], row["topic"], row["created_at"], json.dumps(row["payload"])))


def said(row: dict[str, Any]) -> str:
    """The whole of the message's text, its words separated by one space each."""
    written = letter(row)
    return " ".join(f"{written.subject}\n{plain(written)}".split())


def test_every_message_of_a_real_run_can_be_read_in_every_form(settled: Engine) -> None:
    statement = select(
        outbox.c.message_id, outbox.c.topic, outbox.c.created_at, cast(outbox.c.payload, Text), outbox.c.recipient
    )
    with settled.connect() as connection:
        told = [Message(*row) for row in connection.execute(statement)]
    assert {message.topic for message in told} == {"csm.digest", "run.summary"}
    for message in told:
        written = compose(message)
        assert "None" not in plain(written)
        assert "None" not in html(written)
        assert len(render(written, message.message_id)["blocks"]) <= 50
        for item in (*message.payload.get("arrivals", ()), *message.payload.get("departures", ())):
            assert item["account_id"] in plain(written)
            assert str(item["name"]) in plain(written)


def test_a_digest_says_who_the_champion_is_and_who_had_the_account(settled: Engine) -> None:
    """A pin gives an account to somebody else; what is known of it is what they are told."""
    with settled.begin() as connection:
        account_id, owner = connection.exec_driver_sql(
            "SELECT account_id, owner_id FROM coverage WHERE band = 'low' AND owner_id IS NOT NULL ORDER BY 1 LIMIT 1"
        ).one()
        connection.execute(update(csms).where(csms.c.csm_id == owner).values(name="Old Owner"))
        other = select(csms.c.csm_id).where(csms.c.csm_id != owner, csms.c.active, literal("low") == any_(csms.c.bands))
        new = connection.execute(other.order_by(csms.c.csm_id).limit(1)).scalar_one()
        add_pin(connection, account_id, owner_id=new, pinned_at=DEMO_AS_OF, expires_at=DEMO_AS_OF + timedelta(days=30))
        known = {"attributes": {"champion": "Jo Doe"}, "name": "Acme", "renewal_on": "2027-01-31"}
        connection.execute(update(accounts).where(accounts.c.account_id == account_id).values(known))
        connection.exec_driver_sql(
            "INSERT INTO account_signals (account_id, signal_id, kind, occurred_at, detail) VALUES"
            " (%(id)s, 'a', 'champion_joined', %(at)s, 'as CFO'), (%(id)s, 'b', 'meeting', %(later)s, NULL),"
            " (%(id)s, 'c', 'champion_left', %(future)s, 'not yet')",
            {
                "id": account_id,
                "at": DEMO_AS_OF - timedelta(days=2),
                "later": DEMO_AS_OF - timedelta(days=1),
                "future": DEMO_AS_OF + timedelta(days=30),
            },
        )
    result = pipeline.recompute(settled, POLICY, DEMO_AS_OF + timedelta(hours=1), dry_run=False)
    with settled.connect() as connection:
        payloads = connection.execute(
            select(outbox.c.payload).where(outbox.c.run_id == result.run_id, outbox.c.topic == "csm.digest")
        ).scalars()
        (item,) = [item for payload in payloads for item in payload["arrivals"] if item["account_id"] == account_id]
    assert item["champion"] == {
        "name": "Jo Doe",
        "event": "champion_joined",
        "at": (DEMO_AS_OF - timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "detail": "as CFO",
    }
    assert (item["name"], item["renewal_on"]) == ("Acme", "2027-01-31")
    assert (item["from_owner_id"], item["from_owner_name"]) == (owner, "Old Owner")
    digest = {"csm_name": "New Owner", "arrivals": [item], "departures": [], "currency": "USD"}
    row = {"message_id": "msg_1", "topic": "csm.digest", "created_at": NOW, "payload": digest}
    told = said(row)
    for words in ("Acme (", "Old Owner", "2027-01-31", "Champion: Jo Doe; last heard: champion joined on", "(as CFO)"):
        assert words in told


def test_a_summary_says_who_waits_and_what_a_person_has_to_decide() -> None:
    pin = LapsedPin("A-0012", None, "C-9", "lee", "a favour", AS_OF)
    names = Names({"A-0010": "Quiet Ltd", "A-0004": "Small Ltd"}, {"C-1": "Ann"})
    plan = a_monday(POLICY)
    told = said(messages.summary(type(plan)(**{**vars(plan), "lapsed_pins": (pin,)}), POLICY, RUN, lambda *_: names))
    for words in (
        "8 moves and 4 changes of owner among 2,000 active accounts",
        "2 accounts for a person to decide, 1 account waiting for a CSM, 1 pending",
        "Quiet Ltd (A-0010)",
        "Ann",
        "For review, would be demoted from high to low: nobody has engaged for 95 days",
        "Contested, stays in low: rule expansion says up because",
        "Small Ltd (A-0004) low 21 days $8,000",
        "high → left",
        "new → tech",
        "A-0012 C-9 2026-03-02 Lee: a favour.",
        "The pin of A-0012 to C-9 counts for nothing",
    ):
        assert words in told, words


def test_a_blocked_run_asks_for_an_answer_and_says_how_to_give_it() -> None:
    plan = a_monday(POLICY)
    tripped = Verdict(
        "moved_accounts", plan.verdicts[0].actual, plan.verdicts[0].limit, "accounts", True, "8 move, 2 may."
    )
    plan = type(plan)(**{**vars(plan), "verdicts": (tripped, plan.verdicts[1])})
    row = messages.blocked(plan, POLICY, RUN, AS_OF + timedelta(days=5))
    assert row["payload"]["plan_sha256"] == plan.sha256
    assert letter(row).commands == (
        f"bandshift approve {RUN} --plan-sha {plan.sha256} --by WHO",
        f"bandshift reject {RUN} --by WHO",
    )
    told = said(row)
    assert "Approval needed: 1 guard stopped 8 moves and 4 changes of owner" in told
    assert "moved_accounts 8 move, 2 may." in told
    assert "csm_book" not in told
    assert "2026-03-07 06:00 (UTC)" in told


def test_a_failed_attempt_and_a_slot_given_up_are_different_messages() -> None:
    fields: dict[str, Any] = {"error": "DiskFull (53100): no space", "failure": "transient", "at": AS_OF}
    first = messages.failed(RUN, AS_OF.date(), attempt=1, of=5, **fields)
    last = messages.failed(RUN, AS_OF.date(), attempt=5, of=5, **fields)
    by_hand = messages.failed(RUN, None, attempt=1, of=1, **fields)
    assert [row["topic"] for row in (first, last, by_hand)] == ["run.failed", "slot.failed", "run.failed"]
    assert "A run failed of the slot 2026-03-02: attempt 1 of 5" in said(first)
    assert "It will be tried again." in said(first)
    assert "It is not tried again by itself." in said(last)
    assert "bandshift recompute --slot 2026-03-02" in said(last)
    assert "tried again" not in said(by_hand)
    assert all("DiskFull (53100): no space." in said(row) for row in (first, last, by_hand))


def test_a_skipped_slot_and_a_lapsed_run_say_why() -> None:
    skipped = messages.skipped(RUN, AS_OF.date(), "it was 130 hours late", AS_OF)
    assert "The slot of 2026-03-02 was passed over: It was 130 hours late." in said(skipped)
    lapsed = messages.lapsed(RUN, AS_OF.date(), "nobody answered within 120 hours", AS_OF)
    assert "Nobody answered within 120 hours. What it wanted to move, the next run looks at afresh." in said(lapsed)
    assert "of the slot 2026-03-02" in said(lapsed)


def test_ids_of_messages_differ_by_run_topic_and_recipient_and_are_stable() -> None:
    ids = {messages.message_id(RUN, topic, who) for topic in TOPICS for who in (None, "ann", "bob")}
    assert len(ids) == 3 * len(TOPICS)
    assert messages.message_id(RUN, "run.summary", None) == "msg_532037536c5d83ad1500923990d84ce1"


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("csm.digest", {"csm_id": "ann", "run_id": str(RUN), "as_of": "2026-03-02T06:00:00+00:00",
            "arrivals": [{"account_id": "A-1", "from_band": "low", "to_band": "high", "value": 9000.0, "reason": None,
                "why": "waitlist", "owner_reason": "there is room", "from_owner_id": None}], "departures": []}),
        ("run.summary", {"run_id": str(RUN), "as_of": "2026-03-02T06:00:00+00:00",
            "policy": {"name": "p", "sha256": ""},
            "counts": {"moves": 1, "accounts": 9}, "flows": [{"from": None, "to": "low", "accounts": 1, "value": 2.5}],
            "guards": [], "notes": []}),
    ],
)  # fmt: skip
def test_messages_of_the_version_before_can_still_be_sent(topic: str, payload: dict[str, Any]) -> None:
    row = {"message_id": "msg_1", "topic": topic, "created_at": NOW, "payload": payload}
    assert "2026-03-02" in said(row)


def test_html_escapes_everything_and_loads_nothing() -> None:
    evil = "<img src=x onerror=alert(1)>&\"'"
    written = Letter(evil, (evil,), (), (evil,), (evil,))
    page = html(written)
    assert "<img" not in page
    assert "http" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;&amp;&quot;&#x27;") == 5
