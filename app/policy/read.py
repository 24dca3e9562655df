"""The text of a policy file becomes a `Policy`, or one `Mistake` that lists everything wrong with it.

Every section is read as far as it can be, so that a mistake in one place does not hide those in another; and what rests
on a name that has a mistake of its own is passed over, so that one mistake is not told twice. Problems come in the
order of the file.
"""

import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path as FilePath
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from app.errors import Mistake, Problem
from app.figures import printable
from app.policy.facts import Facts, table, valid
from app.policy.floors import FloorOf, floors, price
from app.policy.model import Band, Calendar, Guards, Owners, Policy, Share
from app.policy.problems import Path, Problems
from app.policy.rules import TARGETS, read_rules
from app.policy.shape import (
    WEEKDAYS,
    BandShape,
    CalendarShape,
    EconomicsShape,
    GuardsShape,
    OwnersShape,
    PolicyShape,
    ShareShape,
)
from app.policy.tokens import suggestion

LARGEST_FILE = 1_000_000
"""Bytes. A policy is some pages; a file beyond this is something else."""


def load_policy(path: FilePath | None) -> Policy:
    """The policy in the file at `path`, or the default policy without one."""
    return default_policy() if path is None else read_policy(read_text(path), source=str(path))


@cache
def default_policy() -> Policy:
    """The policy that bandshift comes with."""
    return read_policy(
        files("app.policy").joinpath("default.toml").read_text(encoding="utf-8"), source="the default policy"
    )


def read_text(path: FilePath) -> str:
    """The text of a file that should be a policy. A byte order mark at its start is passed over."""
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        raise Mistake(
            f"there is no file {path}; `bandshift policy show --toml` prints the default policy to start from"
        ) from None
    except IsADirectoryError:
        raise Mistake(f"{path} is a folder; name the policy file in it") from None
    except OSError as error:
        raise Mistake(f"{path} cannot be read: {error.strerror}") from None
    if len(body) > LARGEST_FILE:
        raise Mistake(
            f"{path} has {len(body):,} bytes, and a policy has {LARGEST_FILE:,} at most; is it the right file?"
        )
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        kind = "UTF-16" if body[:2] in (b"\xff\xfe", b"\xfe\xff") else "not UTF-8"
        line = body[: error.start].count(b"\n") + 1
        where = "" if kind == "UTF-16" else f" at line {line}"
        raise Mistake(f"{path} is {kind}{where}; save it as UTF-8") from None


def read_policy(text: str, *, source: str) -> Policy:
    """The policy that `text` writes; `source` names it in messages. Raises `Mistake` with every problem in it."""
    data = toml_of(text, source)
    problems = Problems(data)
    problems.add_shape(PolicyShape)
    bands = _band_names(data, problems)
    facts = Facts(data, bands, problems)
    economics = table(data, "economics")
    worth = economics.get("value", EconomicsShape().value)
    value = facts.value(("economics", "value"), worth) if isinstance(worth, str) else None
    _check_segments(economics, bands, problems)
    priced = _price(data, problems)
    rules = read_rules(data.get("rules"), facts, problems)
    calendar = _calendar(table(data, "calendar"), problems)
    problems.raise_if_any(source)
    if value is None or calendar is None:
        raise AssertionError("a policy without problems has a value and a calendar")
    shape = PolicyShape.model_validate(data)
    return Policy(
        name=shape.name,
        body=text,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        bands=_bands(shape.bands),
        currency=shape.economics.currency,
        value=value,
        floors=floors(priced),
        attributes=facts.attributes,
        signals=facts.signals,
        facts=facts.inlining.facts,
        units=facts.units,
        rules=rules,
        guards=_guards(shape.guards),
        owners=_owners(shape.owners),
        calendar=calendar,
    )


def read_shape(text: str, *, source: str) -> PolicyShape:
    """The policy as written, for those who show or check it beyond its meaning. Raises `Mistake` for a wrong shape."""
    data = toml_of(text, source)
    problems = Problems(data)
    problems.add_shape(PolicyShape)
    problems.raise_if_any(source)
    return PolicyShape.model_validate(data)


def toml_of(text: str, source: str) -> dict[str, Any]:
    """The tables of a TOML text, its numbers exact. Raises `Mistake` with line and column if it is not TOML."""
    try:
        return tomllib.loads(text.removeprefix("\ufeff"), parse_float=Decimal)
    except RecursionError:
        raise Mistake(f"{source} is nested too deeply") from None
    except ValueError as error:
        found = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|(end of document))\)", str(error), re.DOTALL)
        if found is None:
            raise Mistake(f"{source} is not TOML: a number in it has thousands of digits") from None
        what, line, column, _ = found.groups()
        where = f"line {line}, column {column}" if line else f"line {text.count(chr(10)) + 1}, at the end"
        what = re.sub(r"\(('.*?'),?\)", r"\1", what)  # tomllib names a table by its tuple of keys
        raise Mistake(f"{source} is not TOML:", [Problem(where, printable(what[:1].lower() + what[1:]))]) from None


def _band_names(data: Mapping[str, Any], problems: Problems) -> tuple[str, ...]:
    """The bands' names, lowest first, or none if they are not all known.

    Tells those that are taken or come twice, and pools above named bands.
    """
    raw = data.get("bands")
    given = [band if isinstance(band, dict) else {} for band in raw] if isinstance(raw, list) else []
    seen: dict[str, int] = {}
    named_below: str | None = None
    for index, band in enumerate(given):
        name = band.get("name")
        shown = name if isinstance(name, str) else f"bands[{index}]"
        if shown in TARGETS:
            problems.add(("bands", index, "name"), f"`{shown}` is a rule's target; choose another name")
        if shown in seen:
            problems.add(("bands", index, "name"), f"bands[{seen[shown]}] is already called `{shown}`")
        elif isinstance(name, str):
            seen[name] = index
        if index == 0 and band.get("owner") == "named":
            problems.add(
                ("bands", 0, "owner"), "the lowest band is served by the pool; it takes every account that no CSM does"
            )
        elif band.get("owner") == "pool" and named_below is not None:
            what = f"the pool serves the lowest bands, and `{named_below}` below it has named owners"
            problems.add(("bands", index, "owner"), what)
        elif band.get("owner") == "named":
            named_below = shown
    return tuple(seen) if all(isinstance(band.get("name"), str) for band in given) else ()


def _price(data: Mapping[str, Any], problems: Problems) -> Mapping[str | None, Sequence[FloorOf]]:
    """The floors per segment, if bands and economics can be read; tells what is wrong with them."""
    raw = data.get("bands")
    bands = [valid(BandShape, band) for band in raw] if isinstance(raw, list) else []
    economics = valid(EconomicsShape, data.get("economics", {}))
    known = [band for band in bands if band is not None]
    if known and bands[0] is known[0] and known[0].floor:
        problems.add(("bands", 0, "floor"), _LOWEST)
    if economics is None or len(known) != len(bands) or len({band.name for band in known}) != len(bands):
        return {}
    priced, found = price(known, economics)
    for path, what in found:
        problems.add(path, what)
    return priced


_LOWEST = "the lowest band takes every account, so its floor is 0; leave it out"


def _check_segments(economics: Mapping[str, Any], bands: Sequence[str], problems: Problems) -> None:
    """The bands that a segment's economics name are the policy's."""
    segments = table(economics, "segments")
    for segment in segments:
        for key in ("accounts_per_csm", "floors"):
            for band, given in table(table(segments, segment), key).items():
                path: Path = ("economics", "segments", segment, key, band)
                if bands and band not in bands:
                    problems.add(path, f"there is no band `{band[:80]}`{suggestion(band, bands)}")
                elif bands and key == "floors" and band == bands[0] and given != 0:
                    problems.add(path, _LOWEST)


def _bands(shapes: Sequence[BandShape]) -> tuple[Band, ...]:
    return tuple(
        Band(shape.name, rank, shape.owner == "pool", shape.accounts_per_csm, shape.cadence_days)
        for rank, shape in enumerate(shapes)
    )


def _guards(shape: GuardsShape) -> Guards:
    return Guards(
        moved_accounts=_limit(shape.moved_accounts),
        moved_arr=_limit(shape.moved_arr),
        csm_book=_limit(shape.csm_book),
        shrunken_input=_limit(shape.shrunken_input),
        missing_facts=_limit(shape.missing_facts),
        fewest_accounts=shape.fewest_accounts or 0,
        stale_after_days=shape.stale_after_days,
    )


def _owners(shape: OwnersShape) -> Owners:
    return Owners(
        stable_days=shape.stable_days,
        absence_days=shape.absence_days,
        notice_days=shape.notice_days,
        max_new_per_run=_limit(shape.max_new_per_run),
        ramp_weeks=shape.ramp_weeks,
        renewal_days=shape.renewal_days,
        pin_max_days=shape.pin_max_days,
        families=shape.families,
    )


def _limit(shape: ShareShape | None) -> Share | None:
    return None if shape is None else Share(shape.share, shape.at_least)


def _calendar(raw: Mapping[str, Any], problems: Problems) -> Calendar | None:
    """When runs are due; None if that cannot be read."""
    shape = valid(CalendarShape, raw)
    if shape is None:
        return None
    zone = _time_zone(shape.time_zone)
    if zone is None:
        what = f"there is no time zone `{shape.time_zone[:80]}`; names are like Europe/Paris or UTC"
        problems.add(("calendar", "time_zone"), what)
        return None
    return Calendar(WEEKDAYS.index(shape.weekday), shape.at, zone)


def _time_zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
