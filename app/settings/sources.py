"""Where settings are said: variables, files that hold one secret each, and the settings file.

Each source gives what it says by path, with its place, and the problems that are plain before any value is looked at:
what is no setting, what cannot be read. No problem quotes a value, which may be a secret.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any

from app.settings.catalogue import DELIMITER, PREFIX, UNPREFIXED, Path, by_path, keys_at, refusal, variable

SETTINGS_FILE = f"{PREFIX}SETTINGS"
"""The variable that names the settings file: the one BANDSHIFT_ variable that is no setting itself."""

IN_A_FILE = "_file"
"""Ends the name of what names a file with a secret in it."""

_LARGEST_SECRET = 64 * 1024


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line of the settings file, or a variable; variables come first."""

    file: str = ""
    line: int = 0
    variable: str = ""

    def __str__(self) -> str:
        return self.variable or (f"{self.file}:{self.line}" if self.line else self.file)

    def name(self, path: Path) -> str:
        """How the setting at `path` is called there."""
        return variable(path) if self.variable else ".".join(path)


@dataclass(frozen=True, slots=True)
class Said:
    """A value, or the file that holds it, and where it was said; `key` names the file in the settings file."""

    place: Place
    value: Any = field(default=None, repr=False)
    file: FilePath | None = field(default=None, repr=False)
    key: str = ""


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong, and where."""

    place: Place
    what: str


def read_variables(environ: Mapping[str, str]) -> tuple[dict[Path, Said], list[Wrong]]:
    """What the variables say; one that is set goes before a *_FILE of the same setting, an empty one is not set.

    Names are read in any case; of two that differ in nothing else, the one in upper case counts.
    """
    direct: dict[Path, Said] = {}
    in_files: dict[Path, Said] = {}
    wrong = []
    for name in sorted(environ):  # upper case sorts before lower case
        if not _is_ours(name.upper()) or _is_service_link(name, environ[name]):
            continue
        place = Place(variable=name)
        path = tuple(name.upper().removeprefix(PREFIX).lower().split(DELIMITER))
        holder = _held_in_file(path)
        if by_path(path) is not None and name.upper() == variable(path):
            if environ[name].strip():
                direct.setdefault(path, Said(place, environ[name]))
        elif holder is not None and name.upper() == variable(holder) + IN_A_FILE.upper():
            if environ[name].strip():
                in_files.setdefault(holder, Said(place, file=FilePath(environ[name])))
        else:
            wrong.append(Wrong(place, refusal(path, variable)))
    return in_files | direct, wrong


def _is_ours(name: str) -> bool:
    return name != SETTINGS_FILE and (name.startswith(PREFIX) or name.removesuffix(IN_A_FILE.upper()) in UNPREFIXED)


def _is_service_link(name: str, value: str) -> bool:
    """Whether Kubernetes set the variable, as in every pod beside a Service whose name begins with bandshift."""
    return _SERVICE_LINK.search(name) is not None or (name.endswith("_PORT") and _SERVICE_URL.match(value) is not None)


_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$")
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")


def read_file(file: FilePath) -> tuple[dict[Path, Said], list[Wrong]]:
    """What the settings file says, a TOML file. Relative paths in it start at its folder."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
        data = tomllib.loads(text)
    except (OSError, ValueError) as error:
        return {}, [_unreadable(file, error)]
    reading = _Reading(file, text)
    reading.take(data, ())
    return reading.said, reading.wrong


def read_secret(said: Said) -> str | Wrong:
    """The secret that the file holds, without the blanks and line ends around it."""
    assert said.file is not None  # noqa: S101 - callers ask for those in files only
    why = "is empty"
    try:
        with said.file.open("rb") as stream:
            held = stream.read(_LARGEST_SECRET + 1)
        if len(held) > _LARGEST_SECRET:
            why = "is too large to be a secret"
        elif text := held.decode().strip():
            return text
    except OSError as error:
        why = f"cannot be read: {reason(error)}"
    except ValueError:
        why = "is not UTF-8 text"
    return Wrong(said.place, f"{said.key} names a file that {why}".lstrip())


def reason(error: OSError) -> str:
    """What the system says, without the path."""
    return (error.strerror or type(error).__name__).lower()


class _Reading:
    """The walk over a settings file's tables."""

    def __init__(self, file: FilePath, text: str) -> None:
        self.file, self.text = file, text
        self.said: dict[Path, Said] = {}
        self.wrong: list[Wrong] = []

    def take(self, table: Mapping[str, Any], path: Path) -> None:
        """Everything in the table, which is at `path`, is said or wrong."""
        for key, value in table.items():
            self._take((*path, key), value)

    def _take(self, path: Path, value: Any) -> None:
        setting, holder = by_path(path), _held_in_file(path)
        if setting is None and holder is None:
            if isinstance(value, dict) and keys_at(path):
                self.take(value, path)
            else:
                self._refuse(path, refusal(path, ".".join), mark=":")
        elif value == "":
            self._refuse(path, "is empty; leave it out for the default")
        elif holder is not None:
            self._take_holder(path, holder, value)
        elif setting is not None and setting.is_path and isinstance(value, str):
            self.said[path] = Said(self._place(path), self.file.parent / value)
        else:
            self._say(path, Said(self._place(path), value))

    def _take_holder(self, path: Path, holder: Path, value: Any) -> None:
        if isinstance(value, str):
            self._say(holder, Said(self._place(path), file=self.file.parent / value, key=".".join(path)))
        else:
            self._refuse(path, "should be the path of a file, in quotes")

    def _say(self, path: Path, said: Said) -> None:
        if path in self.said:
            other = self.said[path]
            here = said.key or ".".join(path)
            self.wrong.append(
                Wrong(said.place, f"{here} is said twice, here and as {other.key or '.'.join(path)}; one will do")
            )
        else:
            self.said[path] = said

    def _refuse(self, path: Path, what: str, mark: str = "") -> None:
        self.wrong.append(Wrong(self._place(path), f"{'.'.join(path)}{mark} {what}"))

    def _place(self, path: Path) -> Place:
        return Place(str(self.file), self._lines.get(path, 0))

    @cached_property
    def _lines(self) -> Mapping[Path, int]:
        return lines_of(self.text)


def lines_of(text: str) -> dict[Path, int]:
    """The line on which each key and each table of a TOML text begins, first line 1.

    The parser tells no lines, but it can be asked: the lines that it takes to be TOML again are one statement, and what
    they say under the heading before them begins where they begin.
    """
    found: dict[Path, int] = {}
    lines = [f"{line}\n" for line in text.split("\n")]
    heading, start = "", 0
    for end in range(1, len(lines) + 1):
        statement = "".join(lines[start:end])
        is_heading = statement.lstrip().startswith("[")
        try:
            data = tomllib.loads(statement if is_heading else heading + statement)
        except tomllib.TOMLDecodeError:
            continue
        for path in _paths(data, ()):
            found.setdefault(path, start + 1)
        heading, start = statement if is_heading else heading, end
    return found


def _paths(table: Mapping[str, Any], path: Path) -> Iterator[Path]:
    for key, value in table.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from _paths(value, (*path, key))


def _held_in_file(path: Path) -> Path | None:
    """The secret whose file is named at `path`; None if `path` names no such file."""
    holder = (*path[:-1], path[-1].removesuffix(IN_A_FILE))
    setting = by_path(holder) if path[-1].endswith(IN_A_FILE) else None
    return holder if setting is not None and setting.is_secret else None


def _unreadable(file: FilePath, error: Exception) -> Wrong:
    """What to say of a settings file that cannot be read; of a parser's sentence, nothing but the sentence."""
    if isinstance(error, OSError):
        return Wrong(Place(str(file)), f"cannot be read: {reason(error)}")
    if isinstance(error, UnicodeDecodeError):
        return Wrong(Place(str(file)), "is not UTF-8 text")
    said = _TOML_LINE.fullmatch(str(error))
    if said is None:
        return Wrong(Place(str(file)), "is not TOML")
    return Wrong(Place(str(file), int(said["line"] or 0)), f"is not TOML: {said['what']}")


_TOML_LINE = re.compile(r"(?P<what>.*) \(at (?:line (?P<line>\d+), column \d+|end of document)\)", re.DOTALL)
