"""One cell at a time: what each kind of column reads, and the words for what it cannot."""

from datetime import UTC, tzinfo
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.load.datasets import DATASETS, DatasetName, Field
from app.load.dates import DateFormat
from app.load.fields import BadCell, Formats, Numbers, parser_of, passes_of


def formats(dates: str = "", zone: tzinfo = UTC, **numbers: str | Decimal) -> Formats:
    return Formats(Numbers(**numbers), DateFormat(dates) if dates else None, zone, ";")  # type: ignore[arg-type]


def field(name: str, dataset: DatasetName = "accounts") -> Field:
    return DATASETS[dataset].field[name]


def read(name: str, cell: str, form: Formats | None = None, dataset: DatasetName = "accounts") -> str:
    return parser_of(field(name, dataset), form or formats())(cell)


def refusal(name: str, cell: str, form: Formats | None = None, dataset: DatasetName = "accounts") -> str:
    with pytest.raises(BadCell) as caught:
        read(name, cell, form, dataset)
    return caught.value.reason


@pytest.mark.parametrize(
    ("name", "cell", "expected"),
    [
        ("arr", "1234.5", "1234.5"),
        ("arr", "1e6", "1000000"),
        ("arr", "1.2E+06", "1200000"),
        ("arr", "+7", "7"),
        ("arr", ".5", "0.5"),
        ("arr", "-0", "-0"),
        ("arr", "10000000000000", "10000000000000"),
        ("seats", "12", "12"),
        ("seats", "12.0", "12"),
        ("adoption", "0.62", "0.62"),
        ("standalone", "YES", "true"),
        ("standalone", "0", "false"),
        ("status", "Churned", "churned"),
        ("currency", "eur", "EUR"),
        ("renewal_on", "2026-02-28", "2026-02-28"),
        ("renewal_on", "2026-02-28 00:00:00", "2026-02-28"),
        ("renewal_on", "1900-01-01", "1900-01-01"),
        ("renewal_on", "2200-12-31", "2200-12-31"),
        ("last_engaged_at", "2026-02-28", "2026-02-28T00:00:00+00:00"),
        ("last_engaged_at", "2026-02-28T10:00:00+02:00", "2026-02-28T08:00:00+00:00"),
        ("last_engaged_at", "2026-02-28 10:00:00.829 UTC", "2026-02-28T10:00:00.829000+00:00"),
        ("last_engaged_at", "2026-02-28 10:00:00+00", "2026-02-28T10:00:00+00:00"),
        ("attributes", '{"tier": "gold", "n": 1}', '{"tier": "gold", "n": 1}'),
    ],
)
def test_a_good_cell_becomes_what_postgres_reads(name: str, cell: str, expected: str) -> None:
    assert read(name, cell) == expected


@pytest.mark.parametrize(
    ("name", "cell", "reason"),
    [
        ("arr", "abc", "is not a number"),
        ("arr", "NaN", "is not a finite number"),
        ("arr", "inf", "is not a finite number"),
        ("arr", "-Infinity", "is not a finite number"),
        ("arr", "-1", "is negative"),
        ("arr", "10000000000000.01", "is absurdly large, above 10,000,000,000,000"),
        ("arr", "1e99", "is absurdly large, above 10,000,000,000,000"),
        ("arr", "1" * 80, "is not a number: it is 80 characters long"),
        ("arr", "0x10", "is not a number"),
        ("arr", "1_000", "is not a number"),
        ("arr", "\u0661\u0662", "is not a number"),
        (
            "arr",
            "1,234.50",
            'is not a number; if `,` separates thousands, put `thousands = ","` under `numbers` in the mapping',
        ),
        (
            "arr",
            "1.234,5",
            'is not a number; if `,` is the decimal sign, put `decimal = ","` under `numbers` in the mapping',
        ),
        ("arr", "$12", 'is not a number; to leave `$` out, put `strip = "$"` under `numbers` in the mapping'),
        ("seats", "1.5", "is not a whole number"),
        ("seats", "-3", "is negative"),
        ("adoption", "62", "is no share of 1; for percentages put `scale = 0.01` in the mapping"),
        ("standalone", "maybe", "is not true or false (nor yes, no, 1, 0)"),
        ("status", "Customer", "is not active or churned; translate your words with `values` in the mapping"),
        ("currency", "$", "is not a currency's three letters, such as USD"),
        ("renewal_on", "2026-02-30", "is not a date written YYYY-MM-DD"),
        ("renewal_on", "20260228", "is not a date written YYYY-MM-DD"),
        ("renewal_on", "2026-W05-1", "is not a date written YYYY-MM-DD"),
        ("renewal_on", "2/28/2026", "is not a date written YYYY-MM-DD; put another `dates` format into the mapping"),
        ("renewal_on", "2026-02-28 10:00:00", "has a time of day where a date is expected"),
        ("renewal_on", "9999-12-31", "lies outside the years 1900 to 2200"),
        ("renewal_on", "1899-12-31", "lies outside the years 1900 to 2200"),
        ("last_engaged_at", "yesterday", "is not a date written YYYY-MM-DD"),
        ("last_engaged_at", "2201-01-01T00:00:00Z", "lies outside the years 1900 to 2200"),
        ("account_id", "A" * 256, "is 256 characters long; at most 255 fit"),
        ("account_id", "A\n1", "holds a control character; an id is one printable word or phrase"),
        ("name", "A\0B", "holds a NUL byte, which Postgres cannot store"),
        ("attributes", "{", "is not JSON"),
        ("attributes", '{"a": NaN}', "is not JSON"),
        ("attributes", '{"a": "\\ud800"}', "is not JSON"),
        ("attributes", "[" * 50_000, "is not JSON"),
        ("attributes", "[1]", 'is not a JSON object, such as {"tier": "gold"}'),
        ("attributes", '{"a": "\\u0000"}', "holds a NUL character, which Postgres cannot store"),
    ],
)
def test_a_bad_cell_is_refused_in_these_words(name: str, cell: str, reason: str) -> None:
    assert refusal(name, cell) == reason


def test_a_list_is_split_stripped_and_has_nothing_twice() -> None:
    assert read("bands", "low; high;;low", dataset="csms") == '{"low","high"}'
    assert read("segments", 'a"b;c\\d', dataset="csms") == '{"a\\"b","c\\\\d"}'
    assert refusal("bands", " ; ", dataset="csms") == "lists nothing"


@pytest.mark.parametrize("cell", ["0", "-5"])
def test_a_capacity_is_above_zero(cell: str) -> None:
    reason = "is not above zero; leave it empty for no limit of its own"
    assert refusal("max_accounts", cell, dataset="csms") == reason
    assert refusal("max_book", cell, dataset="csms") == reason


def test_numbers_are_read_as_the_mapping_writes_them() -> None:
    german = formats(decimal=",", thousands=".", strip="€")
    assert read("arr", "1.234.567,89 €", german) == "1234567.89"
    assert refusal("arr", "1.23,4", german) == "is not a number: its `.` do not stand between thousands"
    assert refusal("arr", "12.5", formats(decimal=",")) == "is not a number whose decimal sign is `,`"
    assert read("arr", "1100.04", formats(scale=Decimal(1_000_000))) == "1100040000.00"
    assert read("adoption", "62%", formats(strip="%", scale=Decimal("0.01"))) == "0.62"


@pytest.mark.parametrize(
    ("pattern", "cell", "expected"),
    [
        ("M/D/YYYY", "3/1/2017", "2017-03-01"),
        ("M/D/YYYY", "10/20/2016", "2016-10-20"),
        ("DD.MM.YYYY", "28.02.2026", "2026-02-28"),
        ("D MMM YYYY", "5 Jan 2024", "2024-01-05"),
        ("YYYYMMDD", "20240105", "2024-01-05"),
    ],
)
def test_dates_are_read_in_the_format_of_the_mapping(pattern: str, cell: str, expected: str) -> None:
    assert read("renewal_on", cell, formats(pattern)) == expected


def test_a_date_in_another_format_than_the_mapping_says_is_refused() -> None:
    assert refusal("renewal_on", "2017-03-01", formats("M/D/YYYY")) == "is not a date written M/D/YYYY"
    assert refusal("renewal_on", "13/1/2017", formats("M/D/YYYY")) == "is not a date written M/D/YYYY"
    assert refusal("renewal_on", "1 Foo 2017", formats("D MMM YYYY")) == "is not a date written D MMM YYYY"


def test_a_time_without_an_offset_is_that_of_the_mappings_zone() -> None:
    berlin = formats(zone=ZoneInfo("Europe/Berlin"))
    assert read("last_engaged_at", "2026-01-05 10:00:00", berlin) == "2026-01-05T09:00:00+00:00"
    assert read("last_engaged_at", "2026-07-05 10:00:00", berlin) == "2026-07-05T08:00:00+00:00"
    assert read("last_engaged_at", "2026-07-05 10:00:00Z", berlin) == "2026-07-05T10:00:00+00:00"
    american = formats("M/D/YYYY, h:mm A")
    assert read("last_engaged_at", "1/5/2024, 12:30 AM", american) == "2024-01-05T00:30:00+00:00"
    assert read("last_engaged_at", "1/5/2024, 3:30 pm", american) == "2024-01-05T15:30:00+00:00"
    assert refusal("last_engaged_at", "1/5/2024, 13:30 PM", american) == "is not a date written M/D/YYYY, h:mm A"


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("MM/YYYY", "has no day; write for example M/D/YYYY"),
        ("M/D/YY", "does not know `YY`; the letters are YYYY MMM MM M DD D hh h mm ss A"),
        ("YYYY-MM-DD MMM", "has two of its month"),
        ("YYYY-MM-DD A", "has AM or PM and no hour"),
    ],
)
def test_a_date_format_that_cannot_work_says_why(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match="^" + why.replace("(", r"\(") + "$"):
        DateFormat(pattern)


_CELLS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["12", "12.5", "1e3", "-1", "2024-01-05T10:00:00Z", "2024-02-30T10:00:00Z", "0001-01-01T00:00:00Z"]
    ),
    st.from_regex(r"[0-9]{1,14}(\.[0-9]{0,3})?", fullmatch=True),
    st.from_regex(r"[12][0-9]{3}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](Z|\+00:00)", fullmatch=True),
)


@given(
    cells=st.lists(_CELLS.map(str.strip), min_size=1, max_size=6),
    name=st.sampled_from(["name", "arr", "last_engaged_at"]),
)
def test_a_column_that_passes_as_a_whole_has_no_cell_the_parser_refuses(cells: list[str], name: str) -> None:
    passes = passes_of(field(name), formats())
    assert passes is not None
    if not passes(cells):
        return
    for cell in filter(None, cells):
        parsed = read(name, cell)
        match name:
            case "last_engaged_at":
                assert parsed == read(name, cell.replace("Z", "+00:00"))
            case "arr":
                assert Decimal(parsed) == Decimal(cell)
            case _:
                assert parsed == cell
