"""Whether what must hold does hold: the schema, the policies of the ledger, and the invariants. Reads only."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from app import migrate
from app.errors import Mistake
from app.invariants import IN_EFFECT, Invariant, LastRun, invariants
from app.policy.read import read_policy
from app.runs import RECOMPUTES, evaluates_rules
from app.tables import policies, runs

SHOWN = 5
"""How many offenders a finding names."""


@dataclass(frozen=True, slots=True)
class Offender:
    """Something that breaks an invariant."""

    id: str
    what: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: how many offenders (None: it was not looked), and the first few of them by id."""

    code: str
    title: str
    count: int | None
    offenders: tuple[Offender, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether there is none."""
        return not self.count


def examine(connection: Connection) -> Iterator[Finding]:
    """The findings one by one, as they are made: the schema, the policies, then I1 to I9.

    With another schema nothing else is looked at. What depends on a run's policy is not looked at when there was no run
    yet, or its policy cannot be read.
    """
    schema = _schema(connection)
    yield schema
    if not schema.holds:
        return
    yield _policies(connection)
    for invariant in invariants(read_last_run(connection)):
        yield _finding(connection, invariant)


def _schema(connection: Connection) -> Finding:
    try:
        migrate.require_current(connection)
    except Mistake as mistake:
        return Finding("schema", "the schema is the one this version needs", 1, (Offender("schema", str(mistake)),))
    return Finding("schema", f"the schema is the one this version needs, {migrate.head()}", 0)


def _policies(connection: Connection) -> Finding:
    """Whether every policy that a decision refers to can still be read."""
    columns = policies.c.policy_sha, policies.c.name, policies.c.body
    unreadable = []
    for row in connection.execute(select(*columns).order_by(policies.c.policy_sha)):
        try:
            read_policy(row.body, source=row.name)
        except Mistake as mistake:
            unreadable.append(Offender(row.policy_sha[:12], str(mistake).splitlines()[0]))
    return Finding("policies", "every policy in the ledger can be read", len(unreadable), tuple(unreadable[:SHOWN]))


def read_last_run(connection: Connection) -> LastRun | None:
    """The last recompute or approval that took effect, if there was one and its policy can be read."""
    row = connection.execute(
        select(runs.c.run_id, runs.c.as_of, runs.c.started_at, policies.c.body, policies.c.name)
        .join(policies, policies.c.policy_sha == runs.c.policy_sha)
        .where(runs.c.status.in_(IN_EFFECT), evaluates_rules())
        .order_by(runs.c.started_at.desc(), runs.c.run_id)
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    whole = select(func.max(runs.c.started_at)).where(runs.c.status.in_(IN_EFFECT), runs.c.kind.in_(RECOMPUTES))
    pins_as_of = connection.execute(whole).scalar_one()
    try:
        return LastRun(row.run_id, row.as_of, pins_as_of, read_policy(row.body, source=row.name))
    except Mistake:
        return None


def _finding(connection: Connection, invariant: Invariant) -> Finding:
    if invariant.offenders is None:
        return Finding(invariant.code, invariant.title, None)
    found = invariant.offenders.subquery("offenders")
    listed = select(found.c.id, found.c.what, func.count().over().label("all")).order_by(found.c.id, found.c.what)
    rows = connection.execute(listed.limit(SHOWN)).all()
    offenders = tuple(Offender(row.id, row.what) for row in rows)
    return Finding(invariant.code, invariant.title, rows[0].all if rows else 0, offenders)
