"""docs/loading.md says what the loader does: its tables are those of the code, and its SQL and TOML run."""

import re
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text

from app.load.datasets import DATASETS, Dataset, Kind
from app.load.mapping import read_mapping
from app.pipeline import recompute
from app.policy.read import default_policy
from app.tables import accounts, csms
from tests.load.conftest import INSTANT, Loader

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "loading.md").read_text()

SALESFORCE = """
CREATE SCHEMA salesforce;
CREATE TABLE salesforce.account (
    id text, name text, is_deleted boolean, segment__c text, region__c text, parent_id text, arr__c numeric,
    number_of_seats__c integer, renewal_date__c date, last_activity_date date, industry text,
    _fivetran_synced timestamptz, _fivetran_deleted boolean
);
INSERT INTO salesforce.account VALUES
    ('001A', 'Acme', false, 'enterprise', 'EMEA', NULL, 90000, 5, '2027-01-01', '2026-02-20', 'retail', now(), false),
    ('001B', 'Best', false, NULL, NULL, '001A', 1000, NULL, NULL, NULL, NULL, now(), false),
    ('001C', 'Gone', false, NULL, NULL, NULL, 1000, NULL, NULL, NULL, NULL, now(), true);
CREATE TABLE salesforce.opportunity (
    id text, account_id text, is_won boolean, is_closed boolean, close_date date, amount numeric, name text,
    _fivetran_deleted boolean
);
INSERT INTO salesforce.opportunity VALUES ('006A', '001A', true, true, '2026-01-05', 100, 'Renewal', false);
CREATE TABLE salesforce."user" (id text, name text, email text, is_active boolean, profile_name text);
INSERT INTO salesforce."user" VALUES ('005A', 'Ann', 'ann@example.com', true, 'Customer Success');
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCS, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=list(DATASETS))
def test_the_table_of_each_dataset_lists_its_columns_with_their_types(dataset: Dataset) -> None:
    section = DOCS.split(f"### `--{dataset.name}`")[1].split("\n## ")[0].split("\n### ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", section, re.MULTILINE)
    assert [(name, kind) for name, kind, _ in rows] == [
        (field.name, "JSON" if field.kind is Kind.JSON else field.kind.value) for field in dataset.fields
    ]
    for (_, _, empty), field in zip(rows, dataset.fields, strict=True):
        assert (empty == "required") == field.required
        if field.default is not None:
            assert empty == f"`{field.default}`"


def test_the_mapping_of_the_reference_can_be_read() -> None:
    (reference,) = blocks("toml")
    mapping = read_mapping(reference, source="docs").of("accounts")
    assert {"arr", "adoption", "status", "renewal_on", "parent_id", "language"} <= mapping.columns.keys()


def test_the_views_have_every_column_in_its_type_and_a_run_works_on_them(loader: Loader, database: Engine) -> None:
    columns = {
        name: [str(item["type"]) for item in inspect(database).get_columns(name)] for name in ("accounts", "csms")
    }
    with database.begin() as connection:
        connection.exec_driver_sql(SALESFORCE)
        for block in blocks("sql"):
            connection.execute(text(block.replace(":", r"\:")))
    for table in (accounts, csms):
        found = inspect(database).get_columns(table.name)
        assert [item["name"] for item in found] == table.columns.keys()
        assert [str(item["type"]) for item in found] == columns[table.name]
    assert loader.rows("SELECT account_id, kind, value FROM account_signals") == [("001A", "opportunity_won", 100)]
    result = recompute(database, default_policy(), INSTANT, dry_run=False)
    assert result.status == "applied"
    assert loader.rows("SELECT account_id, band, owner_id FROM coverage ORDER BY 1") == [
        ("001A", "high", "005A"),
        ("001B", "tech", None),
    ]
