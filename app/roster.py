"""The roster: the CSMs with their books as they stand, and the accounts whose owner has to be settled.

Only what `owners` needs leaves the database: a row per CSM, a row per account of a family, and a row per account whose
owner is `unsettled`. What else there is to know of an account in question is in `circumstances`, what a CSM may take in
`intake`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Connection, select

from app.decide.book import Question
from app.decide.census import Tally, take_tally
from app.decide.sources import LIVE
from app.decide.stream import stream_rows
from app.families import RELATIVES_OF, select_members
from app.figures import counted, printable
from app.intake import Intake, read_intake
from app.owners import Claim, Csm
from app.plan import Decision, Waiting
from app.policy.model import Policy
from app.tables import csms
from app.unsettled import read_unsettled, select_pins

Books = Mapping[str, tuple[int, Decimal]]
Families = Mapping[str, str]
"""The root of each account's family, by account id; who stands alone is not in it."""


@dataclass(frozen=True, slots=True)
class Roster:
    """The CSMs by id; the claims that stand without any decision and the pins to an owner in force, by account id.

    `notes` say in a sentence each what is wrong with the team's data, and what was made of it.
    """

    csms: tuple[Csm, ...]
    unsettled: Mapping[str, Claim]
    pins: Mapping[str, str]
    families: Families
    notes: tuple[str, ...]


def read_roster(connection: Connection, policy: Policy, as_of: datetime) -> Roster:
    """The roster as it stands now, under the pins in force at `as_of`."""
    tally = take_tally(connection, Question(policy, as_of, LIVE))
    members, unsettled = read_families(connection), read_unsettled(connection, policy, as_of)
    return roster_of(connection, policy, as_of, tally=tally, members=members, unsettled=unsettled)


def roster_of(
    connection: Connection,
    policy: Policy,
    as_of: datetime,
    *,
    tally: Tally,
    members: tuple[Families, Mapping[str, Mapping[str, int]]],
    unsettled: Iterable[tuple[Any, ...]],
) -> Roster:
    """The roster, of which what takes longest to read is at hand: the books, the families, whose owner is unsettled."""
    books, (families, held) = tally.books(), members
    team = connection.execute(select(csms).order_by(csms.c.csm_id)).all()
    intake = read_intake(connection, policy, as_of, nobody_owns=not books)
    known = {row.csm_id: _csm(policy, row, books, held.get(row.csm_id, {}), intake) for row in team}
    gone = {owner_id: _gone(owner_id, *book) for owner_id, book in books.items() if owner_id not in known}
    in_force = {row.account_id: row.owner_id for row in connection.execute(select_pins(as_of))}
    return Roster(
        csms=tuple(csm for _, csm in sorted((known | gone).items())),
        unsettled={row[0]: Claim(*(*row, in_force.get(row[0]), families.get(row[0]))) for row in unsettled},
        pins=in_force,
        families=families,
        notes=(*_notes_of_team(team), *_notes_of_strangers(gone.values())),
    )


def claims(decisions: Iterable[Decision], roster: Roster) -> Iterator[Claim]:
    """A claim for every account that moves, in the order of the decisions, then for every other unsettled one."""
    moved: set[str] = set()
    for decision in decisions:
        if decision.outcome != "move":
            continue
        standing = roster.unsettled.get(decision.account_id)
        if standing is not None:
            moved.add(decision.account_id)
        yield _moved(decision, standing, roster)
    yield from (claim for account_id, claim in roster.unsettled.items() if account_id not in moved)


def read_families(
    connection: Connection, relatives_of: Sequence[str] | None = None
) -> tuple[Families, Mapping[str, Mapping[str, int]]]:
    """The families, and how many accounts of each family everybody owns, by CSM id.

    With `relatives_of` only the families that these accounts belong to.
    """
    families: dict[str, str] = {}
    held: dict[str, Counter[str]] = {}
    names: dict[str, str] = {}  # one string for the many accounts that share it
    parameters = {} if relatives_of is None else {RELATIVES_OF: list(relatives_of)}
    for account_id, family, owner_id in stream_rows(connection, select_members(some=bool(parameters)), parameters):
        families[account_id] = names.setdefault(family, family)
        if owner_id is not None:
            held.setdefault(owner_id, Counter())[families[account_id]] += 1
    return families, held


def _csm(policy: Policy, row: Any, books: Books, families: Mapping[str, int], intake: Intake) -> Csm:
    own, size = row.max_accounts, _book_size(policy, row.bands or ())
    most = max(own if own is not None else size, 0)
    accounts, value = books.get(row.csm_id, (0, Decimal(0)))
    return Csm(
        csm_id=row.csm_id,
        bands=frozenset(row.bands or ()),
        segments=_any_of(row.segments),
        regions=_any_of(row.regions),
        languages=_any_of(row.languages),
        max_accounts=most,
        max_book=_limit(row.max_book),
        max_new=intake.most(row, most),
        active=bool(row.active),
        accounts=accounts,
        value=value,
        away_until=intake.away_until.get(row.csm_id),
        families=families,
    )


def _gone(owner_id: str, accounts: int, value: Decimal) -> Csm:
    """An owner whom `csms` does not know: they serve nothing and have no room."""
    return Csm(
        csm_id=owner_id,
        bands=frozenset(),
        segments=None,
        regions=None,
        languages=None,
        max_accounts=0,
        max_book=None,
        max_new=0,
        active=False,
        accounts=accounts,
        value=value,
    )


def _book_size(policy: Policy, bands: Iterable[str]) -> int:
    """The policy's book size of the highest band they serve; 0 if the policy has none of them."""
    served = [policy.band[name] for name in bands if name in policy.band and not policy.band[name].pooled]
    return max(served, key=lambda band: band.rank).accounts_per_csm if served else 0


def _limit(amount: Decimal | None) -> Decimal | None:
    """A limit in value; one that is none, or under zero, leaves no room."""
    if amount is None:
        return None
    return max(amount, Decimal(0)) if amount.is_finite() else Decimal(0)


def _any_of(names: list[str] | None) -> frozenset[str] | None:
    """An empty list says no more than a missing one."""
    return frozenset(names) if names else None


def _moved(decision: Decision, standing: Claim | None, roster: Roster) -> Claim:
    """The claim of an account that moves; if its CSM has left too, that is why."""
    claim = Claim(
        account_id=decision.account_id,
        why="left" if decision.to_band is None else "band_change",
        band=decision.to_band,
        value=decision.value,
        segment=decision.segment,
        region=decision.region,
        language=decision.language,
        owner_id=decision.owner_id,
        waiting_since=standing.waiting_since if standing is not None else None,
        pinned_to=roster.pins.get(decision.account_id),
        family=roster.families.get(decision.account_id),
    )
    return replace(claim, why="departure") if standing is not None and standing.why == "departure" else claim


# ---- What is wrong with the team's data ------------------------------------------------------------------------------


def _notes_of_team(team: Iterable[Any]) -> Iterator[str]:
    """Limits that leave no room, and addresses that two people share, of the CSMs by id."""
    by_address: dict[str, str] = {}
    for row in team:
        csm_id = printable(row.csm_id)
        if row.active and row.max_accounts is not None and row.max_accounts <= 0:
            yield f"the CSM {csm_id} may have {row.max_accounts:,} accounts at most, so they are given nobody"
        if row.active and _limit(row.max_book) == 0:
            yield f"the CSM {csm_id} may have a book of {row.max_book} at most, so they are given nobody"
        address = (row.email or "").strip().lower()
        if address and address in by_address:
            yield f"the CSMs {by_address[address]} and {csm_id} have one e-mail address; what one is told goes to both"
        elif address:
            by_address[address] = csm_id


def _notes_of_strangers(strangers: Iterable[Csm]) -> Iterator[str]:
    for csm in sorted(strangers, key=lambda one: one.csm_id):
        owned = counted(csm.accounts, "account")
        yield f"{printable(csm.csm_id)} owns {owned} and is none of the CSMs, so they count as one who has left"


def unserved(policy: Policy, csms: Iterable[Csm], waitlist: Iterable[Waiting]) -> Iterator[str]:
    """The named bands that accounts wait in and no active CSM serves, lowest first."""
    served = frozenset(band for csm in csms if csm.active for band in csm.bands)
    waiting = Counter(one.band for one in waitlist)
    for band in policy.bands:
        if waiting[band.name] and band.name not in served:
            accounts = counted(waiting[band.name], "account")
            yield f"no active CSM serves {band.name}, so {accounts} in it cannot but wait"
