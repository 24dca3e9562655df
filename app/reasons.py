"""Why an account moves or does not, in one sentence with its figures.

The sentence says what happens, then why: the rule's `because` with the facts the decision was made on. It is what
`band_history.reason` keeps, what the reports show, and what people receive. Pure: the same decision, the same sentence.
"""

import string
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from msgspec.json import Decoder
from msgspec.structs import replace

from app import figures
from app.plan import Decision
from app.policy.model import FAMILY, ITS_FAMILY, Policy, Rule


def reason(policy: Policy, decision: Decision) -> str:
    """One full sentence that says what happens to the account, or would, and why."""
    who_decides = "; it is protected, so a person decides" if decision.outcome == "review" else ""
    return f"{_what(policy, decision)}: {because(policy, decision)}{who_decides}."


def because(policy: Policy, decision: Decision) -> str:
    """The second half of `reason`: the why alone, as a clause without a full stop."""
    if decision.outcome == "contested":
        return _contested(policy, decision)
    if decision.rule == FAMILY:
        return _with_family(policy, decision)
    return f"{_clause(policy, decision)}{_stopped(decision)}"


def _what(policy: Policy, decision: Decision) -> str:
    match decision.outcome:
        case "move":
            return _moved(policy, decision)
        case "pending":
            rule = policy.rule[decision.rule]
            return f"{_would_be(decision)}, confirmed in {decision.weeks} of {rule.confirm_weeks} weeks"
        case "review":
            return f"For review, {_would_be(decision, capital=False)}"
        case "contested":
            return f"Contested, stays in {decision.from_band}"
        case "state":
            return f"Stays in {decision.to_band or decision.from_band}"


def _moved(policy: Policy, decision: Decision) -> str:
    before, after = decision.from_band, decision.to_band
    match decision.move:
        case "enter":
            return f"Entered {after}"
        case "leave":
            return f"Left {before}"
        case "graduate" | "settle" if before == after:
            return f"Stays in {after}"
        case "intervene":
            rule = policy.rule.get(decision.rule)
            weeks = f" for at most {figures.counted(rule.for_weeks, 'week')}" if rule and rule.for_weeks else ""
            return f"Lifted from {before} to {after}{weeks}"
        case move:
            return f"{_PASTS[move]} from {before} to {after}"


_PASTS = {"graduate": "Graduated", "demote": "Demoted", "return": "Returned", "settle": "Moved", "pin": "Moved"}
_PARTICIPLES = {"graduate": "graduated", "demote": "demoted", "intervene": "lifted"}


def _would_be(decision: Decision, *, capital: bool = True) -> str:
    would = "Would" if capital else "would"
    return f"{would} be {_PARTICIPLES[decision.move]} from {decision.from_band} to {decision.to_band}"


def _clause(policy: Policy, decision: Decision) -> str:
    """Why one rule decided, without what it did."""
    match decision.move, decision.rule:
        case "leave", _:
            return "it is no longer an active customer"
        case (("pin" | "enter"), "pin"):
            return _pinned(decision)
        case "enter", _:
            return _earned(policy, decision)
        case "settle", "entry":
            return f"the policy has no band {decision.from_band} any more, and {_earned(policy, decision)}"
        case (("return" | "settle"), name) if name not in {rule.name for rule in policy.graduations}:
            return _ended(decision, name)
    rule = policy.rule.get(decision.rule)
    return filled(policy, rule, _facts(decision)) if rule else "no rule moves it"


def _with_family(policy: Policy, decision: Decision) -> str:
    """Why an account goes with its family, and where it would be without, if it moved by itself too."""
    if (family := _facts(decision).get(ITS_FAMILY)) is None:
        return "none of its family is in a higher band any more"
    who = f"{figures.printable(family['by'])} of its family is in {family['band']}"
    if decision.to_band != family["band"]:
        return f"{who}, and nothing new is known of them that would lift it as high again"
    if decision.move == "return":
        return f"{who}, and nobody of it in a higher band any more"
    own = replace(decision, rule=family.get("own_rule", ""), to_band=family["own_band"])
    rule = policy.rule.get(own.rule)
    if own.rule != "entry" and (rule is None or rule.move == "intervene"):
        return who
    why = _clause(policy, own if rule is None else replace(own, move=rule.move))
    return f"{who}; by itself it would be in {own.to_band}, as {why}"


def _stopped(decision: Decision) -> str:
    """That a move of its own led an account no further than its family's band."""
    if f'"{ITS_FAMILY}"' not in decision.facts:
        return ""
    family = _facts(decision)[ITS_FAMILY]
    who = f"{figures.printable(family['by'])} of its family is in {family['band']}"
    return f"; by itself it would be in {family['own_band']}, but {who}"


def _contested(policy: Policy, decision: Decision) -> str:
    """Both sides of a contested decision."""
    facts = _facts(decision)
    up, down = policy.rule.get(decision.rule), policy.rule.get(decision.against or "")
    upward = filled(policy, up, facts) if up else "unknown"
    downward = filled(policy, down, facts) if down else "unknown"
    return f"rule {decision.rule} says up because {upward}; rule {decision.against} says down because {downward}"


def _pinned(decision: Decision) -> str:
    facts = _facts(decision)
    by = f" by {figures.printable(str(facts['pinned_by']))}" if facts.get("pinned_by") else ""
    until = f" until {str(facts['expires_at'])[:10]}" if facts.get("expires_at") else ""
    why = f" ({figures.printable(str(facts['pin_reason']))})" if facts.get("pin_reason") else ""
    return f"it is pinned there{by}{until}{why}"


def _earned(policy: Policy, decision: Decision) -> str:
    """How the value of an account that enters earns its band."""
    if decision.value is None:
        return "its value is unknown"
    value = figures.money(decision.value, policy.currency)
    floors = policy.floors.get(decision.segment, policy.floors[None]).floor
    earned = max(rank for rank, floor in enumerate(floors) if rank == 0 or floor <= decision.value)
    if (entered := policy.band.get(decision.to_band or "")) and entered.rank < earned:
        return f"its value of {value} carries {policy.bands[earned].name}, but a demotion would take it out at once"
    if earned == 0 and len(floors) > 1:
        least = figures.money(floors[1], policy.currency)
        return f"its value of {value} is under {least}, where {policy.bands[1].name} starts"
    return f"its value of {value} carries {policy.bands[earned].name}"


def _ended(decision: Decision, intervention: str) -> str:
    ran_out = _exact(decision.state).get("spent_intervention") == intervention
    return f"the weeks of {intervention} ran out" if ran_out else f"what called for {intervention} is over"


_exact = Decoder(float_hook=Decimal).decode


def _facts(decision: Decision) -> Mapping[str, Any]:
    facts: Mapping[str, Any] = _exact(decision.facts)
    return facts


def filled(policy: Policy, rule: Rule, facts: Mapping[str, Any]) -> str:
    """The rule's `because` with its facts as people read them; a fact that is missing reads `unknown`."""
    parts = [
        literal if name is None else literal + figures.fact(policy, name, facts.get(name))
        for literal, name in _template(rule.because)
    ]
    return "".join(parts).rstrip(". ")


@lru_cache(maxsize=256)
def _template(because: str) -> tuple[tuple[str, str | None], ...]:
    """The template as pairs of a literal and the fact that follows it."""
    return tuple((literal, name) for literal, name, _, _ in string.Formatter().parse(because))
