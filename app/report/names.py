"""The names of the few accounts and CSMs that a report shows."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from sqlalchemy import BindParameter, Connection, Select, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY

from app.figures import printable
from app.tables import Id, accounts, csms

_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Names:
    """Names by id, safe to print; an id that has no name is absent."""

    accounts: Mapping[str, str] = field(default_factory=dict)
    csms: Mapping[str, str] = field(default_factory=dict)


def read_names(connection: Connection, account_ids: Collection[str], csm_ids: Collection[str]) -> Names:
    """The names of these accounts and CSMs, read by their ids and nothing else."""
    return Names(
        accounts=_read(connection, _account_names(), account_ids),
        csms=_read(connection, _csm_names(), csm_ids),
    )


def _account_names() -> Select[str, str | None]:
    return select(accounts.c.account_id, accounts.c.name).where(accounts.c.account_id == any_(_ids()))


def _csm_names() -> Select[str, str | None]:
    return select(csms.c.csm_id, csms.c.name).where(csms.c.csm_id == any_(_ids()))


def _ids() -> BindParameter[Sequence[str]]:
    return bindparam("ids", type_=ARRAY(Id))


def _read(connection: Connection, statement: Select[str, str | None], ids: Collection[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for batch in _batches(sorted(ids)):
        for account_or_csm, name in connection.execute(statement, {"ids": batch}):
            if name:
                names[account_or_csm] = printable(name)
    return names


def _batches(ids: list[str]) -> Iterator[list[str]]:
    remaining = iter(ids)
    while batch := list(islice(remaining, _AT_ONCE)):
        yield batch
