"""Each setting as it is in force, fit to be shown: secrets are masked, and each says where it is from."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path as FilePath
from typing import Any

from pydantic import SecretStr

from app.settings.catalogue import ANY, Path, settings_there_are
from app.settings.read import Reading

MASK = "***"
DEFAULT = "default"

Shown = str | int | float | bool | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Effective:
    """One setting: a secret's value is the mask, or None if there is none; `source` is its place or `default`."""

    path: Path
    value: Shown
    is_secret: bool
    source: str

    @property
    def name(self) -> str:
        """Its name in the settings file: worker.attempts."""
        return ".".join(self.path)


def effective(reading: Reading) -> Iterator[Effective]:
    """Every setting in the order of the model, and of each channel those that its type takes, channels by name."""
    channels = sorted(reading.settings.channels.items())
    for of_channels, group in groupby(settings_there_are(), key=lambda setting: setting.channel is not None):
        members = tuple(group)
        names = channels if of_channels else [("", None)]
        for name, channel in names:
            for setting in members:
                if channel is None or setting.channel == channel.type:
                    path = tuple(name if key == ANY else key for key in setting.path)
                    yield _one(reading, path, is_secret=setting.is_secret)


def _one(reading: Reading, path: Path, *, is_secret: bool) -> Effective:
    value: Any = reading.settings
    for key in path:
        value = value[key] if isinstance(value, dict) else getattr(value, key)
    place = reading.places.get(path)
    return Effective(path, _shown(value), is_secret, str(place) if place is not None else DEFAULT)


def _shown(value: Any) -> Shown:
    match value:
        case SecretStr():
            return MASK
        case FilePath():
            return str(value)
        case None | str() | bool() | int() | float() | tuple():
            return value
    raise AssertionError(f"no setting is a {type(value).__name__}")
