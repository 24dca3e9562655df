"""A small policy file, edits of it, and what is said of a broken one."""

import pytest

from app.errors import Mistake
from app.policy.read import default_policy, read_policy

DEFAULT = default_policy().body

SMALL = """\
name = "small"

[[bands]]
name = "tech"
owner = "pool"
accounts_per_csm = 1000

[[bands]]
name = "high"
owner = "named"
accounts_per_csm = 40
floor = 50_000

[signals]
tickets = { kind = "ticket", measure = "count", within_days = 60 }

[[rules]]
name = "up"
move = "graduate"
when = "arr > 1"
to = "high"
because = "it has {arr}"
"""


def mistakes(text: str) -> list[str]:
    with pytest.raises(Mistake) as refused:
        read_policy(text, source="my.toml")
    return [str(problem) for problem in refused.value.problems]


def edited(*edits: tuple[str, str], text: str = SMALL) -> str:
    for old, new in edits:
        assert old in text, f"the test edits {old!r}, which is not there"
        text = text.replace(old, new, 1)
    return text
