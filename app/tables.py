"""The tables, as SQLAlchemy Core. The migrations create them; a test holds the two equal.

Portable on purpose: no triggers, enums, exclusion constraints or serials, every account-sized table keyed by
`account_id` first, and no foreign key on `accounts`, `account_signals` or `csms`, which may be views over the user's
own tables.

Account ids sort by code point (`COLLATE "C"`) everywhere, in SQL as in Python, so that every ordering is total and the
same on every server.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    }
)

Id = Text(collation="C")
Instant = DateTime(timezone=True)
Money = Numeric(18, 2)


def _one_of(column: str, *words: str) -> CheckConstraint:
    """A named CHECK that `column` is one of `words`; NULL passes."""
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


MOVES = ("enter", "graduate", "demote", "intervene", "return", "settle", "pin", "leave")
"""What can happen to an account's band, as written in `band_history.move`."""

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", Id, primary_key=True),
    Column("name", Text),
    Column("status", Text, nullable=False, server_default=text("'active'")),
    Column("segment", Text),
    Column("region", Text),
    Column("language", Text),
    Column("parent_id", Id),
    Column("standalone", Boolean, nullable=False, server_default=text("false")),
    Column("currency", Text),
    Column("arr", Money),
    Column("expansion_arr", Money),
    Column("strategic_importance", Integer),
    Column("product_complexity", Integer),
    Column("seats", BigInteger),
    Column("adoption", Numeric(6, 4)),
    Column("contract_term_months", Integer),
    Column("renewal_on", Date),
    Column("last_engaged_at", Instant),
    Column("onboarded_at", Instant),
    Column("first_value_at", Instant),
    Column("signed_on", Date),
    Column("attributes", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("synced_at", Instant, nullable=False, server_default=text("now()")),
    _one_of("status", "active", "churned"),
)

account_signals = Table(
    "account_signals",
    metadata,
    Column("account_id", Id, primary_key=True),
    Column("signal_id", Id, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("occurred_at", Instant, nullable=False),
    Column("value", Numeric(20, 4)),
    Column("detail", Text),
    Index(None, "kind", "occurred_at"),
)

csms = Table(
    "csms",
    metadata,
    Column("csm_id", Id, primary_key=True),
    Column("name", Text, nullable=False),
    Column("email", Text),
    Column("bands", ARRAY(Text), nullable=False),
    Column("segments", ARRAY(Text)),
    Column("regions", ARRAY(Text)),
    Column("languages", ARRAY(Text)),
    Column("max_accounts", Integer),
    Column("max_book", Money),
    Column("max_new_per_run", Integer),
    Column("hired_on", Date),
    Column("active", Boolean, nullable=False, server_default=text("true")),
)

csm_absences = Table(
    "csm_absences",
    metadata,
    Column("csm_id", Id, primary_key=True),
    Column("starts_on", Date, primary_key=True),
    Column("ends_on", Date, nullable=False),
    Column("reason", Text),
    CheckConstraint("ends_on >= starts_on", name="order"),
)

policies = Table(
    "policies",
    metadata,
    Column("policy_sha", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("first_used_at", Instant, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("slot", Date),
    Column("as_of", Instant, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Column("duration_ms", BigInteger),
    Column("status", Text, nullable=False),
    Column("policy_sha", Text, ForeignKey("policies.policy_sha")),
    Column("plan_sha", Text),
    Column("counts", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("guards", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("error", Text),
    Column("failure", Text),
    Column("approves", Uuid, ForeignKey("runs.run_id")),
    Column("lapses_at", Instant),
    Column("answer", Text),
    Column("answered_at", Instant),
    Column("answered_by", Text),
    _one_of("kind", "scheduled", "manual", "import", "rebalance", "approval"),
    _one_of("status", "applied", "nothing", "blocked", "failed", "skipped"),
    _one_of("failure", "transient", "mistake", "bug"),
    _one_of("answer", "approved", "rejected", "lapsed"),
    Index("runs_slot_key", "slot", unique=True, postgresql_where=text("status IN ('applied', 'nothing')")),
    Index(None, "started_at"),
    Index("runs_awaiting_idx", "started_at", postgresql_where=text("status = 'blocked' AND answer IS NULL")),
)

kept_moves = Table(
    "kept_moves",
    metadata,
    Column("account_id", Id, primary_key=True),
    Column("run_id", Uuid, ForeignKey("runs.run_id"), primary_key=True),
    Column("move", Text),
    Column("rule", Text),
    Column("from_band", Text),
    Column("to_band", Text),
    Column("value", Numeric),
    Column("from_owner_id", Id),
    Column("to_owner_id", Id),
    Column("why", Text),
    Column("reason", Text, nullable=False),
    _one_of("move", *MOVES),
    Index(None, "run_id"),
)

coverage = Table(
    "coverage",
    metadata,
    Column("account_id", Id, primary_key=True),
    Column("band", Text, nullable=False),
    Column("band_since", Instant, nullable=False),
    Column("band_rule", Text, nullable=False),
    Column("owner_id", Id),
    Column("owner_since", Instant),
    Column("first_owned_at", Instant),
    Column("waiting_since", Instant),
    Column("held_by", Text),
    Column("held_from", Text),
    Column("intervention", Text),
    Column("intervention_from", Text),
    Column("intervention_until", Instant),
    Column("spent_intervention", Text),
    Column("pending", JSONB),
    Column("has_risen", Boolean, nullable=False, server_default=text("false")),
    Column("fell_with", Text),
    Index(None, "owner_id"),
    Index("coverage_waiting_since_idx", "waiting_since", postgresql_where=text("waiting_since IS NOT NULL")),
)

band_history = Table(
    "band_history",
    metadata,
    Column("account_id", Id, primary_key=True),
    Column("run_id", Uuid, ForeignKey("runs.run_id"), primary_key=True),
    Column("changed_at", Instant, nullable=False),
    Column("from_band", Text),
    Column("to_band", Text),
    Column("move", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("value", Numeric),
    Column("evidence", JSONB, nullable=False),
    Column("policy_sha", Text, ForeignKey("policies.policy_sha")),
    Column("from_owner_id", Id),
    Column("to_owner_id", Id),
    _one_of("move", *MOVES),
    Index(None, "changed_at"),
    Index(None, "run_id"),
)

owner_history = Table(
    "owner_history",
    metadata,
    Column("account_id", Id, primary_key=True),
    Column("run_id", Uuid, ForeignKey("runs.run_id"), primary_key=True),
    Column("changed_at", Instant, nullable=False),
    Column("from_owner_id", Id),
    Column("to_owner_id", Id),
    Column("why", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Index(None, "run_id"),
    Index(None, "to_owner_id"),
    Index(None, "from_owner_id"),
)

pins = Table(
    "pins",
    metadata,
    Column("account_id", Id, primary_key=True),
    Column("pinned_at", Instant, primary_key=True),
    Column("band", Text),
    Column("owner_id", Id),
    Column("reason", Text, nullable=False),
    Column("pinned_by", Text, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("unpinned_at", Instant),
    Column("unpinned_by", Text),
    CheckConstraint("band IS NOT NULL OR owner_id IS NOT NULL", name="something"),
    Index("pins_account_id_key", "account_id", unique=True, postgresql_where=text("unpinned_at IS NULL")),
)

outbox = Table(
    "outbox",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("run_id", Uuid, ForeignKey("runs.run_id"), nullable=False),
    Column("topic", Text, nullable=False),
    Column("recipient", Text),
    Column("payload", JSONB, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("delivered_at", Instant),
    Index("outbox_undelivered_idx", "created_at", postgresql_where=text("delivered_at IS NULL")),
    Index(None, "run_id"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("message_id", Text, ForeignKey("outbox.message_id"), primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_attempt_at", Instant, nullable=False),
    Column("gives_up_at", Instant, nullable=False),
    Column("last_error", Text),
    Column("ended_at", Instant),
    _one_of("status", "waiting", "delivered", "parked"),
    Index("deliveries_waiting_idx", "next_attempt_at", postgresql_where=text("status = 'waiting'")),
)
