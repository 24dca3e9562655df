"""Runs a command and writes what it took, as JSON, to a file: `python -I -S launch.py RESULT COMMAND...`.

A process of its own, and a small one, because the peak memory of a child starts at what its parent held when it was
forked.
"""

import json
import os
import sys
import time


def main() -> None:
    """The command has run; the file has its exit code, wall and processor time in seconds, and peak memory in MB."""
    result, *command = sys.argv[1:]
    started = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    took = {
        "exit_code": os.waitstatus_to_exitcode(status),
        "wall_s": time.perf_counter() - started,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
    }
    with open(result, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib would triple what this process holds
        json.dump(took, file)


if __name__ == "__main__":
    main()
