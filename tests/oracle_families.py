"""What families change in the decisions of the oracle, as docs/deciding.md says under "Families"."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from app.policy.model import Policy
from tests.oracle_rows import Account, Coverage
from tests.oracle_rules import BEHIND

if TYPE_CHECKING:
    from tests.oracle import Expected

FAMILY = "family"


@dataclass(frozen=True, slots=True)
class Own:
    """An account's own decision, and what families ask of it.

    `bare` is a decision that nothing happens, with what the rules said. `newest` is when the latest signal of it
    occurred of a kind that the policy reads. `counted` is its coverage if its family just keeps it where it is.
    """

    account: Account
    coverage: Coverage | None
    decision: "Expected | None"
    bare: "Expected"
    own_band: str | None
    pinned: str | None
    settling: bool
    fingerprint: str
    newest: datetime | None
    counted: Coverage | None

    @property
    def moves(self) -> bool:
        """Whether the own decision is a move."""
        return self.decision is not None and self.decision.outcome == "move"

    @property
    def merits(self) -> str:
        """ "where its own decision moves it, or else its own band"; an intervention counts for nothing."""
        if self.decision is not None and self.moves and self.decision.move != "intervene":
            assert self.decision.to_band is not None
            return self.decision.to_band
        band = self.pinned or self.own_band
        assert band is not None
        return band

    @property
    def stands(self) -> str:
        """ "where its own decision moves it, or else the present band" """
        if self.decision is not None and self.moves:
            assert self.decision.to_band is not None
            return self.decision.to_band
        assert self.coverage is not None
        return self.coverage.band


def roots(accounts: Iterable[Account]) -> dict[str, str]:
    """The root of everybody's family, by account id; who has none is not in it."""
    rows = {account.account_id: account for account in accounts}

    def above(account: Account) -> str | None:
        parent = rows.get(account.parent_id or "")
        if parent is None or parent is account or account.standalone or parent.standalone:
            return None
        return parent.account_id

    parents = {account_id: above(account) for account_id, account in rows.items()}
    has_child = set(parents.values())
    found = {}
    for account_id in rows:
        way, at = [account_id], parents[account_id]
        while at is not None and at not in way:
            way.append(at)
            at = parents[at]
        # Else its parents lead in a circle, or nobody is above or below it.
        if at is None and (len(way) > 1 or account_id in has_child):
            found[account_id] = way[-1]
    return found


def together(
    policy: Policy, as_of: datetime, everybody: Mapping[str, Own], family_of: Mapping[str, str]
) -> "list[Expected]":
    """The decisions of these active accounts, by account id in no order, with their families in them."""
    members: dict[str, list[Own]] = defaultdict(list)
    for account_id, own in sorted(everybody.items()):
        members[family_of.get(account_id, f"nobody's but {account_id}")].append(own)
    decided = []
    for family in members.values():
        for own in family:
            found = _Member(policy, as_of, own, family, alone=own.account.account_id not in family_of).decision()
            if found is not None:
                decided.append(found)
    return decided


class _Member:
    """One account among its family."""

    def __init__(self, policy: Policy, as_of: datetime, own: Own, family: list[Own], *, alone: bool) -> None:
        self.policy, self.as_of, self.own, self.family, self.alone = policy, as_of, own, family, alone
        self.rank = {band.name: band.rank for band in policy.bands}
        # The page says "the first account by id that has it on its merits".
        self.highest = max(family, key=lambda one: self.rank[one.merits])
        # "of everybody's id, fingerprint and pin"
        prints = sorted(f"{one.account.account_id} {one.fingerprint} {one.pinned}" for one in family)
        self.remembered = own.fingerprint + BEHIND + repr(prints)

    def decision(self) -> "Expected | None":
        """The own decision, or what the family makes of it."""
        if self.alone:
            return self.own.decision
        own = self._falling(self.own.decision)
        if self.own.pinned is not None or self.own.settling:
            return own
        level = self._level()
        if self.rank[level] <= self.rank[self.own.stands]:
            return own
        return self._kept(own, level)

    def _falling(self, decision: "Expected | None") -> "Expected | None":
        """ "An account of a family that falls remembers, behind its own fingerprint, one of the whole family" """
        if decision is None or decision.after is None or not self.own.moves:
            return decision
        has_risen = self.own.coverage is not None and self.own.coverage.has_risen
        if decision.move == "return" or (decision.move == "demote" and has_risen):
            return replace(decision, after=replace(decision.after, fell_with=self.remembered))
        return decision

    def _level(self) -> str:
        """L: "F, but no higher than the present band while *nothing new* is known of the family" """
        highest, present = self.highest.merits, self._present()
        if present is not None and self._nothing_new() and self.rank[present] < self.rank[highest]:
            return present
        return highest

    def _present(self) -> str | None:
        """The band it is in, if the policy has it."""
        covered = self.own.coverage
        return covered.band if covered is not None and covered.band in self.rank else None

    def _nothing_new(self) -> bool:
        covered = self.own.coverage
        if covered is None or covered.fell_with != self.remembered:
            return False
        return not any(one.newest is not None and one.newest > covered.band_since for one in self.family)

    def _kept(self, own: "Expected | None", level: str) -> "Expected | None":
        """The table, a line per case."""
        present, covered = self._present(), self.own.coverage
        if self.own.moves and own is not None and own.rule == "entry":
            return self._lifted(own, own.move, level, FAMILY)
        assert present is not None
        assert covered is not None
        if self.rank[level] > self.rank[present]:
            return self._lifted(own, "intervene", level, FAMILY)
        assert own is not None, "else it stands where it is"
        if self.rank[level] < self.rank[present]:
            return self._lifted(own, own.move, level, own.rule)
        if covered.intervention == FAMILY:
            return self._stays(own)
        return self._lifted(own, "settle", level, FAMILY)

    def _stays(self, own: "Expected") -> "Expected | None":
        """ "an account that its family had lifted already just stays, its graduations count as in step 6" """
        counted = self.own.counted
        assert counted is not None
        if counted == self.own.coverage:
            return None
        return replace(self.own.bare, outcome="state", rules=own.rules, after=counted)

    def _lifted(self, own: "Expected | None", move: str, level: str, rule: str) -> "Expected":
        """ "What is left behind is what the own decision leaves, and then [...]" """
        after = own.after if own is not None else self.own.coverage
        covered = self.own.coverage
        assert after is not None
        present = self._present()
        after = replace(
            after,
            band=level,
            band_since=self.as_of,
            band_rule=rule,
            pending={},
            intervention=FAMILY,
            intervention_from=self.own.merits,
            intervention_until=None,
        )
        if present is not None and self.rank[level] > self.rank[present]:
            after = replace(after, has_risen=True, fell_with=None)
        if not self.policy.band[level].pooled and after.first_owned_at is None:
            after = replace(after, first_owned_at=self.as_of)
        its = {"band": self.highest.merits, "by": self.highest.account.account_id, "own_band": self.own.merits}
        if self.own.moves and own is not None:
            its["own_rule"] = own.rule
        return replace(
            own or self.own.bare,
            outcome="move",
            move=move,
            from_band=covered.band if covered is not None else None,
            to_band=level,
            rule=rule,
            against=None,
            weeks=None,
            facts={**(own.facts if own is not None and self.own.moves else {}), "its family": its},
            after=after,
        )
