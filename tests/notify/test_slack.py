"""What is posted to Slack: within its limits, calling nobody, and recognisable if it comes twice."""

import json
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Engine

from app.notify.letter import Letter, Line, Listing
from app.notify.slack import render
from app.settings import Slack
from tests.notify.endpoints import answer, serve
from tests.notify.told import LATER, NOW, deliver, has_ended, settings, stands, tell


def texts(posted: dict[str, Any]) -> list[str]:
    """The text of every block."""
    return [
        element["text"] if block["type"] == "context" else block["text"]["text"]
        for block in posted["blocks"]
        for element in (block["elements"] if block["type"] == "context" else [block])
    ]


def test_the_channel_gets_blocks_and_the_same_as_text(database: Engine) -> None:
    message = tell(database)
    with serve() as endpoint:
        deliver(database, settings(chat=Slack(type="slack", url=SecretStr(endpoint.url), allow_private=True)))
    posted = json.loads(endpoint.requests[0].body)
    assert texts(posted) == [
        "Skipped: the run of 2026-03-02",
        "The slot of 2026-03-02 was passed over: It was 130 hours late, and 120 are allowed.",
        "`bandshift recompute --slot 2026-03-02`",
        "This command runs it all the same.",
        message,
    ]
    assert posted["text"].startswith("*Skipped: the run of 2026-03-02*\nThe slot of")
    assert "webhook-signature" not in endpoint.requests[0].headers


def test_what_slack_says_is_wrong_is_kept_and_it_is_sent_again(database: Engine) -> None:
    message = tell(database)
    with serve(answer(404, b"no_service"), answer(200)) as endpoint:
        to = settings(chat=Slack(type="slack", url=SecretStr(endpoint.url), allow_private=True))
        deliver(database, to)
        assert stands(database) == {"chat": ("waiting", 1, "HTTP 404 Not Found: no_service")}
        deliver(database, to, NOW + LATER)
    assert has_ended(database, message)
    assert endpoint.requests[0].body == endpoint.requests[1].body


def test_names_call_nobody_and_break_no_line() -> None:
    name = "<!channel> & <@U123>\n*Acme*\u202e"
    posted = render(Letter(name, (name,), (Listing("L", ("A",), (Line((name,), (name,)),)),)), "msg_1")
    marked = [*texts(posted)[1:], posted["text"]]
    assert all("<" not in text and ">" not in text and "\u202e" not in text for text in marked)
    assert "&lt;!channel&gt; &amp; &lt;@U123&gt; *Acme*?" in marked[0]
    assert all(block["text"]["verbatim"] for block in posted["blocks"] if block["type"] == "section")
    assert "\n" not in texts(posted)[0]


def test_a_long_letter_stays_within_what_slack_takes() -> None:
    lines = tuple(Line((f"account {number}", "x" * 300), ("because " * 300,)) for number in range(400))
    letter = Letter("s" * 400, ("o" * 9000,), (Listing("All", ("A", "B"), lines, left_out=7),), ("c" * 5000,))
    posted = render(letter, "msg_1")
    assert len(posted["blocks"]) == 50
    assert all(len(text) <= 3000 for text in texts(posted))
    assert len(texts(posted)[0]) <= 150
    assert texts(posted)[-2:] == ["_The rest did not fit in here._", "msg_1"]
    assert len(posted["text"]) <= 3000
