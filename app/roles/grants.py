"""Who may do what, as data.

owner    migrates; the tables are its own
app      runs, approves, pins, tells people; adds to the histories and can never change them; writes no facts
loader   writes the facts: accounts, signals, CSMs and their absences; nothing else
reader   asks: facts, coverage, histories, runs, pins; not the messages to people, nor plans that wait
"""

from collections.abc import Iterator, Mapping
from typing import Literal, get_args

Role = Literal["owner", "app", "loader", "reader"]
ROLES: tuple[Role, ...] = get_args(Role)

FACTS = ("accounts", "account_signals", "csms", "csm_absences")
"""What may be the user's own tables or views. Those that are views stay whose they are."""

OURS = (
    "band_history",
    "bandshift_version",
    "coverage",
    "deliveries",
    "kept_moves",
    "outbox",
    "owner_history",
    "pins",
    "policies",
    "runs",
    "band_periods",
    "coverage_current",
)
"""The other tables and views that the migrations make."""

_READ, _ADD, _WRITE = "SELECT", "SELECT, INSERT", "SELECT, INSERT, UPDATE, DELETE"
_WHEN_AWAY = "SELECT (csm_id, starts_on, ends_on)"  # why somebody is away is nobody's business

GRANTS: Mapping[Role, Mapping[str, str]] = {
    "owner": {},
    "app": {
        "accounts": _READ,
        "account_signals": _READ,
        "csms": _READ,
        "csm_absences": _WHEN_AWAY,
        "coverage": _WRITE,
        "band_history": _ADD,
        "owner_history": _ADD,
        "policies": _ADD,
        "kept_moves": _ADD,
        "runs": f"{_ADD}, UPDATE (finished_at, duration_ms, answer, answered_at, answered_by, error)",
        "pins": f"{_ADD}, UPDATE (unpinned_at, unpinned_by)",
        "outbox": f"{_ADD}, UPDATE (delivered_at)",
        "deliveries": f"{_ADD}, UPDATE (status, attempts, next_attempt_at, gives_up_at, last_error, ended_at)",
        "band_periods": _READ,
        "coverage_current": _READ,
        "bandshift_version": _READ,
    },
    "loader": {**dict.fromkeys(FACTS, _WRITE), "bandshift_version": _READ},
    "reader": {
        "accounts": _READ,
        "account_signals": _READ,
        "csms": _READ,
        "csm_absences": _WHEN_AWAY,
        "coverage": _READ,
        "band_history": _READ,
        "owner_history": _READ,
        "policies": _READ,
        "runs": _READ,
        "pins": _READ,
        "band_periods": _READ,
        "coverage_current": _READ,
        "bandshift_version": _READ,
    },
}
"""What each role may do with which table, beyond what is its own; what is not here it may not."""


def listed() -> Iterator[tuple[Role, str, str]]:
    """Every grant: the role, the table, the privileges. MAINTAIN is there from PostgreSQL 17 on."""
    for role, tables in GRANTS.items():
        for table, privileges in tables.items():
            yield role, table, privileges
    for table in FACTS:
        yield "loader", table, "MAINTAIN"  # to ANALYZE what a large load has written
