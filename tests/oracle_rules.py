"""What comes of each rule for one account, as docs/deciding.md says under "Which rules apply" and in step 8."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from string import Formatter
from typing import Any, Literal

from app.policy.expressions import Expression, Fact
from app.policy.model import EARNED, NEXT, PREVIOUS, Band, Policy, Rule
from tests.oracle_expressions import DAY, Value, is_true, parts
from tests.oracle_facts import WEEK, Case, Entry, Kept, Lens, Now
from tests.oracle_rows import Account, Coverage, Pending

SIX_DAYS = 6 * DAY
BEHIND = "\x1e"
"""Parts the fingerprint of an account from that of its family behind it."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What came of a rule whose condition is TRUE: a word, the band it leads to, and the runs it held for."""

    rule: Rule
    kind: Literal["fired", "review", "pending", "blocked"]
    target: Band
    by: str = ""
    weeks: int = 0

    @property
    def words(self) -> str:
        """As in the trace of a decision."""
        match self.kind:
            case "pending":
                return f"pending {self.weeks} of {self.rule.confirm_weeks}"
            case "blocked":
                return f"blocked by {self.by}"
        return self.kind


COLUMNS_BEHIND = {
    "quiet_days": {"last_engaged_at"},
    "earned_band": {"segment"},
    "floor": {"segment"},
    "demotion_floor": {"segment"},
}


def facts_told(rule: Rule) -> set[str]:
    """The facts that a rule's condition and `because` name."""
    named = {name for _, name, _, _ in Formatter().parse(rule.because) if name}
    return named | {node.name for node in parts(rule.when) if isinstance(node, Fact)}


@dataclass(frozen=True, slots=True)
class Reads:
    """The account's own columns and attributes that a policy reads, in order, and the kinds of signals."""

    columns: tuple[str, ...]
    attributes: tuple[str, ...]
    kinds: frozenset[str]

    def fingerprint(self, account: Account) -> str:
        """Equal for two rows exactly when they agree in all that the policy reads of them."""
        cells = [getattr(account, name) for name in self.columns]
        plain = [cell.normalize() if isinstance(cell, Decimal) else cell for cell in cells]
        return repr([*plain, *(account.attributes.get(name) for name in self.attributes)])


def what_is_read(policy: Policy) -> Reads:
    """What the value, and the conditions and the reasons of the rules, are made of."""
    expressions = [policy.value]
    for rule in policy.rules:
        expressions += [rule.when, *([rule.protect_when] if rule.protect_when is not None else [])]
        expressions += [policy.facts[name] for name in facts_told(rule) & policy.facts.keys()]
    names = {node.name for expression in expressions for node in parts(expression) if isinstance(node, Fact)}
    names |= {name for rule in policy.rules for name in facts_told(rule)}
    columns = {"currency"}.union(*(COLUMNS_BEHIND.get(name, {name}) for name in names))
    if any(rule.segments is not None or rule.except_segments for rule in policy.rules):
        columns.add("segment")
    return Reads(
        tuple(sorted(columns & (Account.__dataclass_fields__.keys() - policy.attributes.keys()))),
        tuple(sorted(columns & policy.attributes.keys())),
        frozenset(policy.signals[name].kind for name in names & policy.signals.keys()),
    )


class Judge:
    """The rules over one account on one run."""

    def __init__(self, case: Case, reads: Reads) -> None:
        self.case, self.reads = case, reads
        self.policy, self.as_of, self.account, self.coverage = case.policy, case.as_of, case.account, case.coverage
        self.lenses: dict[tuple[type[Lens], str], Lens] = {}

    @cached_property
    def fingerprint(self) -> str:
        """Of what the policy reads of the account's row."""
        return self.reads.fingerprint(self.account)

    # ---- Lenses ------------------------------------------------------------------------------------------------------

    def lens(self, kind: type[Lens], band: Band) -> Lens:
        """The facts as seen through a lens from a band."""
        key = (kind, band.name)
        if key not in self.lenses:
            self.lenses[key] = kind(self.case, band)
        return self.lenses[key]

    @property
    def covered(self) -> Coverage:
        """The coverage of an account that has one."""
        assert self.coverage is not None
        return self.coverage

    @cached_property
    def own(self) -> Band:
        """ "the band the account stands in, or, while an intervention lifts it, the band it was lifted from" """
        lifted = self.covered.intervention is not None
        return self.policy.band[(self.covered.intervention_from if lifted else None) or self.covered.band]

    def now(self, condition: Expression | None) -> bool:
        """Whether a condition is TRUE as the account stands."""
        return is_true(condition, self.lens(Now, self.own))

    # ---- Rules -------------------------------------------------------------------------------------------------------

    def _target(self, rule: Rule, seen_from: Band) -> Band | None:
        """Where a rule leads from a band, None where that is no move in its direction."""
        bands = self.policy.bands
        to: Band | None
        match rule.to:
            case "earned_band":
                assert rule.to == EARNED
                earned: Any = self.lens(Now if self.coverage else Entry, seen_from).read("earned_band")
                to = None if earned is None else bands[earned.rank]
            case "next":
                assert rule.to == NEXT
                to = bands[seen_from.rank + 1] if seen_from.rank + 1 < len(bands) else None
            case "previous":
                assert rule.to == PREVIOUS
                to = bands[seen_from.rank - 1] if seen_from.rank > 0 else None
            case name:
                to = self.policy.band[name]
        if to is None:
            return None
        # "A demotion is a move only if the target's rank is below b, a graduation or intervention only if above"
        right_way = to.rank < seen_from.rank if rule.move == "demote" else to.rank > seen_from.rank
        return to if right_way else None

    def _fits_segment(self, rule: Rule) -> bool:
        """ "(an account without a segment is in none)" """
        segment = self.account.segment
        if rule.segments is not None and (segment is None or segment not in rule.segments):
            return False
        return segment is None or segment not in rule.except_segments

    def _applies(self, rule: Rule) -> Band | None:
        """The target of a rule that applies in the own band, None for one that does not."""
        if self.own.name not in rule.from_bands or not self._fits_segment(rule):
            return None
        return self._target(rule, self.own)

    def _count(self, rule: Rule) -> Pending:
        """The entry of a rule whose condition is TRUE, after this run."""
        before = self.covered.pending.get(rule.name)
        # The page says "n becomes 1 if there was no entry, n + 1 (and t = as_of) if as_of is six days or more after t"
        if before is None:
            return Pending(1, self.as_of)
        if self.as_of - before.seen_at >= SIX_DAYS:
            return Pending(before.weeks + 1, self.as_of)
        return before

    def _confirmed(self, rule: Rule, target: Band) -> Ruling:
        """The end of both ladders: pending until confirmed, else in review, else fired."""
        if rule.confirm_weeks > 1 and (weeks := self._count(rule).weeks) < rule.confirm_weeks:
            return Ruling(rule, "pending", target, weeks=weeks)
        return Ruling(rule, "review" if self.now(rule.protect_when) else "fired", target)

    def _too_early(self, rule: Rule) -> bool:
        """ "before `band_since + min_stay_weeks`", for a rule that has one"""
        return rule.min_stay_weeks > 0 and self.as_of < self.covered.band_since + rule.min_stay_weeks * WEEK

    def demotions(self) -> list[Ruling]:
        rulings = []
        for rule in self.policy.demotions:
            target = self._applies(rule)
            if target is None or not self.now(rule.when):
                continue
            if self._too_early(rule):
                rulings.append(Ruling(rule, "blocked", target, "minimum stay"))
            elif (graced_by := self._grace(rule)) is not None:
                rulings.append(Ruling(rule, "blocked", target, f"grace of {graced_by}"))
            else:
                rulings.append(self._confirmed(rule, target))
        return rulings

    def _grace(self, demotion: Rule) -> str | None:
        """The graduation that brought the account here "[and] has this rule in `despite`", while its grace lasts."""
        for graduation in self.policy.graduations:
            brought_it = graduation.name == self.covered.band_rule
            lasting = self.as_of < self.covered.band_since + graduation.grace_weeks * WEEK
            if brought_it and lasting and demotion.name in graduation.despite:
                return graduation.name
        return None

    def graduations(self) -> list[Ruling]:
        rulings = []
        for rule in self.policy.graduations:
            target = self._applies(rule)
            if target is None or not self.now(rule.when):
                continue
            if self._too_early(rule):
                rulings.append(Ruling(rule, "blocked", target, "minimum stay"))
                continue
            if self.nothing_new():
                rulings.append(Ruling(rule, "blocked", target, "nothing new"))
                continue
            # "Its target becomes the highest safe T; the D that is named is the first against T0"
            above = self.policy.bands[self.own.rank + 1 : target.rank + 1]
            safe = [band for band in above if self._against(rule, band) is None]
            if not safe:
                rulings.append(Ruling(rule, "blocked", target, self._against(rule, target) or ""))
            else:
                rulings.append(self._confirmed(rule, safe[-1]))
        return rulings

    def _against(self, graduation: Rule, band: Band) -> str | None:
        """What stands against lifting the account to the band: "first look: hold; then look-before-you-lift"."""
        for demotion in self.policy.demotions:
            if demotion.name == self.covered.held_by and not graduation.overrides_hold and self._holds(demotion, band):
                return f"hold of {demotion.name}"
        for demotion in self.policy.demotions:
            if demotion.name not in graduation.despite and self.would_leave_at_once(demotion, band):
                return demotion.name
        return None

    def _holds(self, demotion: Rule, band: Band) -> bool:
        """ "TRUE kept at T if D's `from` has T, else kept at `held_from` if the policy still has that band" """
        if band.name in demotion.from_bands:
            return is_true(demotion.when, self.lens(Kept, band))
        held_from = self.policy.band.get(self.covered.held_from or "")
        return held_from is not None and is_true(demotion.when, self.lens(Kept, held_from))

    def would_leave_at_once(self, demotion: Rule, band: Band) -> bool:
        """Whether the demotion's segments fit, it leads out of the band and is "TRUE on entry to T"."""
        return (
            band.name in demotion.from_bands
            and self._fits_segment(demotion)
            and self._target(demotion, band) is not None
            and is_true(demotion.when, self.lens(Entry, band))
        )

    def interventions(self) -> list[Ruling]:
        rulings = []
        for rule in self.policy.interventions:
            target = self._applies(rule)
            if target is None or not self.now(rule.when):
                continue
            if self.still_spent() == rule.name:
                rulings.append(Ruling(rule, "blocked", target, "spent"))
            elif self.nothing_new():
                rulings.append(Ruling(rule, "blocked", target, "nothing new"))
            else:
                rulings.append(self._confirmed(rule, target))
        return rulings

    def still_spent(self) -> str | None:
        """ "spent no more once its condition (kept at own band) is not TRUE on some run" """
        for rule in self.policy.interventions:
            if rule.name == self.covered.spent_intervention and is_true(rule.when, self.lens(Kept, self.own)):
                return rule.name
        return None

    def nothing_new(self) -> bool:
        """Nothing the policy reads has changed since the account fell: no column, "and no signal [...] is newer"."""
        if self.covered.fell_with is None or self.covered.fell_with.partition(BEHIND)[0] != self.fingerprint:
            return False
        return self.newest_signal_at is None or self.newest_signal_at <= self.covered.band_since

    @property
    def newest_signal_at(self) -> datetime | None:
        """When the latest signal occurred of a kind that the policy reads."""
        read = (signal.occurred_at for signal in self.case.signals if signal.kind in self.reads.kinds)
        return max(read, default=None)

    # ---- Counts and facts ------------------------------------------------------------------------------------------

    def counted(self, rules: Iterable[Rule]) -> Coverage:
        """The coverage of an account that stays: counts moved on, a spent intervention forgotten when it is over."""
        counted = {}
        for rule in rules:
            # The page says "when the rule applies and its condition (now) is TRUE [...] Otherwise the entry goes."
            if rule.confirm_weeks > 1 and self._applies(rule) is not None and self.now(rule.when):
                counted[rule.name] = self._count(rule)
        return replace(self.covered, pending=counted, spent_intervention=self.still_spent())

    def facts(self, rule: Rule, lens: Lens | None = None) -> dict[str, Value]:
        """ "the facts read by the deciding rule's `when` and `because`", under the lens now unless another is given"""
        lens = lens or self.lens(Now, self.own)
        return {name: lens.read(name) for name in facts_told(rule)}
