"""The mappings that come with bandshift, run on data that nobody here made up; and on rows made in its shape."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.load.mapping import load_mapping
from app.load.run import load
from tests.load.conftest import INSTANT, Loader

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
MAPPINGS = ROOT / "mappings"

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the outside data is not here (../shared/data)")


def run(engine: Engine, mapping: str, **files: Path) -> list[tuple[str, int, int, int, int]]:
    from uuid import uuid4  # noqa: PLC0415 - beside its only use

    result = load(
        engine,
        files,  # type: ignore[arg-type]
        instant=INSTANT,
        run_id=uuid4(),
        mapping=load_mapping(MAPPINGS / mapping),
    )
    return [(count.dataset, count.read, count.skipped, count.inserted, count.unchanged) for count in result.counts]


@needs_data
def test_the_maven_crm_set_loads_whole_and_again_without_a_change(loader: Loader, database: Engine) -> None:
    folder = DATA / "maven-crm"
    files = {
        "accounts": folder / "accounts.csv",
        "csms": folder / "sales_teams.csv",
        "signals": folder / "sales_pipeline.csv",
    }
    assert run(database, "maven-crm.toml", **files) == [
        ("csms", 35, 0, 35, 0),
        ("accounts", 85, 0, 85, 0),
        ("signals", 8800, 1588, 7212, 0),
    ]
    assert [row[4] for row in run(database, "maven-crm.toml", **files)] == [35, 85, 7212]
    assert loader.rows("SELECT count(*), count(DISTINCT parent_id) FROM accounts WHERE parent_id IS NOT NULL") == [
        (15, 7)
    ]
    assert loader.rows("SELECT arr, attributes FROM accounts WHERE account_id = 'Acme Corporation'") == [
        (
            1_100_040_000,
            {"sector": "technology", "employees": 2822, "year_established": 1996, "office_location": "United States"},
        )
    ]
    assert loader.rows("SELECT kind, count(*) FROM account_signals GROUP BY 1 ORDER BY 1") == [
        ("deal_lost", 2473),
        ("deal_opened", 501),
        ("deal_won", 4238),
    ]


@needs_data
def test_the_salesforce_set_loads_whole_and_again_without_a_change(loader: Loader, database: Engine) -> None:
    folder = DATA / "salesforce"
    files = {
        "accounts": folder / "sf_account_data.csv",
        "csms": folder / "sf_user_data.csv",
        "signals": folder / "sf_opportunity_data.csv",
    }
    assert run(database, "salesforce.toml", **files) == [
        ("csms", 10, 6, 4, 0),
        ("accounts", 10, 3, 7, 0),
        ("signals", 10, 10, 0, 0),
    ]
    assert [row[4] for row in run(database, "salesforce.toml", **files)] == [4, 7, 0]
    assert loader.rows("SELECT status, count(*) FROM accounts GROUP BY 1 ORDER BY 1") == [("active", 1), ("churned", 6)]
    # Two ids that differ only in case towards their end are two accounts.
    assert loader.rows("SELECT count(*) FROM accounts WHERE account_id LIKE '001q000000wW9B%'") == [(2,)]


def test_opportunities_in_the_shape_of_salesforce_become_signals(loader: Loader, database: Engine) -> None:
    accounts = loader.write("account.csv", "id,name,is_deleted,parent_id,annual_revenue,last_activity_date,industry,"
        "type,number_of_employees,billing_country,_fivetran_active\n"
        "001A,Acme,false,,50000,2026-02-01,Retail,Customer,250,Kenya,true\n"
        "001a,Best,true,001A,,,,,,,true\n")  # fmt: skip
    opportunities = loader.write("opportunity.csv", "id,account_id,amount,close_date,is_closed,is_won,is_deleted,name,"
        "_fivetran_active\n006A,001A,1000.50,2026-01-05 00:00:00,true,true,false,Renewal,true\n"
        "006B,001a,,2026-01-06 00:00:00,true,false,false,New,true\n"
        "006C,001A,,2027-01-06 00:00:00,false,false,false,Open,true\n"
        "006D,001A,,2026-01-06 00:00:00,true,false,true,Deleted,true\n")  # fmt: skip
    run(database, "salesforce.toml", accounts=accounts, signals=opportunities)
    facts = {"industry": "Retail", "type": "Customer", "employees": 250, "billing_country": "Kenya"}
    assert loader.rows("SELECT account_id, parent_id, status, arr, attributes FROM accounts ORDER BY 1") == [
        ("001A", None, "active", 50_000, facts),
        ("001a", "001A", "churned", None, {}),
    ]  # fmt: skip
    assert loader.rows("SELECT signal_id, account_id, kind, value, detail FROM account_signals ORDER BY 1") == [
        ("006A", "001A", "opportunity_won", 1000.5, "Renewal"),
        ("006B", "001a", "opportunity_lost", None, "New"),
    ]
