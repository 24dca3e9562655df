"""Whether a plan may be carried out: each guard's verdict, with its margin. Pure.

    guard            what it measures                                       the whole of its share
    moved_accounts   accounts that move or leave (not: enter, settle)       the accounts with a band
    moved_arr        their recurring revenue                                that of all active accounts
    csm_book         accounts that rules bring to or take from one CSM      their book
    empty_input      active accounts, at least `fewest_accounts`
    shrunken_input   active accounts fewer than at the last run             those of the last run
    stale_feeds      weekly feeds with nothing for `stale_after_days`
    missing_facts    accounts more without a fact than at the last run      all active accounts

A limit is the larger of the count and the share; a guard trips above it, never at it. A guard that the policy
switches off gives no verdict. On a first run nobody has a band, so nothing can move: there only the input is judged.

One CSM's gains are measured against the larger of their book and what it may hold, so that a new colleague can be
given accounts; their losses against their book. Accounts that are handed over because a CSM left, because a waiting
account found room, or because of a pin do not count: a person wanted those.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial

from app.feeds import Feed
from app.figures import counted, day, money, number, percent
from app.plan import Book, Census, Decision, OwnerChange, Verdict
from app.policy.model import Policy, Share

_NO_RUN_BEFORE = "there was no run before to compare with"
_UNMOVED = frozenset({"enter", "settle"})
_BY_THE_RULES = frozenset({"band_change", "left", "rebalance"})


@dataclass(frozen=True, slots=True)
class LastRun:
    """What the last run that took effect had counted: active accounts, and how many lacked each fact."""

    as_of: datetime
    accounts: int
    missing: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the guards look at."""

    as_of: datetime
    census: Census
    decisions: Sequence[Decision]
    owner_changes: Sequence[OwnerChange]
    books: Sequence[Book]
    feeds: Sequence[Feed]
    last_run: LastRun | None

    @property
    def banded(self) -> int:
        """The active accounts that have a band before the run."""
        return sum(band.accounts for band in self.census.bands if band.band is not None)

    @property
    def moved(self) -> Iterator[Decision]:
        """The accounts that the rules move, and those that leave."""
        return (decision for decision in self.decisions if decision.outcome == "move" and decision.move not in _UNMOVED)


def judge(policy: Policy, found: Findings) -> tuple[Verdict, ...]:
    """The verdict of every guard that the policy has switched on, in the order of the table above."""
    return tuple(
        verdict
        for verdict in (
            _moved_accounts(policy, found),
            _moved_arr(policy, found),
            _csm_book(policy, found),
            _empty_input(policy, found),
            _shrunken_input(policy, found),
            _stale_feeds(policy, found),
            _missing_facts(policy, found),
        )
        if verdict is not None
    )


def _moved_accounts(policy: Policy, found: Findings) -> Verdict | None:
    share = policy.guards.moved_accounts
    if share is None:
        return None
    moved = sum(1 for _ in found.moved)
    what = f"{counted(moved, 'account')} of {number(found.banded)} with a band would move"
    return _within("moved_accounts", what, Decimal(moved), share, whole=Decimal(found.banded))


def _moved_arr(policy: Policy, found: Findings) -> Verdict | None:
    share = policy.guards.moved_arr
    if share is None:
        return None
    moved = sum((decision.arr or Decimal(0) for decision in found.moved), Decimal(0))
    whole = found.census.arr
    figure = partial(money, currency=policy.currency)
    what = f"{figure(moved)} of {figure(whole)} ARR would move"
    return _within("moved_arr", what, moved, share, whole=whole, unit=policy.currency, figure=figure)


def _csm_book(policy: Policy, found: Findings) -> Verdict | None:
    """The verdict on the CSM whose book comes nearest to its limit, or goes furthest beyond."""
    share = policy.guards.csm_book
    if share is None:
        return None
    if not found.banded:
        return _within("csm_book", "nobody had a book before this first run", Decimal(0), share, whole=Decimal(0))
    books = {book.csm_id: book for book in found.books}
    verdicts = (
        _within("csm_book", what, Decimal(count), share, whole=Decimal(whole))
        for what, count, whole in _book_changes(books, found.owner_changes)
    )
    calm = _within("csm_book", "no book would change because of the rules", Decimal(0), share, whole=Decimal(0))
    return max(verdicts, key=_nearness, default=calm)


def _nearness(verdict: Verdict) -> Decimal:
    """How much of its limit the verdict uses up; a limit of nothing is far beyond as soon as it is passed."""
    return verdict.actual / verdict.limit if verdict.limit else verdict.actual * 1_000_000


def _book_changes(books: Mapping[str, Book], changes: Iterable[OwnerChange]) -> Iterator[tuple[str, int, int]]:
    """What happens to each CSM's book, in words, how often, and the whole that it is measured against, by CSM id."""
    gains: Counter[str] = Counter()
    losses: Counter[str] = Counter()
    for change in changes:
        if change.why not in _BY_THE_RULES:
            continue
        if change.to_owner_id is not None:
            gains[change.to_owner_id] += 1
        if change.from_owner_id is not None:
            losses[change.from_owner_id] += 1
    for csm_id in sorted(books.keys() & (gains | losses).keys()):
        book = books[csm_id]
        holds = f"the book of {csm_id}, {number(book.accounts_before)} of {counted(book.max_accounts, 'account')},"
        if gained := gains[csm_id]:
            what = f"{holds} would gain {number(gained)}"
            yield what, gained, max(book.accounts_before, book.max_accounts)
        if lost := losses[csm_id]:
            yield f"{holds} would lose {number(lost)}", lost, book.accounts_before


def _empty_input(policy: Policy, found: Findings) -> Verdict | None:
    fewest = policy.guards.fewest_accounts
    accounts = found.census.accounts
    tripped = accounts < fewest
    detail = f"{counted(accounts, 'active account')} read, at least {number(fewest)} expected"
    return Verdict("empty_input", Decimal(accounts), Decimal(fewest), "accounts", tripped, _sentence(detail))


def _shrunken_input(policy: Policy, found: Findings) -> Verdict | None:
    share = policy.guards.shrunken_input
    if share is None:
        return None
    if found.last_run is None:
        return _within("shrunken_input", _NO_RUN_BEFORE, Decimal(0), share, whole=Decimal(0))
    before, now = found.last_run.accounts, found.census.accounts
    what = f"{counted(now, 'active account')} read, {number(before)} at the run of {day(found.last_run.as_of)}"
    return _within("shrunken_input", what, Decimal(max(before - now, 0)), share, whole=Decimal(before))


def _stale_feeds(policy: Policy, found: Findings) -> Verdict | None:
    days = policy.guards.stale_after_days
    if days is None:
        return None
    weekly = [feed for feed in found.feeds if feed.is_weekly]
    stale = [feed for feed in weekly if _age_days(feed, found.as_of) >= days]
    if stale:
        named = ", ".join(f"{feed.name} (last {day(feed.newest)})" for feed in stale if feed.newest is not None)
        detail = f"nothing new for {number(days)} days or more from what used to arrive every week: {named}"
    else:
        detail = (
            f"{number(len(weekly))} of {counted(len(found.feeds), 'feed')} used to arrive every week, and all still do"
        )
    return Verdict("stale_feeds", Decimal(len(stale)), Decimal(0), "feeds", bool(stale), _sentence(detail))


def _age_days(feed: Feed, as_of: datetime) -> float:
    return (as_of - feed.newest).total_seconds() / 86_400 if feed.newest is not None else float("inf")


def _missing_facts(policy: Policy, found: Findings) -> Verdict | None:
    """The verdict on the fact that most accounts have lost. One that was not read before has nothing to lose."""
    share = policy.guards.missing_facts
    if share is None:
        return None
    whole = Decimal(found.census.accounts)
    before = found.last_run.missing if found.last_run is not None else {}
    lost = {name: max(missing - before[name], 0) for name, missing in found.census.missing.items() if name in before}
    if not lost:
        return _within("missing_facts", _NO_RUN_BEFORE, Decimal(0), share, whole=whole)
    name = min(lost, key=lambda fact: (-lost[fact], fact))
    what = f"{counted(lost[name], 'account')} more without {name} than at the last run"
    return _within("missing_facts", what, Decimal(lost[name]), share, whole=whole)


def _within(
    guard: str,
    what: str,
    actual: Decimal,
    share: Share,
    *,
    whole: Decimal,
    unit: str = "accounts",
    figure: Callable[[Decimal], str] = lambda amount: number(amount, 1),
) -> Verdict:
    """The verdict of `actual` against the larger of the share's count and its share of the whole."""
    limit = max(Decimal(share.at_least), share.share * whole)
    tripped = actual > limit
    part = percent(share.share)
    rule = f"the larger of {figure(Decimal(share.at_least))} and {part}" if share.at_least else part
    margin = f"{figure(actual - limit)} over" if tripped else f"{figure(limit - actual)} under"
    detail = _sentence(f"{what}, {margin} the limit of {figure(limit)} ({rule})")
    return Verdict(guard, actual, limit, unit, tripped, detail)


def _sentence(clause: str) -> str:
    return f"{clause[0].upper()}{clause[1:]}."
