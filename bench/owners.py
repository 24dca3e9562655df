"""Handing out accounts: the assignment against round robin and most room first, on the same companies.

`python -m bench.owners` measures it alone. Each company has a process of its own, which makes it, has the assignment
settle it, notes time and memory, and only then has the others hand out the same accounts.

- *tight*: a quarter more accounts than seats.
- *tight in value*: three accounts in ten find a seat, and books together hold half of what there is in value.
- *tight, small*: seats for all, but books together hold six tenths of the value, and the accounts are small and much
  alike: every book fills up with them, and what counts is how near to its limit.
- *loose*: a quarter more seats than accounts, and no limits in value.
- *skewed*: as many seats as accounts; few accounts are worth most, most are of a few kinds, and books differ fivefold
  in size.

CSMs serve one or two of three bands, one or two of five regions, most of them some of three segments only, and half of
them speak two of four languages only; accounts come unevenly. A tenth of the accounts have lost their CSM, a quarter
belong to families, and a quarter were with somebody before.
"""

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from resource import RUSAGE_SELF, getrusage
from typing import IO

from app.owners import Assignment, Claim, Csm, assign
from bench.measure import run

AS_OF = datetime(2026, 11, 16, 6, tzinfo=UTC)
ACCOUNTS, CSMS = 50_000, 1_000
_BANDS, _SEGMENTS = ("low", "high", "strategic"), ("smb", "mid", "enterprise")
_REGIONS, _LANGUAGES = ("amer", "apac", "emea", "latam", "nordics"), ("en", "de", "es", "fr")


@dataclass(frozen=True, slots=True)
class Shape:
    """What a company is like: seats per account, the limit in value as a share of all value, and how uneven it is."""

    seats: float
    book: float | None = None
    sigma: float = 1.0
    regions: tuple[int, ...] = (3, 3, 2, 1, 1)
    sizes: tuple[int, ...] = (1,)


SHAPES: Mapping[str, Shape] = {
    "tight": Shape(seats=0.8),
    "tight in value": Shape(seats=0.3, book=0.5),
    "tight, small": Shape(seats=2.0, book=0.6, sigma=0.5),
    "loose": Shape(seats=1.25),
    "skewed": Shape(seats=1.0, sigma=2.0, regions=(8, 4, 2, 1, 1), sizes=(1, 1, 2, 5)),
}


@dataclass(frozen=True, slots=True)
class Way:
    """What one way of handing out comes to. The spreads are the fullest book against the average one, as shares."""

    value: float
    placed: int
    changes: int
    accounts_spread: float
    value_spread: float


@dataclass(frozen=True, slots=True)
class Contest:
    """One company, handed out three ways. `gap` is the share of the proven bound that the assignment does not place."""

    shape: str
    accounts: int
    csms: int
    seconds: float
    cpu_s: float
    peak_mb: float
    gap: float
    ours: Way
    round_robin: Way
    most_room: Way

    @property
    def margin(self) -> float:
        """How much more value the assignment places than the better of the others, as a share of theirs."""
        theirs = max(self.round_robin.value, self.most_room.value)
        return self.ours.value / theirs - 1 if theirs else 0.0


def make_company(shape: Shape, accounts: int, csms: int, seed: int = 7) -> tuple[list[Csm], list[Claim]]:
    """A company in which this many accounts need a CSM; the same every time."""
    random = Random(seed)  # noqa: S311 - a fixed sequence is the point
    claims = [_claim(random, shape, number, accounts, csms) for number in range(accounts)]
    weights = [random.choice(shape.sizes) for _ in range(csms)]
    value = sum((claim.value or Decimal(0) for claim in claims), Decimal(0))
    company = []
    for number, weight in enumerate(weights):
        part = weight / sum(weights)
        limit = None if shape.book is None else round(value * Decimal(shape.book * part), -2)
        company.append(_csm(random, number, shape.seats * accounts * part, limit))
    return company, claims


def _claim(random: Random, shape: Shape, number: int, accounts: int, csms: int) -> Claim:
    gone = random.random() < 0.1
    return Claim(
        account_id=f"A{number:06}",
        why="departure" if gone else "waitlist",
        band=random.choices(_BANDS, (2, 2, 1))[0],
        value=Decimal(round(random.lognormvariate(10, shape.sigma), -2)),
        segment=random.choice(_SEGMENTS),
        region=random.choices(_REGIONS, shape.regions)[0],
        language=random.choice(_LANGUAGES),
        owner_id=f"gone{number % 50}" if gone else None,
        waiting_since=None if gone else AS_OF - timedelta(weeks=random.randrange(8)),
        pinned_to=None,
        family=f"F{random.randrange(accounts // 12 + 1)}" if random.random() < 0.25 else None,
        former_owners=(f"C{random.randrange(csms):04}",) if random.random() < 0.25 else (),
        at_risk=random.random() < 0.05,
    )


def _csm(random: Random, number: int, seats: float, limit: Decimal | None) -> Csm:
    """A CSM with this many seats and this much value to spare."""
    held = random.randrange(20)
    return Csm(
        csm_id=f"C{number:04}",
        bands=frozenset(random.sample(_BANDS, random.randint(1, 2))),
        segments=None if random.random() < 0.4 else frozenset(random.sample(_SEGMENTS, random.randint(1, 2))),
        regions=frozenset(random.sample(_REGIONS, random.randint(1, 2))),
        languages=None if random.random() < 0.5 else frozenset(random.sample(_LANGUAGES, 2)),
        max_accounts=held + round(seats),
        max_book=None if limit is None else limit + held * 20_000,
        max_new=None,
        active=True,
        accounts=held,
        value=Decimal(held * 20_000),
    )


def contest(name: str, accounts: int, csms: int, seed: int = 7) -> Contest:
    """The company handed out all three ways, in this process."""
    company, claims = make_company(SHAPES[name], accounts, csms, seed)
    started, busy = time.perf_counter(), time.process_time()
    result = assign(frozenset({"tech"}), company, claims, AS_OF)
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - busy
    peak_mb = getrusage(RUSAGE_SELF).ru_maxrss / 1024
    from bench.hand_out import hand_out, most_room, round_robin  # noqa: PLC0415 - not part of what is measured

    owned = sum(claim.owner_id is not None for claim in claims)
    ways = []
    for choose in (round_robin, most_room):
        table = hand_out(choose, company, claims, AS_OF)
        newly = sum(claim.owner_id is None and claim.account_id in table.owners for claim in claims)
        after = zip(table.csms, table.accounts.tolist(), (cents / 100 for cents in table.value.tolist()), strict=True)
        ways.append(Way(float(table.placed), len(table.owners), owned + newly, *_spreads(list(after))))
    return Contest(
        shape=name, accounts=accounts, csms=csms, seconds=seconds, cpu_s=cpu_s, peak_mb=peak_mb,
        gap=float(result.objective.gap), ours=_ours(company, result), round_robin=ways[0], most_room=ways[1],
    )  # fmt: skip


def _ours(company: Sequence[Csm], result: Assignment) -> Way:
    books = {book.csm_id: book for book in result.books}
    after = [(csm, books[csm.csm_id].accounts_after, float(books[csm.csm_id].value_after)) for csm in company]
    told = result.objective
    return Way(float(told.value_placed), told.placed, told.changes, *_spreads(after))


def _spreads(after: Sequence[tuple[Csm, int, float]]) -> tuple[float, float]:
    """The fullest book against the average: in accounts by size, and in value by its limit or, without, by size."""
    by_accounts = [accounts / csm.max_accounts for csm, accounts, _ in after]
    by_value = [value / float(csm.max_book or csm.max_accounts) for csm, _, value in after]
    return max(by_accounts) * len(after) / sum(by_accounts), max(by_value) * len(after) / sum(by_value)


def measure_owners(folder: Path, accounts: int = ACCOUNTS, csms: int = CSMS) -> tuple[Contest, ...]:
    """Every company's contest, each in a process of its own."""
    found: list[Contest] = []
    for name in SHAPES:
        run([sys.executable, "-m", "bench.owners", name, str(accounts), str(csms)], {}, folder)
        told = json.loads((folder / "out").read_text(encoding="utf-8"))
        told |= {way: Way(**told[way]) for way in ("ours", "round_robin", "most_room")}
        found.append(Contest(**told))
    return tuple(found)


def write_contests(out: IO[str], contests: Sequence[Contest]) -> None:
    """The contests as a table."""
    out.write(
        f"{'company':<16}{'handed out by':<15}{'value placed':>16}{'placed':>9}{'changes':>9}"
        f"{'accounts':>10}{'value':>7}{'time':>9}{'Python':>9}{'peak':>8}\n{'':<65}{'(fullest / mean)':>17}\n"
    )
    for one in contests:
        for name, way in (("assignment", one.ours), ("round robin", one.round_robin), ("most room", one.most_room)):
            ours = f"{one.seconds:>7.2f} s{one.cpu_s:>7.2f} s{one.peak_mb:>5,.0f} MB" if name == "assignment" else ""
            out.write(
                f"{one.shape if name == 'assignment' else '':<16}{name:<15}{way.value:>16,.0f}{way.placed:>9,}"
                f"{way.changes:>9,}{way.accounts_spread:>10.2f}{way.value_spread:>7.2f}{ours}\n"
            )
        out.write(f"{'':<16}{one.margin:+.4%} value; at most {one.gap:.4%} more is possible\n")


def main(arguments: Sequence[str]) -> int:
    """One company's contest as JSON, or all of them as a table."""
    if arguments:
        name, accounts, csms = arguments
        json.dump(asdict(contest(name, int(accounts), int(csms))), sys.stdout)
        return 0
    with tempfile.TemporaryDirectory(prefix="bandshift-bench-") as folder:
        write_contests(sys.stdout, measure_owners(Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
