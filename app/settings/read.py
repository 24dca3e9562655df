"""The settings of this process, out of all the places that may say them, each with its place.

A variable goes before a file that a *_FILE variable names, and that before the settings file: the one that
BANDSHIFT_SETTINGS names, or `bandshift.toml` in the current folder.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from app.errors import Mistake, Problem
from app.settings.catalogue import Path
from app.settings.model import Settings
from app.settings.sources import SETTINGS_FILE, Place, Said, Wrong, read_file, read_secret, read_variables
from app.settings.wording import wrong_in

DEFAULT_FILE = FilePath("bandshift.toml")


@dataclass(frozen=True, slots=True)
class Reading:
    """The settings, where each that is not a default was said, and the settings file, if there is one."""

    settings: Settings
    places: Mapping[Path, Place]
    file: FilePath | None


def load_settings() -> Settings:
    """The settings of this process.

    Raises `Mistake` with everything that is wrong in any of the places: values that cannot be used, names that do not
    exist (a typing error must not pass in silence), files that cannot be read. No message holds a value, which may be
    a secret.
    """
    return read_settings(os.environ).settings


def read_settings(environ: Mapping[str, str]) -> Reading:
    """The settings and where they are from; raises as `load_settings` does."""
    said, wrong = read_variables(environ)
    file, more = _settings_file(environ)
    wrong += more
    if file is not None:
        of_file, more = read_file(file)
        said = of_file | said
        wrong += more
    values, more = _values(said)
    wrong += more
    settings, more = _settings(values, said)
    wrong += more
    if settings is None or wrong:
        ordered = sorted(wrong, key=lambda one: one.place)
        raise Mistake("the settings cannot be used:", [Problem(str(one.place), one.what) for one in ordered])
    return Reading(settings, {path: one.place for path, one in said.items()}, file)


def _settings_file(environ: Mapping[str, str]) -> tuple[FilePath | None, list[Wrong]]:
    """The settings file; that the one which is asked for is not there is wrong."""
    asked = environ.get(SETTINGS_FILE, "").strip()
    if not asked:
        return (DEFAULT_FILE if DEFAULT_FILE.is_file() else None), []
    if FilePath(asked).is_file():
        return FilePath(asked), []
    return None, [Wrong(Place(variable=SETTINGS_FILE), "names no file that is there")]


def _values(said: Mapping[Path, Said]) -> tuple[dict[Path, Any], list[Wrong]]:
    """Each value that is said, those that are in a file of their own read from it."""
    values: dict[Path, Any] = {}
    wrong = []
    for path, one in said.items():
        value = one.value if one.file is None else read_secret(one)
        if isinstance(value, Wrong):
            wrong.append(value)
        else:
            values[path] = value
    return values, wrong


def _settings(values: Mapping[Path, Any], said: Mapping[Path, Said]) -> tuple[Settings | None, list[Wrong]]:
    """The settings of these values, or what is wrong with them."""
    try:
        return Settings(**_nested(values)), []
    except ValidationError as error:
        return None, list(wrong_in(error, said, said.keys() - values.keys()))


def _nested(values: Mapping[Path, Any]) -> dict[str, Any]:
    """The values in the groups of their paths."""
    root: dict[str, Any] = {}
    for path, value in values.items():
        group = root
        for key in path[:-1]:
            group = group.setdefault(key, {})
        group[path[-1]] = value
    return root
