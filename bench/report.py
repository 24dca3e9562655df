"""The figures against the bars, as a table and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any

from bench.measure import Series
from bench.owners import Contest, write_contests
from bench.trials import Figures, Sizes

DRY_RUN_BAR = 1.5
APPLYING_BAR = 1.5
ORM_BAR = 10
MEMORY_BAR_MB = 300
FIRST_RUN_MEMORY_BAR_MB = 1024
GROWTH_BAR = 11
QUIET_ROWS_BAR = 0.001
OWNERS_S_BAR = 10
OWNERS_MEMORY_BAR_MB = 500


@dataclass(frozen=True, slots=True)
class Bar:
    """One promise: what was measured, in words, against what, and whether it was kept."""

    what: str
    measured: str
    figure: float
    bar: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Timing:
    """One program's row of the table."""

    program: str
    accounts: int
    wall_s: float
    all_wall_s: tuple[float, ...]
    python_cpu_s: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Report:
    """All there is to say. `void` says why the comparison does not count, and is empty when it does."""

    sizes: Sizes
    machine: Mapping[str, str]
    rows: Mapping[str, int]
    moved: int
    void: str
    timings: tuple[Timing, ...]
    bars: tuple[Bar, ...]
    owners: tuple[Contest, ...]

    @property
    def passed(self) -> bool:
        """Whether the comparison counts and every bar was passed."""
        return not self.void and all(bar.passed for bar in self.bars)

    def as_json(self) -> dict[str, Any]:
        """The report as one JSON object."""
        return {**asdict(self), "passed": self.passed}


def report(sizes: Sizes, machine: Mapping[str, str], figures: Figures, owners: tuple[Contest, ...] = ()) -> Report:
    """The figures, judged."""
    return Report(
        sizes=sizes,
        machine=machine,
        rows=figures.rows,
        moved=len(figures.moves["applying"]),
        void=_void(figures),
        timings=_timings(sizes, figures),
        bars=_bars(sizes, figures) + _owners_bars(owners),
        owners=owners,
    )


def _void(figures: Figures) -> str:
    """Why the programs cannot be compared: they do not do the same."""
    for moves, at in ((figures.moves, "the full size"), (figures.smaller_moves, "the smaller size")):
        ours = moves["applying"]
        for name, theirs in moves.items():
            if theirs != ours:
                others = f"{len(theirs - ours)} accounts that we do not, and we {len(ours - theirs)} others"
                return f"at {at}, {name} moves {others}"
    return ""


def _timings(sizes: Sizes, figures: Figures) -> tuple[Timing, ...]:
    listed: Sequence[tuple[str, int, Series]] = (
        ("bandshift, dry run", sizes.accounts, figures.dry_run),
        ("SQL by hand, select", sizes.accounts, figures.peer_select),
        ("bandshift, applying", sizes.accounts, figures.applying),
        ("SQL by hand, applying", sizes.accounts, figures.peer_applying),
        ("bandshift, first run", sizes.accounts, figures.first_run),
        ("bandshift, dry run", sizes.smaller, figures.smaller_dry_run),
        ("bandshift, applying", sizes.smaller, figures.smaller_applying),
        ("ORM loop, applying", sizes.smaller, figures.orm),
        ("bandshift, quiet week", sizes.smaller, Series((figures.quiet,))),
    )
    return tuple(
        Timing(name, accounts, series.wall_s, tuple(took.wall_s for took in series.runs), series.cpu_s, series.peak_mb)
        for name, accounts, series in listed
    )


def _bars(sizes: Sizes, figures: Figures) -> tuple[Bar, ...]:
    peak = max(figures.dry_run.peak_mb, figures.applying.peak_mb)
    scaled = figures.orm.wall_s * sizes.scale
    growth_bar = GROWTH_BAR / 10 * sizes.scale
    return (
        _at_most("dry run against SQL by hand", figures.dry_run.wall_s / figures.peer_select.wall_s, DRY_RUN_BAR, "x"),
        _at_most(
            "applying against SQL by hand", figures.applying.wall_s / figures.peer_applying.wall_s, APPLYING_BAR, "x"
        ),
        _at_least(
            f"faster than the ORM loop ({scaled:,.0f} s, scaled)", scaled / figures.applying.wall_s, ORM_BAR, "x"
        ),
        _at_most("peak memory of Python", peak, MEMORY_BAR_MB, " MB"),
        _at_most("peak memory when all enter at once", figures.first_run.peak_mb, FIRST_RUN_MEMORY_BAR_MB, " MB"),
        _at_most("growth of the dry run", figures.dry_run.wall_s / figures.smaller_dry_run.wall_s, growth_bar, "x"),
        _at_most(
            "growth of the applying run", figures.applying.wall_s / figures.smaller_applying.wall_s, growth_bar, "x"
        ),
        _at_most("rows written in a quiet week", figures.quiet_rows, max(QUIET_ROWS_BAR * sizes.smaller, 10), ""),
    )


def _owners_bars(contests: Sequence[Contest]) -> tuple[Bar, ...]:
    """Never less value placed than by simpler ways, and more where it is tight; in time and memory that are small."""
    if not contests:
        return ()
    return (
        _at_most("handing out: the slowest", max(one.seconds for one in contests), OWNERS_S_BAR, " s"),
        _at_most("handing out: peak memory", max(one.peak_mb for one in contests), OWNERS_MEMORY_BAR_MB, " MB"),
        *(_margin_bar(one) for one in contests),
    )


def _margin_bar(one: Contest) -> Bar:
    strictly = one.shape.startswith("tight")
    passed = one.margin > 0 if strictly else one.margin >= 0
    asked = "more" if strictly else "no less"
    return Bar(f"value placed against simpler ways, {one.shape}", f"{one.margin:+.4%}", one.margin, asked, passed)


def _at_most(what: str, figure: float, bar: float, unit: str) -> Bar:
    return Bar(what, f"{_number(figure)}{unit}", figure, f"at most {_number(bar)}{unit}", figure <= bar)


def _at_least(what: str, figure: float, bar: float, unit: str) -> Bar:
    return Bar(what, f"{_number(figure)}{unit}", figure, f"at least {_number(bar)}{unit}", figure >= bar)


def _number(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 or figure == int(figure) else f"{figure:.2f}"


def write_table(out: IO[str], found: Report) -> None:
    """The report as text, as the README shows it."""
    rows = found.rows
    out.write(
        f"{rows['accounts']:,} accounts, {rows['account_signals']:,} signals, {rows['csms']:,} CSMs;"
        f" {found.moved:,} accounts move ({found.moved / rows['accounts']:.1%}); medians of {found.sizes.rounds}\n"
    )
    for name, value in found.machine.items():
        out.write(f"  {name}: {value}\n")
    out.write(f"\n{'program':<24}{'accounts':>11}{'time':>11}{'Python':>11}{'peak':>10}\n")
    for timing in found.timings:
        out.write(
            f"{timing.program:<24}{timing.accounts:>11,}{timing.wall_s:>9.2f} s{timing.python_cpu_s:>9.2f} s"
            f"{timing.peak_mb:>7,.0f} MB\n"
        )
    out.write(f"\n{'bar':<52}{'measured':>10}  {'asked':<17}\n")
    for bar in found.bars:
        out.write(f"{bar.what:<52}{bar.measured:>10}  {bar.bar:<17}{'pass' if bar.passed else 'MISS'}\n")
    out.write("\n")
    write_contests(out, found.owners)
    if found.void:
        out.write(f"\nVOID: {found.void}\n")
