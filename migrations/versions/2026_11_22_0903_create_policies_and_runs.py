"""Policies by their hash, and the ledger of runs, at most one applied per slot."""

from alembic import op

revision = "2026_11_22_0903"
down_revision = "2026_11_22_0902"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE policies (
            policy_sha text NOT NULL,
            name text NOT NULL,
            body text NOT NULL,
            first_used_at timestamptz NOT NULL,
            CONSTRAINT policies_pkey PRIMARY KEY (policy_sha)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE runs (
            run_id uuid NOT NULL,
            kind text NOT NULL,
            slot date,
            as_of timestamptz NOT NULL,
            started_at timestamptz NOT NULL,
            finished_at timestamptz,
            duration_ms bigint,
            status text NOT NULL,
            policy_sha text,
            plan_sha text,
            counts jsonb DEFAULT '{}'::jsonb NOT NULL,
            guards jsonb DEFAULT '[]'::jsonb NOT NULL,
            error text,
            CONSTRAINT runs_pkey PRIMARY KEY (run_id),
            CONSTRAINT runs_kind_check CHECK (kind IN ('scheduled', 'manual', 'import')),
            CONSTRAINT runs_status_check CHECK (status IN ('applied', 'nothing', 'blocked', 'failed')),
            CONSTRAINT runs_policy_sha_fkey FOREIGN KEY (policy_sha) REFERENCES policies (policy_sha)
        )
        """
    )
    op.execute("CREATE UNIQUE INDEX runs_slot_key ON runs (slot) WHERE status IN ('applied', 'nothing')")
    op.execute("CREATE INDEX runs_started_at_idx ON runs (started_at)")


def downgrade() -> None:
    op.execute("DROP TABLE runs")
    op.execute("DROP TABLE policies")
