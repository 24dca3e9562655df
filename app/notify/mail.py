"""A message as a mail: plain text and HTML that say the same, for readers of either kind.

The HTML holds its styles, loads nothing from anywhere, and escapes every text it is given.
"""

import re
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape
from io import StringIO

from app.figures import printable
from app.notify.letter import Letter, Line, Listing
from app.notify.message import Message
from app.report.page import Column, Page, Row

_SPEC = r"[^\s@<>,;:\"()\[\]\\]+@[^\s@<>,;:\"()\[\]\\]+"
_ADDRESS = re.compile(rf"(?P<bare>{_SPEC})|(?P<name>[^<>\r\n]*)<(?P<spec>{_SPEC})>")
_LONGEST_SUBJECT = 200
_WIDTH = 96
_RIGHT = frozenset({"Value", "Accounts", "For"})
"""The columns of figures."""


def write_mail(
    message: Message, letter: Letter, sender: Address, to: tuple[Address, ...], at: datetime
) -> EmailMessage:
    """The mail. Its Message-ID is the message's id, the same at every attempt."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = sender
    mail["To"] = to
    mail["Subject"] = printable(letter.subject)[:_LONGEST_SUBJECT]
    mail["Date"] = format_datetime(at.astimezone(UTC))
    mail["Message-ID"] = f"<{message.message_id}@{sender.domain}>"
    mail["Auto-Submitted"] = "auto-generated"  # no out-of-office replies
    mail["X-Bandshift-Message"] = message.message_id
    mail["X-Bandshift-Topic"] = message.topic
    mail.set_content(plain(letter))
    mail.add_alternative(html(letter), subtype="html")
    return mail


def address(text: str, name: str | None = None) -> Address:
    """The one address in `text`, which may hold a name of its own: CS ops <ops@example.com>. Else ValueError."""
    found = _ADDRESS.fullmatch(text.strip())
    if found is None:
        raise ValueError("not an e-mail address")
    own_name = (found["name"] or "").strip().strip('"')
    return Address(display_name=printable(name or own_name), addr_spec=found["spec"] or found["bare"])


def plain(letter: Letter) -> str:
    """The letter as text in aligned columns; no id and no command is ever cut."""
    out = StringIO()
    page = Page(out, width=_WIDTH)
    for paragraph in letter.opening:
        page.paragraph(paragraph)
    for listing in letter.listings:
        page.heading(listing.title)
        columns = [Column(title, right=title in _RIGHT) for title in listing.columns]
        page.table(columns, [Row(line.cells, note=" ".join(line.notes)) for line in listing.lines])
        if listing.left_out:
            page.line(f"  and {listing.left_out:,} more")
    if letter.commands or letter.closing:
        page.line()
    for command in letter.commands:
        page.line(f"    {command}")
    for paragraph in letter.closing:
        page.paragraph(paragraph)
    return out.getvalue()


def html(letter: Letter) -> str:
    """The letter as a page of its own."""
    body = "".join(
        [
            f"<h1 {_H1}>{_text(letter.subject)}</h1>",
            *(f"<p {_P}>{_text(paragraph)}</p>" for paragraph in letter.opening),
            *map(_listing, letter.listings),
            *(f"<pre {_PRE}>{_text(command)}</pre>" for command in letter.commands),
            *(f"<p {_SMALL}>{_text(paragraph)}</p>" for paragraph in letter.closing),
        ]
    )
    head = f'<meta charset="utf-8"><meta name="viewport" {_VIEWPORT}><title>{_text(letter.subject)}</title>'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head><body {_BODY}><div {_SHEET}>{body}</div></body></html>\n'
    )


_VIEWPORT = 'content="width=device-width, initial-scale=1"'
_FONT = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
_BODY = f'style="margin:0;padding:24px 12px;background:#f4f5f7;color:#1f2328;{_FONT};font-size:15px;line-height:1.5"'
_SHEET = (
    'style="max-width:760px;margin:0 auto;padding:24px 28px;background:#ffffff;border:1px solid #d9dce1;'
    'border-radius:6px"'
)
_H1 = 'style="margin:0 0 16px;font-size:20px;line-height:1.3"'
_H2 = 'style="margin:28px 0 8px;font-size:16px;line-height:1.3"'
_P = 'style="margin:0 0 10px"'
_SMALL = 'style="margin:16px 0 0;font-size:13px;color:#59636e"'
_PRE = (
    'style="margin:12px 0 0;padding:10px 12px;background:#f4f5f7;border-radius:4px;font-size:13px;'
    'white-space:pre-wrap;overflow-wrap:anywhere"'
)
_TABLE = (
    'role="presentation" cellspacing="0" cellpadding="0" style="width:100%;border-collapse:collapse;font-size:14px"'
)


def _listing(listing: Listing) -> str:
    sides = ["right" if title in _RIGHT else "left" for title in listing.columns]
    titles = "".join(
        f'<th align="{side}" style="padding:4px 10px 4px 0;font-weight:600;color:#59636e;font-size:12px">'
        f"{_text(title)}</th>"
        for title, side in zip(listing.columns, sides, strict=True)
    )
    header = f"<tr>{titles}</tr>" if any(listing.columns) else ""
    rows = "".join(_row(line, sides) for line in listing.lines)
    more = f"<p {_SMALL}>and {listing.left_out:,} more</p>" if listing.left_out else ""
    return f"<h2 {_H2}>{_text(listing.title)}</h2><table {_TABLE}>{header}{rows}</table>{more}"


def _row(line: Line, sides: list[str]) -> str:
    """A row of cells and, beneath it and as wide as all of them, a row of what there is to say."""
    cells = "".join(
        f'<td align="{side}" valign="top" style="padding:7px 10px 2px 0;border-top:1px solid #e6e8eb;'
        f'font-weight:{600 if position == 0 else 400}">{_text(cell)}</td>'
        for position, (cell, side) in enumerate(zip(line.cells, sides, strict=True))
    )
    notes = "<br>".join(map(_text, line.notes))
    beneath = (
        f'<tr><td colspan="{len(sides)}" style="padding:0 10px 8px 0;color:#59636e;font-size:13px">{notes}</td></tr>'
    )
    return f"<tr>{cells}</tr>" + (beneath if notes else "")


def _text(text: str) -> str:
    return escape(printable(text))
