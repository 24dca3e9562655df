"""The moves as CSV (RFC 4180, UTF-8, CRLF), one row per account that moves, by account id.

Spreadsheets run a cell that begins with = + - @ or a control character as a formula, and account ids, policies and
reasons come from outside. Such text gets a leading apostrophe, which spreadsheets hide. Numbers are written as numbers,
also when negative.
"""

import csv
from collections.abc import Iterator
from decimal import Decimal
from typing import IO

from app.plan import Plan
from app.policy.model import Policy
from app.reasons import reason
from app.report.summary import moves

COLUMNS = (
    "account_id",
    "from_band",
    "to_band",
    "move",
    "rule",
    "value",
    "arr",
    "from_owner_id",
    "to_owner_id",
    "reason",
)
"""The columns, in order. Bands are empty where an account enters or leaves, owners where it is the pool's."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The last four are the full-width forms of the first four, which some spreadsheets read alike."""


def write_csv(out: IO[str], policy: Policy, plan: Plan) -> None:
    """A header and every move are written to `out`, one at a time."""
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows(_rows(policy, plan))


def _rows(policy: Policy, plan: Plan) -> Iterator[list[str]]:
    for move in moves(plan):
        decision = move.decision
        cells = (
            decision.account_id,
            decision.from_band,
            decision.to_band,
            decision.move,
            decision.rule,
            decision.value,
            decision.arr,
            decision.owner_id,
            move.to_owner_id,
            reason(policy, decision),
        )
        yield [cell(content) for content in cells]


def cell(content: str | Decimal | None) -> str:
    """`content` as a cell that no spreadsheet takes for a formula; nothing is an empty cell, money has two decimals."""
    match content:
        case None:
            return ""
        case Decimal():
            return f"{content:.2f}"
        case _:
            return f"'{content}" if content.lstrip(" ").startswith(_FORMULA_STARTS) else content
