"""Statements of policies that were decided by before, with another instant put in: a test need not write them anew.

To write the statement of a policy takes several times as long as to run it on a test's few accounts, and a session
decides thousands of times by a few dozen policies. The text does not depend on the instant of the run; some of its
parameters do. That is not taken for granted: before a policy's statement is kept, it is written for three instants
beside. Only if the texts are the same, and every parameter is either the same or moves with the instant (or with the
local date), is it kept; for anything else it is written each time, as the program does.

`TEST_KEEP_STATEMENTS=0` has all of them written each time; CI does so in one of its runs.
"""

import copy
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import Compiled, Connection, Select

from app import decide
from app.decide import LIVE, Sources, stream
from app.policy.model import Policy

BESIDE = (timedelta(days=37), timedelta(days=403, hours=5), timedelta(days=-1000, minutes=7))
"""From an instant to others, on other local dates and with other numbers of days to a quarter's end."""
OFTEN = 3
"""A statement that is asked for less often is not worth keeping."""

_write, _compile = decide.decision_statement, stream.compiled


@dataclass(frozen=True, slots=True)
class Asked:
    """The statement of a policy at an instant, not yet written."""

    policy: Policy
    as_of: datetime
    sources: Sources

    def written(self, connection: Connection, as_of: datetime | None = None) -> Compiled:
        return _compile(connection, _write(self.policy, as_of or self.as_of, self.sources))

    def local(self, as_of: datetime) -> date:
        """The date that conditions take for today's."""
        return as_of.astimezone(self.policy.calendar.time_zone).date()


@dataclass(frozen=True, slots=True)
class Kept:
    """A statement that was written for one instant, and how its parameters follow another."""

    compiled: Compiled
    asked: Asked
    moving: frozenset[str]

    def at(self, as_of: datetime) -> Compiled:
        """The statement with the parameters of this instant."""
        other = copy.copy(self.compiled)
        other.__class__ = _with_parameters(type(self.compiled))
        other.parameters = _moved(self, as_of)  # type: ignore[attr-defined]
        return other


def _with_parameters(kind: type[Compiled]) -> type[Compiled]:
    """The same kind of statement, whose parameters are those that it was given."""
    return type("Given", (kind,), {"params": property(lambda self: self.parameters)})


def _moved(kept: Kept, as_of: datetime) -> Mapping[str, Any]:
    """The parameters at another instant."""
    instants, dates = as_of - kept.asked.as_of, kept.asked.local(as_of) - kept.asked.local(kept.asked.as_of)
    return {
        name: value if name not in kept.moving else value + (instants if isinstance(value, datetime) else dates)
        for name, value in kept.compiled.params.items()
    }


class _Same:
    """A policy that equals only itself, and need not be looked through to know it again."""

    def __init__(self, one: Policy) -> None:
        self.one = one

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.one is self.one

    def __hash__(self) -> int:
        return id(self.one)


@lru_cache(64)
def _fingerprint_of(policy: _Same) -> bytes:
    """Of everything that is in the policy."""
    return sha256(repr(policy.one).encode()).digest()


class Keeper:
    """Keeps statements for as long as the session."""

    def __init__(self) -> None:
        self.times: Counter[bytes] = Counter()
        self.kept: dict[bytes, Kept | None] = {}

    def compiled(self, connection: Connection, asked: Asked | Select[Any]) -> Compiled:
        """What is asked for, as text."""
        if not isinstance(asked, Asked):
            return _compile(connection, asked)
        if asked.sources is not LIVE or asked.as_of.tzinfo is not UTC:
            return asked.written(connection)
        name = _fingerprint_of(_Same(asked.policy))
        self.times[name] += 1
        if self.times[name] == OFTEN:
            self.kept[name] = self.keep(connection, asked)
        kept = self.kept.get(name)
        return asked.written(connection) if kept is None else kept.at(asked.as_of)

    def keep(self, connection: Connection, asked: Asked) -> Kept | None:
        """The statement, if it can be kept."""
        compiled = asked.written(connection)
        beside = [asked.written(connection, asked.as_of + span) for span in BESIDE]
        if any(str(other) != str(compiled) for other in beside):
            return None
        same = {
            name for name, value in compiled.params.items() if all(_same(other.params[name], value) for other in beside)
        }
        moving = {name for name in compiled.params.keys() - same if isinstance(compiled.params[name], date)}
        kept = Kept(compiled, asked, frozenset(moving))
        moves = all(
            _same(_moved(kept, asked.as_of + span), one.params) for span, one in zip(BESIDE, beside, strict=True)
        )
        return kept if moves else None


def _same(one: Any, other: Any) -> bool:
    """To the last digit, and not-a-numbers too."""
    return repr(one) == repr(other)


@contextmanager
def kept_statements() -> Iterator[None]:
    """Statements that are asked for often are not written each time."""
    if os.environ.get("TEST_KEEP_STATEMENTS") == "0":
        yield
        return
    keeper = Keeper()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decide, "decision_statement", lambda policy, as_of, sources=LIVE: Asked(policy, as_of, sources))
        for module in (decide, stream):
            patch.setattr(module, "compiled", keeper.compiled)
        yield
