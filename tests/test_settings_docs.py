"""docs/settings.md lists the settings there are.

`UPDATE_GOLDEN=1 pytest tests/test_settings_docs.py` writes its tables anew, to be read in the diff.
"""

import os
import re
import tomllib
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from app.settings.catalogue import ANY, Setting, settings_there_are, variable
from app.settings.model import TOPICS
from app.settings.read import read_settings
from tests.test_docs import ROOT, blocks

DOCUMENT = ROOT / "docs" / "settings.md"
HEADER = "| setting | variable | takes | default | meaning |\n|---|---|---|---|---|\n"
TABLE = re.compile(r"^\| setting \|.*\n(?:\|.*\n)+", re.MULTILINE)


def takes(setting: Setting) -> str:
    """What the setting takes, for the reader of a table."""
    if setting.is_secret:
        return "a secret"
    kind: Any = setting.field.annotation
    if get_origin(setting.field.annotation) is Literal:
        return ", ".join(f"`{word}`" for word in get_args(setting.field.annotation))
    if get_origin(setting.field.annotation) is tuple:
        return "a list"
    kind = next((one for one in get_args(kind) if one is not type(None)), kind)
    kind = getattr(kind, "__origin__", kind)  # of Annotated, what is annotated
    return bounds(setting) if kind in {int, float} else {bool: "`true`, `false`", str: "a text", Path: "a path"}[kind]


def bounds(setting: Setting) -> str:
    named = {
        name: getattr(one, name) for one in setting.field.metadata for name in ("ge", "gt", "le") if hasattr(one, name)
    }
    low = f"{named['ge']:,}" if "ge" in named else f"above {named['gt']:,}"
    return f"{low} to {named['le']:,}"


def default(setting: Setting) -> str:
    if setting.field.is_required():
        return "required"
    value: Any = setting.field.default
    match value:
        case None | ():
            return "none"
        case bool():
            return f"`{str(value).lower()}`"
        case tuple():
            left_out = [f"`{topic}`" for topic in TOPICS if topic not in value]
            return f"all but {', '.join(left_out)}" if left_out else "all"
        case _:
            return f"`{value}`"


def tables() -> Iterator[str]:
    """Every table of the document, in its order."""
    for _, group in groupby(settings_there_are(), key=lambda one: (one.path[:-1], one.channel)):
        rows = []
        for one in group:
            path = tuple("NAME" if key == ANY else key for key in one.path)
            name = ".".join(path).replace("NAME", "*")
            rows.append(
                f"| `{name}` | `{variable(path)}` | {takes(one)} | {default(one)} | {one.field.description} |\n"
            )
        yield HEADER + "".join(rows)


SECRETS = {
    "secrets/ops": "whsec_" + "A" * 40,
    "secrets/chat": "https://chat.example.com/T0",
    "secrets/mail": "password",
}


def test_the_document_lists_every_setting_with_its_default_and_meaning() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    expected = list(tables())
    if os.environ.get("UPDATE_GOLDEN"):
        fresh = iter(expected)
        DOCUMENT.write_text(TABLE.sub(lambda _: next(fresh), text), encoding="utf-8")
        text = DOCUMENT.read_text(encoding="utf-8")
    assert TABLE.findall(text) == expected


def test_every_setting_has_a_meaning() -> None:
    assert [one.path for one in settings_there_are() if not one.field.description] == []


def test_the_example_file_of_the_document_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = blocks(DOCUMENT, "toml")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bandshift.toml").write_text(example, encoding="utf-8")
    for held in re.findall(r'_file = "(.*)"', example):
        secret = tmp_path / held
        secret.parent.mkdir(parents=True, exist_ok=True)
        secret.write_text(SECRETS[held], encoding="utf-8")
    reading = read_settings({})
    assert set(reading.settings.channels) == {"ops", "chat", "mail"}
    assert tomllib.loads(example)["worker"]["catch_up"] == reading.settings.worker.catch_up
