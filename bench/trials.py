"""The trials: who runs on what, how often, and in which order."""

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from sys import executable

from sqlalchemy import URL

from app.demo import CROWD, DEMO_AS_OF, QUIET
from app.embedded import Server
from bench.databases import Database, Databases, Moves, moves_written, rows_written
from bench.measure import Series, Took, run

PEER = Path(__file__).with_name("peer.sql")
AS_OF = DEMO_AS_OF.isoformat()

Tell = Callable[[str], None]
Turn = tuple[Database, Callable[[URL], Took]]
"""A program under test, and the database that it gets a clone of."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many accounts there are, how many where growth is measured from, and how often the programs take turns.

    The ORM loop runs on the smaller number too, and is scaled.
    """

    accounts: int
    smaller: int
    rounds: int

    @property
    def scale(self) -> float:
        """How many times as large the large one is."""
        return self.accounts / self.smaller


@dataclass(frozen=True, slots=True)
class Figures:
    """All that was measured. `rows` counts what the data has by table; `moves` are those that each program makes."""

    rows: Mapping[str, int]
    dry_run: Series
    peer_select: Series
    applying: Series
    peer_applying: Series
    first_run: Series
    smaller_dry_run: Series
    smaller_applying: Series
    orm: Series
    quiet: Took
    quiet_rows: int
    moves: Mapping[str, Moves]
    smaller_moves: Mapping[str, Moves]


class Trials:
    """The programs under test on the databases of one server; what they print goes through `folder`."""

    def __init__(self, databases: Databases, server: Server, folder: Path, tell: Tell) -> None:
        self._databases = databases
        self._moves: dict[str, Moves] = {}
        self._psql = str(server.programs.path("psql"))
        self._folder = folder
        self._tell = tell

    def turns(self, programs: Mapping[str, Turn], rounds: int) -> dict[str, Series]:
        """Each program has run `rounds` times, each time on a fresh clone of its database; who begins alternates."""
        took: dict[str, list[Took]] = {name: [] for name in programs}
        for number in range(rounds):
            for name in list(programs) if number % 2 == 0 else list(programs)[::-1]:
                source, program = programs[name]
                with self._databases.clone(source) as url:
                    took[name].append(program(url))
                self._tell(f"{source.accounts:>9,} accounts  {name:<18} {took[name][-1].wall_s:8.2f} s")
        return {name: Series(tuple(runs)) for name, runs in took.items()}

    def dry_run(self, url: URL) -> Took:
        """Ours, everything it has to say written to a file, and nothing else."""
        report = self._folder / "report.json"
        took = self._ours(url, "--dry-run", "--format", "json", "--output", str(report))
        found = json.loads(report.read_text(encoding="utf-8"))
        self._same("dry run", frozenset((move["account_id"], move["to_band"]) for move in found["moves"]))
        return took

    def applying(self, url: URL) -> Took:
        """Ours, applied."""
        took = self._ours(url, "--format", "json", "--output", str(self._folder / "report.json"))
        self._same("applying", moves_written(url))
        return took

    def quiet(self, url: URL) -> Took:
        """Ours, applied where there is nothing to apply."""
        return self._ours(url, "--format", "json", "--output", str(self._folder / "report.json"))

    def peer_select(self, url: URL) -> Took:
        """The hand-written SQL, its whole result written to a file."""
        result = self._folder / "peer.csv"
        took = self._peer(url, "-v", "apply=0", "-o", str(result))
        with result.open(encoding="utf-8", newline="") as file:
            moves = frozenset((row[0], row[4] or None) for row in csv.reader(file) if row[1] == "move")
        self._same("peer select", moves)
        return took

    def peer_applying(self, url: URL) -> Took:
        """The hand-written SQL, applied."""
        took = self._peer(url, "-v", "apply=1")
        self._same("peer applying", moves_written(url))
        return took

    def orm(self, url: URL) -> Took:
        """The ORM loop, applied."""
        command = [executable, "-m", "bench.peer_orm", AS_OF]
        took = run(command, {"DATABASE_URL": url.render_as_string(hide_password=False)}, self._folder)
        self._same("orm", moves_written(url))
        return took

    def taken_moves(self) -> Mapping[str, Moves]:
        """What each program moved since this was asked last."""
        moves, self._moves = self._moves, {}
        return moves

    def _same(self, name: str, moves: Moves) -> None:
        """The same program must say the same every time it is asked."""
        if self._moves.setdefault(name, moves) != moves:
            raise AssertionError(f"{name} moved other accounts than in its round before")

    def _ours(self, url: URL, *options: str) -> Took:
        command = [executable, "-m", "app.recompute", "--as-of", AS_OF, *options]
        return run(command, {"DATABASE_URL": _dsn(url)}, self._folder)

    def _peer(self, url: URL, *options: str) -> Took:
        return run([self._psql, "-X", "-v", f"as_of={AS_OF}", *options, "-f", str(PEER), _dsn(url)], {}, self._folder)


def _dsn(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def _warm_up(trials: Trials, databases: Databases) -> None:
    """Every program has run once, on next to nothing, so that Python's modules are compiled and in the caches."""
    handful = databases.make("handful", CROWD, 200, DEMO_AS_OF)
    for program in (trials.dry_run, trials.peer_select, trials.applying, trials.peer_applying, trials.orm):
        with databases.clone(handful) as url:
            program(url)
    databases.forget(handful)
    trials.taken_moves()


def measure_all(databases: Databases, server: Server, sizes: Sizes, folder: Path, tell: Tell) -> Figures:
    """Everything is measured; what is compared takes turns, so that a machine that slows down slows all of it down."""
    trials = Trials(databases, server, folder, tell)
    _warm_up(trials, databases)
    tell(f"making {sizes.smaller:,} and {sizes.accounts:,} accounts")
    few = databases.make("few", CROWD, sizes.smaller, DEMO_AS_OF)
    crowd = databases.make("crowd", CROWD, sizes.accounts, DEMO_AS_OF)
    smaller = Trials(databases, server, folder, tell)
    reading = trials.turns(
        {
            "dry run": (crowd, trials.dry_run),
            "peer select": (crowd, trials.peer_select),
            "smaller dry run": (few, smaller.dry_run),
        },
        sizes.rounds,
    )
    writing = trials.turns(
        {
            "applying": (crowd, trials.applying),
            "peer applying": (crowd, trials.peer_applying),
            "smaller applying": (few, smaller.applying),
        },
        sizes.rounds,
    )
    orm = trials.turns({"orm": (few, smaller.orm)}, 1)
    moves = trials.taken_moves()
    databases.forget(few)
    uncovered = databases.make_uncovered("uncovered", crowd)
    databases.forget(crowd)
    first = trials.turns({"first run": (uncovered, trials.applying)}, 1)
    databases.forget(uncovered)

    tell(f"making {sizes.smaller:,} accounts with whom nothing happens")
    still = databases.make("still", QUIET, sizes.smaller, DEMO_AS_OF)
    with databases.clone(still) as url:
        before = rows_written(url)
        quiet = smaller.quiet(url)
        quiet_rows = rows_written(url) - before
    return Figures(
        rows=crowd.rows,
        dry_run=reading["dry run"],
        peer_select=reading["peer select"],
        applying=writing["applying"],
        peer_applying=writing["peer applying"],
        first_run=first["first run"],
        smaller_dry_run=reading["smaller dry run"],
        smaller_applying=writing["smaller applying"],
        orm=orm["orm"],
        quiet=quiet,
        quiet_rows=quiet_rows,
        moves=moves,
        smaller_moves=smaller.taken_moves(),
    )
