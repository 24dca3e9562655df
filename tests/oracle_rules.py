"""What comes of each rule for one account, as docs/deciding.md says under "Which rules apply" and in step 8."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from string import Formatter
from typing import Any, Literal

from app.policy.expressions import Expression, Fact
from app.policy.model import EARNED, NEXT, PREVIOUS, Band, Policy, Rule
from tests.oracle_expressions import DAY, Value, is_true, parts
from tests.oracle_facts import WEEK, Case, Entry, Kept, Lens, Now
from tests.oracle_rows import Account, Coverage, Pending

SIX_DAYS = 6 * DAY
Fingerprint = Callable[[Policy, Account], str]


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


def facts_that_are_read(policy: Policy) -> set[str]:
    """The facts that the value is made of, and those that the conditions and the reasons of the rules name."""
    names = {node.name for node in parts(policy.value) if isinstance(node, Fact)}
    for rule in policy.rules:
        names |= facts_told(rule)
        names |= {node.name for node in parts(rule.protect_when or rule.when) if isinstance(node, Fact)}
    return names


def facts_told(rule: Rule) -> set[str]:
    """The facts that a rule's condition and `because` name."""
    return {node.name for node in parts(rule.when) if isinstance(node, Fact)} | {
        name for _, name, _, _ in Formatter().parse(rule.because) if name
    }


def columns_that_are_read(policy: Policy) -> set[str]:
    """The account's own columns and attributes that the policy reads."""
    names = {"currency"}
    for name in facts_that_are_read(policy):
        names |= COLUMNS_BEHIND.get(name, {name})
    if any(rule.segments is not None or rule.except_segments for rule in policy.rules):
        names.add("segment")
    return {name for name in names if name in Account.__dataclass_fields__ or name in policy.attributes}


def columns_read(policy: Policy, account: Account) -> str:
    """A fingerprint: equal for two rows exactly when they agree in all that the policy reads of them."""

    def cell(name: str) -> Any:
        found = account.attributes.get(name) if name in policy.attributes else getattr(account, name)
        return found.normalize() if isinstance(found, Decimal) else found

    return repr([cell(name) for name in sorted(columns_that_are_read(policy))])


class Judge:
    """The rules over one account on one run."""

    def __init__(self, case: Case, fingerprint: Fingerprint) -> None:
        self.case = case
        self.policy, self.as_of, self.account, self.coverage = case.policy, case.as_of, case.account, case.coverage
        self.fingerprint = fingerprint(case.policy, case.account)
        self.lenses: dict[tuple[type[Lens], str], Lens] = {}

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

    @property
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
        read = facts_that_are_read(self.policy)
        kinds = {fact.kind for fact in self.policy.signals.values() if fact.name in read}
        return self.covered.fell_with == self.fingerprint and not any(
            signal.kind in kinds and signal.occurred_at > self.covered.band_since for signal in self.case.signals
        )

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
