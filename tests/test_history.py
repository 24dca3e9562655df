"""The story of an account and slices of the history, from a real run."""

import csv
import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, insert, text

from app.demo import DEMO_AS_OF
from app.errors import Mistake
from app.history import Slice, count_changes, read_changes, read_standing
from app.report.history import write_changes_csv, write_changes_table, write_history_json, write_standing
from app.report.names import Names
from app.report.page import Page
from app.tables import accounts, band_history, coverage, owner_history, pins, policies, runs
from tests import golden
from tests.company import company, company_template, company_url, settled, settled_template, settled_url

__all__ = ["company", "company_template", "company_url", "settled", "settled_template", "settled_url"]

RUN_IDS = [UUID(int=number) for number in (3, 1, 2)]
DAYS = [datetime(2026, month, 2, 6, tzinfo=UTC) for month in (1, 2, 3)]


@pytest.fixture
def storied(connection: Connection) -> Connection:
    """One account that entered, was demoted and then found an owner, in runs whose ids do not sort like their dates."""
    connection.execute(insert(policies).values(policy_sha="0" * 64, name="p", body="", first_used_at=DAYS[0]))
    for run_id, day in zip(RUN_IDS, DAYS, strict=True):
        ledger = {"kind": "manual", "as_of": day, "started_at": day, "status": "applied", "policy_sha": "0" * 64}
        connection.execute(insert(runs).values(run_id=run_id, **ledger))
    connection.execute(insert(accounts).values(account_id="A-1", name="Acme Corp"))
    moves = [
        ("enter", "entry", None, "high", None, "C-1", "Entered high: its value of $50,000 carries high."),
        ("demote", "quiet", "high", "low", "C-1", None, "Demoted from high to low: nobody has engaged for 95 days."),
    ]
    owned = ["C-1 serves high and has the most room", "nobody who serves low has room, so it waits with the pool"]
    for run_id, day, because, move_ in zip(RUN_IDS, DAYS, owned, moves, strict=False):
        move, rule, before, after, giver, taker, reason = move_
        told = {"account_id": "A-1", "run_id": run_id, "changed_at": day}
        owners = {"from_owner_id": giver, "to_owner_id": taker}
        bands = {"from_band": before, "to_band": after, "move": move, "rule": rule}
        connection.execute(insert(band_history).values(**told, **bands, **owners, reason=reason, evidence={}))
        connection.execute(insert(owner_history).values(**told, **owners, why="band_change", reason=because))
    connection.execute(
        insert(owner_history).values(
            account_id="A-1",
            run_id=RUN_IDS[2],
            changed_at=DAYS[2],
            to_owner_id="C-2",
            why="waitlist",
            reason="C-2 has room",
        )
    )
    connection.execute(
        insert(coverage).values(
            account_id="A-1", band="low", band_since=DAYS[1], band_rule="quiet", owner_id="C-2", owner_since=DAYS[2],
            held_by="quiet", held_from="high", pending={"value_lost": {"weeks": 2, "seen_at": DAYS[2].isoformat()}},
        )
    )  # fmt: skip
    connection.execute(
        insert(pins).values(
            account_id="A-1", pinned_at=DAYS[2], owner_id="C-2", reason="a promise", pinned_by="ada",
            expires_at=DAYS[2] + timedelta(days=90),
        )
    )  # fmt: skip
    return connection


def story(connection: Connection, account_id: str = "A-1", latest: int | None = None) -> str:
    out = StringIO()
    page = Page(out)
    names = Names(csms={"C-2": "Grace Hopper"})
    write_standing(page, read_standing(connection, account_id), names)
    wanted = Slice(account_id=account_id)
    shown = tuple(read_changes(connection, wanted, latest))
    write_changes_table(page, shown, names, of_one=True, earlier=count_changes(connection, wanted) - len(shown))
    return out.getvalue()


def test_the_story_of_an_account_reads_as_it_should(storied: Connection) -> None:
    golden.check("story.txt", story(storied))


def test_the_latest_of_a_story_says_how_much_came_before(storied: Connection) -> None:
    text_ = story(storied, latest=1)
    assert "... 2 earlier; --limit 3 shows all" in text_
    assert "Entered high" not in text_
    assert "C-2 has room" in text_


def test_changes_are_in_order_whatever_the_ids_of_their_runs(storied: Connection) -> None:
    assert [change.changed_at for change in read_changes(storied, Slice(account_id="A-1"), None)] == DAYS


def test_a_slice_is_one_of_band_history(storied: Connection) -> None:
    assert [change.move for change in read_changes(storied, Slice(), None)] == ["enter", "demote"]


@pytest.mark.parametrize(
    ("wanted", "moves"),
    [
        (Slice(since=DAYS[1]), ["demote"]),
        (Slice(until=DAYS[1]), ["enter"]),
        (Slice(since=DAYS[0], until=DAYS[2]), ["enter", "demote"]),
        (Slice(band="high"), ["enter", "demote"]),
        (Slice(band="low"), ["demote"]),
        (Slice(rule="quiet"), ["demote"]),
        (Slice(rule="locked"), []),
        (Slice(account_id="A-1", rule="quiet"), ["demote"]),
        (Slice(account_id="A-2"), []),
    ],
)
def test_a_slice_holds_what_was_asked_for(storied: Connection, wanted: Slice, moves: list[str]) -> None:
    assert [change.move for change in read_changes(storied, wanted, None)] == moves
    assert count_changes(storied, wanted) == len(moves)


def test_json_holds_the_standing_and_every_change(storied: Connection) -> None:
    out = StringIO()
    write_history_json(out, read_standing(storied, "A-1"), read_changes(storied, Slice(account_id="A-1"), None))
    told = json.loads(out.getvalue())
    assert (told["schema"], told["account"]["band"], told["account"]["pin"]["pinned_by"]) == (1, "low", "ada")
    assert [(change["move"], change["changed_at"]) for change in told["changes"]] == [
        ("enter", "2026-01-02T06:00:00Z"),
        ("demote", "2026-02-02T06:00:00Z"),
        ("owner", "2026-03-02T06:00:00Z"),
    ]


def test_csv_holds_every_change(storied: Connection) -> None:
    out = StringIO(newline="")
    write_changes_csv(out, read_changes(storied, Slice(account_id="A-1"), None))
    rows = list(csv.DictReader(StringIO(out.getvalue(), newline="")))
    assert [row["move"] for row in rows] == ["enter", "demote", "owner"]
    assert [row["changed_at"] for row in rows] == [
        "2026-01-02T06:00:00Z",
        "2026-02-02T06:00:00Z",
        "2026-03-02T06:00:00Z",
    ]
    assert (rows[0]["from_band"], rows[0]["to_owner_id"]) == ("", "C-1")


def test_an_account_that_has_left_still_has_its_story(storied: Connection) -> None:
    storied.execute(text("DELETE FROM coverage"))
    storied.execute(text("DELETE FROM accounts"))
    told = story(storied)
    assert "Status  no longer among the accounts" in told
    assert "Band    none" in told
    assert "Entered high" in told


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("a-1", "did you mean A-1 (Acme Corp)?"),
        ("acme corp", "did you mean A-1 (Acme Corp)?"),
        ("A-11", "did you mean A-1 (Acme Corp)?"),
        ("Zebra", "without an account lists the latest changes"),
        ("A\x1b[31m", "there is no account 'A?[31m'"),
    ],
)
def test_an_unknown_account_is_one_line_with_what_may_be_meant(storied: Connection, asked: str, meant: str) -> None:
    with pytest.raises(Mistake) as mistake:
        read_standing(storied, asked)
    assert meant in str(mistake.value)
    assert "\n" not in str(mistake.value)


def test_the_digits_of_an_id_are_enough_to_be_understood(company: Engine) -> None:
    with company.connect() as connection, pytest.raises(Mistake, match=r"did you mean acc-0000123 \("):
        read_standing(connection, "acc-123")


def test_every_move_of_a_run_is_in_its_slice(settled: Engine) -> None:
    with settled.connect() as connection:
        told = list(read_changes(connection, Slice(since=DEMO_AS_OF), None))
        counted = connection.execute(text("SELECT counts ->> 'moves' FROM runs WHERE kind = 'manual'")).scalar_one()
    assert len(told) == int(counted)
    assert [change.account_id for change in told] == sorted(change.account_id for change in told)
