"""The settings in force, for people and for programs. What is secret arrives here masked."""

import csv
import json
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import IO

from app.report.csv import cell
from app.report.page import Column, Page, Row
from app.settings.effective import Effective, Shown

SCHEMA = 1
COLUMNS = ("setting", "value", "from")


def write_settings_table(out: IO[str], settings: Iterable[Effective], file: Path | None) -> None:
    """A table for each group of settings, under its name."""
    page = Page(out)
    page.line("No settings file." if file is None else f"Settings file: {file}")
    columns = (Column("setting"), Column("from"), Column("value"))
    for group, members in groupby(settings, key=lambda one: ".".join(one.path[:-1])):
        if group:
            page.heading(group)
        page.table(columns, [Row((one.path[-1], one.source, _text(one.value))) for one in members])


def write_settings_json(out: IO[str], settings: Iterable[Effective], file: Path | None) -> None:
    """One JSON object."""
    listed = [
        {"name": one.name, "value": one.value, "is_secret": one.is_secret, "from": one.source} for one in settings
    ]
    found = {"schema": SCHEMA, "file": None if file is None else str(file), "settings": listed}
    out.write(json.dumps(found, ensure_ascii=False, indent=2) + "\n")


def write_settings_csv(out: IO[str], settings: Iterable[Effective]) -> None:
    """A header and a row for each setting."""
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows([one.name, cell(_text(one.value)), cell(one.source)] for one in settings)


def _text(value: Shown) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case tuple():
            return ", ".join(value)
        case float():
            return f"{value:g}"
        case _:
            return str(value)
