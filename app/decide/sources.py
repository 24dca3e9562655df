"""Where a decision reads from: the live tables, or stand-ins of the same columns (the cases of a policy file)."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ARRAY, FromClause, any_, literal, select

from app import tables


@dataclass(frozen=True, slots=True)
class Sources:
    """Four selectables with the columns of `accounts`, `account_signals`, `coverage` and `pins`."""

    accounts: FromClause
    account_signals: FromClause
    coverage: FromClause
    pins: FromClause


LIVE = Sources(tables.accounts, tables.account_signals, tables.coverage, tables.pins)


def of_accounts(account_ids: Sequence[str]) -> Sources:
    """The live tables with the rows of these accounts only, and all pins."""
    asked = literal(list(account_ids), ARRAY(tables.Id))

    def these(table: FromClause) -> FromClause:
        return select(table).where(table.c.account_id == any_(asked)).subquery(getattr(table, "name", None))

    return Sources(these(LIVE.accounts), these(LIVE.account_signals), these(LIVE.coverage), LIVE.pins)
