"""Every setting there is, out of the model: its name, its variable, its kind, its default and what it means."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path as FilePath
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from app.settings.model import Channel, Settings

Path = tuple[str, ...]

ANY = "*"
"""Stands for the name of a channel in a path."""

_UNPREFIXED = ("database_url",)
"""Settings whose variables have the name that everybody uses."""


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
    sought = (path[0], ANY, *path[2:]) if path[:1] == ("channels",) and len(path) > 1 else path
    return next((setting for setting in settings_there_are() if setting.path == sought), None)


def variable(path: Path) -> str:
    """The environment variable of the setting at `path`."""
    prefix = "" if path[0] in _UNPREFIXED else Settings.model_config["env_prefix"]
    return prefix + str(Settings.model_config["env_nested_delimiter"]).join(path).upper()


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
