"""The benchmark runs from end to end and all move the same accounts; how fast they are is not a question for tests."""

import json

import pytest

from bench.__main__ import main
from bench.measure import Series, Took
from bench.report import report
from bench.trials import Figures, Sizes


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    figures = tmp_path_factory.mktemp("bench") / "figures.json"
    main(["--accounts", "4000", "--smaller", "2000", "--rounds", "1", "--json", str(figures)])
    found: dict[str, object] = json.loads(figures.read_text(encoding="utf-8"))
    return found


@pytest.mark.long(shared="measured")
def test_the_programs_move_the_same_accounts_to_the_same_bands(measured: dict[str, object]) -> None:
    assert measured["void"] == ""
    assert measured["moved"] == 208


@pytest.mark.long(shared="measured")
def test_every_program_was_timed(measured: dict[str, object]) -> None:
    timings = measured["timings"]
    assert isinstance(timings, list)
    assert len(timings) == 9
    assert all(timing["wall_s"] > 0 and timing["peak_mb"] > 1 for timing in timings)


@pytest.mark.long(shared="measured")
def test_memory_and_quiet_weeks_keep_their_bars_at_any_size(measured: dict[str, object]) -> None:
    bars = measured["bars"]
    assert isinstance(bars, list)
    kept = {bar["what"] for bar in bars if bar["passed"]}
    assert {
        "peak memory of Python",
        "peak memory when all enter at once",
        "rows written in a quiet week",
    } <= kept


def figures(*, dry_run: float, moves: frozenset[tuple[str, str | None]]) -> Figures:
    """Figures in which everything but the dry run takes a second, and the hand-written SQL moves one account."""
    second = Series((Took(1.0, 0.5, 100.0),))
    theirs: frozenset[tuple[str, str | None]] = frozenset({("a", "low")})
    return Figures(
        rows={"accounts": 10, "account_signals": 50, "csms": 1},
        dry_run=Series((Took(dry_run, 0.5, 100.0),)),
        peer_select=second,
        applying=second,
        peer_applying=second,
        first_run=second,
        smaller_dry_run=second,
        smaller_applying=second,
        orm=second,
        quiet=Took(1.0, 0.5, 100.0),
        quiet_rows=3,
        moves={"applying": moves, "peer applying": theirs},
        smaller_moves={"applying": theirs},
    )


SIZES = Sizes(accounts=10, smaller=1, rounds=1)


def test_a_comparison_of_programs_that_do_not_do_the_same_is_void() -> None:
    same: frozenset[tuple[str, str | None]] = frozenset({("a", "low")})
    assert report(SIZES, {}, figures(dry_run=1.5, moves=same)).passed
    other = report(SIZES, {}, figures(dry_run=1.5, moves=frozenset({("a", "high")})))
    assert not other.passed
    assert other.void == "at the full size, peer applying moves 1 accounts that we do not, and we 1 others"


def test_a_bar_is_missed_just_above_it() -> None:
    same: frozenset[tuple[str, str | None]] = frozenset({("a", "low")})
    found = report(SIZES, {}, figures(dry_run=1.51, moves=same))
    assert [bar.what for bar in found.bars if not bar.passed] == ["dry run against SQL by hand"]
    assert not found.passed


@pytest.mark.long(shared="measured")
def test_the_figures_go_to_a_file_as_json(measured: dict[str, object]) -> None:
    assert {"sizes", "machine", "rows", "moved", "void", "timings", "bars", "owners", "passed"} == set(measured)
