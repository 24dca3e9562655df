"""A plan: everything one run would do, as an immutable, ordered value with a hash. Pure."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal

from msgspec import Struct
from msgspec.json import Encoder

Outcome = Literal["move", "pending", "review", "contested", "state"]

_encode = Encoder().encode


class Decision(Struct, frozen=True):
    """What the rules say for one account that changes, or that somebody should know of.

    `move` says what happens (or, for a pending or review decision, would happen) and is a word of
    `band_history.move`; `from_band` is None for an account that enters, `to_band` None for one that leaves. `rule`
    decided; of a contested account it is the graduation, and `against` the demotion. `weeks` counts a
    pending decision. `facts` is a JSON object of the facts that the rule reads, `rules` one of every rule
    that had something to say and what came of it. `state` is a JSON object of the columns of `coverage` after the
    move, those that are NULL left out. An outcome of `state` changes only such a column, and no band. Money is in the
    policy's currency; `value` and `arr` may be missing.
    """

    account_id: str
    outcome: Outcome
    move: str
    from_band: str | None
    to_band: str | None
    rule: str
    against: str | None
    value: Decimal | None
    arr: Decimal | None
    weeks: int | None
    facts: str
    rules: str
    state: str
    owner_id: str | None
    segment: str | None
    region: str | None
    language: str | None

    @property
    def evidence(self) -> dict[str, Any]:
        """The facts and rules behind the decision, as `band_history.evidence` keeps them."""
        return {"facts": json.loads(self.facts), "rules": json.loads(self.rules)}


def decisions_of(rows: Iterable[tuple[Any, ...]]) -> Iterator[Decision]:
    """A decision of each row, whose columns are its fields, with one copy of each text that many of them have.

    A million of them, as on the first run of a large company, take half the memory then.
    """
    copies: dict[Any, Any] = {}

    def shared(texts: tuple[Any, ...]) -> Iterator[Any]:
        return map(copies.setdefault, texts, texts)

    for row in rows:
        # Nobody else has its id (0), its amounts and weeks (7 to 9) or its facts (10).
        yield Decision(row[0], *shared(row[1:7]), *row[7:11], *shared(row[11:]))


class OwnerChange(Struct, frozen=True):
    """An account's owner before and after; None is the pool. `why` is a code, `reason` says it in words.

    `band` and `value` are the account's after the run; it has no band when it leaves.
    """

    account_id: str
    from_owner_id: str | None
    to_owner_id: str | None
    why: str
    reason: str
    band: str | None = None
    value: Decimal | None = None


class Waiting(Struct, frozen=True):
    """An account in a named band for which no CSM has room; `since` is when it began to wait."""

    account_id: str
    band: str
    since: datetime
    value: Decimal | None


@dataclass(frozen=True, slots=True)
class LapsedPin:
    """A pin that has expired since the last run that took effect; `band` or `owner_id` may be None, not both."""

    account_id: str
    band: str | None
    owner_id: str | None
    pinned_by: str
    reason: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Book:
    """One CSM's book before and after. `max_book` None means no limit in value."""

    csm_id: str
    accounts_before: int
    accounts_after: int
    value_before: Decimal
    value_after: Decimal
    max_accounts: int
    max_book: Decimal | None
    arrivals: int
    departures: int


@dataclass(frozen=True, slots=True)
class BandCount:
    """How many active accounts stand in a band before the run (None: not yet in any), and what they are worth."""

    band: str | None
    accounts: int
    value: Decimal
    arr: Decimal


@dataclass(frozen=True, slots=True)
class Census:
    """What was evaluated: the active accounts by band in policy order, and how many lack each fact a rule reads."""

    bands: tuple[BandCount, ...]
    missing: Mapping[str, int]

    @property
    def accounts(self) -> int:
        """All active accounts."""
        return sum(band.accounts for band in self.bands)

    @property
    def arr(self) -> Decimal:
        """The recurring revenue of all active accounts in the policy's currency."""
        return sum((band.arr for band in self.bands), Decimal(0))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one guard found: `actual` against `limit`, in `unit`; `detail` says it in a sentence."""

    guard: str
    actual: Decimal
    limit: Decimal
    unit: str
    tripped: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Flow:
    """Accounts that move between two bands, and their value. None as in `Decision`."""

    from_band: str | None
    to_band: str | None
    accounts: int
    value: Decimal


@dataclass(frozen=True)
class Plan:
    """One run's decisions and owner changes, each ordered by account id, with what the guards say of them.

    `sha256` covers what would be written, and what it rests on; two plans with one hash do the same. `notes` are
    sentences about what could not be done as somebody asked, such as a pin to a CSM who left; `lapsed_pins` are by
    account id.
    """

    as_of: datetime
    policy_name: str
    policy_sha: str
    decisions: tuple[Decision, ...]
    owner_changes: tuple[OwnerChange, ...]
    waitlist: tuple[Waiting, ...]
    books: tuple[Book, ...]
    census: Census
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()
    lapsed_pins: tuple[LapsedPin, ...] = ()

    def of(self, outcome: Outcome) -> Iterator[Decision]:
        """The decisions with this outcome, in order."""
        return (decision for decision in self.decisions if decision.outcome == outcome)

    @property
    def changes(self) -> bool:
        """Whether any account would change its band or its owner."""
        return bool(self.owner_changes) or any(True for _ in self.of("move"))

    @property
    def tripped(self) -> tuple[Verdict, ...]:
        """The guards that stop this plan."""
        return tuple(verdict for verdict in self.verdicts if verdict.tripped)

    @cached_property
    def sha256(self) -> str:
        """The hash of the plan's effect: the policy, the instant, every decision and every owner change."""
        digest = hashlib.sha256(f"{self.policy_sha}\n{self.as_of.isoformat()}\n".encode())
        for items in (self.decisions, self.owner_changes, self.waitlist):
            digest.update(b"\n")
            for item in items:
                digest.update(_encode(item))
        return digest.hexdigest()
