"""The sample company: always the same one, and one on which everything happens that the default policy can say."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import URL, Connection, Engine, insert, text
from typer.testing import CliRunner

from app.cli import app as cli
from app.demo import CROWD, DEMO_ACCOUNTS, DEMO_AS_OF, DEMO_SEED, QUIET, fill
from app.demo.decks import COMPANY, deal
from app.demo.names import company
from app.errors import Mistake
from app.pipeline import recompute
from app.plan import Plan
from app.planning import make_plan
from app.policy.read import default_policy
from app.tables import runs
from tests.conftest import database_on, engine_on

TABLES = (
    "accounts", "account_signals", "csms", "csm_absences", "coverage", "pins", "runs", "band_history", "owner_history",
)  # fmt: skip

# The same on every machine and every version of Postgres; it changes only when the generator is changed on purpose.
SHA256_OF_300 = "8e3cac4ee532379a91ceb78fdb24bb176b33dc3c62ca262279198f3dc36bfbed"


def make(connection: Connection, accounts: int = DEMO_ACCOUNTS, seed: int = DEMO_SEED) -> None:
    fill(connection, accounts=accounts, seed=seed, as_of=DEMO_AS_OF)


def contents(connection: Connection) -> str:
    """A hash of every row of every table, in the order of their keys."""
    digest = hashlib.sha256()
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    for table in TABLES:
        with driver.cursor() as cursor, cursor.copy(f"COPY (SELECT * FROM {table} ORDER BY 1, 2) TO STDOUT") as copy:
            for block in copy:
                digest.update(bytes(block))
    return digest.hexdigest()


def counted(connection: Connection, statement: str) -> int:
    return int(connection.execute(text(statement)).scalar_one())


@pytest.fixture(scope="module")
def founded(server_url: URL, template: str) -> Iterator[Engine]:
    """A database with the company, for all tests that look at it."""
    with database_on(server_url, template) as url, engine_on(url) as engine:
        with engine.begin() as connection:
            make(connection)
        yield engine


@pytest.fixture
def company_made(founded: Engine) -> Iterator[Connection]:
    with founded.connect() as connection:
        yield connection


@pytest.fixture(scope="module")
def plan(founded: Engine) -> Plan:
    with founded.connect() as connection:
        return make_plan(connection, default_policy(), DEMO_AS_OF)


def test_the_same_seed_makes_the_same_company_byte_for_byte(connection: Connection) -> None:
    make(connection, 300)
    assert contents(connection) == SHA256_OF_300


def test_another_seed_makes_another_company(connection: Connection) -> None:
    make(connection, 300, seed=2)
    assert contents(connection) != SHA256_OF_300


def test_every_rule_fires_several_times(plan: Plan) -> None:
    fired = Counter(decision.rule for decision in plan.of("move"))
    assert {rule: fired[rule] for rule in default_policy().rule if fired[rule] < 5} == {}


def test_accounts_enter_and_leave_too(plan: Plan) -> None:
    moves = Counter(decision.move for decision in plan.of("move"))
    assert moves["enter"] == 24
    assert moves["leave"] == 16


def test_some_accounts_are_pending_in_review_contested_and_waiting(plan: Plan) -> None:
    assert {decision.rule for decision in plan.of("pending")} == {"locked", "value_lost", "value_gained"}
    assert {decision.rule for decision in plan.of("review")} == {"quiet", "champion_left", "value_lost"}
    assert len(list(plan.of("contested"))) == 4
    assert len(plan.waitlist) >= 3


def test_some_accounts_are_held_down_and_some_locked_out(plan: Plan) -> None:
    said = Counter(json.loads(decision.rules)["value_gained"].rpartition(" ")[::2] for decision in plan.of("state"))
    assert said[("blocked by hold of", "quiet")] == 6
    assert said[("blocked by", "locked")] == 8


def test_no_guard_of_the_default_policy_stops_the_first_run(plan: Plan) -> None:
    assert plan.tripped == ()
    moved = sum(1 for decision in plan.of("move") if decision.move != "enter")
    assert 0.05 <= moved / plan.census.accounts <= 0.08


@pytest.mark.parametrize("seed", range(2, 7))
def test_no_guard_stops_the_company_of_another_seed_either(connection: Connection, seed: int) -> None:
    make(connection, seed=seed)
    assert make_plan(connection, default_policy(), DEMO_AS_OF).tripped == ()


def test_the_first_run_can_be_applied_and_the_week_after_brings_what_was_pending(database: Engine) -> None:
    with database.begin() as connection:
        make(connection)
    policy = default_policy()
    first = recompute(database, policy, DEMO_AS_OF, dry_run=False)
    assert first.status == "applied"
    pending = {decision.account_id for decision in first.plan.of("pending") if decision.rule == "value_gained"}
    with database.connect() as connection:
        later = make_plan(connection, policy, DEMO_AS_OF + timedelta(days=7))
    moved = {decision.account_id for decision in later.of("move")}
    assert len(pending & moved) >= len(pending) * 0.8


def test_the_history_agrees_with_the_coverage(company_made: Connection) -> None:
    apart = """
        SELECT count(*) FROM coverage c
        FULL JOIN band_history h ON h.account_id = c.account_id AND h.to_band = c.band AND h.changed_at = c.band_since
            AND h.rule = c.band_rule AND h.to_owner_id IS NOT DISTINCT FROM c.owner_id
        WHERE c.account_id IS NULL OR h.account_id IS NULL"""
    owners_apart = """
        SELECT count(*) FROM (SELECT * FROM coverage WHERE owner_id IS NOT NULL) c
        FULL JOIN owner_history h ON h.account_id = c.account_id AND h.to_owner_id = c.owner_id
        WHERE c.account_id IS NULL OR h.account_id IS NULL"""
    assert counted(company_made, apart) == 0
    assert counted(company_made, owners_apart) == 0


def test_nobody_carries_more_than_they_may_and_whoever_has_no_owner_waits(company_made: Connection) -> None:
    overfull = """
        SELECT count(*) FROM (
            SELECT csm_id FROM csms JOIN coverage ON owner_id = csm_id
            GROUP BY csm_id HAVING count(*) > coalesce(max_accounts, CASE WHEN 'strategic' = ANY (bands) THEN 10
                WHEN 'high' = ANY (bands) THEN 40 ELSE 250 END)) AS counted"""
    unserved = """
        SELECT count(*) FROM coverage LEFT JOIN csms ON csm_id = owner_id LEFT JOIN accounts USING (account_id)
        WHERE CASE WHEN band = 'tech' THEN owner_id IS NOT NULL OR waiting_since IS NOT NULL
            WHEN owner_id IS NULL THEN waiting_since IS NULL
            ELSE NOT (band = ANY (bands) AND (region IS NULL OR region = ANY (regions))
                AND (language IS NULL OR language = ANY (languages))) END"""
    assert counted(company_made, overfull) == 0
    assert counted(company_made, unserved) == 0


def test_the_csms_are_as_a_team_is(company_made: Connection) -> None:
    assert counted(company_made, "SELECT count(*) FROM csms") == 40
    assert counted(company_made, "SELECT count(*) FROM csms WHERE cardinality(bands) = 2") == 2
    assert counted(company_made, "SELECT count(*) FROM coverage JOIN csms ON csm_id = owner_id WHERE NOT active") == 5
    full = """
        SELECT count(*) FROM (SELECT csm_id FROM csms JOIN coverage ON owner_id = csm_id WHERE 'high' = ANY (bands)
            GROUP BY csm_id HAVING count(*) = max_accounts) AS counted"""
    assert counted(company_made, full) == 1
    today = f"'{DEMO_AS_OF.date()}' BETWEEN starts_on AND ends_on"
    assert counted(company_made, f"SELECT count(*) FROM csm_absences WHERE {today}") == 2
    assert counted(company_made, "SELECT count(*) FROM csm_absences") == 4


@pytest.mark.parametrize("floor", ["7200", "45000", "270000", "4800", "30000", "180000"])
def test_some_accounts_are_exactly_at_a_floor(company_made: Connection, floor: str) -> None:
    values = {
        row.value
        for row in company_made.execute(text("SELECT arr + coalesce(expansion_arr, 0) AS value FROM accounts"))
    }
    near = {Decimal(floor), Decimal(floor) * Decimal("0.85")} & values
    assert near


def test_floors_are_met_exactly_and_missed_by_a_cent_on_either_side(company_made: Connection) -> None:
    floors = default_policy().floors
    met: Counter[str] = Counter()
    listed = (
        "SELECT segment, band, arr + coalesce(expansion_arr, 0) AS value FROM accounts JOIN coverage USING (account_id)"
    )
    names = [band.name for band in default_policy().bands]
    for row in company_made.execute(text(listed)):
        if row.value is None or row.segment is None or row.band == "tech":
            continue
        of_segment, rank = floors.get(row.segment, floors[None]), names.index(row.band)
        for name, level in (("floor", of_segment.floor[rank]), ("demotion floor", of_segment.demotion[rank])):
            away = row.value - level
            if abs(away) <= Decimal("0.01"):
                met[f"{name} {away:+}"] += 1
    assert all(met[name] >= 3 for name in ("floor +0.00", "floor +0.01", "floor -0.01"))
    assert all(met[name] >= 3 for name in ("demotion floor +0.00", "demotion floor -0.01"))


def test_facts_are_missing_and_currencies_foreign_here_and_there(company_made: Connection) -> None:
    for column in ("segment", "region", "language", "currency", "arr", "expansion_arr", "adoption", "last_engaged_at"):
        assert counted(company_made, f"SELECT count(*) FROM accounts WHERE {column} IS NULL") >= 5, column
    assert counted(company_made, "SELECT count(DISTINCT currency) FROM accounts WHERE currency <> 'USD'") >= 3
    assert counted(company_made, "SELECT count(*) FROM accounts WHERE status = 'churned'") == 40


def test_families_have_a_parent_that_exists_and_some_members_stand_alone(company_made: Connection) -> None:
    members = "FROM accounts AS child JOIN accounts AS parent ON parent.account_id = child.parent_id"
    assert counted(company_made, f"SELECT count(*) {members} WHERE parent.parent_id IS NULL") == 300
    assert counted(company_made, "SELECT count(*) FROM accounts WHERE parent_id IS NOT NULL") == 300
    assert counted(company_made, "SELECT count(*) FROM accounts WHERE standalone AND parent_id IS NOT NULL") >= 20


def test_signals_reach_back_eighteen_months_and_up_to_the_last_days(company_made: Connection) -> None:
    oldest = company_made.execute(text("SELECT min(occurred_at) FROM account_signals")).scalar_one()
    assert timedelta(days=500) < DEMO_AS_OF - oldest < timedelta(days=580)
    newest = company_made.execute(text("SELECT kind, max(occurred_at) AS at FROM account_signals GROUP BY kind")).all()
    assert len(newest) == 8
    assert all(timedelta(0) <= DEMO_AS_OF - row.at < timedelta(days=10) for row in newest)


def test_a_few_accounts_hold_most_of_the_revenue(company_made: Connection) -> None:
    share = """ SELECT sum(arr) FILTER (WHERE place <= 200) / sum(arr) FROM (SELECT arr, row_number() OVER (ORDER BY
    arr DESC) AS place FROM accounts WHERE arr IS NOT NULL) AS ranked"""
    assert company_made.execute(text(share)).scalar_one() > Decimal("0.5")


@pytest.mark.parametrize("accounts", [1, 7, 150])
def test_a_company_can_be_small(connection: Connection, accounts: int) -> None:
    make(connection, accounts)
    assert counted(connection, "SELECT count(*) FROM accounts") == accounts


def test_a_database_that_is_not_empty_is_refused(connection: Connection) -> None:
    connection.execute(text("INSERT INTO csms (csm_id, name, bands) VALUES ('me', 'Me', '{low}')"))
    with pytest.raises(Mistake, match=r"^the database is not empty, csms has rows: [^\n]+$"):
        make(connection)
    assert counted(connection, "SELECT count(*) FROM accounts") == 0


@pytest.mark.parametrize(("status", "refused"), [("skipped", False), ("nothing", True)])
def test_a_slot_that_was_skipped_before_there_was_anything_is_no_run(
    connection: Connection, status: str, *, refused: bool
) -> None:
    row = {"run_id": UUID(int=1), "kind": "scheduled", "as_of": DEMO_AS_OF, "started_at": DEMO_AS_OF, "status": status}
    connection.execute(insert(runs).values(**row, slot=DEMO_AS_OF.date()))
    with pytest.raises(Mistake, match="runs has rows") if refused else nullcontext():
        make(connection, 7)
    assert counted(connection, "SELECT count(*) FROM accounts") == (0 if refused else 7)


@pytest.mark.parametrize("accounts", [0, -1, 10_000_000])
def test_a_senseless_size_is_refused(connection: Connection, accounts: int) -> None:
    with pytest.raises(Mistake, match="1 to 9,999,999 accounts"):
        make(connection, accounts)


def test_an_instant_without_a_time_zone_is_refused(connection: Connection) -> None:
    with pytest.raises(Mistake, match="needs a time zone"):
        fill(connection, accounts=1, seed=1, as_of=datetime(2026, 11, 16))  # noqa: DTZ001 - that is the point


def test_all_dates_move_with_the_instant(connection: Connection) -> None:
    fill(connection, accounts=200, seed=1, as_of=datetime(2024, 2, 29, 23, 59, 30, tzinfo=UTC))
    newest = connection.execute(text("SELECT max(occurred_at) FROM account_signals")).scalar_one()
    assert timedelta(0) <= datetime(2024, 2, 29, 23, 59, tzinfo=UTC) - newest < timedelta(days=1)


def test_the_crowd_moves_about_one_account_in_twenty_and_trips_no_guard(connection: Connection) -> None:
    counts = fill(connection, accounts=4000, seed=1, as_of=DEMO_AS_OF, profile=CROWD)
    plan = make_plan(connection, default_policy(), DEMO_AS_OF)
    assert 4.5 <= counts["account_signals"] / counts["accounts"] <= 5.5
    assert plan.tripped == ()
    assert 0.04 <= len(list(plan.of("move"))) / 4000 <= 0.06
    assert {decision.rule for decision in plan.of("move")} >= set(default_policy().rule)


def test_in_the_quiet_crowd_nobody_moves(connection: Connection) -> None:
    fill(connection, accounts=4000, seed=1, as_of=DEMO_AS_OF, profile=QUIET)
    assert make_plan(connection, default_policy(), DEMO_AS_OF).decisions == ()


def test_every_deck_is_whole_and_its_shuffle_loses_no_card() -> None:
    assert Counter(deal(COMPANY, 1)) == Counter(deal(COMPANY, 2))
    assert deal(COMPANY, 1) != deal(COMPANY, 2)


def test_the_first_hundred_thousand_names_differ() -> None:
    assert len({company(number) for number in range(100_000)}) == 100_000


def test_the_command_fills_the_database_and_refuses_it_the_second_time(
    database_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url.set(drivername="postgresql").render_as_string(hide_password=False))
    command = ["demo", "--accounts", "200", "--as-of", "2026-11-16T06:00Z"]
    first = CliRunner().invoke(cli, command)
    assert first.exit_code == 0, first.output
    assert "200  accounts" in first.stdout
    second = CliRunner().invoke(cli, command)
    assert isinstance(second.exception, Mistake)
