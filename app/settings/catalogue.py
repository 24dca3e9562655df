"""Every setting there is, out of the model: its name, its variable, its kind, its default and what it means."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path as FilePath
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from app.settings.model import Channel, Settings

Path = tuple[str, ...]

ANY = "*"
"""Stands for the name of a channel in a path."""

PREFIX = str(Settings.model_config["env_prefix"])
DELIMITER = str(Settings.model_config["env_nested_delimiter"])
UNPREFIXED = ("DATABASE_URL",)
"""Variables that have the name that everybody uses."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting; of a channel's, `channel` is the type of channel that takes it and the path has `*` for its name."""

    path: Path
    field: FieldInfo
    channel: str | None = None

    @property
    def is_secret(self) -> bool:
        """Whether its value is never shown, and may be in a file of its own."""
        return _holds(self.field.annotation, SecretStr)

    @property
    def is_path(self) -> bool:
        """Whether it names a file or folder."""
        return _holds(self.field.annotation, FilePath)


@cache
def settings_there_are() -> tuple[Setting, ...]:
    """All of them, in the order of the model."""
    return tuple(_of(Settings, ()))


@cache
def by_path(path: Path) -> Setting | None:
    """The setting at `path`, in which a channel has its name; None if there is none."""
    sought = _general(path)
    return next((setting for setting in settings_there_are() if setting.path == sought), None)


def keys_at(path: Path) -> tuple[str, ...]:
    """The keys of the group at `path`, in the order of the model; none if it is no group."""
    sought = _general(path)
    long = len(path)
    below = (setting.path for setting in settings_there_are())
    return tuple(dict.fromkeys(one[long] for one in below if len(one) > long and one[:long] == sought))


def variable(path: Path) -> str:
    """The environment variable of the setting at `path`."""
    name = DELIMITER.join(path).upper()
    return name if name in UNPREFIXED else PREFIX + name


def refusal(path: Path, written: Callable[[Path], str]) -> str:
    """Why there is no setting at `path`, and which there are, `written` as they are in its source."""
    if keys_at(path):
        return f"is a group of settings: {_listed(path, written)}"
    group = next(path[:end] for end in range(len(path) - 1, -1, -1) if keys_at(path[:end]))
    if meant := _meant(path, group):
        return f"no such setting; did you mean {written(meant)}?"
    return f"no such setting; there are {_listed(group, written)}"


def _meant(path: Path, group: Path) -> Path | None:
    """The path that the misspelt one is nearest to: as a whole, or by its key if the rest is right."""
    named = path[1] if path[0] == "channels" and len(path) > 2 else "<name>"
    there_are = [tuple(named if key == ANY else key for key in setting.path) for setting in settings_there_are()]
    whole = get_close_matches(".".join(path), [".".join(one) for one in there_are], n=1, cutoff=0.8)
    if whole:
        return tuple(whole[0].split("."))
    near = get_close_matches(path[-1], keys_at(group), n=1) if group == path[:-1] else []
    return (*group, *near) if near else None


def _listed(group: Path, written: Callable[[Path], str]) -> str:
    """What is in the group; a group in it ends in dots."""
    names = []
    for key in keys_at(group):
        path = (*group, "<name>" if key == ANY else key)
        names.append(written((*path, "")) + "..." if keys_at((*group, key)) else written(path))
    return ", ".join(names)


def _general(path: Path) -> Path:
    """The path without the name of the channel."""
    return (path[0], ANY, *path[2:]) if path[:1] == ("channels",) and len(path) > 1 else path


def _of(model: type[BaseModel], path: Path) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        if name == "channels":
            yield from _of_channels((*path, name, ANY))
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _of(field.annotation, (*path, name))
        else:
            yield Setting((*path, name), field)


def _of_channels(path: Path) -> Iterator[Setting]:
    for model in get_args(get_args(Channel)[0]):
        (kind,) = get_args(model.model_fields["type"].annotation)
        for name, field in model.model_fields.items():
            yield Setting((*path, name), field, kind)


def _holds(annotation: Any, kind: type) -> bool:
    return annotation is kind or any(_holds(inner, kind) for inner in get_args(annotation))
