"""Rows that cannot be loaded: each is told with its file, line, column, value and reason, and nothing is written."""

import pytest
from sqlalchemy import Engine

from app.errors import ExitCode, Mistake
from app.load.outcome import BadRows
from tests.load.conftest import Loader

ACCOUNTS = "account_id,name,arr\n"
SIGNALS = "account_id,signal_id,kind,occurred_at,value\n"
CSMS = "csm_id,name,bands\n"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("A1,Acme,abc\n", ['accounts.csv:2: arr: "abc" is not a number']),
        ("A1,Acme,NaN\n", ['accounts.csv:2: arr: "NaN" is not a finite number']),
        ("A1,Acme,-1\n", ['accounts.csv:2: arr: "-1" is negative']),
        ("A1,Acme,1e14\n", ['accounts.csv:2: arr: "1e14" is absurdly large, above 10,000,000,000,000']),
        (",Acme,1\n", ["accounts.csv:2: account_id: is empty, and every row needs one"]),
        ("  ,Acme,1\n", ["accounts.csv:2: account_id: is empty, and every row needs one"]),
        ("A1,Acme\n", ["accounts.csv:2: has 2 cells where the header has 3"]),
        ("A1,Acme,1,2\n", ["accounts.csv:2: has 4 cells where the header has 3"]),
        (
            'A1,"Ac"me,1\n',
            ["accounts.csv:2: has text after a closing quote; a quote within a quoted cell is written twice"],
        ),
        ('A1,"Acme,1\nA2,Best,2\n', ["accounts.csv:2: opens a quote that is never closed"]),
        ("A1,Ac\0me,1\n", ['accounts.csv:2: name: "Ac?me" holds a NUL byte, which Postgres cannot store']),
        ("A1,Acme,1\nA2,Best,1\nA1,Acme,1\n", ['accounts.csv:4: account_id: "A1" is already on line 2']),
        ("A1,Acme,1\n A1 ,Acme,1\n", ['accounts.csv:3: account_id: "A1" is already on line 2']),
        (
            "A1," + "x" * 2_000 + ",1\n",
            [f'accounts.csv:2: name: "{"x" * 60}…" is 2,000 characters long; at most 1,000 fit'],
        ),
        (
            "A1," + "x" * 10_000_000 + ",1\n",
            ["accounts.csv:2: has a cell of over 131,072 characters; is a quote never closed?"],
        ),
        (
            'A1,"two\nlines",x\nA2,Best,y\n',
            ['accounts.csv:2: arr: "x" is not a number', 'accounts.csv:4: arr: "y" is not a number'],
        ),
    ],
)
def test_a_bad_row_is_told_in_these_words_and_nothing_is_written(
    loader: Loader, rows: str, expected: list[str]
) -> None:
    assert loader.mistakes(accounts=ACCOUNTS + rows) == expected
    assert loader.ids() == []


def test_every_bad_cell_of_a_row_is_told(loader: Loader) -> None:
    assert loader.mistakes(accounts="account_id,arr,seats,renewal_on\nA1,x,y,z\n") == [
        'accounts.csv:2: arr: "x" is not a number',
        'accounts.csv:2: renewal_on: "z" is not a date written YYYY-MM-DD',
        'accounts.csv:2: seats: "y" is not a number',
    ]


def test_bad_rows_are_shown_up_to_a_cap_with_their_total(loader: Loader) -> None:
    with pytest.raises(BadRows) as caught:
        loader(accounts=ACCOUNTS + "".join(f"A{number},x,bad\n" for number in range(30)) + "B,x,1\n", max_errors=3)
    assert caught.value.exit_code is ExitCode.MISTAKE
    assert str(caught.value).splitlines() == [
        (
            "nothing was loaded: bad rows, 30 of 31 rows in accounts.csv; 27 more of them are not shown, "
            "see --max-errors. "
            "Correct them, or load the rest with --quarantine FILE:"
        ),
        '  accounts.csv:2: arr: "bad" is not a number',
        '  accounts.csv:3: arr: "bad" is not a number',
        '  accounts.csv:4: arr: "bad" is not a number',
    ]
    assert loader.ids() == []


def test_bad_rows_beyond_one_batch_are_all_counted(loader: Loader) -> None:
    rows = "".join(f"A{number},x,{'bad' if number % 2 else '1'}\n" for number in range(12_000))
    with pytest.raises(BadRows) as caught:
        loader(accounts=ACCOUNTS + rows)
    assert caught.value.counts[0].bad == 6_000
    assert len(caught.value.bad_rows) == 20


def test_a_bad_row_in_one_file_leaves_every_other_file_unloaded(loader: Loader) -> None:
    found = loader.mistakes(csms=CSMS + "ann,Ann,low\n", accounts=ACCOUNTS + "A1,Acme,bad\n")
    assert found == ['accounts.csv:2: arr: "bad" is not a number']
    assert loader.ids("csms", "csm_id") == []


def test_parents_have_to_be_known(loader: Loader) -> None:
    header = "account_id,parent_id\n"
    loader(accounts=header + "P0,\n")
    assert loader.mistakes(accounts=header + "A1,P9\nA2,A3\nA3,P0\nA4,a3\n") == [
        'accounts.csv:2: parent_id: "P9" is the id of no account that is loaded',
        'accounts.csv:5: parent_id: "a3" is the id of no account that is loaded',
    ]
    loader(accounts=header + "A2,A3\nA3,P0\n")
    assert loader.ids() == ["A2", "A3", "P0"]


def test_a_child_of_a_bad_row_is_bad_and_so_are_its_children(loader: Loader) -> None:
    assert loader.mistakes(accounts="account_id,parent_id,arr\nA1,,bad\nA2,A1,1\nA3,A2,1\nA4,,1\n") == [
        'accounts.csv:2: arr: "bad" is not a number',
        'accounts.csv:3: parent_id: "A1" is an account whose own row is bad',
        'accounts.csv:4: parent_id: "A2" is an account whose own row is bad',
    ]


def test_an_account_is_not_its_own_parent_nor_its_own_ancestor(loader: Loader) -> None:
    rows = "A1,A1\nA2,A3\nA3,A4\nA4,A2\nA5,A2\nA6,\nA7,A6\n"
    assert loader.mistakes(accounts="account_id,parent_id\n" + rows) == [
        'accounts.csv:2: parent_id: "A1" is the account itself, which cannot be its own parent',
        'accounts.csv:3: parent_id: "A3" closes a cycle: it has A2 above itself',
        'accounts.csv:4: parent_id: "A4" closes a cycle: it has A3 above itself',
        'accounts.csv:5: parent_id: "A2" closes a cycle: it has A4 above itself',
        'accounts.csv:6: parent_id: "A2" is an account whose own row is bad',
    ]


def test_a_cycle_that_closes_only_with_what_is_loaded_already_is_found(loader: Loader) -> None:
    loader(accounts="account_id,parent_id\nA1,\nA2,A1\nA3,A2\n")
    assert loader.mistakes(accounts="account_id,parent_id\nA1,A3\n") == [
        'accounts.csv:2: parent_id: "A3" closes a cycle: it has A1 above itself'
    ]
    # Loaded together with what breaks it up, it is none.
    loader(accounts="account_id,parent_id\nA1,A3\nA2,\n")
    assert loader.rows("SELECT parent_id FROM accounts ORDER BY account_id") == [("A3",), (None,), ("A2",)]


@pytest.mark.parametrize("closed", [True, False])
def test_a_chain_of_thousands_is_followed_quickly(loader: Loader, closed: bool) -> None:
    last = 20_000
    rows = "".join(f"A{number},A{number - 1}\n" for number in range(1, last))
    content = "account_id,parent_id\nA0," + (f"A{last - 1}" if closed else "") + "\n" + rows
    if closed:
        with pytest.raises(BadRows) as caught:
            loader(accounts=content)
        assert caught.value.counts[0].bad == last
    else:
        loader(accounts=content)


def test_signals_of_unknown_accounts_are_bad(loader: Loader) -> None:
    assert loader.mistakes(
        accounts=ACCOUNTS + "A1,Acme,1\nA2,Best,bad\n",
        signals=SIGNALS + "A1,s1,seats,2026-01-05,1\nA2,s2,seats,2026-01-05,1\nA3,s3,seats,2026-01-05,1\n",
    ) == [
        'accounts.csv:3: arr: "bad" is not a number',
        'signals.csv:3: account_id: "A2" is an account whose own row is bad',
        'signals.csv:4: account_id: "A3" is the id of no account that is loaded',
    ]


def test_signals_are_repeated_when_account_and_id_are(loader: Loader) -> None:
    loader(accounts=ACCOUNTS + "A1,Acme,1\nA2,Best,1\n")
    rows = "A1,s1,seats,2026-01-05,1\nA2,s1,seats,2026-01-05,1\nA1,s1,seats,2026-01-06,2\n"
    assert loader.mistakes(signals=SIGNALS + rows) == [
        'signals.csv:4: signal_id: "s1" is already on line 2, with the same account_id'
    ]


def test_signals_need_a_kind_and_an_instant(loader: Loader) -> None:
    loader(accounts=ACCOUNTS + "A1,Acme,1\n")
    assert loader.mistakes(signals=SIGNALS + "A1,s1,,2026-01-05,1\nA1,s2,seats,,1\nA1,s3,seats,9999-12-31,1\n") == [
        "signals.csv:2: kind: is empty, and every row needs one",
        "signals.csv:3: occurred_at: is empty, and every row needs one",
        'signals.csv:4: occurred_at: "9999-12-31" lies outside the years 1900 to 2200',
    ]


def test_mixed_currencies_are_bad_without_rates(loader: Loader) -> None:
    rows = "A1,USD,1\nA2,EUR,1\nA3,USD,1\nA4,,1\nA5,gbp,1\n"
    hint = "give rates under accounts.currency in the mapping, or load each currency by itself"
    assert loader.mistakes(accounts="account_id,currency,arr\n" + rows) == [
        f'accounts.csv:3: currency: "EUR" is not the currency of most rows, USD; {hint}',
        f'accounts.csv:6: currency: "GBP" is not the currency of most rows, USD; {hint}',
    ]


def test_csms_that_cannot_be_are_told_in_one_line_each(loader: Loader) -> None:
    header = "csm_id,name,bands,email,max_accounts,max_book\n"
    limit = "is not above zero; leave it empty for no limit of its own"
    assert loader.mistakes(
        csms=header
        + "a,Ann,low,ann@example.com,0,\nb,Bob,low,bob@example.com,-5,\nc,Cem,low,,10,0\n"
        + "d,Dee,,dee@example.com,10,\ne,Eve,low,eve@example.com,10,\nf,Fay,low,EVE@example.com,10,\ng,,low,,,\n"
    ) == [
        f'csms.csv:2: max_accounts: "0" {limit}',
        f'csms.csv:3: max_accounts: "-5" {limit}',
        f'csms.csv:4: max_book: "0" {limit}',
        "csms.csv:5: bands: is empty, and every row needs one",
        'csms.csv:7: email: "EVE@example.com" is already the e-mail address of the CSM on line 6',
        "csms.csv:8: name: is empty, and every row needs one",
    ]


def test_an_email_address_of_a_csm_who_is_loaded_already_is_taken(loader: Loader) -> None:
    header = "csm_id,name,bands,email\n"
    loader(csms=header + "a,Ann,low,ann@example.com\n")
    assert loader.mistakes(csms=header + "b,Bob,low,Ann@Example.com\n") == [
        'csms.csv:2: email: "Ann@Example.com" is already the e-mail address of CSM a'
    ]
    # Unless that CSM gives it up in the same file.
    loader(csms=header + "b,Bob,low,Ann@Example.com\na,Ann,low,new@example.com\n")


def test_csms_serve_bands_that_the_policy_has(loader: Loader) -> None:
    from app.policy.read import default_policy  # noqa: PLC0415 - only this test loads CSMs against a policy

    assert loader.mistakes(csms=CSMS + "a,Ann,low;hihg\nb,Bob,high\n", policy=default_policy()) == [
        'csms.csv:2: bands: "hihg" is no band of policy default, which has tech, low, high, strategic'
    ]


def test_absences_are_of_known_csms_and_end_after_they_start(loader: Loader) -> None:
    header = "csm_id,starts_on,ends_on\n"
    loader(csms=CSMS + "a,Ann,low\n")
    assert loader.mistakes(absences=header + "a,2026-01-05,2026-01-04\nb,2026-01-05,2026-01-06\na,2026-02-30,\n") == [
        'absences.csv:2: ends_on: "2026-01-04" is before the absence starts, on 2026-01-05',
        'absences.csv:3: csm_id: "b" is the id of no CSM that is loaded',
        "absences.csv:4: ends_on: is empty, and every row needs one",
        'absences.csv:4: starts_on: "2026-02-30" is not a date written YYYY-MM-DD',
    ]


def test_a_header_without_rows_is_a_mistake_where_an_export_has_always_some(loader: Loader) -> None:
    expected = "has a header and no rows; an export that failed looks just like this"
    assert loader.mistakes(accounts=ACCOUNTS) == [f"accounts.csv: {expected}"]
    assert loader.mistakes(csms=CSMS) == [f"csms.csv: {expected}"]
    assert loader.mistakes(coverage="account_id,band\n") == [f"coverage.csv: {expected}"]
    assert loader(signals=SIGNALS).counts[0].read == 0
    assert loader(absences="csm_id,starts_on,ends_on\n").counts[0].read == 0


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            "account_id,nmae",
            ["accounts.csv: unknown column `nmae`; did you mean `name`?"],
        ),
        (
            "account_id,colour",
            [
                (
                    "accounts.csv: unknown column `colour`; in a mapping, `unknown_columns` = "
                    '"attributes" keeps and "ignore" drops such columns'
                )
            ],
        ),
        ("account_id,name,name", ["accounts.csv: the header names `name` 2 times"]),
        ("account_id,,name", ["accounts.csv: column 2 of the header has no name"]),
        (
            "AccountId,name",
            [
                (
                    "accounts.csv: no column for `account_id`, which accounts need; did you mean `AccountId`? name it "
                    "so, or say under [accounts.columns] in a mapping which it is"
                ),
                "accounts.csv: unknown column `AccountId`; did you mean `account_id`?",
            ],
        ),
    ],
)
def test_a_header_that_does_not_fit_is_told_at_once(loader: Loader, header: str, expected: list[str]) -> None:
    assert loader.mistakes(accounts=header + "\nA1,x,y\n") == expected


def test_mistakes_of_several_files_are_told_together(loader: Loader) -> None:
    assert loader.mistakes(accounts="account_id,colour\nA1,x\n", csms="", signals=SIGNALS.replace("kind,", "")) == [
        "csms.csv is empty; its first line has to name the columns",
        (
            "accounts.csv: unknown column `colour`; in a mapping, `unknown_columns` = "
            '"attributes" keeps and "ignore" drops such columns'
        ),
        (
            "signals.csv: no column for `kind`, which signals need; name it so, or say under [signals.columns] in a "
            "mapping which it is"
        ),
    ]


def test_a_wrong_encoding_in_the_middle_of_a_file_leaves_nothing_behind(loader: Loader) -> None:
    rows = "".join(f"A{number},x,1\n" for number in range(9_000))
    assert loader.mistakes(accounts=(ACCOUNTS + rows + "B1,M\xfcller,1\n").encode("latin-1")) == [
        'accounts.csv:9002: is not UTF-8 (byte 0xFC); put `encoding = "windows-1252"` or "latin-1" into the mapping'
    ]
    assert loader.ids() == []


def test_a_view_in_place_of_a_table_is_not_loaded_into(loader: Loader, database: Engine) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE accounts RENAME TO crm_accounts")
        connection.exec_driver_sql("CREATE VIEW accounts AS SELECT * FROM crm_accounts")
    with pytest.raises(Mistake, match="`accounts` is a view in this database: feed the table behind it"):
        loader(accounts=ACCOUNTS + "A1,Acme,1\n")


def test_nothing_to_load_is_a_mistake(loader: Loader) -> None:
    with pytest.raises(Mistake, match=r"^nothing to load: name a file with --csms, --accounts, --absences, --signals"):
        loader()
