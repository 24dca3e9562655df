"""Where a decision reads from: the live tables, or stand-ins of the same columns (the cases of a policy file)."""

from dataclasses import dataclass

from sqlalchemy import FromClause

from app import tables


@dataclass(frozen=True, slots=True)
class Sources:
    """Four selectables with the columns of `accounts`, `account_signals`, `coverage` and `pins`."""

    accounts: FromClause
    account_signals: FromClause
    coverage: FromClause
    pins: FromClause


LIVE = Sources(tables.accounts, tables.account_signals, tables.coverage, tables.pins)
