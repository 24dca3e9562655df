"""One run, from facts to effect: plan, guard, apply. Each step is a module; their order and transactions are here.

A dry run is the same plan, made in a READ ONLY transaction of one snapshot, and nothing after it. A run that applies
works in one READ COMMITTED transaction: the lock, the plan, the ledger's row and the effect are kept together or not
at all. A plan that a guard stops is kept in that transaction instead, so that nobody plans the same meanwhile; a
failure is written to the ledger in one of its own.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any, Literal
from uuid import UUID

import psycopg
import structlog
from sqlalchemy import Connection, Engine, insert
from sqlalchemy.exc import DBAPIError

from app import messages, runs
from app.apply import apply
from app.errors import Busy, StalePlan
from app.kept import keep
from app.plan import Plan
from app.planning import Planner, make_plan, make_rebalance
from app.policy.model import Policy
from app.readers import beside
from app.report.summary import counts
from app.runs import Kind, Run, SlotDone
from app.tables import outbox
from app.tracing import span

Status = Literal["planned", "applied", "nothing", "blocked"]
Hook = Callable[[Connection], None]
FailureHook = Callable[[Connection, BaseException], None]
Report = Callable[["RunResult"], None]

ANSWER_WITHIN = timedelta(hours=120)
"""How long a run that a guard stopped can be approved, unless the settings say otherwise."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of a run: a dry run is `planned` and has no id; `nothing` has no move and no change of owner to make.

    A plan that its guards stop is `blocked`, and of a dry run too; otherwise it can be approved until `lapses_at`.
    """

    plan: Plan
    run_id: UUID | None
    status: Status
    lapses_at: datetime | None = None


def recompute(
    engine: Engine,
    policy: Policy,
    as_of: datetime,
    *,
    dry_run: bool,
    kind: Kind = "manual",
    slot: date | None = None,
    answer_within: timedelta = ANSWER_WITHIN,
    meanwhile: Report | None = None,
) -> RunResult:
    """The run is made, or with `dry_run` only planned; the ledger has every run that set out to apply.

    `meanwhile` is called while the database carries the plan out, with the result that the run has if that succeeds;
    the run fails if it does. A plan that is not carried out calls nobody.

    Raises Busy when another run is at work, SlotDone when the slot has its run, Mistake when `as_of` lies in the
    future or before the last applied run (none of them is a run, so the ledger has no row), and StalePlan when the
    tables changed under the plan. A guard raises nothing: see the result's status.
    """
    if dry_run:
        return preview(engine, policy, as_of, make_plan)
    run = set_out(kind, as_of, slot=slot)
    return attempt(engine, policy, run, make_plan, answer_within=answer_within, meanwhile=meanwhile)


def rebalance(
    engine: Engine,
    policy: Policy,
    as_of: datetime,
    *,
    max_moves: int,
    dry_run: bool,
    answer_within: timedelta = ANSWER_WITHIN,
) -> RunResult:
    """The books are evened out by a run of its own kind, only planned with `dry_run`; raises as `recompute` does."""
    planner = partial(make_rebalance, max_moves=max_moves)
    if dry_run:
        return preview(engine, policy, as_of, planner)
    return attempt(engine, policy, set_out("rebalance", as_of), planner, answer_within=answer_within)


def set_out(kind: Kind, as_of: datetime, *, slot: date | None = None, approves: UUID | None = None) -> Run:
    """A run that sets out now."""
    started_at = datetime.now(UTC)
    return Run(runs.new_run_id(started_at), kind, slot, as_of, started_at, approves)


def attempt(
    engine: Engine,
    policy: Policy,
    run: Run,
    planner: Planner,
    *,
    answer_within: timedelta,
    admit: Hook | None = None,
    recorded: Hook | None = None,
    failed: FailureHook | None = None,
    meanwhile: Report | None = None,
) -> RunResult:
    """The run that `planner` plans is made; `meanwhile` and what is raised are as `recompute` says.

    In the run's transaction `admit` comes before anything is planned, and may refuse by raising; `recorded` comes with
    the ledger's row of a run that took effect or was stopped by a guard, and `failed` with that of one that failed. A
    planner that raises StalePlan made no run.
    """
    identity = {"run_id": str(run.run_id), **_identity(policy, run.slot)}
    with structlog.contextvars.bound_contextvars(**identity), span("run", kind=run.kind, **identity):
        return _Attempt(
            engine,
            policy,
            run,
            planner,
            answer_within=answer_within,
            admit=admit,
            recorded=recorded,
            failed=failed,
            meanwhile=meanwhile,
        ).make()


def preview(engine: Engine, policy: Policy, as_of: datetime, planner: Planner) -> RunResult:
    """What the planner plans, and what the guards say of it; nothing is written."""
    started, identity = monotonic(), _identity(policy, None)
    with structlog.contextvars.bound_contextvars(**identity), span("preview", **identity):
        with (
            _transaction(engine, isolation_level="REPEATABLE READ", postgresql_readonly=True) as connection,
            beside(engine, connection) as others,
        ):
            plan = planner(connection, policy, as_of, others)
        status: Status = "blocked" if plan.tripped else "planned" if plan.changes else "nothing"
        log.info("run.planned", duration_ms=_elapsed_ms(started), guards_tripped=len(plan.tripped), **counts(plan))
    return RunResult(plan, None, status)


def _identity(policy: Policy, slot: date | None) -> dict[str, str]:
    """What every event and every span of a run bears beside its id."""
    return {"policy_sha": policy.sha256, **({"slot": slot.isoformat()} if slot is not None else {})}


@contextmanager
def _transaction(engine: Engine, **options: Any) -> Iterator[Connection]:
    """A connection in a transaction that commits at the end, and rolls back on an error.

    What the driver raises where we use it directly, to stream and to copy, surfaces as SQLAlchemy's errors do.
    """
    with engine.connect() as connection, connection.execution_options(**options).begin():
        try:
            yield connection
        except psycopg.Error as error:
            broken = not connection.connection.is_valid or getattr(
                connection.connection.driver_connection, "closed", True
            )
            if broken:
                connection.invalidate(error)
            raise DBAPIError.instance("COPY", None, error, psycopg.Error, connection_invalidated=broken) from error


@contextmanager
def _reporting(report: Report | None, result: RunResult) -> Iterator[None]:
    """The result is reported by a thread of its own; what went wrong with that is raised at the end."""
    with ThreadPoolExecutor(1, thread_name_prefix="report") as pool:
        reported = pool.submit(copy_context().run, report, result) if report is not None else None
        yield
        if reported is not None:
            reported.result()


class _Attempt:
    """One attempt to make a run, from the lock to the ledger."""

    def __init__(
        self,
        engine: Engine,
        policy: Policy,
        run: Run,
        planner: Planner,
        *,
        answer_within: timedelta,
        admit: Hook | None,
        recorded: Hook | None,
        failed: FailureHook | None,
        meanwhile: Report | None,
    ) -> None:
        self.engine, self.policy, self.run, self.planner = engine, policy, run, planner
        self.answer_within = answer_within
        self.admit, self.recorded, self.failed = admit, recorded, failed
        self.meanwhile = meanwhile
        self.started = monotonic()
        self.admitted = False
        self.plan: Plan | None = None
        self.status: Status = "applied"
        self.lapses_at: datetime | None = None

    def make(self) -> RunResult:
        """The run has its effect, or its row says why not."""
        try:
            plan = self._work()
        except (Busy, SlotDone) as error:
            log.info("run.busy" if isinstance(error, Busy) else "run.skipped")
            raise
        except BaseException as error:
            if not self.admitted or (self.plan is None and isinstance(error, StalePlan)):
                raise
            plan = self._resolve(error)
        if self.status == "blocked":
            log.warning("run.blocked", guards=[verdict.guard for verdict in plan.tripped], **self._told(plan))
        else:
            log.info("run.applied", status=self.status, **self._told(plan))
        return RunResult(plan, self.run.run_id, self.status, self.lapses_at)

    def _work(self) -> Plan:
        with _transaction(self.engine, isolation_level="READ COMMITTED") as connection:
            runs.take_lock(connection)
            runs.refuse_slot(connection, self.run.slot)
            runs.refuse_as_of(connection, self.run.as_of, self.run.started_at)
            if self.admit is not None:
                self.admit(connection)
            self.admitted = True
            with beside(self.engine, connection) as others:
                self.plan = plan = self.planner(connection, self.policy, self.run.as_of, others)
            runs.keep_policy(connection, self.policy, self.run.started_at)
            if plan.tripped:
                self._block(connection, plan)
            else:
                self._carry_out(connection, plan)
            if self.recorded is not None:
                self.recorded(connection)
            return plan

    def _carry_out(self, connection: Connection, plan: Plan) -> None:
        ended: Literal["applied", "nothing"] = "applied" if plan.changes else "nothing"
        self.status = ended
        runs.open_run(connection, self.run, plan, ended)
        with span("apply"), _reporting(self.meanwhile, RunResult(plan, self.run.run_id, ended)):
            apply(connection, plan, self.policy, self.run.run_id)
        runs.close_run(connection, self.run, **self._ending())

    def _block(self, connection: Connection, plan: Plan) -> None:
        """The plan is kept, a person is asked, and the run awaits the answer."""
        self.status = "blocked"
        ending = self._ending()
        self.lapses_at = lapses_at = ending["finished_at"] + self.answer_within
        runs.record_blocked(connection, self.run, plan, lapses_at=lapses_at, **ending)
        keep(connection, self.run.run_id, plan, self.policy)
        connection.execute(insert(outbox), [messages.blocked(plan, self.policy, self.run.run_id, lapses_at)])

    def _resolve(self, error: BaseException) -> Plan:
        """The plan, if its commit succeeded and only the answer was lost; else the failure is recorded, and raised."""
        try:
            with _transaction(self.engine) as connection:
                runs.keep_policy(connection, self.policy, self.run.started_at)
                recorded = runs.record_failed(connection, self.run, self.policy.sha256, error=error, **self._ending())
                if self.plan is not None and not recorded:
                    return self.plan
                if self.failed is not None:
                    self.failed(connection, error)
        except Exception as unrecorded:  # noqa: BLE001 - the first error is the one to raise; this one is only noted
            log.error("run.unrecorded", error=runs.describe(unrecorded))  # noqa: TRY400 - a traceback may quote data
        log.error("run.failed", error=runs.describe(error), duration_ms=_elapsed_ms(self.started))
        raise error

    def _ending(self) -> dict[str, Any]:
        took = _elapsed_ms(self.started)  # added to the start, so that a clock that is set meanwhile does not matter
        return {"duration_ms": took, "finished_at": self.run.started_at + timedelta(milliseconds=took)}

    def _told(self, plan: Plan) -> dict[str, Any]:
        return {"duration_ms": _elapsed_ms(self.started), "notes": len(plan.notes), **counts(plan)}


def _elapsed_ms(started: float) -> int:
    return round((monotonic() - started) * 1000)
