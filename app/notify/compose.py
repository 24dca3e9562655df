"""What each message says to people, from its payload alone.

A payload may be of an older version: what it does not have is not said.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from app.figures import counted, number, printable
from app.messages import BLOCKED, DIGEST, LAPSED, RUN_FAILED, SKIPPED, SLOT_FAILED, SUMMARY
from app.notify.letter import Letter, Line, Listing
from app.notify.message import Message
from app.notify.reading import Item, Reader, account, bands, changes_of, csm, of_slot, sentence


def compose(message: Message) -> Letter:
    """The message in words."""
    return _COMPOSERS[message.topic](Reader(message))


def _digest(read: Reader) -> Letter:
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
        closing=("Questions go to CS ops, whom `bandshift explain ACCOUNT` tells all about an account.",),
    )


def _handed_over(read: Reader, title: str, items: Sequence[Item], other: str) -> Listing:
    return Listing(
        f"{title}: {len(items)}",
        ("Account", "Band", "Value", "Renewal", "Last contact", other.capitalize()),
        tuple(
            Line(
                (
                    account(item),
                    bands(item.get("from_band"), item.get("to_band")),
                    read.money(item.get("value")),
                    read.day(item.get("renewal_on")),
                    read.day(item.get("last_engaged_at")),
                    csm(item, f"{other}_owner"),
                ),
                tuple(_whys(read, item)),
            )
            for item in items
        ),
    )


def _whys(read: Reader, item: Item) -> Iterator[str]:
    if reason := item.get("reason"):
        yield sentence(reason)
    if owner_reason := item.get("owner_reason"):
        yield sentence(f"Change of owner: {owner_reason}")
    if champion := item.get("champion"):
        yield sentence(_champion(read, champion))


def _champion(read: Reader, champion: Item) -> str:
    name = f": {printable(champion['name'])}" if champion.get("name") else ""
    if not champion.get("event"):
        return f"Champion{name}"
    detail = f" ({printable(champion['detail'])})" if champion.get("detail") else ""
    heard = f"{champion['event'].replace('_', ' ')} on {read.day(champion.get('at'))}{detail}"
    return f"Champion{name}; last heard: {heard}" if name else heard


def _summary(read: Reader) -> Letter:
    numbers = read.payload.get("counts", {})
    told = changes_of(numbers)
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


def _blocked(read: Reader) -> Letter:
    numbers, commands = read.payload.get("counts", {}), read.payload.get("commands", {})
    changes = changes_of(numbers)
    tripped = [guard for guard in read.items("guards") if guard.get("tripped")]
    return Letter(
        subject=f"Approval needed: {counted(len(tripped), 'guard')} stopped {changes}",
        opening=(
            f"The run as of {read.moment('as_of')} would make {changes}.",
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


def _lapsed(read: Reader) -> Letter:
    return Letter(
        subject=f"Lapsed without an answer: run {read.payload['run_id']}",
        opening=(
            f"{sentence(read.payload['why'])} What it wanted to move, the next run looks at afresh.",
            f"Run {read.payload['run_id']}{of_slot(read)}, {read.moment('at')}.",
        ),
    )


def _failed(read: Reader) -> Letter:
    attempt, of = read.payload["attempt"], read.payload["attempts"]
    given_up = read.message.topic == SLOT_FAILED
    again = "It is not tried again by itself." if given_up else "It will be tried again."
    if read.payload.get("slot") is None:
        again = ""
    subject = f"Given up{of_slot(read)}" if given_up else f"A run failed{of_slot(read)}: attempt {attempt} of {of}"
    return Letter(
        subject=subject,
        opening=(
            f"Attempt {attempt} of {of} failed at {read.moment('at')}, and nothing has moved. {again}".rstrip(),
            f"{_KINDS.get(read.payload['failure'], 'What happened')}: {sentence(read.payload['error'])}",
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


def _skipped(read: Reader) -> Letter:
    slot = read.payload.get("slot")
    return Letter(
        subject=f"Skipped: the run of {slot}",
        opening=(f"The slot of {slot} was passed over: {sentence(read.payload['why'])}",),
        commands=(f"bandshift recompute --slot {slot}",),
        closing=("This command runs it all the same.",),
    )


_COMPOSERS: Mapping[str, Callable[[Reader], Letter]] = {
    DIGEST: _digest,
    SUMMARY: _summary,
    BLOCKED: _blocked,
    LAPSED: _lapsed,
    RUN_FAILED: _failed,
    SLOT_FAILED: _failed,
    SKIPPED: _skipped,
}


def _flows(read: Reader) -> Listing:
    lines = (
        Line(
            (
                bands(item["from"], item["to"]),
                number(item["accounts"]),
                read.money(item["value"], short=True),
            )
        )
        for item in read.items("flows")
    )
    return Listing("From band to band", ("Bands", "Accounts", "Value"), tuple(lines))


def _rules(read: Reader) -> Listing:
    lines = (
        Line((f"{item['rule']} ({item['move']})", number(item["accounts"]), read.money(item["value"], short=True)))
        for item in read.items("rules")
    )
    return Listing("By rule", ("Rule", "Accounts", "Value"), tuple(lines))


def _to_decide(read: Reader, title: str, key: str) -> Listing:
    return _cut(
        read, key, title, ("Account", "Band", "Owner", "Value"),
        (
            Line(
                (account(item), item.get("band") or "", csm(item, "owner"), read.money(item.get("value"))),
                (sentence(item["reason"]),),
            )
            for item in read.items(key)
        ),
    )  # fmt: skip


def _waitlist(read: Reader) -> Listing:
    lines = (
        Line((account(item), item["band"], counted(item["days"], "day"), read.money(item.get("value"))))
        for item in read.items("waitlist")
    )
    return _cut(read, "waitlist", "Waiting for a CSM", ("Account", "Band", "For", "Value"), lines)


def _lapsed_pins(read: Reader) -> Listing:
    lines = (
        Line(
            (
                account(item),
                " and ".join(filter(None, (item["band"], csm(item, "owner") if item["owner_id"] else ""))),
                read.day(item["expires_at"]),
            ),
            (sentence(f"{item['pinned_by']}: {item['reason']}"),),
        )
        for item in read.items("lapsed_pins")
    )
    return _cut(read, "lapsed_pins", "Pins that have lapsed", ("Account", "Pinned to", "Until"), lines)


def _notes(read: Reader) -> Listing:
    return Listing("To know", ("",), tuple(Line((sentence(note),)) for note in read.payload.get("notes", ())))


def _cut(read: Reader, key: str, title: str, columns: tuple[str, ...], lines: Iterable[Line]) -> Listing:
    shown = tuple(lines)
    total = read.total(key)
    return Listing(f"{title}: {number(total)}", columns, shown, left_out=total - len(shown))
