"""`python -m bench`: makes the data, runs everyone, prints the table."""

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from app.embedded import serve_scratch
from app.logs import configure_logs
from bench.databases import Databases
from bench.machine import describe_machine, load
from bench.owners import ACCOUNTS, CSMS, measure_owners
from bench.report import report, write_table
from bench.trials import Sizes, measure_all


def main(arguments: Sequence[str] | None = None) -> int:
    """The figures are printed, and written as JSON where asked; 1 when a bar was missed or the comparison is void."""
    given = _parser().parse_args(arguments)
    sizes = Sizes(
        accounts=given.accounts,
        smaller=given.smaller or max(given.accounts // 10, 1),
        rounds=given.rounds,
    )
    with serve_scratch() as server, tempfile.TemporaryDirectory(prefix="bandshift-bench-") as folder:
        machine = describe_machine(server)
        _tell("handing out accounts")
        handed_out = min(max(given.accounts // 20, 1000), ACCOUNTS)
        owners = measure_owners(Path(folder), handed_out, handed_out * CSMS // ACCOUNTS)
        figures = measure_all(Databases(server), server, sizes, Path(folder), tell=_tell)
        machine |= {"load after": load()}
    found = report(sizes, machine, figures, owners)
    write_table(sys.stdout, found)
    if given.json:
        given.json.write_text(json.dumps(found.as_json(), indent=2) + "\n", encoding="utf-8")
    return 0 if found.passed else 1


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures bandshift against its peers.")
    parser.add_argument("--accounts", type=int, default=1_000_000, help="how many accounts (default: 1,000,000)")
    parser.add_argument(
        "--smaller",
        type=int,
        help="the size that growth is measured from, and that the ORM loop gets (default: a tenth)",
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each program runs (default: 3)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser


if __name__ == "__main__":
    configure_logs(level=logging.WARNING)
    sys.exit(main())
