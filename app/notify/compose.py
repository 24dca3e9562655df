"""What each message says to people, from its payload alone.

A payload may be of an older version: what it does not have is not said.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from app.figures import UNKNOWN, counted, day, money, number, printable, short_money
from app.messages import BLOCKED, DIGEST, LAPSED, RUN_FAILED, SKIPPED, SLOT_FAILED, SUMMARY
from app.notify.letter import Letter, Line, Listing
from app.notify.message import Message

Item = Mapping[str, Any]


def compose(message: Message) -> Letter:
    """The message in words."""
    return _COMPOSERS[message.topic](_Reader(message))


class _Reader:
    """A payload, and how its figures and instants are written."""

    def __init__(self, message: Message) -> None:
        self.message, self.payload = message, message.payload
        self._zone = ZoneInfo(self.payload.get("time_zone") or "UTC")

    def items(self, key: str) -> Sequence[Item]:
        """The items of a list; of one that is cut, those that are there."""
        found = self.payload.get(key) or ()
        return found.get("shown", ()) if isinstance(found, Mapping) else found

    def total(self, key: str) -> int:
        """How many items the whole list has."""
        found = self.payload.get(key) or ()
        return int(found["total"]) if isinstance(found, Mapping) else len(found)

    def money(self, value: Any, *, short: bool = False) -> str:
        if value is None:
            return UNKNOWN
        return (short_money if short else money)(Decimal(value), self.payload.get("currency") or "")

    def moment(self, key: str) -> str:
        """Date and time in the policy's zone."""
        at = self.payload.get(key)
        if not at:
            return UNKNOWN
        local = datetime.fromisoformat(at).astimezone(self._zone)
        return f"{local:%Y-%m-%d %H:%M} ({self._zone.key})"

    def day(self, at: str | None) -> str:
        """The date of an instant in the policy's zone, or a date as it is."""
        if not at:
            return UNKNOWN
        return day(datetime.fromisoformat(at).astimezone(self._zone)) if "T" in at else at


def _digest(read: _Reader) -> Letter:
    arrivals, departures = read.items("arrivals"), read.items("departures")
    changes = " and ".join(
        f"{counted(len(items), 'account')} {verb if len(items) == 1 else verb.removesuffix('s')}"
        for items, verb in ((arrivals, "arrives"), (departures, "leaves"))
        if items
    )
    name = printable(read.payload.get("csm_name") or read.message.recipient_name or "")
    return Letter(
        subject=f"Your book: {changes or 'no change'}",
        opening=(
            f"Hello {name}," if name else "Hello,",
            f"as of {read.day(read.payload.get('as_of'))} your book changes: {changes or 'no account'}.",
        ),
        listings=tuple(
            _handed_over(read, title, items, other)
            for title, items, other in (("Arriving", arrivals, "from"), ("Leaving", departures, "to"))
            if items
        ),
        closing=("`bandshift explain ACCOUNT` says all about an account's band and owner.",),
    )


def _handed_over(read: _Reader, title: str, items: Sequence[Item], other: str) -> Listing:
    return Listing(
        f"{title}: {len(items)}",
        ("Account", "Band", "Value", "Renewal", "Last contact", other.capitalize()),
        tuple(
            Line(
                (
                    _account(item),
                    _bands(item),
                    read.money(item.get("value")),
                    read.day(item.get("renewal_on")),
                    read.day(item.get("last_engaged_at")),
                    _csm(item, f"{other}_owner"),
                ),
                tuple(_whys(read, item)),
            )
            for item in items
        ),
    )


def _whys(read: _Reader, item: Item) -> Iterator[str]:
    if reason := item.get("reason"):
        yield _sentence(reason)
    if owner_reason := item.get("owner_reason"):
        yield _sentence(f"Change of owner: {owner_reason}")
    if champion := item.get("champion"):
        yield _sentence(_champion(read, champion))


def _champion(read: _Reader, champion: Item) -> str:
    name = f": {printable(champion['name'])}" if champion.get("name") else ""
    if not champion.get("event"):
        return f"Champion{name}"
    detail = f" ({printable(champion['detail'])})" if champion.get("detail") else ""
    heard = f"{champion['event'].replace('_', ' ')} on {read.day(champion.get('at'))}{detail}"
    return f"Champion{name}; last heard: {heard}" if name else f"Champion: {heard}"


def _summary(read: _Reader) -> Letter:
    numbers = read.payload.get("counts", {})
    moves, owners = numbers.get("moves", 0), numbers.get("owner_changes", 0)
    told = f"{_moved(moves)}, {counted(owners, 'change')} of owner"
    to_decide = read.total("reviews") + read.total("contested")
    waits = read.total("waitlist")
    asks = [
        f"{counted(to_decide, 'account')} for a person to decide" if to_decide else "",
        f"{counted(waits, 'account')} waiting for a CSM" if waits else "",
        f"{number(numbers.get('pending', 0))} pending" if numbers.get("pending") else "",
    ]
    noted = ", ".join(filter(None, asks))
    return Letter(
        subject=f"Run of {read.day(read.payload.get('as_of'))}: {told}",
        opening=(
            f"The run as of {read.moment('as_of')} has taken effect: {told} among"
            f" {counted(numbers.get('accounts', 0), 'active account')}" + (f"; {noted}." if noted else "."),
        ),
        listings=tuple(
            listing
            for listing in (
                _flows(read),
                _rules(read),
                _to_decide(read, "For review: a rule asks for a move that is protected", "reviews"),
                _to_decide(read, "Contested: one rule says up and another down", "contested"),
                _waitlist(read),
                _lapsed_pins(read),
                _notes(read),
            )
            if listing.lines
        ),
        closing=(f"Run {read.payload.get('run_id')}. `bandshift history` tells every change.",),
    )


def _blocked(read: _Reader) -> Letter:
    numbers, commands = read.payload.get("counts", {}), read.payload.get("commands", {})
    moves = counted(numbers.get("moves", 0), "move")
    owners = counted(numbers.get("owner_changes", 0), "change")
    tripped = [guard for guard in read.items("guards") if guard.get("tripped")]
    return Letter(
        subject=f"Approval needed: {counted(len(tripped), 'guard')} stopped {moves}",
        opening=(
            f"The run as of {read.moment('as_of')} would make {moves} and {owners} of owner.",
            f"It was stopped, and nothing has moved. It can be approved until {read.moment('lapses_at')}.",
        ),
        listings=tuple(
            listing
            for listing in (
                Listing(
                    "What stopped it", ("Guard",), tuple(Line((one["guard"],), (one["detail"],)) for one in tripped)
                ),
                _flows(read),
                _rules(read),
                _notes(read),
            )
            if listing.lines
        ),
        commands=tuple(commands[key] for key in ("approve", "reject") if key in commands),
        closing=("Add --dry-run to see what would be done now.",),
    )


def _lapsed(read: _Reader) -> Letter:
    return Letter(
        subject=f"Lapsed without an answer: run {read.payload['run_id']}",
        opening=(
            f"{_sentence(read.payload['why'])} What it wanted to move, the next run looks at afresh.",
            f"Run {read.payload['run_id']}{_of_slot(read)}, {read.moment('at')}.",
        ),
    )


def _failed(read: _Reader) -> Letter:
    attempt, of = read.payload["attempt"], read.payload["attempts"]
    given_up = read.message.topic == SLOT_FAILED
    again = "It is not tried again by itself." if given_up else "It will be tried again."
    if read.payload.get("slot") is None:
        again = ""
    subject = f"Given up{_of_slot(read)}" if given_up else f"A run failed{_of_slot(read)}: attempt {attempt} of {of}"
    return Letter(
        subject=subject,
        opening=(
            f"Attempt {attempt} of {of} failed at {read.moment('at')}, and nothing has moved. {again}".rstrip(),
            f"{_KINDS.get(read.payload['failure'], 'What happened')}: {_sentence(read.payload['error'])}",
            f"Run {read.payload['run_id']}.",
        ),
        commands=(f"bandshift recompute --slot {read.payload['slot']}",) if given_up else (),
        closing=("When its cause is removed, this command runs the slot.",) if given_up else (),
    )


_KINDS = {
    "transient": "Something passing, of the database or the network",
    "mistake": "A mistake in what bandshift was given",
    "bug": "A bug of bandshift, to be reported",
}


def _skipped(read: _Reader) -> Letter:
    slot = read.payload.get("slot")
    return Letter(
        subject=f"Skipped: the run of {slot}",
        opening=(f"The slot of {slot} was passed over: {_sentence(read.payload['why'])}",),
        commands=(f"bandshift recompute --slot {slot}",),
        closing=("This command runs it all the same.",),
    )


_COMPOSERS: Mapping[str, Callable[[_Reader], Letter]] = {
    DIGEST: _digest,
    SUMMARY: _summary,
    BLOCKED: _blocked,
    LAPSED: _lapsed,
    RUN_FAILED: _failed,
    SLOT_FAILED: _failed,
    SKIPPED: _skipped,
}


def _flows(read: _Reader) -> Listing:
    lines = (
        Line(
            (
                f"{_band(item['from'])} → {_band(item['to'])}",
                number(item["accounts"]),
                read.money(item["value"], short=True),
            )
        )
        for item in read.items("flows")
    )
    return Listing("From band to band", ("Bands", "Accounts", "Value"), tuple(lines))


def _rules(read: _Reader) -> Listing:
    lines = (
        Line((f"{item['rule']} ({item['move']})", number(item["accounts"]), read.money(item["value"], short=True)))
        for item in read.items("rules")
    )
    return Listing("By rule", ("Rule", "Accounts", "Value"), tuple(lines))


def _to_decide(read: _Reader, title: str, key: str) -> Listing:
    return _cut(
        read, key, title, ("Account", "Band", "Owner", "Value"),
        (
            Line(
                (_account(item), item.get("band") or "", item.get("owner_id") or "none", read.money(item.get("value"))),
                (_sentence(item["reason"]),),
            )
            for item in read.items(key)
        ),
    )  # fmt: skip


def _waitlist(read: _Reader) -> Listing:
    lines = (
        Line((_account(item), item["band"], counted(item["days"], "day"), read.money(item.get("value"))))
        for item in read.items("waitlist")
    )
    return _cut(read, "waitlist", "Waiting for a CSM", ("Account", "Band", "For", "Value"), lines)


def _lapsed_pins(read: _Reader) -> Listing:
    lines = (
        Line(
            (
                _account(item),
                " and ".join(filter(None, (item["band"], item["owner_id"]))),
                read.day(item["expires_at"]),
            ),
            (_sentence(f"{item['pinned_by']}: {item['reason']}"),),
        )
        for item in read.items("lapsed_pins")
    )
    return _cut(read, "lapsed_pins", "Pins that have lapsed", ("Account", "Pinned to", "Until"), lines)


def _notes(read: _Reader) -> Listing:
    return Listing("To know", ("",), tuple(Line((_sentence(note),)) for note in read.payload.get("notes", ())))


def _cut(read: _Reader, key: str, title: str, columns: tuple[str, ...], lines: Iterable[Line]) -> Listing:
    shown = tuple(lines)
    total = read.total(key)
    return Listing(f"{title}: {number(total)}", columns, shown, left_out=total - len(shown))


def _account(item: Item) -> str:
    name = printable(item.get("name") or "")
    return f"{name} ({item['account_id']})" if name else str(item["account_id"])


def _csm(item: Item, key: str) -> str:
    csm_id = item.get(f"{key}_id")
    return printable(item.get(f"{key}_name") or csm_id or "the pool")


def _bands(item: Item) -> str:
    before, after = item.get("from_band"), item.get("to_band")
    return _band(after) if before == after else f"{_band(before)} → {_band(after)}"


def _band(name: str | None) -> str:
    return name or "none"


def _moved(count: int) -> str:
    return counted(count, "move")


def _of_slot(read: _Reader) -> str:
    slot = read.payload.get("slot")
    return f" of the slot {slot}" if slot else ""


def _sentence(text: str) -> str:
    """The text with its first letter capital and a full stop."""
    plain = printable(text).strip()
    return f"{plain[:1].upper()}{plain[1:]}".rstrip(".") + "." if plain else ""
