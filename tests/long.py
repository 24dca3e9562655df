"""Tests that take long: `make test` leaves them out, `make check` has them all."""

from collections.abc import Sequence
from typing import Any

import pytest


def some_of_many(many: int, *, at_once: int) -> Sequence[Any]:
    """The numbers from 0 on, as parameters of a test; those from `at_once` on are for the long run only."""
    return [*range(at_once), *(pytest.param(number, marks=pytest.mark.long) for number in range(at_once, many))]
