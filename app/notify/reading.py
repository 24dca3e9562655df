"""Reading a payload, and how what is in it is written for people."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from app.figures import UNKNOWN, counted, day, money, printable, short_money
from app.notify.message import Message

Item = Mapping[str, Any]


class Reader:
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
        """An amount in the policy's currency, an aggregate `short`."""
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


def account(item: Item) -> str:
    """The account's name, if it has one, and its id."""
    name = printable(item.get("name") or "")
    return f"{name} ({item['account_id']})" if name else str(item["account_id"])


def csm(item: Item, key: str) -> str:
    """The name of the CSM whose id is under `key_id`, else the id; nobody is the pool."""
    csm_id = item.get(f"{key}_id")
    return printable(item.get(f"{key}_name") or csm_id or "the pool")


def bands(before: str | None, after: str | None) -> str:
    """From where to where; who comes from nowhere is new, and who goes nowhere has left."""
    return before or "" if before == after else f"{before or 'new'} → {after or 'left'}"


def changes_of(numbers: Item) -> str:
    """How many moves and changes of owner there are, without what there is none of."""
    moves, owners = numbers.get("moves", 0), numbers.get("owner_changes", 0)
    named = (counted(moves, "move") if moves else "", f"{counted(owners, 'change')} of owner" if owners else "")
    return " and ".join(filter(None, named)) or "no change"


def of_slot(read: Reader) -> str:
    """The slot of the run that a message is about, if that has one."""
    slot = read.payload.get("slot")
    return f" of the slot {slot}" if slot else ""


def sentence(text: str) -> str:
    """The text with its first letter capital and a full stop."""
    plain = printable(text).strip()
    return f"{plain[:1].upper()}{plain[1:]}".rstrip(".") + "." if plain else ""
