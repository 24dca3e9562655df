"""Statements of policies that were decided by before, with another instant put in: a test need not write them anew.

To write the statement of a policy takes several times as long as to run it on a test's few accounts, and a session
decides thousands of times by a few dozen policies. The text does not depend on the instant of the run; some of its
parameters do. That is not taken for granted: before a policy's statement is kept, it is written for three instants
beside. Only if the texts are the same, and every parameter is either the same or moves with the instant (or with the
local date), is it kept; for anything else it is written each time, as the program does. What one process has found to
be so, the others of the session need not find out again.

`TEST_KEEP_STATEMENTS=0` has all of them written each time; CI does so in one of its runs.
"""

import os
import pickle
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
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

    text: str
    parameters: Mapping[str, Any]
    asked_at: datetime
    local: date
    moving: frozenset[str]

    def at(self, asked: Asked) -> Compiled:
        """The statement with the parameters of this instant."""
        given = Given.__new__(Given)
        given.text, given.parameters = self.text, self.moved(asked, asked.as_of)
        return given

    def moved(self, asked: Asked, as_of: datetime) -> Mapping[str, Any]:
        """The parameters at another instant."""
        instants, dates = as_of - self.asked_at, asked.local(as_of) - self.local
        return {
            name: value if name not in self.moving else value + (instants if isinstance(value, datetime) else dates)
            for name, value in self.parameters.items()
        }


class Given(Compiled):
    """A statement as it is streamed: the text and the parameters that it was given."""

    text: str
    parameters: Mapping[str, Any]

    def __str__(self) -> str:
        return self.text

    @property
    def params(self) -> Any:
        return self.parameters


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
    return sha256(_told(policy.one).encode()).digest()


def _told(value: Any) -> str:
    """As its repr, but the same in every process: sets have an order."""
    if is_dataclass(value):
        return type(value).__name__ + _told([getattr(value, field.name) for field in fields(value)])
    if isinstance(value, Mapping):
        return f"{{{_told(list(value.items()))}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_told, value))}]"
    if isinstance(value, (set, frozenset)):
        return f"set({sorted(map(_told, value))})"
    return repr(value)


def fingerprint_of(policy: Policy) -> bytes:
    """By which a policy is known again."""
    return _fingerprint_of(_Same(policy))


class Keeper:
    """Keeps statements for as long as the session; in a folder, where it has one, for whoever else has it too."""

    def __init__(self, folder: Path | None = None, often: int = OFTEN) -> None:
        self.folder = folder
        self.often = often
        self.times: Counter[bytes] = Counter()
        self.kept: dict[bytes, Kept | None] = {}

    def compiled(self, connection: Connection, asked: Asked | Select[Any]) -> Compiled:
        """What is asked for, as text."""
        if not isinstance(asked, Asked):
            return _compile(connection, asked)
        if asked.sources is not LIVE or asked.as_of.tzinfo is not UTC:
            return asked.written(connection)
        name = fingerprint_of(asked.policy)
        if name not in self.kept:
            self.times[name] += 1
            if found := self.found(name):
                self.kept[name] = found
            elif self.times[name] == self.often:
                self.kept[name] = self.keep(connection, asked)
                self.share(name)
        kept = self.kept.get(name)
        return asked.written(connection) if kept is None else kept.at(asked)

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
        kept = Kept(str(compiled), compiled.params, asked.as_of, asked.local(asked.as_of), frozenset(moving))
        moves = all(
            _same(kept.moved(asked, asked.as_of + span), one.params) for span, one in zip(BESIDE, beside, strict=True)
        )
        return kept if moves else None

    def share(self, name: bytes) -> None:
        """Whoever has the same folder finds the statement there, if it could be kept."""
        if self.folder is not None and (kept := self.kept[name]):
            with NamedTemporaryFile(dir=self.folder, delete=False) as file:
                file.write(pickle.dumps(kept))
            Path(file.name).rename(self.folder / name.hex())

    def found(self, name: bytes) -> Kept | None:
        """The statement that somebody with the same folder has kept."""
        if self.folder is None or not (path := self.folder / name.hex()).exists():
            return None
        kept: Kept = pickle.loads(path.read_bytes())  # noqa: S301 - it is of this session
        return kept


def _same(one: Any, other: Any) -> bool:
    """To the last digit, and not-a-numbers too."""
    return repr(one) == repr(other)


@contextmanager
def kept_statements(folder: Path, often: int = OFTEN) -> Iterator[None]:
    """Statements that are asked for often are not written each time, by nobody who has this folder."""
    if os.environ.get("TEST_KEEP_STATEMENTS") == "0":
        yield
        return
    folder.mkdir(exist_ok=True)
    keeper = Keeper(folder, often)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decide, "decision_statement", lambda policy, as_of, sources=LIVE: Asked(policy, as_of, sources))
        for module in (decide, stream):
            patch.setattr(module, "compiled", keeper.compiled)
        yield
