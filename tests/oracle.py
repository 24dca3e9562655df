"""A naive evaluator of a policy, to hold the SQL of `app.decide` to: one account, one rule at a time, in plain Python.

Written from docs/deciding.md alone, whose sentences are quoted where they are carried out. Slow and obvious on
purpose: when it differs from the SQL, that page says which of the two is wrong.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from app.policy.model import Policy
from tests.oracle_expressions import Value, is_true
from tests.oracle_facts import WEEK, Case, Entry, Kept, earned_band, floors_of, value_of, value_ranks
from tests.oracle_families import Own, roots, together
from tests.oracle_rows import Account, Coverage, Pin, Signal
from tests.oracle_rules import SIX_DAYS, Judge, Reads, Ruling, what_is_read

LEFT, ENTRY, PIN = "left", "entry", "pin"


@dataclass(frozen=True, slots=True)
class Expected:
    """A decision as the oracle makes it: `app.plan.Decision` with values in place of JSON.

    `after` is the account's coverage once it is carried out, None when the account has left.
    """

    account_id: str
    outcome: Literal["move", "pending", "review", "contested", "state"]
    move: str
    from_band: str | None
    to_band: str | None
    rule: str
    against: str | None = None
    value: Decimal | None = None
    arr: Decimal | None = None
    weeks: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    rules: Mapping[str, str] = field(default_factory=dict)
    after: Coverage | None = None
    owner_id: str | None = None
    segment: str | None = None
    region: str | None = None
    language: str | None = None


def decide(  # noqa: PLR0917 - the tables in the order of the page
    policy: Policy,
    as_of: datetime,
    accounts: Iterable[Account],
    signals: Iterable[Signal],
    coverage: Iterable[Coverage],
    pins: Iterable[Pin] = (),
) -> list[Expected]:
    """What the policy says at `as_of` for every account that changes or that somebody should know of, by account id."""
    rows = {account.account_id: account for account in accounts}
    standing = {row.account_id: row for row in coverage}
    happened: dict[str, list[Signal]] = defaultdict(list)
    for signal in signals:
        # "signals after `as_of` do not exist yet"
        if signal.occurred_at <= as_of:
            happened[signal.account_id].append(signal)
    pinned = {pin.account_id: pin for pin in pins if pin.unpinned_at is None}
    active = [account for account in rows.values() if account.status == "active"]
    values = {account.account_id: value_of(policy, as_of, account, happened[account.account_id]) for account in active}
    ranks = value_ranks(values)
    reads = what_is_read(policy)
    decided = []
    everybody: dict[str, Own] = {}
    for account_id in sorted(rows.keys() | standing.keys()):
        account, covered, known = rows.get(account_id), standing.get(account_id), happened[account_id]
        if account is None or account.status != "active":
            # 1. "churned, or in coverage and no longer in accounts"; "inactive without coverage is no concern of ours"
            if covered is not None:
                decided.append(_left(policy, as_of, account, known, covered))
            continue
        case = Case(policy, as_of, account, known, covered, ranks.get(account_id))
        run = _Run(case, pinned.get(account_id), reads)
        if policy.owners.families == "highest_band":
            # "First every account is decided by steps 1 to 8, as if it had no family."
            everybody[account_id] = run.own()
        elif (found := run.decision()) is not None:
            decided.append(found)
    decided += together(policy, as_of, everybody, roots(rows.values()))
    return sorted(decided, key=lambda decision: decision.account_id)


def apply_naively(standing: Mapping[str, Coverage], decisions: Iterable[Expected]) -> dict[str, Coverage]:
    """The coverage after the decisions are carried out, by account id. A named band gets an owner at once."""
    after = dict(standing)
    for decision in decisions:
        if decision.after is None:
            del after[decision.account_id]
        else:
            after[decision.account_id] = decision.after
    return after


def _left(
    policy: Policy, as_of: datetime, account: Account | None, signals: Sequence[Signal], covered: Coverage
) -> Expected:
    decision = Expected(covered.account_id, "move", "leave", covered.band, None, LEFT, owner_id=covered.owner_id)
    return decision if account is None else _described(decision, policy, as_of, account, signals)


def _described(
    decision: Expected, policy: Policy, as_of: datetime, account: Account, signals: Sequence[Signal]
) -> Expected:
    foreign = account.currency is not None and account.currency != policy.currency
    return replace(
        decision,
        value=value_of(policy, as_of, account, signals),
        arr=None if foreign else account.arr,
        segment=account.segment,
        region=account.region,
        language=account.language,
    )


class _Run:
    """One account on one run."""

    def __init__(self, case: Case, pin: Pin | None, reads: Reads) -> None:
        self.case, self.pin, self.judge = case, pin, Judge(case, reads)
        self.policy, self.as_of, self.account, self.coverage = case.policy, case.as_of, case.account, case.coverage
        self.trace: Mapping[str, str] = {}

    def own(self) -> Own:
        """The own decision, and what families ask of the account."""
        decision, coverage = self.decision(), self.coverage
        stands_in = coverage if coverage is not None and self._is_known(coverage) else None
        band = coverage.band if coverage is not None else None
        bare = Expected(self.account.account_id, "state", "", band, band, "", rules=self.trace, after=coverage)
        return Own(
            account=self.account,
            coverage=coverage,
            decision=decision,
            bare=self._told(bare),
            own_band=self._origin(stands_in) if stands_in else None,
            pinned=self._pin_in_force(),
            settling=stands_in is not None and self._settles(stands_in),
            fingerprint=self.judge.fingerprint,
            newest=self.judge.newest_signal_at,
            counted=self._held_counts() if stands_in is not None and stands_in.intervention else None,
        )

    # ---- The decision, in order --------------------------------------------------------------------------------------

    def decision(self) -> Expected | None:
        """Steps 2 to 8 for an active account."""
        coverage = self.coverage
        # 2. "Pinned"
        if (pinned := self._pin_in_force()) is not None:
            return self._pinned(pinned)
        # 3. "no coverage yet"
        if coverage is None:
            return self._entered("enter")
        # 4. "The account's band (or the one an intervention lifted it from) is not in the policy any more."
        if not self._is_known(coverage):
            return self._entered("settle")
        # 5. Settling
        if self._settles(coverage):
            return None
        if coverage.intervention is not None:
            return self._under_an_intervention(coverage.intervention)
        return self._judged()

    def _pin_in_force(self) -> str | None:
        """ "not yet expired [...] (if the policy no longer has it, the pin is ignored)" """
        pinned = self.pin.band if self.pin is not None and self.pin.expires_at > self.as_of else None
        return pinned if pinned in self.policy.band else None

    def _settles(self, coverage: Coverage) -> bool:
        """ "It changed band less than six days ago (or after `as_of`), other than by import." """
        return coverage.band_rule != "import" and self.as_of - coverage.band_since < SIX_DAYS

    def _is_known(self, coverage: Coverage) -> bool:
        """Whether the policy has the band and the one that an intervention lifted it from."""
        return {coverage.band, self._origin(coverage)} <= self.policy.band.keys()

    @staticmethod
    def _origin(coverage: Coverage) -> str:
        """The band it is in, or the one that an intervention lifted it from."""
        return (coverage.intervention_from if coverage.intervention else None) or coverage.band

    def _held_counts(self) -> Coverage:
        """ "In step 6 only graduations count (and the other entries go)." """
        spent = self.judge.covered.spent_intervention
        return replace(self.judge.counted(self.policy.graduations), spent_intervention=spent)

    def _pinned(self, band: str) -> Expected | None:
        if self.coverage is None:
            return self._moved("enter", band, PIN)
        # The page says of it "In another band: move `pin`, rule `pin`".
        return None if self.coverage.band == band else self._moved("pin", band, PIN)

    def _entered(self, move: str) -> Expected:
        policy, account = self.policy, self.account
        value = value_of(policy, self.as_of, account, self.case.signals)
        earned = earned_band(policy, floors_of(policy, account.segment), value)
        to = policy.bands[0]
        # "to the highest band T at or under `earned_band` that no demotion would leave at once"
        for band in policy.bands[: earned.rank + 1 if earned else 0]:
            if not any(self.judge.would_leave_at_once(demotion, band) for demotion in policy.demotions):
                to = band
        lens = self.judge.lens(Entry, to)
        facts = {name: lens.read(name) for name in ("value", "earned_band")}
        return self._moved(move, to.name, ENTRY, facts)

    def _under_an_intervention(self, name: str) -> Expected | None:
        coverage, policy = self.judge.covered, self.policy
        intervention = next((rule for rule in policy.interventions if rule.name == name), None)
        kept = self.judge.lens(Kept, self.judge.own)
        wanted = intervention is not None and is_true(intervention.when, kept)
        ran_out = coverage.intervention_until is None or self.as_of >= coverage.intervention_until
        present = policy.band[coverage.band].rank
        # The page says "Graduations are decided (below) from the own band; T is the target if one fires."
        rulings = self.judge.graduations()
        fired = next((ruling for ruling in rulings if ruling.kind == "fired"), None)
        trace = self.trace = {ruling.rule.name: ruling.words for ruling in rulings}
        if fired is not None and fired.target.rank > present:
            return self._moved("graduate", fired.target.name, fired.rule.name, self.judge.facts(fired.rule), trace)
        # It holds, the page says, "while its rule is in the policy, its condition (kept at own band) is TRUE and
        # `as_of < intervention_until`".
        if wanted and not ran_out:
            return self._changed(self._held_counts(), trace)
        # The page says "If I ran out while its condition was still TRUE it is *spent*."
        spent = name if wanted and ran_out else coverage.spent_intervention
        if fired is not None and fired.target.rank == present and self.judge.own.rank <= present:
            return self._moved(
                "settle", fired.target.name, fired.rule.name, self.judge.facts(fired.rule), trace, spent=spent
            )
        # The page says "R = the higher of own band and T [...] below: `return` to R by rule I"
        to = fired.target if fired is not None and fired.target.rank > self.judge.own.rank else self.judge.own
        move = "return" if to.rank != present else "settle"
        facts = self.judge.facts(intervention, kept) if intervention else {}
        return self._moved(move, to.name, name, facts, trace, spent=spent)

    def _judged(self) -> Expected | None:
        interventions, demotions, graduations = (
            self.judge.interventions(),
            self.judge.demotions(),
            self.judge.graduations(),
        )
        trace = self.trace = {ruling.rule.name: ruling.words for ruling in [*interventions, *demotions, *graduations]}

        def first(kind: str, rulings: Sequence[Ruling]) -> Ruling | None:
            return next((ruling for ruling in rulings if ruling.kind == kind), None)

        # 7. "The first decides."
        if lifting := first("fired", interventions):
            facts = self.judge.facts(lifting.rule)
            return self._moved(
                "intervene", lifting.target.name, lifting.rule.name, facts, trace, spent=self.judge.still_spent()
            )
        down, up = first("fired", demotions), first("fired", graduations)
        # "both, the account is contested and stays; one, it moves"
        if down and up:
            facts = self.judge.facts(down.rule) | self.judge.facts(up.rule)
            return replace(self._stayed("contested", up, trace), against=down.rule.name, facts=facts)
        if fired := down or up:
            move = "demote" if fired is down else "graduate"
            facts = self.judge.facts(fired.rule)
            return self._moved(move, fired.target.name, fired.rule.name, facts, trace, spent=self.judge.still_spent())
        # The page says "*review* if a rule is in review (the first demotion, else the first graduation)"
        if waiting := first("review", demotions) or first("review", graduations):
            return self._stayed("review", waiting, trace)
        if waiting := first("pending", interventions) or first("pending", demotions) or first("pending", graduations):
            return self._stayed("pending", waiting, trace)
        return self._changed(self.judge.counted(self.policy.rules), trace)

    def _changed(self, counted: Coverage, trace: Mapping[str, str]) -> Expected | None:
        """ "changes only such a column, and no band"; None when not even that"""
        if counted == self.judge.covered:
            return None
        band = self.judge.covered.band
        return self._told(Expected(self.account.account_id, "state", "", band, band, "", rules=trace, after=counted))

    # ---- What is left behind -----------------------------------------------------------------------------------------

    def _stayed(
        self, outcome: Literal["review", "pending", "contested"], ruling: Ruling, trace: Mapping[str, str]
    ) -> Expected:
        return self._told(
            Expected(
                self.account.account_id,
                outcome,
                ruling.rule.move,
                self.judge.covered.band,
                ruling.target.name,
                ruling.rule.name,
                facts=self.judge.facts(ruling.rule),
                rules=trace,
                after=self.judge.counted(self.policy.rules),
                weeks=ruling.weeks or None,
            )
        )

    def _moved(
        self,
        move: str,
        to: str,
        rule: str,
        facts: Mapping[str, Value] | None = None,
        trace: Mapping[str, str] | None = None,
        *,
        spent: str | None = None,
    ) -> Expected:
        before = self.coverage
        if before is None or move == "pin":
            after = Coverage(self.account.account_id, to, self.as_of, rule)
            if before is not None:
                after = replace(after, owner_id=before.owner_id, first_owned_at=before.first_owned_at)
        else:
            after = self._state_after(before, move, to, rule, spent)
        if not self.policy.band[to].pooled and after.first_owned_at is None:
            after = replace(after, first_owned_at=self.as_of)
        return self._told(
            Expected(
                self.account.account_id,
                "move",
                move,
                before.band if before else None,
                to,
                rule,
                facts=facts or {},
                rules=trace or {},
                after=after,
            )
        )

    def _state_after(self, before: Coverage, move: str, to: str, rule: str, spent: str | None) -> Coverage:
        """The table "State left behind by a move", a line per move."""
        fingerprint = self.judge.fingerprint
        after = replace(
            before,
            band=to,
            band_since=self.as_of,
            band_rule=rule,
            pending={},
            intervention=None,
            intervention_from=None,
            intervention_until=None,
        )
        match move:
            case "demote":
                fell_with = fingerprint if before.has_risen else before.fell_with
                return replace(
                    after, held_by=rule, held_from=before.band, spent_intervention=spent, fell_with=fell_with
                )
            case "graduate":
                held_from = self.policy.band.get(before.held_from or "")
                # "cleared, or kept if the new band is below `held_from`"
                if held_from is None or self.policy.band[to].rank >= held_from.rank:
                    after = replace(after, held_by=None, held_from=None)
                kept = before.spent_intervention if before.intervention else spent
                return replace(after, spent_intervention=kept, has_risen=True, fell_with=None)
            case "intervene":
                until = self.as_of + self.policy.rule[rule].for_weeks * WEEK
                after = replace(after, intervention=rule, intervention_from=before.band, intervention_until=until)
                return replace(after, spent_intervention=spent, has_risen=True, fell_with=None)
            case "return":
                return replace(after, spent_intervention=spent, fell_with=fingerprint)
            case "settle" if rule == ENTRY:
                return replace(after, held_by=None, held_from=None)
            case "settle":
                return replace(after, held_by=None, held_from=None, spent_intervention=spent)
        raise AssertionError(move)

    def _told(self, decision: Expected) -> Expected:
        owner_id = self.coverage.owner_id if self.coverage else None
        return _described(
            replace(decision, owner_id=owner_id), self.policy, self.as_of, self.account, self.case.signals
        )
