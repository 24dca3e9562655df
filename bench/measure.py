"""Running the programs under test, from outside, and remembering what they took."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

LAUNCH = Path(__file__).with_name("launch.py")


@dataclass(frozen=True, slots=True)
class Took:
    """What one run of a program took. `peak_mb` is that of the program's own process, not of the server."""

    wall_s: float
    cpu_s: float
    peak_mb: float


class CommandFailedError(Exception):
    """A program under test ended with an exit code that it should not."""


def run(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Took:
    """The command has run to a good end; its output is in `folder`, in files named out and err.

    Python keeps compiled modules in `folder`, as an installation does beside them; the first run makes them.
    """
    result = folder / "took.json"
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        subprocess.run(
            [sys.executable, "-I", "-S", str(LAUNCH), str(result), *command],
            env={**os.environ, **compiled, **environment}, stdin=subprocess.DEVNULL, stdout=out, stderr=err, check=True,
        )  # fmt: skip
    took = json.loads(result.read_text())
    if took.pop("exit_code") != 0:
        raise CommandFailedError(f"{' '.join(command)}\n{(folder / 'err').read_text()[-4000:]}")
    return Took(**took)


@dataclass(frozen=True, slots=True)
class Series:
    """Several runs of one program."""

    runs: tuple[Took, ...]

    @property
    def wall_s(self) -> float:
        """The median time from start to end."""
        return median(took.wall_s for took in self.runs)

    @property
    def cpu_s(self) -> float:
        """The median processor time of the program itself."""
        return median(took.cpu_s for took in self.runs)

    @property
    def peak_mb(self) -> float:
        """The largest memory of any run."""
        return max(took.peak_mb for took in self.runs)
