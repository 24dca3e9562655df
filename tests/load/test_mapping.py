"""Mapping files: what they may say, and every mistake of one at once."""

from decimal import Decimal
from pathlib import Path

import pytest

from app.errors import Mistake
from app.load.mapping import FileMapping, load_mapping, read_mapping


def problems(text: str) -> list[str]:
    with pytest.raises(Mistake) as caught:
        read_mapping(text, source="m.toml")
    assert caught.value.heading == "m.toml cannot be used:"
    return [str(problem) for problem in caught.value.problems]


def test_a_mapping_that_says_nothing_reads_our_own_columns() -> None:
    assert read_mapping("", source="m.toml").of("accounts") == FileMapping().of("accounts")


def test_what_stands_at_the_top_holds_for_every_dataset_that_does_not_say_otherwise() -> None:
    mapping = read_mapping(
        'dates = "M/D/YYYY"\nencoding = "latin-1"\nnull = ["n/a"]\n[signals]\ndates = "ISO"\nnull = []\n',
        source="m.toml",
    )
    accounts, signals = mapping.of("accounts"), mapping.of("signals")
    assert accounts.formats.dates is not None
    assert accounts.formats.dates.pattern == "M/D/YYYY"
    assert signals.formats.dates is None
    assert (accounts.null, signals.null) == (frozenset({"n/a"}), frozenset())
    assert accounts.encoding == signals.encoding == "latin-1"


def test_a_column_is_named_shortly_or_in_full() -> None:
    mapping = read_mapping(
        """
        [accounts.columns]
        account_id = "Id"
        arr = { from = "revenue", scale = 1e6, numbers = { decimal = "," } }
        renewal_on = ["renewed", "closed"]
        strategic_importance = { constant = 3 }
        """,
        source="m.toml",
    ).of("accounts")
    assert mapping.columns["account_id"].columns == ("Id",)
    assert mapping.columns["arr"].formats.numbers.scale == Decimal(1_000_000)
    assert mapping.columns["arr"].formats.numbers.decimal == ","
    assert mapping.columns["renewal_on"].columns == ("renewed", "closed")
    assert mapping.columns["strategic_importance"].constant == "3"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("acounts = {}", "acounts: no such key; did you mean `accounts`?"),
        ('encodng = "utf-8"', "encodng: no such key; did you mean `encoding`?"),
        (
            'encoding = "utf-9"',
            "encoding: `utf-9` is no encoding; there are utf-8, utf-16, latin-1, windows-1252 and others",
        ),
        ('encoding = "zip"', "encoding: `zip` is no encoding of text"),
        ('delimiter = ";;"', "delimiter: String should have at most 1 character"),
        ('time_zone = "Europe/Bern"', "time_zone: `Europe/Bern` is no time zone; write for example Europe/Berlin"),
        ('dates = "MM/YYYY"', "dates: `MM/YYYY` has no day; write for example M/D/YYYY"),
        ('[numbers]\ndecimal = ","\nthousands = ","', "numbers: `decimal` and `thousands` are the same"),
        ('[accounts.columns]\nar = "x"', "accounts.columns.ar: accounts have no such column; did you mean `arr`?"),
        (
            "[accounts.columns]\narr = { scale = 2 }",
            "accounts.columns.arr: needs `from`, a column of the file, or `constant`, and not both",
        ),
        ("[accounts.columns]\narr = []", "accounts.columns.arr: `from` lists no column"),
        (
            '[accounts.columns]\narr = { from = "x", scal = 2 }',
            "accounts.columns.arr.scal: no such key; did you mean `scale`?",
        ),
        (
            '[accounts.columns]\narr = { from = "x", scale = 0 }',
            "accounts.columns.arr.scale: Input should be greater than 0",
        ),
        (
            '[accounts.columns]\nname = { from = "x", scale = 2 }',
            "accounts.columns.name.scale: only a number has a scale",
        ),
        (
            '[accounts.columns]\nname = { from = "x", by = "name" }',
            "accounts.columns.name.by: only a column of account or CSM ids can be looked up",
        ),
        (
            '[accounts.columns]\nparent_id = { from = "x", by = "email" }',
            "accounts.columns.parent_id.by: accounts have no e-mail; use `name`",
        ),
        (
            '[accounts.columns]\nstatus = { constant = "active", values = { a = "b" } }',
            "accounts.columns.status: a constant has nothing to translate",
        ),
        ('[csms.attributes]\nx = "y"', "csms.attributes: only accounts have it"),
        (
            '[signals]\nunknown_columns = "attributes"',
            "signals.unknown_columns: only accounts have attributes; use `ignore`",
        ),
        (
            '[accounts]\nskip = [{ column = "x" }]',
            "accounts.skip.0: needs `is` or `is_not`, a list of cells, and not both",
        ),
        (
            '[accounts.currency]\ninto = "USD"\nrates = { EUR = -1 }',
            "accounts.currency.rates.EUR: Input should be greater than 0",
        ),
        (
            '[accounts.attributes]\nx = { from = "y", type = "money" }',
            "accounts.attributes.x.type: Input should be 'text', 'number', 'boolean', 'date' or 'timestamp'",
        ),
    ],
)
def test_a_mistake_in_a_mapping_is_told_with_its_path(text: str, expected: str) -> None:
    assert problems(text) == [expected]


def test_all_mistakes_of_a_mapping_are_told_at_once() -> None:
    found = problems(
        """
        encoding = "utf-9"
        [accounts.columns]
        ar = "x"
        arr = { from = "x", scal = 2 }
        [csms.attributes]
        x = { constant = 1, type = "money" }
        """
    )
    assert [line.split(": ")[0] for line in found] == [
        "accounts.columns.ar",
        "accounts.columns.arr.scal",
        "csms.attributes",
        "csms.attributes.x.type",
        "encoding",
    ]


def test_a_mapping_that_is_no_toml_says_where() -> None:
    with pytest.raises(Mistake, match=r"^m\.toml is not TOML: .*line 2"):
        read_mapping("[accounts]\narr = = 1\n", source="m.toml")


def test_a_mapping_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="the mapping file cannot be read: No such file or directory"):
        load_mapping(tmp_path / "no.toml")
    (tmp_path / "latin.toml").write_bytes(b"# M\xfcller\n")
    with pytest.raises(Mistake, match="the mapping file is not UTF-8; save it as UTF-8"):
        load_mapping(tmp_path / "latin.toml")
