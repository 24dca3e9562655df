"""How many random examples a property is tried on: some whenever anybody runs the tests, all of them in CI.

Every test runs either way. `TEST_EXAMPLES=all`, which `make check` sets, adds to the seeds of the dearest properties,
whose worlds are alike but for the seed.
"""

import os

ALL = os.environ.get("TEST_EXAMPLES", "some") == "all"


def seeds(every: int, *, some: int) -> range:
    """The seeds from 0 on, as parameters of a test."""
    return range(every if ALL else some)
