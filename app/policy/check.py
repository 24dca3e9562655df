"""What is wrong with a policy that can be read: rules that never fire, never decide, or undo each other.

`check` gives the mistakes: a part of the policy provably does nothing, or does the reverse of what its thresholds say;
the policy should not run like this. `warn` gives what is probably not meant, but does no harm: `bandshift policy
check` prints it and passes. Both rest on proofs (see `app.policy.logic`), so that they say nothing where they cannot
be sure.

Mistakes: a rule whose condition is never true where it applies; a protection that is never true; a rule that an
earlier one always forestalls; a graduation that a demotion always undoes or contests; and, on ladders of money
thresholds, gaps, overlaps and more money giving a lower band (`app.policy.ladders`).

Warnings: a condition that is always true, a protection that is never true where its rule fires, and an intervention
whose weeks never run out.
"""

import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from math import ceil

from app.errors import Problem
from app.policy.describe import describe
from app.policy.domains import Situation, natural
from app.policy.expressions import And, Call, Constant, Expression, children, facts_of
from app.policy.firing import Firing
from app.policy.ladders import ladder_problems
from app.policy.model import EARNED, Policy, Rule
from app.policy.ways import TooManyWays, both
from app.policy.wording import listed, number

Lint = Callable[[Firing, Rule, str], Iterator[Problem]]


def check(policy: Policy) -> tuple[Problem, ...]:
    """Every mistake that can be proved of the policy's rules, in their order."""
    firing = Firing(policy)
    lints: tuple[Lint, ...] = (_never, _protection, _forestalled, _undone)
    found = [problem for rule, path in _paths(policy) for problem in _first(lints, firing, rule, path)]
    dead = {problem.where.removesuffix(".when") for problem in found}
    paths = {rule.name: path for rule, path in _paths(policy) if path not in dead}
    return (*found, *ladder_problems(firing, paths))


def warn(policy: Policy) -> tuple[Problem, ...]:
    """What in the policy's rules is probably not meant but does no harm, in their order."""
    firing = Firing(policy)
    lints: tuple[Lint, ...] = (_always, _idle_protection, _endless)
    return tuple(
        problem for rule, path in _paths(policy) for lint in lints for problem in _proved(lint, firing, rule, path)
    )


def _paths(policy: Policy) -> list[tuple[Rule, str]]:
    """Each enabled rule with its path in the file, where rules that are switched off count too."""
    listed_rules = tomllib.loads(policy.body).get("rules", [])
    places = {rule.get("name"): place for place, rule in enumerate(listed_rules)}
    return [(rule, f"rules[{places.get(rule.name, place)}]") for place, rule in enumerate(policy.rules)]


def _proved(lint: Lint, firing: Firing, rule: Rule, path: str) -> list[Problem]:
    """What the lint finds; nothing where a condition is too large to reason about."""
    try:
        return list(lint(firing, rule, path))
    except TooManyWays:
        return []


def _first(lints: Iterable[Lint], firing: Firing, rule: Rule, path: str) -> list[Problem]:
    """What the first lint that finds something finds: the later ones would say the same in other words."""
    return next((found for lint in lints if (found := _proved(lint, firing, rule, path))), [])


# ---- Mistakes -------------------------------------------------------------------------------------------------------


def _never(firing: Firing, rule: Rule, path: str) -> Iterator[Problem]:
    if any(firing.fires(rule, situation) for situation in firing.situations(rule)):
        return
    yield Problem(f"{path}.when", f"the rule can never fire: {_why_never(firing, rule)}")


def _why_never(firing: Firing, rule: Rule) -> str:
    """The smallest part of the condition that is never true, and why where that can be said."""
    items = rule.when.items if isinstance(rule.when, And) else (rule.when,)
    for item in items:
        if _is_never(firing, rule, item):
            return _why_item(firing, rule, item)
    for place, item in enumerate(items):
        for other in items[place + 1 :]:
            if _is_never(firing, rule, And((item, other))):
                return f"`{describe(item)}` and `{describe(other)}` exclude each other"
    if not _is_never(firing, rule, rule.when) and rule.to == EARNED:
        side = "under" if rule.move == "demote" else "over"
        return f"where its condition is true, the earned band is never {side} the account's own"
    return "the parts of its condition exclude each other"


def _why_item(firing: Firing, rule: Rule, item: Expression) -> str:
    """Why one part of a condition is never true."""
    if isinstance(item, Constant):
        return f"its condition is always {'missing' if item.value is None else 'false'}"
    facts = sorted(facts_of(item))
    if "cadence_days" in facts:
        fixed = [firing.policy.bands[rank] for rank in firing.bands_of(rule)]
        if all(band.cadence_days is None for band in fixed):
            none = listed([f"`{band.name}`" for band in fixed], "or")
            return f"`{describe(item)}` needs cadence_days, and {none} has none"
    if facts == ["segment"] and rule.segments is not None:
        return f"`{describe(item)}` is never true, as the rule is for {listed(sorted(rule.segments))} only"
    for fact in facts:
        limits = natural(firing.policy, fact)
        if limits.low is not None or limits.high is not None:
            ends = [] if limits.low is None else [f"at least {number(limits.low)}"]
            ends += [] if limits.high is None else [f"at most {number(limits.high)}"]
            return f"`{describe(item)}` is never true, as {fact} is {listed(ends)}"
    return f"`{describe(item)}` is never true"


def _is_never(firing: Firing, rule: Rule, condition: Expression) -> bool:
    """Whether the condition is never true where the rule applies, whatever its target."""
    reasonings = [firing.reasoning(situation) for situation in firing.situations(rule)]
    return not any(reasoning.some(reasoning.true(condition)) for reasoning in reasonings)


def _protection(firing: Firing, rule: Rule, path: str) -> Iterator[Problem]:
    if rule.protect_when is not None and _is_never(firing, rule, rule.protect_when):
        why = _why_never(firing, replace(rule, when=rule.protect_when))
        yield Problem(f"{path}.protect_when", f"it can never protect an account: {why}")


def _forestalled(firing: Firing, rule: Rule, path: str) -> Iterator[Problem]:
    """A rule that never decides, because an earlier one of its move fires whenever it does."""
    peers = {"demote": firing.policy.demotions, "graduate": firing.policy.graduations}.get(rule.move, ())
    earlier = [peer for peer in peers[: peers.index(rule)] if _as_free(firing.policy, peer, rule)] if peers else []
    first = []
    for situation in firing.situations(rule):
        ways = firing.fires(rule, situation)
        before = (peer for peer in earlier if firing.applies(peer, situation))
        forestalls = next((peer for peer in before if firing.covers(peer, ways, situation)), None)
        if ways and forestalls is None:
            return
        if ways and forestalls is not None:
            first.append(forestalls.name)
    names = listed([f"`{name}`" for name in dict.fromkeys(first)])
    verb = "come" if len(set(first)) > 1 else "comes"
    what = f"the rule never decides: {names} {verb} first and {'are' if verb == 'come' else 'is'} true whenever it is"
    yield Problem(f"{path}.when", f"{what}; put this rule earlier, or take it out")


def _as_free(policy: Policy, peer: Rule, rule: Rule) -> bool:
    """Whether `peer`, where its condition is true, fires at least as readily as `rule`."""
    graced = {demotion for graduation in policy.graduations for demotion in graduation.despite}
    return (
        peer.confirm_weeks <= rule.confirm_weeks
        and peer.min_stay_weeks <= rule.min_stay_weeks
        and peer.protect_when in (None, rule.protect_when)
        and (peer.name not in graced or rule.name in graced)
        and peer.despite >= rule.despite
        and peer.overrides_hold >= rule.overrides_hold
    )


def _undone(firing: Firing, rule: Rule, path: str) -> Iterator[Problem]:
    """A graduation that never lifts: a demotion would always take it back at once, or always fires with it."""
    if rule.move != "graduate":
        return
    situations = [situation for situation in firing.situations(rule) if firing.fires(rule, situation)]
    undoing = [_undoing(firing, rule, situation) for situation in situations]
    if all(undoing):
        names = listed([f"`{name}`" for name in dict.fromkeys(name for found in undoing for name in found)], "or")
        what = f"the rule never lifts an account: {names} would take it out of the band it enters at once"
        yield Problem(f"{path}.when", f"{what}; change one of them, or name the demotion in `despite`")
        return
    contesting = [_contesting(firing, rule, situation) for situation in situations]
    if all(contesting):
        names = listed([f"`{name}`" for name in dict.fromkeys(name for name in contesting if name)], "or")
        what = f"the rule never lifts an account: whenever it fires, {names} fires too, and contested accounts stay"
        yield Problem(f"{path}.when", f"{what}; let their conditions exclude each other")


def _undoing(firing: Firing, rule: Rule, situation: Situation) -> list[str]:
    """The demotions that stand against each band the graduation could lift to; empty if one is free."""
    ways = firing.fires(rule, situation)
    farthest = len(firing.policy.bands) - 1 if rule.to == EARNED else firing.target(rule, situation.band)
    names = []
    for rank in range(situation.band + 1, farthest + 1):
        entry = Situation(rank, situation.segment, "entry")
        demotions = [
            demotion
            for demotion in firing.policy.demotions
            if demotion.name not in rule.despite and firing.applies(demotion, Situation(rank, situation.segment))
        ]
        standing = next((each for each in demotions if firing.covers(each, ways, entry)), None)
        if standing is None:
            return []
        names.append(standing.name)
    return names


def _contesting(firing: Firing, rule: Rule, situation: Situation) -> str | None:
    """A demotion that fires on every run on which the graduation fires, if there is one."""
    ways = firing.fires(rule, situation)
    for demotion in firing.policy.demotions:
        as_quick = (
            demotion.protect_when is None
            and demotion.confirm_weeks <= rule.confirm_weeks
            and demotion.min_stay_weeks <= rule.min_stay_weeks
            and not any(demotion.name in graduation.despite for graduation in firing.policy.graduations)
        )
        if as_quick and firing.applies(demotion, situation) and firing.covers(demotion, ways, situation):
            return demotion.name
    return None


# ---- Warnings -------------------------------------------------------------------------------------------------------


def _always(firing: Firing, rule: Rule, path: str) -> Iterator[Problem]:
    reasonings = [firing.reasoning(situation) for situation in firing.situations(rule)]
    if reasonings and not any(each.some(each.not_true(rule.when)) for each in reasonings):
        yield Problem(f"{path}.when", "the condition is true of every account the rule applies to")


def _idle_protection(firing: Firing, rule: Rule, path: str) -> Iterator[Problem]:
    if rule.protect_when is None or _is_never(firing, rule, rule.protect_when):
        return
    for situation in firing.situations(rule):
        reasoning = firing.reasoning(situation)
        if reasoning.some(both(firing.fires(rule, situation), reasoning.true(rule.protect_when))):
            return
    yield Problem(f"{path}.protect_when", "it protects no account, as it is never true where the rule fires")


def _endless(firing: Firing, rule: Rule, path: str) -> Iterator[Problem]:
    """An intervention whose condition ends by itself before its weeks do, because a date passes."""
    if rule.move != "intervene":
        return
    for call in sorted(set(_calls(rule.when)), key=describe):
        days = _span(firing, rule, call)
        if days is not None and rule.for_weeks > ceil(days / 7):
            what = f"the condition ends by itself within {ceil(days / 7)} weeks, as it needs `{describe(call)}`"
            yield Problem(f"{path}.for_weeks", f"{rule.for_weeks} weeks never run out: {what} in a span of {days} days")
            return


def _span(firing: Firing, rule: Rule, call: Call) -> int | None:
    """Over how many days the rule's condition can be true as time goes by; None if that has no limit."""
    longest = 0
    for situation in firing.situations(rule):
        reached = firing.reasoning(situation).range_of(call, firing.fires(rule, situation))
        if reached is None:
            continue
        if reached.low is None or reached.high is None:
            return None
        longest = max(longest, int(reached.high - reached.low) + 1)
    return longest or None


def _calls(expression: Expression) -> Iterator[Call]:
    if isinstance(expression, Call) and expression.name in ("days_since", "days_until"):
        yield expression
    for part in children(expression):
        yield from _calls(part)
