"""Why an account is where it is: each rule under its lens, what stands against a rise, and who could own it."""

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Engine, text

from app.decide import decide
from app.decide.reading import Judgement, read_judgement
from app.demo import DEMO_AS_OF
from app.errors import Mistake
from app.explain import Explanation, explain
from app.pipeline import recompute
from app.policy.read import default_policy
from tests.company import company, company_template, company_url, settled, settled_template, settled_url
from tests.small_company import AS_OF, RESTLESS, WEEK, add_account, add_csm, add_pin, add_signal, policy

__all__ = ["company", "company_template", "company_url", "settled", "settled_template", "settled_url"]


def explained(engine: Engine, account_id: str, weeks: int = 0) -> Explanation:
    with engine.connect() as connection:
        return explain(connection, policy(RESTLESS), account_id, AS_OF + weeks * WEEK)


def judged(engine: Engine, account_id: str, weeks: int = 0) -> Judgement:
    found = explained(engine, account_id, weeks).judgement
    assert found is not None
    return found


def came_of(engine: Engine, account_id: str, weeks: int = 0) -> dict[str, str]:
    return {reading.rule.name: reading.came_of for reading in judged(engine, account_id, weeks).readings}


def excluded(told: Explanation) -> dict[str, str | None]:
    return {one.csm.csm_id: one.excluded for one in told.ownership.candidates}


@pytest.fixture
def small(database: Engine) -> Engine:
    """A first run over four accounts: T in tech, L in low with ann, H in high with bob, W waiting."""
    with database.begin() as connection:
        for account_id, arr in (("T", 10), ("L", 500), ("H", 5000), ("W", 4000)):
            add_account(connection, account_id, arr, region="emea")
        add_csm(connection, "ann", "low")
        add_csm(connection, "bob", "high", max_accounts=1)
        add_csm(connection, "far", "high", regions=["apac"])
        add_csm(connection, "gone", "high", active=False)
    recompute(database, policy(RESTLESS), AS_OF, dry_run=False)
    return database


# ---- The band --------------------------------------------------------------------------------------------------------


def test_what_is_explained_is_what_is_decided(company: Engine) -> None:
    """Of every fifth account of the sample company the explanation carries the very decision of the run."""
    chosen = default_policy()
    with company.connect() as connection:
        found = {one.account_id: one for one in decide(connection, chosen, DEMO_AS_OF) if one.outcome != "state"}
        ids = connection.execute(text("SELECT account_id FROM accounts ORDER BY account_id")).scalars().all()
        for account_id in ids[::15]:
            told = read_judgement(connection, chosen, account_id, DEMO_AS_OF)
            assert told is not None
            assert told.decision == found.get(account_id)
            said = {one.rule.name: one.came_of for one in told.readings}
            for name, came in json.loads(found[account_id].rules).items() if account_id in found else ():
                assert said[name] == came


def test_a_rule_is_shown_with_its_values_and_what_came_of_it(small: Engine) -> None:
    with small.begin() as connection:
        connection.exec_driver_sql("UPDATE accounts SET arr = 50 WHERE account_id = 'L'")
    told = judged(small, "L", weeks=1)
    assert (told.stage, told.band, told.earned_band, told.value) == ("rules", "low", "tech", Decimal(50))
    shrunk = next(reading for reading in told.readings if reading.rule.name == "shrunk")
    assert (shrunk.kind, shrunk.band, shrunk.holds, shrunk.came_of) == ("now", "low", True, "fired")
    assert shrunk.facts == {"value": 50, "demotion_floor": 100}
    assert told.decision is not None
    assert (told.decision.move, told.decision.to_band) == ("demote", "tech")


def test_a_rule_that_says_nothing_says_why(small: Engine) -> None:
    assert came_of(small, "L", weeks=1) == {
        "stuck": "did not fire: a fact is missing",
        "shrunk": "does not apply: low is not under low",
        "busy": "does not apply: it is for accounts in tech",
        "grown": "does not apply: low is not above low",
    }


def test_who_changed_band_this_week_is_left_alone(small: Engine) -> None:
    assert set(came_of(small, "L").values()) == {"not asked: it changed band less than six days ago"}


def test_a_pinned_account_and_one_that_left_are_asked_nothing(small: Engine) -> None:
    with small.begin() as connection:
        add_pin(connection, "L", band="high")
        connection.exec_driver_sql("UPDATE accounts SET status = 'churned' WHERE account_id = 'H'")
    assert set(came_of(small, "L", weeks=1).values()) == {"not asked: a pin decides"}
    assert set(came_of(small, "H", weeks=1).values()) == {"not asked: it is no longer an active customer"}


def test_a_pending_rule_is_counted(small: Engine) -> None:
    with small.begin() as connection:
        for _ in range(3):
            add_signal(connection, "T", "ticket", AS_OF + timedelta(days=1))
    assert came_of(small, "T", weeks=1)["busy"] == "pending 1 of 3"


def test_an_intervention_is_read_as_if_kept_while_it_lifts(small: Engine) -> None:
    with small.begin() as connection:
        connection.exec_driver_sql("UPDATE accounts SET adoption = 0.1 WHERE account_id = 'L'")
    recompute(small, policy(RESTLESS), AS_OF + WEEK, dry_run=False)
    told = judged(small, "L", weeks=2)
    stuck = next(reading for reading in told.readings if reading.rule.name == "stuck")
    assert (told.stage, told.own_band, told.band) == ("lifted", "low", "high")
    assert (stuck.kind, stuck.came_of) == ("kept", "holds: it is lifted by this")
    assert came_of(small, "L", weeks=2)["shrunk"] == "not asked: stuck lifts it"


def test_what_stands_against_a_rise_is_shown_as_on_entry(settled: Engine) -> None:
    """Somebody who files a use case and is quiet enough to fall at once: look before you lift."""
    quiet = default_policy()
    with settled.begin() as connection:
        low = "SELECT min(account_id) FROM coverage WHERE band = 'tech' AND band_rule <> 'pin'"
        account_id = connection.execute(text(low)).scalar_one()
        connection.execute(text("DELETE FROM account_signals WHERE account_id = :id"), {"id": account_id})
        connection.execute(text("DELETE FROM pins WHERE account_id = :id"), {"id": account_id})
        connection.execute(
            text(
                "UPDATE accounts SET arr = 60000, expansion_arr = NULL, segment = NULL, currency = 'USD', adoption = 1,"
                " contract_term_months = 36, renewal_on = '2029-01-01', status = 'active' WHERE account_id = :id"
            ),
            {"id": account_id},
        )
        add_signal(connection, account_id, "health", DEMO_AS_OF + timedelta(days=8), 95)
        told = read_judgement(connection, quiet, account_id, DEMO_AS_OF + 2 * WEEK)
    assert told is not None
    (objection,) = told.objections
    assert (objection.rule.name, objection.kind, objection.band) == ("locked", "entry", "high")
    assert objection.facts["health"] == 95


def test_an_account_that_ranks_among_the_others_is_explained_among_them(small: Engine) -> None:
    ranked = policy(**{'when = "value < demotion_floor"': 'when = "value_rank > 3"'})
    with small.connect() as connection:
        told = read_judgement(connection, ranked, "T", AS_OF + WEEK)
    assert told is not None
    assert next(one for one in told.readings if one.rule.name == "shrunk").facts["value_rank"] == 4


# ---- The owner -------------------------------------------------------------------------------------------------------


def test_the_candidates_are_told_with_what_excludes_them(small: Engine) -> None:
    told = explained(small, "W", weeks=1)
    assert excluded(told) == {
        "bob": "is full: 1 of 1 account",
        "far": "does not serve the region emea",
        "ann": "does not serve high",
        "gone": "has left",
    }
    assert list(excluded(told)) == ["bob", "far", "ann", "gone"]
    assert told.ownership.settles
    assert told.ownership.change is None
    assert told.ownership.waiting is not None
    assert told.ownership.waiting.since == AS_OF


def test_an_owner_nothing_happened_to_is_explained_by_the_last_change(small: Engine) -> None:
    told = explained(small, "H", weeks=1).ownership
    assert (told.settles, told.change, told.waiting) == (False, None, None)
    assert told.last is not None
    assert told.last.why == "band_change"
    assert excluded(explained(small, "H", weeks=1))["bob"] is None


def test_what_the_next_run_would_change_is_told_with_its_reason(small: Engine) -> None:
    with small.begin() as connection:
        connection.exec_driver_sql("UPDATE csms SET active = false WHERE csm_id = 'ann'")
        add_csm(connection, "eve", "low")
    told = explained(small, "L", weeks=1).ownership
    assert told.change is not None
    assert (told.change.from_owner_id, told.change.to_owner_id, told.change.why) == ("ann", "eve", "departure")


def test_the_pool_needs_no_owner(small: Engine) -> None:
    assert explained(small, "T", weeks=1).ownership.claim is None


def test_an_unknown_account_is_a_mistake_with_what_may_be_meant(small: Engine) -> None:
    with pytest.raises(Mistake, match="there is no account 'l'; did you mean L"):
        explained(small, "l")


def test_explaining_writes_nothing_and_needs_no_right_to(small: Engine) -> None:
    with small.connect().execution_options(postgresql_readonly=True) as connection:
        assert explain(connection, policy(RESTLESS), "W", AS_OF + WEEK).standing.account_id == "W"


def test_the_same_account_is_explained_alike_twice(small: Engine) -> None:
    assert replace(explained(small, "W", 1), names=None) == replace(explained(small, "W", 1), names=None)  # type: ignore[arg-type]
