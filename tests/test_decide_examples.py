"""What the default policy says of one account, a sentence of the design at a time, in little tables.

The account "acme" is a healthy one in `high`: a row of a table says what is different about it, and what comes of that.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection

from app.decide import decide, take_census
from app.plan import Decision
from app.policy.read import default_policy
from tests.in_postgres import carried_out, store
from tests.oracle_rows import Account, Coverage, Pending, Pin, Signal
from tests.random_accounts import World

POLICY = default_policy()
AS_OF = datetime(2026, 6, 15, 6, tzinfo=UTC)
TODAY = date(2026, 6, 15)
WEEK = timedelta(weeks=1)
STAYS = "stays"

HEALTHY = Account(
    "acme",
    currency="USD",
    arr=Decimal(60_000),
    strategic_importance=1,
    adoption=Decimal("0.5"),
    contract_term_months=12,
    renewal_on=TODAY + timedelta(days=200),
    last_engaged_at=AS_OF - timedelta(days=1),
)
WORTH = {"tech": 5_000, "low": 20_000, "high": 60_000, "strategic": 300_000}
"""An ARR that each band's floor carries, and the next one's does not."""


def ago(days: float) -> datetime:
    return AS_OF - timedelta(days=days)


def in_days(days: int) -> date:
    return TODAY + timedelta(days=days)


def standing(band: str = "high", days: float = 300, **columns: Any) -> Coverage:
    """Where acme stands, since so many days."""
    return Coverage("acme", band, ago(days), columns.pop("band_rule", "import"), **columns)


def worth(band: str, **columns: Any) -> Account:
    """A healthy account that earns exactly this band."""
    return replace(HEALTHY, arr=Decimal(WORTH[band]), **columns)


def signals(*events: tuple[str, float] | tuple[str, float, float | str]) -> list[Signal]:
    """Signals of acme: kind, days ago, and a value where it has one."""
    return [
        Signal("acme", f"s{place}", event[0], ago(event[1]), Decimal(str(event[2])) if len(event) > 2 else None)
        for place, event in enumerate(events)
    ]


class Story:
    """Acme in the database, over one run or several."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.account: Account | None = HEALTHY
        self.coverage: Coverage | None = standing()
        self.signals: Sequence[Signal] = ()
        self.pins: Sequence[Pin] = ()
        self.last: Decision | None = None

    def run(self, as_of: datetime = AS_OF) -> str:
        """What the run at as_of says, and carries out."""
        accounts = (self.account,) if self.account else ()
        coverage = (self.coverage,) if self.coverage else ()
        store(self.connection, World(POLICY, as_of, accounts, tuple(self.signals), coverage, tuple(self.pins)))
        decisions = list(decide(self.connection, POLICY, as_of))
        assert len(decisions) <= 1
        self.last = decisions[0] if decisions else None
        if self.last is not None:
            self.coverage = carried_out(self.coverage, self.last, POLICY, as_of)
        return in_words(self.last)

    def weekly(self, runs: int, start: datetime = AS_OF) -> list[str]:
        """What runs a week apart say, the first at `start`."""
        return [self.run(start + week * WEEK) for week in range(runs)]

    def remembered(self, column: str) -> Any:
        """A column of acme's coverage."""
        return getattr(self.coverage, column)

    @property
    def trace(self) -> dict[str, str]:
        """What came of each rule on the last run."""
        assert self.last is not None
        rules: dict[str, str] = self.last.evidence["rules"]
        return rules

    @property
    def facts(self) -> dict[str, Any]:
        """The facts behind the last decision."""
        assert self.last is not None
        facts: dict[str, Any] = self.last.evidence["facts"]
        return facts


def in_words(decision: Decision | None) -> str:
    """A decision in a few words; a change of counts only is none."""
    if decision is None or decision.outcome == "state":
        return STAYS
    move = f"{decision.move} {decision.to_band or ''}".strip() + f" by {decision.rule}"
    match decision.outcome:
        case "move":
            return move
        case "pending":
            return f"pending {decision.weeks}: {move}"
        case "contested":
            return f"contested: {move} against {decision.against}"
        case _:
            return f"{decision.outcome}: {move}"


@pytest.fixture
def story(connection: Connection) -> Story:
    return Story(connection)


@pytest.fixture
def said(story: Story) -> Callable[..., str]:
    """What a single run says of acme, given what is different about it."""

    def say(
        account: Account | None = HEALTHY,
        coverage: Coverage | None = None,
        events: Sequence[Signal] = (),
        pins: Sequence[Pin] = (),
        *,
        new: bool = False,
        as_of: datetime = AS_OF,
    ) -> str:
        story.account, story.signals, story.pins = account, events, pins
        story.coverage = None if new else coverage or standing()
        return story.run(as_of)

    return say


Said = Callable[..., str]


def test_a_healthy_account_stays_where_it_is(said: Said) -> None:
    for band in WORTH:
        assert said(worth(band), standing(band)) == STAYS, band


# ---- Demotions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("band", "engaged_days_ago", "days_in_band", "expected"),
    [
        ("high", 60, 300, STAYS),  # two cycles of 30 days to the day
        ("high", 61, 300, "demote low by quiet"),
        ("strategic", 28, 300, STAYS),
        ("strategic", 29, 300, "demote high by quiet"),
        ("low", 900, 300, STAYS),  # no cadence to be quiet against
        ("tech", 900, 300, STAYS),
        ("high", 900, 60, STAYS),  # a newly arrived owner gets the full two cycles
        ("high", 900, 61, "demote low by quiet"),
        ("high", None, 300, STAYS),  # nobody knows when it was last engaged
    ],
)
def test_an_account_quiet_for_two_cadence_cycles_goes_down_one_band(
    said: Said, band: str, engaged_days_ago: int | None, days_in_band: int, expected: str
) -> None:
    engaged = None if engaged_days_ago is None else ago(engaged_days_ago)
    assert said(worth(band, last_engaged_at=engaged), standing(band, days_in_band)) == expected


@pytest.mark.parametrize(
    ("health", "renews_in", "expected"),
    [
        ([("health", 10, 49)], 200, "review: demote low by quiet"),
        ([("health", 10, 50)], 200, "demote low by quiet"),
        ([("health", 46, 10)], 200, "demote low by quiet"),  # too long ago to say anything
        ([], 90, "review: demote low by quiet"),
        ([], 91, "demote low by quiet"),
        ([], 0, "review: demote low by quiet"),
        ([], -1, "demote low by quiet"),
        ([], None, "demote low by quiet"),  # unknown is not protected
    ],
)
def test_a_demotion_at_risk_or_near_renewal_becomes_a_review(
    said: Said, health: list[Any], renews_in: int | None, expected: str
) -> None:
    renewal = None if renews_in is None else in_days(renews_in)
    assert said(replace(HEALTHY, last_engaged_at=ago(70), renewal_on=renewal), events=signals(*health)) == expected


@pytest.mark.parametrize(
    ("events", "band", "segment", "expected"),
    [
        ([("champion_left", 30)], "high", None, "demote low by champion_left"),
        ([("champion_left", 29)], "high", None, STAYS),  # there are thirty days to replace them
        ([("champion_left", 30)], "strategic", None, "demote high by champion_left"),
        ([("champion_left", 40), ("champion_joined", 35)], "high", None, STAYS),
        ([("champion_left", 40), ("champion_joined", 45)], "high", None, "demote low by champion_left"),
        (
            [("champion_left", 90), ("champion_joined", 60), ("champion_left", 31)],
            "high",
            None,
            "demote low by champion_left",
        ),
        ([("champion_left", 180)], "high", None, STAYS),  # the window ends
        ([("champion_left", 40)], "low", None, STAYS),
        ([("champion_left", 40)], "high", "enterprise", STAYS),
        ([("champion_left", 40)], "high", "mid_market", "demote low by champion_left"),
    ],
)
def test_an_account_whose_champion_left_and_was_not_replaced_goes_down(
    said: Said, events: list[Any], band: str, segment: str | None, expected: str
) -> None:
    assert said(worth(band, segment=segment), standing(band), signals(*events)) == expected


def test_a_champion_who_left_before_the_last_change_of_band_moves_nobody_again(said: Said) -> None:
    left = signals(("champion_left", 40))
    assert said(coverage=standing(days=40.001), events=left) == "demote low by champion_left"
    assert said(coverage=standing(days=40), events=left) == STAYS


LOCKED = replace(HEALTHY, contract_term_months=24, renewal_on=in_days(400), adoption=Decimal("0.6"))


@pytest.mark.parametrize(
    ("account", "health", "expected"),
    [
        (LOCKED, 80, "pending 1: demote low by locked"),
        (replace(LOCKED, contract_term_months=23), 80, STAYS),
        (replace(LOCKED, renewal_on=in_days(365)), 80, STAYS),
        (replace(LOCKED, renewal_on=in_days(366)), 80, "pending 1: demote low by locked"),
        (replace(LOCKED, adoption=Decimal("0.5999")), 80, STAYS),
        (LOCKED, 79, STAYS),
        (LOCKED, None, STAYS),
        (replace(LOCKED, contract_term_months=None), 80, STAYS),
        (replace(LOCKED, renewal_on=None), 80, STAYS),
        (replace(LOCKED, adoption=None), 80, STAYS),
    ],
)
def test_a_locked_and_healthy_contract_frees_its_owner_once_confirmed(
    said: Said, account: Account, health: int | None, expected: str
) -> None:
    assert said(account, events=signals(("health", 3, health)) if health is not None else ()) == expected


def test_a_locked_account_moves_on_the_second_run(story: Story) -> None:
    story.account, story.signals = LOCKED, signals(("health", 3, 80))
    assert story.weekly(2) == ["pending 1: demote low by locked", "demote low by locked"]


def test_a_locked_account_stays_at_least_eight_weeks(story: Story) -> None:
    story.account, story.signals, story.coverage = LOCKED, signals(("health", 3, 80)), standing(days=49)
    assert story.weekly(2) == [STAYS, "demote low by locked"], "blocked by the minimum stay, it counts on"


@pytest.mark.parametrize(
    ("band", "arr", "expected"),
    [
        ("high", "38250.00", STAYS),  # 15 % under the floor of 45,000, exactly
        ("high", "38249.99", "pending 1: demote low by value_lost"),
        ("high", "5000", "pending 1: demote tech by value_lost"),  # to what it earns, not one down
        ("low", "6120.00", STAYS),
        ("low", "6119.99", "pending 1: demote tech by value_lost"),
        ("tech", "0", STAYS),
        ("high", None, STAYS),
    ],
)
def test_an_account_whose_value_no_longer_carries_its_band_goes_where_it_belongs(
    said: Said, band: str, arr: str | None, expected: str
) -> None:
    account = replace(HEALTHY, arr=None if arr is None else Decimal(arr))
    assert said(account, standing(band)) == expected


def test_expansion_potential_counts_toward_value_and_is_zero_when_missing(said: Said) -> None:
    assert said(replace(HEALTHY, arr=Decimal(30_000), expansion_arr=Decimal(8_250))) == STAYS
    assert said(replace(HEALTHY, arr=Decimal(30_000), expansion_arr=None)) == "pending 1: demote low by value_lost"


def test_an_account_in_another_currency_has_no_value(said: Said) -> None:
    assert said(replace(HEALTHY, arr=Decimal(100), currency="EUR")) == STAYS
    assert said(replace(HEALTHY, arr=Decimal(100), currency=None)) == "pending 1: demote tech by value_lost"


@pytest.mark.parametrize(
    ("segment", "arr", "expected"),
    [
        ("enterprise", 25_500, STAYS),  # 30,000 less 15 %
        ("enterprise", 25_499, "pending 1: demote low by value_lost"),
        ("self_serve", 47_812, "pending 1: demote low by value_lost"),  # 56,250 less 15 % is 47,812.50
        ("self_serve", 47_813, STAYS),
        ("unheard_of", 38_250, STAYS),  # the floors of everybody else
    ],
)
def test_floors_are_those_of_the_segment(said: Said, segment: str, arr: int, expected: str) -> None:
    assert said(replace(HEALTHY, segment=segment, arr=Decimal(arr))) == expected


def test_lost_value_has_to_be_seen_on_three_runs_six_days_apart(story: Story) -> None:
    story.account = replace(HEALTHY, arr=Decimal(20_000))
    lost = "demote low by value_lost"
    assert story.run(AS_OF) == f"pending 1: {lost}"
    assert story.run(AS_OF + timedelta(days=5, hours=23)) == f"pending 1: {lost}"
    assert story.run(AS_OF + timedelta(days=6)) == f"pending 2: {lost}"
    assert story.run(AS_OF + timedelta(days=12)) == lost


def test_a_week_above_the_floor_starts_the_count_again(story: Story) -> None:
    lost, fine = replace(HEALTHY, arr=Decimal(20_000)), HEALTHY
    found = []
    for week, account in enumerate((lost, lost, fine, lost, lost, lost)):
        story.account = account
        found.append(story.run(AS_OF + week * WEEK))
    by = "demote low by value_lost"
    assert found == [f"pending 1: {by}", f"pending 2: {by}", STAYS, f"pending 1: {by}", f"pending 2: {by}", by]


# ---- Graduations -----------------------------------------------------------------------------------------------------

DOUBLED = (("seats", 100, 10), ("seats", 5, 20), ("api_ticket", 4))


@pytest.mark.parametrize(
    ("events", "band", "days", "expected"),
    [
        (DOUBLED, "low", 300, "graduate high by expansion"),
        (DOUBLED, "tech", 300, "graduate low by expansion"),
        (DOUBLED, "high", 300, STAYS),
        (DOUBLED[:2], "low", 300, STAYS),  # no API ticket
        ((("seats", 100, 10), ("seats", 5, 19), ("api_ticket", 4)), "low", 300, STAYS),
        ((("seats", 89, 10), ("seats", 5, 20), ("api_ticket", 4)), "low", 300, STAYS),  # nothing known 90 days ago
        ((("seats", 90, 10), ("seats", 5, 20), ("api_ticket", 4)), "low", 300, "graduate high by expansion"),
        (DOUBLED, "low", 4, STAYS),  # the ticket came before the band, and moved it here
        ((*DOUBLED, ("api_ticket", 61)), "low", 4, STAYS),
    ],
)
def test_doubled_seats_and_an_api_ticket_lift_an_account_one_band(
    said: Said, events: Sequence[Any], band: str, days: int, expected: str
) -> None:
    assert said(worth(band), standing(band, days), signals(*events)) == expected


@pytest.mark.parametrize(
    ("importance", "filed_days_ago", "band", "expected"),
    [
        (3, 10, "high", "graduate strategic by strategic_use_case"),
        (3, 10, "low", "graduate strategic by strategic_use_case"),
        (3, 10, "tech", STAYS),
        (2, 10, "high", STAYS),
        (None, 10, "high", STAYS),
        (3, 179.9, "high", "graduate strategic by strategic_use_case"),
        (3, 180, "high", STAYS),
    ],
)
def test_a_strategic_use_case_lifts_an_important_account_to_strategic(
    said: Said, importance: int | None, filed_days_ago: float, band: str, expected: str
) -> None:
    account = worth(band, strategic_importance=importance)
    assert said(account, standing(band), signals(("strategic_use_case", filed_days_ago))) == expected


def test_lifted_on_a_signal_an_account_has_half_a_year_to_earn_its_band(story: Story) -> None:
    story.account, story.coverage, story.signals = worth("tech", renewal_on=None), standing("tech"), signals(*DOUBLED)
    assert story.run() == "graduate low by expansion"
    weeks = story.weekly(26, AS_OF + WEEK)
    assert weeks[:25] == [STAYS] * 25
    assert weeks[25] == "demote tech by value_lost", "the count went on under the grace"


@pytest.mark.parametrize(
    ("arr", "band", "expected"),
    [
        ("45000.00", "low", "pending 1: graduate high by value_gained"),
        ("44999.99", "low", STAYS),
        ("270000.00", "low", "pending 1: graduate strategic by value_gained"),
        ("7200", "tech", "pending 1: graduate low by value_gained"),
        ("7199.99", "tech", STAYS),
        ("999999999", "strategic", STAYS),
    ],
)
def test_an_account_that_crosses_a_floor_goes_to_the_band_it_earns_once_confirmed(
    said: Said, arr: str, band: str, expected: str
) -> None:
    assert said(replace(HEALTHY, arr=Decimal(arr)), standing(band)) == expected


def test_gained_value_moves_on_the_second_run(story: Story) -> None:
    story.coverage = standing("low")
    assert story.weekly(3) == ["pending 1: graduate high by value_gained", "graduate high by value_gained", STAYS]


def test_a_graduation_is_not_made_into_a_band_that_a_demotion_would_take_it_out_of(story: Story) -> None:
    story.account, story.coverage = LOCKED, standing("low")
    story.signals = signals(("health", 3, 80), *DOUBLED[:2])
    assert story.weekly(3) == [STAYS] * 3
    story.signals = signals(("health", 3, 80), *DOUBLED)
    story.coverage = standing("low", pending={"value_gained": Pending(5, ago(7))})
    assert story.run() == STAYS, "locked is not among what expansion is made despite"
    story.account = replace(LOCKED, arr=Decimal(300_000))
    assert story.run() == "graduate strategic by value_gained", (
        "locked says nothing of strategic; blocked, it counted on"
    )


# ---- What moved an account down keeps it down ------------------------------------------------------------------------


def test_an_account_demoted_as_quiet_stays_down_until_somebody_engages(story: Story) -> None:
    story.account = replace(HEALTHY, last_engaged_at=ago(61))
    assert story.weekly(8) == ["demote low by quiet"] + [STAYS] * 7
    later = AS_OF + 8 * WEEK
    story.account = replace(HEALTHY, last_engaged_at=later - timedelta(days=1))
    assert story.weekly(2, later) == ["graduate high by value_gained", STAYS], "held down, it was counted all the time"


def test_a_fresh_expansion_signal_overrides_the_hold(story: Story) -> None:
    story.account = replace(HEALTHY, last_engaged_at=ago(61))
    story.signals = signals(("seats", 100, 10), ("seats", -10, 20), ("api_ticket", -10))
    assert story.weekly(3) == ["demote low by quiet", STAYS, "graduate high by expansion"]


def test_an_account_that_rose_and_fell_rises_again_only_on_something_new(story: Story) -> None:
    story.account, story.coverage, story.signals = worth("high"), standing("low"), signals(("champion_left", -20))
    gained, left = "graduate high by value_gained", "demote low by champion_left"
    weeks = story.weekly(12)
    assert [said for said in weeks if said != STAYS] == [f"pending 1: {gained}", gained, left]
    # Half a year on the window of the champion's departure is over and no longer holds it, but nothing new is known.
    assert story.weekly(20, AS_OF + 25 * WEEK) == [STAYS] * 20
    story.account = worth("high", adoption=Decimal("0.55"))
    assert story.run(AS_OF + 60 * WEEK) == gained


# ---- Contested -------------------------------------------------------------------------------------------------------


def test_an_account_that_a_demotion_and_a_graduation_both_claim_stays_and_is_listed(story: Story) -> None:
    story.account = replace(HEALTHY, last_engaged_at=ago(70), strategic_importance=4)
    story.signals = signals(("strategic_use_case", 5))
    contested = "contested: graduate strategic by strategic_use_case against quiet"
    assert story.weekly(2) == [contested] * 2
    assert story.trace == {"quiet": "fired", "strategic_use_case": "fired"}
    assert story.coverage == standing()


def test_a_pending_graduation_does_not_contest_a_demotion(said: Said) -> None:
    account = replace(HEALTHY, arr=Decimal(400_000), last_engaged_at=ago(70))
    assert said(account) == "demote low by quiet"


# ---- Interventions ---------------------------------------------------------------------------------------------------

DECLINING = (("usage", 65, 100), ("usage", 5, 60), ("meeting", 45))
RENEWING = replace(worth("low"), renewal_on=in_days(60), adoption=Decimal("0.3"))


@pytest.mark.parametrize(
    ("events", "segment", "band", "expected"),
    [
        (DECLINING, "mid_market", "low", "intervene high by usage_decline"),
        (DECLINING, "enterprise", "low", STAYS),
        (DECLINING, None, "low", STAYS),
        (DECLINING, "mid_market", "tech", STAYS),
        ((*DECLINING, ("meeting", 2)), "mid_market", "low", STAYS),  # as many meetings as before
        ((("usage", 65, 100), ("usage", 5, 70), ("meeting", 45)), "mid_market", "low", STAYS),  # 70 %, not less
        (DECLINING[1:], "mid_market", "low", STAYS),  # nothing to compare with
    ],
)
def test_a_mid_market_account_whose_usage_and_engagement_decline_is_lifted(
    said: Said, events: Sequence[Any], segment: str | None, band: str, expected: str
) -> None:
    assert said(worth(band, segment=segment), standing(band), signals(*events)) == expected


@pytest.mark.parametrize(
    ("adoption", "renews_in", "band", "expected"),
    [
        ("0.3999", 90, "low", "intervene high by renewal_rescue"),
        ("0.4", 90, "low", STAYS),
        ("0.3", 91, "low", STAYS),
        ("0.3", 0, "low", "intervene high by renewal_rescue"),
        ("0.3", -1, "low", STAYS),
        (None, 60, "low", STAYS),
        ("0.3", 60, "high", STAYS),
    ],
)
def test_an_account_near_renewal_with_low_adoption_is_lifted(
    said: Said, adoption: str | None, renews_in: int, band: str, expected: str
) -> None:
    share = None if adoption is None else Decimal(adoption)
    account = worth(band, adoption=share, renewal_on=in_days(renews_in))
    assert said(account, standing(band)) == expected


def test_an_intervention_ends_with_its_condition_and_the_account_returns(story: Story) -> None:
    story.account, story.coverage = RENEWING, standing("low")
    assert story.weekly(3) == ["intervene high by renewal_rescue", STAYS, STAYS]
    story.account = replace(RENEWING, adoption=Decimal("0.7"))
    assert story.weekly(3, AS_OF + 3 * WEEK) == ["return low by renewal_rescue", STAYS, STAYS]


def test_the_lifted_account_is_judged_from_the_band_it_was_lifted_from(story: Story) -> None:
    story.account, story.coverage = replace(RENEWING, last_engaged_at=ago(80)), standing("low")
    assert story.weekly(2) == ["intervene high by renewal_rescue", STAYS], (
        "quiet against high's cadence, worth only low"
    )
    story.signals = signals(("seats", 100, 10), ("seats", -14, 20), ("api_ticket", -14))
    assert story.run(AS_OF + 3 * WEEK) == STAYS, "expansion leads to high, where it is"
    story.account = replace(story.account, adoption=Decimal("0.7"))
    assert story.run(AS_OF + 4 * WEEK) == "settle high by expansion", "and so it need not return"
    assert story.weekly(4, AS_OF + 5 * WEEK)[0] == STAYS


def test_a_graduation_above_the_band_it_was_lifted_to_ends_the_intervention(story: Story) -> None:
    story.account, story.coverage = replace(RENEWING, strategic_importance=3), standing("low")
    story.signals = signals(("strategic_use_case", -10))
    assert story.weekly(3) == ["intervene high by renewal_rescue", STAYS, "graduate strategic by strategic_use_case"]


def test_an_intervention_that_ran_out_is_spent_until_its_condition_has_ended_once(story: Story) -> None:
    story.account, story.coverage = replace(RENEWING, renewal_on=in_days(90)), standing("low")
    assert story.run() == "intervene high by renewal_rescue"
    # The renewal moves on as fast as the weeks go by, so that the condition never ends.
    found = []
    for week in range(1, 20):
        story.account = replace(RENEWING, renewal_on=in_days(90 + 7 * week))
        found.append(story.run(AS_OF + week * WEEK))
    assert found == [STAYS] * 12 + ["return low by renewal_rescue"] + [STAYS] * 6
    assert story.remembered("spent_intervention") == "renewal_rescue"
    story.account = replace(RENEWING, adoption=Decimal("0.7"), renewal_on=in_days(90 + 7 * 20))
    assert story.run(AS_OF + 20 * WEEK) == STAYS
    assert story.remembered("spent_intervention") is None
    story.account = replace(RENEWING, renewal_on=in_days(90 + 7 * 21))
    assert story.run(AS_OF + 21 * WEEK) == "intervene high by renewal_rescue"


# ---- Pins ------------------------------------------------------------------------------------------------------------


def pin(band: str | None, until: float = 30, **columns: Any) -> list[Pin]:
    return [Pin("acme", band, AS_OF + timedelta(days=until), ago(10), **columns)]


QUIET = replace(HEALTHY, last_engaged_at=ago(90))


@pytest.mark.parametrize(
    ("pins", "expected"),
    [
        (pin("high"), STAYS),  # nothing else applies
        (pin("strategic"), "pin strategic by pin"),
        (pin("tech"), "pin tech by pin"),
        (pin("high", until=0), "demote low by quiet"),  # it expires at this instant
        (pin("high", until=0.001), STAYS),
        (pin("high", unpinned_at=ago(1)), "demote low by quiet"),
        (pin("no_such_band"), "demote low by quiet"),
        (pin(None, owner_id="csm_1"), "demote low by quiet"),  # only its owner is pinned
    ],
)
def test_a_pinned_account_has_the_band_of_its_pin_and_nothing_else_applies(
    said: Said, pins: list[Pin], expected: str
) -> None:
    assert said(QUIET, pins=pins) == expected


def test_a_new_account_enters_where_it_is_pinned(said: Said) -> None:
    assert said(HEALTHY, pins=pin("tech"), new=True) == "enter tech by pin"


def test_a_pin_that_moves_an_account_clears_what_it_was(story: Story) -> None:
    story.account = QUIET
    story.coverage = standing("high", held_by="locked", held_from="strategic", has_risen=True, fell_with="x")
    story.pins = pin("low")
    assert story.run() == "pin low by pin"
    assert story.last is not None
    assert story.last.state == "{}"


def test_an_account_that_has_left_leaves_even_when_pinned(said: Said) -> None:
    assert said(replace(HEALTHY, status="churned"), pins=pin("strategic")) == "leave by left"


# ---- Entering and leaving --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        (worth("tech"), "enter tech by entry"),
        (worth("high"), "enter high by entry"),
        (replace(HEALTHY, arr=Decimal(45_000)), "enter high by entry"),
        (replace(HEALTHY, arr=Decimal("44999.99")), "enter low by entry"),
        (replace(HEALTHY, arr=Decimal(-5)), "enter tech by entry"),
        (replace(HEALTHY, arr=None), "enter tech by entry"),
        (replace(HEALTHY, currency="EUR"), "enter tech by entry"),
        (replace(HEALTHY, last_engaged_at=ago(900)), "enter high by entry"),  # quiet counts from its first day
        (LOCKED, "enter low by entry"),  # `high` would let it go at once
        (replace(LOCKED, arr=Decimal(300_000)), "enter strategic by entry"),
    ],
)
def test_a_new_account_enters_the_highest_band_it_earns_and_would_keep(
    said: Said, account: Account, expected: str
) -> None:
    assert said(account, events=signals(("health", 3, 80), ("champion_left", 60)), new=True) == expected


def test_a_churned_account_leaves(said: Said, story: Story) -> None:
    assert said(replace(HEALTHY, status="churned"), standing(owner_id="csm_1")) == "leave by left"
    assert story.last is not None
    assert (story.last.from_band, story.last.to_band, story.last.owner_id) == ("high", None, "csm_1")


def test_an_account_that_vanished_from_the_feed_leaves(said: Said) -> None:
    assert said(None) == "leave by left"


def test_a_churned_account_that_never_had_a_band_is_no_concern_of_ours(said: Said) -> None:
    assert said(replace(HEALTHY, status="churned"), new=True) == STAYS


def test_an_account_in_a_band_that_the_policy_no_longer_has_settles_where_it_belongs(said: Said) -> None:
    assert said(HEALTHY, standing("platinum")) == "settle high by entry"
    assert said(LOCKED, standing("platinum"), signals(("health", 3, 80))) == "settle low by entry"


# ---- Time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "rule", "expected"),
    [
        (5.999, "entry", STAYS),
        (6, "entry", "graduate high by expansion"),
        (-3, "entry", STAYS),  # it changed band after this past instant
        (1, "import", "graduate high by expansion"),  # what was brought in is looked at from the first day
    ],
)
def test_an_account_settles_for_six_days_after_a_change_of_band(
    said: Said, days: float, rule: str, expected: str
) -> None:
    fresh = signals(("seats", 100, 10), ("seats", 0.5, 20), ("api_ticket", 0.4))
    assert said(worth("low"), standing("low", days, band_rule=rule), fresh) == expected


def test_a_past_as_of_knows_no_later_signal_and_no_later_date(said: Said) -> None:
    left = signals(("champion_left", 40))
    assert said(events=left) == "demote low by champion_left"
    assert said(events=left, as_of=ago(11)) == STAYS, "it was 29 days then"
    assert said(events=left, as_of=ago(41)) == STAYS, "it had not happened then"
    assert said(replace(HEALTHY, last_engaged_at=ago(61))) == "demote low by quiet"
    assert said(replace(HEALTHY, last_engaged_at=ago(61)), as_of=ago(1)) == STAYS
    assert said(RENEWING, standing("low"), as_of=ago(40)) == STAYS, "the renewal was 100 days away"


def test_a_second_run_at_the_same_instant_changes_nothing(story: Story) -> None:
    story.account = replace(HEALTHY, arr=Decimal(20_000))
    assert story.run() == "pending 1: demote low by value_lost"
    before = story.coverage
    assert story.run() == "pending 1: demote low by value_lost"
    assert story.coverage == before
    story.account = QUIET
    assert [story.run(), story.run()] == ["demote low by quiet", STAYS]


# ---- What is told of a decision --------------------------------------------------------------------------------------


def test_a_decision_carries_the_facts_its_rule_reads_and_what_came_of_every_rule(story: Story) -> None:
    story.account = replace(QUIET, arr=Decimal("20000.50"))
    assert story.run() == "demote low by quiet"
    assert story.facts == {"quiet_days": 90, "cadence_days": 30}
    assert story.trace == {"quiet": "fired", "value_lost": "pending 1 of 3"}
    assert story.last is not None
    assert story.last.value == Decimal("20000.50")
    assert story.last.evidence["facts"] == story.facts


def test_what_blocks_a_rule_is_named(story: Story) -> None:
    story.account = replace(HEALTHY, arr=Decimal(20_000))
    story.coverage = standing("high", 20, band_rule="expansion")
    assert story.run() == STAYS
    assert story.trace == {"value_lost": "blocked by minimum stay"}
    story.coverage = standing("high", 40, band_rule="expansion")
    story.run()
    assert story.trace == {"value_lost": "blocked by grace of expansion"}
    story.account = replace(HEALTHY, last_engaged_at=ago(90), arr=Decimal(300_000), contract_term_months=36)
    story.coverage = standing(
        "low", 40, held_by="quiet", held_from="high", pending={"value_gained": Pending(1, ago(7))}
    )
    story.run()
    assert story.trace == {"value_gained": "blocked by hold of quiet"}


def test_missing_facts_are_counted_over_the_active_accounts(story: Story) -> None:
    story.account = replace(HEALTHY, renewal_on=None, last_engaged_at=None, adoption=None)
    story.run()
    census = take_census(story.connection, POLICY, AS_OF)
    assert census.accounts == 1
    assert census.missing["renewal_on"] == 1
    assert census.missing["adoption"] == 1
