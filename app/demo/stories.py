"""The stories of the sample company: what turns a steady account into one that a rule of the default policy speaks of.

`told(account, level, draw)` gives the account of the card's story. Each function below says what the first run makes
of it. Rules that must hold on several runs find the earlier ones in `coverage.pending`, as if they had been seen in
the weeks before: `locked` and `value_gained` once, `value_lost` twice. Their `_new` twins have not, and are pending.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from app.demo.accounts import Account, Draw, Levels, between

Story = Callable[[Account, Levels, Draw], Account]


def told(account: Account, level: Levels, draw: Draw) -> Account:
    """`account` as its card's story has it; a steady one stays as it is."""
    story = _STORIES.get(account.card.story)
    return story(account, level, draw) if story else account


def _band(account: Account) -> str:
    return account.card.band or "tech"


def _sound(account: Account, draw: Draw) -> Account:
    """Neither at risk nor near renewal nor locked in: nothing protects it, nothing else demotes it."""
    return replace(account, health=58 + int(draw() * 20), term=12, renewal_days=100 + int(draw() * 200))


def _lately(draw: Draw, within: int) -> int:
    """Days ago, fewer than `within` and mostly few, so that even a rare kind of signal has arrived of late."""
    return int(within * draw() * draw())


# ---- Demotions ------------------------------------------------------------------------------------------------------


def _quiet(account: Account, level: Levels, draw: Draw) -> Account:
    """Demoted by `quiet`: nobody has engaged for more than two cycles."""
    cycles = 62 if _band(account) == "high" else 31
    return replace(_sound(account, draw), engaged_days=cycles + int(draw() * 90))


def _quiet_at_risk(account: Account, level: Levels, draw: Draw) -> Account:
    """In review: quiet, and at risk."""
    return replace(_quiet(account, level, draw), health=22 + int(draw() * 26))


def _pinned_quiet(account: Account, level: Levels, draw: Draw) -> Account:
    """Nothing: it is quiet, but a pin holds its band."""
    return replace(_quiet(account, level, draw), pinned=True)


def _champion_left(account: Account, level: Levels, draw: Draw) -> Account:
    """Demoted by `champion_left`: it left at least 30 days ago and nobody has followed."""
    return replace(_sound(account, draw), champion_left_ago=32 + int(draw() * 100))


def _champion_left_renewal(account: Account, level: Levels, draw: Draw) -> Account:
    """In review: its champion left, and it renews soon."""
    return replace(_champion_left(account, level, draw), renewal_days=10 + int(draw() * 75))


def _champion_replaced(account: Account, level: Levels, draw: Draw) -> Account:
    """Nothing: another champion has followed."""
    left = 40 + int(draw() * 110)
    return replace(account, champion_left_ago=left, champion_joined_ago=_lately(draw, left - 4))


def _champion_left_lately(account: Account, level: Levels, draw: Draw) -> Account:
    """Nothing yet: less than 30 days have passed."""
    return replace(account, champion_left_ago=_lately(draw, 9))


def _locked(account: Account, level: Levels, draw: Draw) -> Account:
    """Demoted by `locked`: years to run, healthy and adopted, for the second week."""
    return replace(_locked_new(account, level, draw), pending=("locked", 1))


def _locked_new(account: Account, level: Levels, draw: Draw) -> Account:
    """Pending: as `locked`, for the first week."""
    return replace(
        account,
        term=(24, 36, 36, 48)[int(draw() * 4)],
        renewal_days=380 + int(draw() * 300),
        health=82 + int(draw() * 15),
        adoption=62 + int(draw() * 34),
    )


def _value_lost(account: Account, level: Levels, draw: Draw) -> Account:
    """Demoted by `value_lost`, for the third week."""
    return replace(_value_lost_new(account, level, draw), pending=("value_lost", 2))


def _value_lost_new(account: Account, level: Levels, draw: Draw) -> Account:
    """Pending: its value has fallen under the demotion floor, for the first week."""
    least = level.demotion[_band(account)]
    fallen = int(least * (0.45 + draw() * 0.5)) // 1000 * 1000
    return replace(_sound(account, draw), value=fallen, expansion=None)


def _value_lost_renewal(account: Account, level: Levels, draw: Draw) -> Account:
    """In review: its value is lost, and it renews soon."""
    return replace(_value_lost(account, level, draw), renewal_days=10 + int(draw() * 75))


# ---- Graduations ----------------------------------------------------------------------------------------------------


def _use_case(account: Account, level: Levels, draw: Draw) -> Account:
    """Graduated by `strategic_use_case` (in Latin America, where nobody serves that band, to the waitlist)."""
    return replace(_sound(account, draw), importance=3 + int(draw() * 3), use_case_ago=_lately(draw, 60))


def _use_case_minor(account: Account, level: Levels, draw: Draw) -> Account:
    """Nothing: it filed a strategic use case, but it is not important enough."""
    return replace(account, importance=1 + int(draw() * 2), use_case_ago=_lately(draw, 60))


def _expansion(account: Account, level: Levels, draw: Draw) -> Account:
    """Graduated by `expansion`: seats doubled, and it asks for an API integration."""
    return replace(_seats_only(account, level, draw), ticket_ago=int(draw() * 55))


def _seats_only(account: Account, level: Levels, draw: Draw) -> Account:
    """Nothing: seats doubled, and no more than that."""
    grown = int(account.seats * (2.1 + draw()))
    return replace(
        _sound(account, draw),
        seats=grown,
        seats_then=account.seats,
        tickets=False,
        importance=min(account.importance or 2, 2),
    )


def _value_gained(account: Account, level: Levels, draw: Draw) -> Account:
    """Graduated by `value_gained`, for the second week."""
    return replace(_value_gained_new(account, level, draw), pending=("value_gained", 1))


def _value_gained_new(account: Account, level: Levels, draw: Draw) -> Account:
    """Pending: its value carries the next band, for the first week."""
    least = level.next_floor[_band(account)]
    return replace(_sound(account, draw), value=between(least, least * 2, draw), expansion=None)


def _contested(account: Account, level: Levels, draw: Draw) -> Account:
    """Contested: its champion left, and it filed a strategic use case."""
    return replace(_champion_left(account, level, draw), importance=4, use_case_ago=_lately(draw, 60))


def _locked_out(account: Account, level: Levels, draw: Draw) -> Account:
    """Nothing: its value carries the next band, but it is locked in and would leave there at once."""
    return replace(_locked_new(_value_gained_new(account, level, draw), level, draw), pending=("value_gained", 5))


def _held_quiet(account: Account, level: Levels, draw: Draw) -> Account:
    """Nothing: its value carries the next band, but it came down as quiet and is quiet still."""
    silent = replace(_value_gained_new(account, level, draw), engaged_days=70 + int(draw() * 60))
    return replace(silent, held=("quiet", "high"), pending=("value_gained", 9))


# ---- Interventions --------------------------------------------------------------------------------------------------


def _usage_decline(account: Account, level: Levels, draw: Draw) -> Account:
    """Lifted by `usage_decline`: usage and meetings both fall."""
    return replace(_sagging(account, level, draw), engaged_days=31 + int(draw() * 27), meeting_every=21)


def _sagging(account: Account, level: Levels, draw: Draw) -> Account:
    """Nothing: usage falls, but outside the mid-market."""
    return replace(_sound(account, draw), usage=int(account.usage_then * (0.3 + draw() * 0.35)))


def _renewal_rescue(account: Account, level: Levels, draw: Draw) -> Account:
    """Lifted by `renewal_rescue`: it renews soon and hardly uses what it bought."""
    return replace(account, term=12, renewal_days=5 + int(draw() * 84), adoption=8 + int(draw() * 31))


# ---- At the floors --------------------------------------------------------------------------------------------------


def _at(value: Callable[[Levels, str], int], cents: int = 0) -> Story:
    """A story of an account whose value lies exactly `cents` from a floor."""

    def exact(account: Account, level: Levels, draw: Draw) -> Account:
        return replace(_sound(account, draw), value=value(level, _band(account)) + cents, expansion=None)

    return exact


def _floor(level: Levels, band: str) -> int:
    return level.floor[band]


def _demotion_floor(level: Levels, band: str) -> int:
    return level.demotion[band]


def _next_floor(level: Levels, band: str) -> int:
    return level.next_floor[band]


def _buffered(account: Account, level: Levels, draw: Draw) -> Account:
    """Nothing: its value is under the band's floor, but within the buffer."""
    band = _band(account)
    return replace(_sound(account, draw), value=between(level.demotion[band], level.floor[band], draw), expansion=None)


# ---- Who comes, who goes, and what is not known ---------------------------------------------------------------------


def _new(account: Account, level: Levels, draw: Draw) -> Account:
    """Enters: it signed since the last tiering."""
    scale = (1, 3, 8, 40)[int(draw() * 4)]
    return replace(account, value=(account.value or 0) * scale, expansion=None, signed_days=1 + int(draw() * 120))


def _churned(account: Account, level: Levels, draw: Draw) -> Account:
    """Leaves: it has churned and still stands in the coverage (or never stood in it, and is no concern of ours)."""
    return replace(account, status="churned", engaged_days=40 + int(draw() * 100), renewal_days=-int(draw() * 40))


def _foreign(account: Account, level: Levels, draw: Draw) -> Account:
    """Nothing: without a rate its worth in the policy's currency is not known."""
    return replace(account, currency=("EUR", "GBP", "JPY", "BRL")[int(draw() * 4)])


def _no_arr(account: Account, level: Levels, draw: Draw) -> Account:
    """Nothing: its ARR is not known."""
    return replace(account, value=None, expansion=None)


def _waiting(account: Account, level: Levels, draw: Draw) -> Account:
    """On the waitlist since it was brought in; the first run gives it an owner where there is room."""
    return replace(account, waiting=True)


_STORIES: Mapping[str, Story] = {
    "quiet": _quiet,
    "quiet_at_risk": _quiet_at_risk,
    "pinned_quiet": _pinned_quiet,
    "champion_left": _champion_left,
    "champion_left_renewal": _champion_left_renewal,
    "champion_replaced": _champion_replaced,
    "champion_left_lately": _champion_left_lately,
    "champion_left_enterprise": _champion_left,
    "locked": _locked,
    "locked_new": _locked_new,
    "value_lost": _value_lost,
    "value_lost_new": _value_lost_new,
    "value_lost_renewal": _value_lost_renewal,
    "use_case": _use_case,
    "use_case_waiting": _use_case,
    "use_case_minor": _use_case_minor,
    "expansion": _expansion,
    "seats_only": _seats_only,
    "value_gained": _value_gained,
    "value_gained_new": _value_gained_new,
    "contested": _contested,
    "locked_out": _locked_out,
    "held_quiet": _held_quiet,
    "usage_decline": _usage_decline,
    "sagging": _sagging,
    "renewal_rescue": _renewal_rescue,
    "at_floor": _at(_floor),
    "over_floor": _at(_floor, 1),
    "under_floor": _at(_floor, -1),
    "at_demotion_floor": _at(_demotion_floor),
    "under_demotion_floor": _at(_demotion_floor, -1),
    "at_next_floor": _at(_next_floor),
    "under_next_floor": _at(_next_floor, -1),
    "buffered": _buffered,
    "new": _new,
    "churned": _churned,
    "churned_before": _churned,
    "foreign": _foreign,
    "no_arr": _no_arr,
    "waiting": _waiting,
}
