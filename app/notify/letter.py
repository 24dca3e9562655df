"""A message as people read it, before it is laid out for a mail or for Slack."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """One item of a listing: a cell for each column, and sentences that go with it."""

    cells: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """Items under a title; `left_out` is how many more there are."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Letter:
    """What a message says. `commands` are to be typed in a shell. Nothing is escaped yet; names are from outside."""

    subject: str
    opening: tuple[str, ...]
    listings: tuple[Listing, ...] = ()
    commands: tuple[str, ...] = ()
    closing: tuple[str, ...] = ()
