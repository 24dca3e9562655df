"""What a load leaves in the tables: every value, only what differs, all or nothing, and how a mapping changes it."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from app.errors import Busy
from app.load.run import load
from app.runs import take_lock
from tests.load.conftest import INSTANT, Loader, counts

LATER = INSTANT + timedelta(days=1)


def test_every_column_of_every_dataset_arrives(loader: Loader) -> None:
    result = loader(
        csms="csm_id,name,email,bands,segments,regions,languages,max_accounts,max_book,max_new_per_run,hired_on,active\n"
        "ann,Ann Lee,ann@example.com,low;high,enterprise,EMEA; NA,en;de,40,2000000,5,2020-02-01,no\n"
        "bob,Bob,,low,,,,,,,,\n",
        accounts="account_id,name,status,segment,region,language,parent_id,standalone,currency,arr,expansion_arr,"
        "strategic_importance,product_complexity,seats,adoption,contract_term_months,renewal_on,last_engaged_at,"
        "onboarded_at,first_value_at,signed_on,attributes\n"
        'A1,"Acme\t\\ ""Ltd""",churned,enterprise,EMEA,en,A2,yes,usd,1000.505,5,3,2,12.0,0.62,24,2027-01-31,'
        '2026-02-01T10:00:00+02:00,2025-01-01,2025-02-01 12:00:00,2024-12-31,"{""tier"": ""gold""}"\n'
        "A2,,,,,,,,,,,,,,,,,,,,,\n",
        absences="csm_id,starts_on,ends_on,reason\nann,2026-03-01,2026-03-08,parental leave\n",
        signals="account_id,signal_id,kind,occurred_at,value,detail\nA1,s1,seats,2026-02-01T00:00:00Z,-2.5,two\n",
    )
    assert [count.inserted for count in result.counts] == [2, 2, 1, 1]
    assert loader.rows("SELECT * FROM csms ORDER BY csm_id") == [
        (
            "ann", "Ann Lee", "ann@example.com", ["low", "high"], ["enterprise"], ["EMEA", "NA"], ["en", "de"],
            40, Decimal("2000000.00"), 5, date(2020, 2, 1), False,
        ),
        ("bob", "Bob", None, ["low"], None, None, None, None, None, None, None, True),
    ]  # fmt: skip
    assert loader.rows("SELECT * FROM accounts ORDER BY account_id") == [
        (
            "A1", 'Acme\t\\ "Ltd"', "churned", "enterprise", "EMEA", "en", "A2", True, "USD", Decimal("1000.51"),
            Decimal("5.00"), 3, 2, 12, Decimal("0.6200"), 24, date(2027, 1, 31), datetime(2026, 2, 1, 8, tzinfo=UTC),
            datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 2, 1, 12, tzinfo=UTC), date(2024, 12, 31),
            {"tier": "gold"}, INSTANT,
        ),
        ("A2", None, "active", *[None] * 4, False, *[None] * 13, {}, INSTANT),
    ]  # fmt: skip
    assert loader.rows("SELECT * FROM csm_absences") == [("ann", date(2026, 3, 1), date(2026, 3, 8), "parental leave")]
    assert loader.rows("SELECT * FROM account_signals") == [
        ("A1", "s1", "seats", datetime(2026, 2, 1, tzinfo=UTC), Decimal("-2.5000"), "two")
    ]


def test_loading_the_same_again_touches_no_row(loader: Loader) -> None:
    files = {
        "accounts": 'account_id,name,arr,attributes\nA1,Acme,10.005,"{""a"": 1.50}"\nA2,,,\n',
        "csms": "csm_id,name,bands\nann,Ann,low\n",
        "signals": "account_id,signal_id,kind,occurred_at,value\nA1,s1,seats,2026-02-01,1.00001\n",
        "absences": "csm_id,starts_on,ends_on\nann,2026-03-01,2026-03-08\n",
    }
    loader(**files)  # type: ignore[arg-type]
    versions = (
        "SELECT xmin::text, ctid::text FROM accounts UNION ALL SELECT xmin::text, ctid::text FROM account_signals"
    )
    before = loader.rows(versions)
    result = loader(**files, instant=LATER)  # type: ignore[arg-type]
    assert [(count.inserted, count.updated, count.unchanged) for count in result.counts] == [
        (0, 0, 1), (0, 0, 2), (0, 0, 1), (0, 0, 1),
    ]  # fmt: skip
    assert loader.rows(versions) == before


def test_only_rows_that_differ_are_written_and_synced(loader: Loader) -> None:
    loader(accounts="account_id,arr\nA1,1\nA2,2\nA3,\n")
    result = loader(accounts="account_id,arr\nA1,1\nA2,\nA3,3\nA4,4\n", instant=LATER)
    count = counts(result, "accounts")
    assert (count.read, count.inserted, count.updated, count.unchanged, count.bad) == (4, 1, 2, 1, 0)
    assert loader.rows("SELECT account_id, arr, synced_at FROM accounts ORDER BY 1") == [
        ("A1", Decimal("1.00"), INSTANT),
        ("A2", None, LATER),
        ("A3", Decimal("3.00"), LATER),
        ("A4", Decimal("4.00"), LATER),
    ]


def test_columns_that_a_file_does_not_bring_stay_as_they_are(loader: Loader) -> None:
    loader(accounts='account_id,arr,status,attributes\nA1,1,churned,"{""tier"": ""gold""}"\n')
    loader(accounts="account_id,name\nA1,Acme\n")
    loader(accounts="account_id\nA1\n")
    assert loader.rows("SELECT name, arr, status, attributes FROM accounts") == [
        ("Acme", Decimal("1.00"), "churned", {"tier": "gold"})
    ]


def test_ids_that_differ_only_in_case_are_two_accounts_and_blanks_around_them_do_not_count(loader: Loader) -> None:
    loader(accounts="account_id,parent_id\n a1 ,\nA1, a1\n\u00a0B1\u00a0,a1 \n")
    assert loader.rows("SELECT account_id, parent_id FROM accounts ORDER BY 1") == [
        ("A1", "a1"),
        ("B1", "a1"),
        ("a1", None),
    ]


def test_a_load_waits_for_no_run_but_says_that_one_is_at_work(loader: Loader, database: Engine) -> None:
    with database.begin() as connection:
        take_lock(connection)
        with pytest.raises(Busy):
            loader(accounts="account_id\nA1\n")
    assert loader.ids() == []


def test_the_reading_is_reported_as_it_goes(loader: Loader, database: Engine) -> None:
    path = loader.write("accounts.csv", "account_id\n" + "".join(f"A{number}\n" for number in range(6_000)))
    seen: list[tuple[str, int, int]] = []
    load(
        database,
        {"accounts": path},
        instant=INSTANT,
        run_id=uuid4(),
        progress=lambda dataset, done, size: seen.append((dataset, done, size)),
    )
    size = path.stat().st_size
    assert len(seen) == 2
    assert seen[-1] == ("accounts", size, size)


# ---- Mappings --------------------------------------------------------------------------------------------------------


def test_foreign_columns_are_renamed_translated_scaled_and_filled_in(loader: Loader) -> None:
    result = loader(
        mapping="""
        null = ["n/a"]
        numbers = { thousands = ",", strip = "$" }
        dates = "M/D/YYYY"
        time_zone = "America/New_York"
        [accounts]
        ignore = ["internal"]
        skip = [{ column = "deleted", is = ["true"] }, { column = "kind", is_not = ["customer", "partner"] }]
        [accounts.columns]
        account_id = "Id"
        status = { from = "stage", values = { "Live" = "active", "" = "active" }, otherwise = "churned" }
        arr = { from = "revenue", scale = 1_000 }
        adoption = { from = "usage", numbers = { strip = "%" }, scale = 0.01 }
        renewal_on = ["renewed", "closed"]
        currency = { constant = "USD" }
        last_engaged_at = { from = "touched", dates = "YYYY-MM-DD hh:mm" }
        """,
        accounts="Id,stage,revenue,usage,renewed,closed,touched,deleted,kind,internal,name\n"
        'A1,Live,"$1,234.5",62%,,3/1/2026,2026-01-05 10:00,false,customer,x,n/a\n'
        "A2,,n/a,,4/1/2026,3/1/2026,,false,partner,x,Best\n"
        "A3,Gone,0,5%,,,,false,customer,x,Cole\n"
        "A4,Live,not a number,,,,,true,customer,x,Deleted\n"
        "A5,Live,not a number,,,,,false,vendor,x,Vendor\n",
    )
    count = counts(result, "accounts")
    assert (count.read, count.skipped, count.inserted) == (5, 2, 3)
    query = (
        "SELECT account_id, name, status, arr, adoption, renewal_on, last_engaged_at, currency FROM accounts ORDER BY 1"
    )
    engaged = datetime(2026, 1, 5, 15, tzinfo=UTC)
    assert loader.rows(query) == [
        ("A1", None, "active", Decimal("1234500.00"), Decimal("0.6200"), date(2026, 3, 1), engaged, "USD"),
        ("A2", "Best", "active", None, None, date(2026, 4, 1), None, "USD"),
        ("A3", "Cole", "churned", Decimal("0.00"), Decimal("0.0500"), None, None, "USD"),
    ]


def test_unknown_columns_become_attributes_and_named_ones_have_their_type(loader: Loader) -> None:
    mapping = """
        [accounts]
        unknown_columns = "attributes"
        [accounts.attributes]
        staff = { from = "employees", type = "number" }
        public = { from = "listed", type = "boolean" }
        founded = { from = "since", type = "date" }
        """
    loader(
        mapping=mapping,
        accounts='account_id,sector,employees,listed,since\nA1,"re""tail\\",2500,yes,1996-01-01\nA2,,,,\n',
    )
    assert loader.rows("SELECT attributes FROM accounts ORDER BY account_id") == [
        ({"staff": 2500, "public": True, "founded": "1996-01-01", "sector": 're"tail\\'},),
        ({},),
    ]
    assert loader.mistakes(mapping=mapping, accounts="account_id,employees,listed,since\nA1,many,x,y\n") == [
        'accounts.csv:2: employees: "many" is not a number',
        'accounts.csv:2: listed: "x" is not true or false (nor yes, no, 1, 0)',
        'accounts.csv:2: since: "y" is not a date written YYYY-MM-DD',
    ]


def test_attributes_of_another_file_stay_and_those_a_file_brings_empty_go(loader: Loader) -> None:
    mapping = '[accounts]\nunknown_columns = "attributes"'
    loader(mapping=mapping, accounts="account_id,sector,plan\nA1,retail,gold\n")
    loader(mapping=mapping, accounts="account_id,plan,tier\nA1,,1\n")
    assert loader.rows("SELECT attributes FROM accounts") == [({"sector": "retail", "tier": "1"},)]
    again = loader(mapping=mapping, accounts="account_id,plan,tier\nA1,,1\n")
    assert again.counts[0].unchanged == 1


def test_money_in_other_currencies_is_converted_at_the_rates_of_the_mapping(loader: Loader) -> None:
    mapping = '[accounts.currency]\ninto = "USD"\nrates = { EUR = 1.08, JPY = 0.0067 }'
    header = "account_id,currency,arr,expansion_arr\n"
    loader(mapping=mapping, accounts=header + "A1,USD,100,\nA2,eur,100,10.01\nA3,JPY,1000000,\nA4,,100,\n")
    assert loader.rows("SELECT currency, arr, expansion_arr FROM accounts ORDER BY account_id") == [
        ("USD", Decimal("100.00"), None),
        ("USD", Decimal("108.00"), Decimal("10.81")),
        ("USD", Decimal("6700.00"), None),
        (None, Decimal("100.00"), None),
    ]
    assert loader.mistakes(mapping=mapping, accounts=header + "A1,CHF,1,\nA2,EUR,10000000000000,\n") == [
        'accounts.csv:2: currency: "CHF" has no rate under accounts.currency.rates',
        'accounts.csv:3: arr: "10000000000000" is absurdly large in USD, above 10,000,000,000,000',
    ]


def test_a_parent_is_found_by_its_name(loader: Loader) -> None:
    mapping = '[accounts.columns]\nparent_id = { from = "parent", by = "name" }'
    header = "account_id,name,parent\n"
    loader(accounts="account_id,name\nP1,Holding\nP2,Old name\n")
    loader(mapping=mapping, accounts=header + "A1,Acme,Holding\nA2,Best,Acme\nP2,New name,\nA3,Cole,\n")
    assert loader.rows("SELECT account_id, parent_id FROM accounts WHERE parent_id IS NOT NULL ORDER BY 1") == [
        ("A1", "P1"),
        ("A2", "A1"),
    ]
    assert loader.mistakes(
        mapping=mapping,
        accounts=header + "B1,Twin,\nB2,Twin,\nB3,Child,Twin\nB4,Child,acme\nB5,Own,Own\nB6,X,Old name\n",
    ) == [
        'accounts.csv:4: parent: "Twin" is the name of 2 accounts; give the id',
        'accounts.csv:5: parent: "acme" is the name of no account that is loaded',
        'accounts.csv:6: parent: "B5" is the account itself, which cannot be its own parent',
        'accounts.csv:7: parent: "Old name" is the name of no account that is loaded',
    ]


def test_a_csm_is_found_by_e_mail_address(loader: Loader) -> None:
    loader(
        mapping='[absences.columns]\ncsm_id = { from = "who", by = "email" }',
        csms="csm_id,name,bands,email\nann,Ann,low,Ann@Example.com\n",
        absences="who,starts_on,ends_on\nann@example.com,2026-03-01,2026-03-02\n",
    )
    assert loader.ids("csm_absences", "csm_id") == ["ann"]


def test_encoding_delimiter_and_list_separator_are_the_mappings(loader: Loader) -> None:
    mapping = 'encoding = "windows-1252"\ndelimiter = "\\t"\nlist_separator = "|"'
    loader(mapping=mapping, csms="csm_id\tname\tbands\nann\tMüller €\tlow|high\n".encode("cp1252"))
    assert loader.rows("SELECT name, bands FROM csms") == [("Müller €", ["low", "high"])]


def test_a_mapping_that_does_not_fit_the_header_is_told_with_what_was_meant(loader: Loader) -> None:
    assert loader.mistakes(
        mapping="""
        [accounts]
        skip = [{ column = "is_deletd", is = ["true"] }]
        [accounts.columns]
        account_id = "Id"
        arr = "Revenu"
        currency = { constant = "US" }
        [accounts.attributes]
        x = "why"
        """,
        accounts="Id,Revenue,is_deleted\nA1,1,false\n",
    ) == [
        (
            "accounts.csv: there is no column `Revenu`, which accounts.columns.arr of the mapping names; "
            "did you mean `Revenue`?"
        ),
        "accounts.csv: there is no column `why`, which accounts.attributes.x of the mapping names",
        (
            "accounts.csv: there is no column `is_deletd`, which accounts.skip of the mapping names; "
            "did you mean `is_deleted`?"
        ),
        (
            'accounts.csv: unknown column `Revenue`; in a mapping, `unknown_columns` = "attributes" keeps '
            'and "ignore" drops such columns'
        ),
        (
            'accounts.csv: unknown column `is_deleted`; in a mapping, `unknown_columns` = "attributes" keeps '
            'and "ignore" drops such columns'
        ),
        'accounts.csv: accounts.columns.currency: the constant "US" is not a currency\'s three letters, such as USD',
    ]
