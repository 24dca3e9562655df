"""A message for Slack, or for what takes the same incoming webhooks: blocks, and the same as one text for the others.

Slack takes 50 blocks of 3,000 characters; what does not fit is counted instead. Only `&`, `<` and `>` mean anything to
it in a text that is verbatim, so that no name can call the whole channel.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from app.figures import printable
from app.notify.compose import compose
from app.notify.http import post
from app.notify.letter import Letter, Line, Listing
from app.notify.message import Message
from app.settings import Slack

_MOST_BLOCKS = 50
_LONGEST_HEADER = 150
_LONGEST_SECTION = 2900
_LONGEST_LINE = 1400


class SlackSender:
    """Posts messages to an incoming webhook."""

    def __init__(self, channel: Slack) -> None:
        self._channel = channel

    def send(self, message: Message, at: datetime) -> None:
        """The channel has the message. Raises `Undelivered`."""
        channel = self._channel
        content = json.dumps(render(compose(message), message.message_id), ensure_ascii=False).encode()
        post(channel.url, content, {}, at, timeout_s=channel.timeout_s, allow_private=channel.allow_private)


def render(letter: Letter, message_id: str) -> dict[str, Any]:
    """What is posted; the id in its last line tells one that came twice."""
    header = {
        "type": "header",
        "text": {"type": "plain_text", "text": _cut(printable(letter.subject), _LONGEST_HEADER)},
    }
    footer = {"type": "context", "elements": [_mrkdwn(_escaped(message_id))]}
    texts = list(_texts(letter))
    room = _MOST_BLOCKS - 2
    if len(texts) > room:
        texts = [*texts[: room - 1], "_The rest did not fit in here._"]
    sections = [{"type": "section", "text": _mrkdwn(text)} for text in texts]
    short = _cut("\n".join([f"*{_escaped(letter.subject)}*", *map(_escaped, letter.opening)]), _LONGEST_SECTION)
    return {"text": short, "blocks": [header, *sections, footer]}


def _texts(letter: Letter) -> Iterator[str]:
    yield from _packed(map(_escaped, letter.opening))
    for listing in letter.listings:
        yield from _packed(_listed(listing))
    if letter.commands:
        yield from _packed(f"`{_escaped(command)}`" for command in letter.commands)
    yield from _packed(map(_escaped, letter.closing))


def _listed(listing: Listing) -> Iterator[str]:
    yield f"*{_escaped(listing.title)}*"
    for line in listing.lines:
        yield _cut(_line(listing.columns, line), _LONGEST_LINE)
    if listing.left_out:
        yield f"_and {listing.left_out:,} more_"


def _line(columns: tuple[str, ...], line: Line) -> str:
    first, *others = line.cells
    named = (f"{column.lower()} {cell}" for column, cell in zip(columns[1:], others, strict=True))
    cells = " · ".join(_escaped(cell) for cell in (first, *named))
    return "\n".join([f"• {cells}", *(f"      {_escaped(note)}" for note in line.notes)])


def _packed(lines: Iterable[str]) -> Iterator[str]:
    """The lines in as few sections as they fit in."""
    held: list[str] = []
    for line in lines:
        if held and sum(map(len, held)) + len(held) + len(line) > _LONGEST_SECTION:
            yield "\n".join(held)
            held = []
        held.append(_cut(line, _LONGEST_SECTION))
    if held:
        yield "\n".join(held)


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _escaped(text: str) -> str:
    return printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"
