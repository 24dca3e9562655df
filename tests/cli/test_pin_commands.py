"""`bandshift pin`, `unpin` and `pins`, from their options to their exit codes."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from tests.cli.conftest import Run

SOON = f"{datetime.now(UTC) + timedelta(days=40):%Y-%m-%d}"
WORDS = ("--until", SOON, "--reason", "they launch in May", "--by", "lee")


@pytest.fixture
def account(settled: Engine) -> str:
    """An account of band high; nobody has a pin."""
    with settled.begin() as connection:
        connection.execute(text("DELETE FROM pins"))
        return str(connection.execute(text("SELECT min(account_id) FROM coverage WHERE band = 'high'")).scalar_one())


def test_a_pin_is_placed_listed_and_taken_back(bandshift_settled: Run, account: str) -> None:
    placed = bandshift_settled("pin", account, "--band", "strategic", *WORDS)
    assert (placed.code, placed.out.splitlines()[0]) == (0, f"{account} is pinned to strategic until {SOON}")
    again = bandshift_settled("pin", account, "--band", "low", *WORDS)
    assert again.out.splitlines()[0].endswith(f"until {SOON}, in place of the pin to strategic")
    listed = bandshift_settled("pins")
    assert listed.out.startswith("1 pin\n")
    assert account in listed.out
    assert SOON in listed.out
    assert "they launch in May" in listed.out
    taken_back = bandshift_settled("unpin", account, "--by", "kim")
    assert taken_back.out == f"{account} is no longer pinned to low, which was to last until {SOON}\n"
    assert bandshift_settled("pins").out == "No pins\n"


def test_pins_are_listed_for_programs(bandshift_settled: Run, account: str) -> None:
    assert json.loads(bandshift_settled("pins", "--format", "json").out) == {"schema": 1, "pins": []}
    bandshift_settled("pin", account, "--band", "low", "--until", SOON, "--reason", "=1+1", "--by", "lee")
    (pin,) = json.loads(bandshift_settled("pins", "--format", "json").out)["pins"]
    assert (pin["account_id"], pin["band"], pin["owner_id"]) == (account, "low", None)
    assert (pin["state"], pin["expires_at"], pin["reason"]) == ("in_force", f"{SOON}T23:59:59Z", "=1+1")
    (row,) = csv.DictReader(io.StringIO(bandshift_settled("pins", "--format", "csv").out))
    assert list(row) == list(pin)
    assert (row["account_id"], row["owner_id"], row["reason"]) == (account, "", "'=1+1")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--band", "hihg"), "bandshift: --band 'hihg' is no band of policy default; did you mean `high`?"),
        (("--owner", "csm-00001"), "bandshift: --owner 'csm-00001' is no CSM; did you mean `csm-0001`?"),
        ((), "bandshift: a pin needs --band, --owner or both"),
    ],
)
def test_a_pin_that_cannot_be_is_one_line_and_exits_2(
    bandshift_settled: Run, account: str, arguments: tuple[str, ...], said: str
) -> None:
    ended = bandshift_settled("pin", account, *arguments, *WORDS)
    assert (ended.code, ended.out) == (2, "")
    assert [line for line in ended.err.splitlines() if line.startswith("bandshift")] == [said]


@pytest.mark.parametrize("missing", ["--until", "--reason", "--by"])
def test_a_pin_without_end_reason_or_author_is_refused(bandshift_settled: Run, account: str, missing: str) -> None:
    at = WORDS.index(missing)
    ended = bandshift_settled("pin", account, "--band", "low", *WORDS[:at], *WORDS[at + 2 :])
    assert ended.code == 2
    assert missing in ended.err


def test_a_date_that_is_none_or_past_exits_2(bandshift_settled: Run, account: str) -> None:
    for until, said in (("someday", "--until 'someday' is neither a date"), ("2020-01-01", "is in the past")):
        ended = bandshift_settled("pin", account, "--band", "low", "--until", until, "--reason", "x", "--by", "lee")
        assert ended.code == 2
        assert said in ended.err


def test_unpinning_what_has_no_pin_exits_2(bandshift_settled: Run, account: str) -> None:
    ended = bandshift_settled("unpin", account, "--by", "lee")
    assert ended.code == 2
    assert f"{account} has no pin" in ended.err
