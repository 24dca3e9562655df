"""When the rules of a policy can fire, situation by situation: what the lints of `check` and `ladders` ask.

Everything is remembered, since every lint asks of the same rules. A condition too large to reason about can do
anything.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from app.policy.domains import Situation, segments_of
from app.policy.expressions import And, Compare, Constant, Expression, Fact, Type, facts_of
from app.policy.logic import Reasoning
from app.policy.model import EARNED, NEXT, PREVIOUS, Policy, Rule
from app.policy.ways import Ways, both

EARNED_BAND = Fact("earned_band", Type.BAND)


@dataclass(frozen=True)
class Firing:
    """The rules of a policy, with what can be said of when they fire."""

    policy: Policy

    @cached_property
    def _reasonings(self) -> dict[tuple[Situation, bool], Reasoning]:
        return {}

    @cached_property
    def _ways(self) -> dict[tuple[str, Situation], Ways]:
        return {}

    def reasoning(self, situation: Situation, *, expanded: bool = True) -> Reasoning:
        """What can be said in a situation, with the value taken apart if `expanded` and if that can matter."""
        key = situation, expanded and self.takes_value_apart
        if key not in self._reasonings:
            self._reasonings[key] = Reasoning(self.policy, *key)
        return self._reasonings[key]

    @cached_property
    def takes_value_apart(self) -> bool:
        """Whether some condition reads what the value is computed from; else the value is a number like any other."""
        conditions = [each for rule in self.policy.rules for each in (rule.when, rule.protect_when) if each is not None]
        return any(facts_of(each) & facts_of(self.policy.value) for each in conditions)

    def bands_of(self, rule: Rule) -> tuple[int, ...]:
        """The ranks from which the rule's target is a move in its direction, lowest first."""
        ranks = sorted(self.policy.band[name].rank for name in rule.from_bands)
        return tuple(rank for rank in ranks if self._is_move(rule, rank))

    def _is_move(self, rule: Rule, rank: int) -> bool:
        if rule.to == EARNED:
            return rank > 0 if rule.move == "demote" else rank + 1 < len(self.policy.bands)
        target = self.target(rule, rank)
        return 0 <= target < rank if rule.move == "demote" else rank < target < len(self.policy.bands)

    def target(self, rule: Rule, rank: int) -> int:
        """The rank of the rule's target seen from `rank`; of the earned band, the nearest it can be."""
        match rule.to:
            case to if to == NEXT or (to == EARNED and rule.move != "demote"):
                return rank + 1
            case to if to in (PREVIOUS, EARNED):
                return rank - 1
            case name:
                return self.policy.band[name].rank

    def situations(self, rule: Rule) -> Iterator[Situation]:
        """Every situation in which the rule applies."""
        for rank in self.bands_of(rule):
            for segment in segments_of(self.policy, rule):
                yield Situation(rank, segment)

    def applies(self, rule: Rule, situation: Situation) -> bool:
        """Whether the rule applies in the situation."""
        return situation.band in self.bands_of(rule) and situation.segment in segments_of(self.policy, rule)

    def condition(self, rule: Rule, rank: int, reaching: int | None = None) -> Expression:
        """What must be true for the rule to move an account out of `rank`, at least as far as the band `reaching`."""
        if rule.to != EARNED:
            return rule.when
        op: Literal["<=", ">="] = "<=" if rule.move == "demote" else ">="
        reached = self.policy.bands[self.target(rule, rank) if reaching is None else reaching]
        return And((rule.when, Compare(op, EARNED_BAND, Constant(reached.name, Type.BAND))))

    def fires(self, rule: Rule, situation: Situation) -> Ways:
        """The ways in which the rule fires; none only if it never does."""
        key = rule.name, situation
        if key not in self._ways:
            reasoning = self.reasoning(situation)
            self._ways[key] = reasoning.possible(reasoning.true(self.condition(rule, situation.band)))
        return self._ways[key]

    def reaches(self, rule: Rule, situation: Situation, rank: int) -> bool:
        """Whether the rule can take an account of the situation as far as `rank`, or farther."""
        if not self.applies(rule, situation):
            return False
        if rule.to == EARNED:
            return True
        target = self.target(rule, situation.band)
        return target <= rank if rule.move == "demote" else target >= rank

    def covers(self, rule: Rule, ways: Ways, situation: Situation) -> bool:
        """Whether the rule fires in all of the ways."""
        if not self.applies(rule, Situation(situation.band, situation.segment)):
            return not ways
        reasoning = self.reasoning(situation)
        return not reasoning.some(both(ways, reasoning.not_true(self.condition(rule, situation.band))))

    def uncovered(self, ways: Ways, rule: Rule, situation: Situation, reaching: int | None = None) -> Ways:
        """Those of the ways in which the rule does not fire, or does not reach the band."""
        if not self.applies(rule, Situation(situation.band, situation.segment)):
            return ways
        reasoning = self.reasoning(situation)
        not_fired = reasoning.not_true(self.condition(rule, situation.band, reaching))
        return reasoning.possible(both(ways, not_fired))
