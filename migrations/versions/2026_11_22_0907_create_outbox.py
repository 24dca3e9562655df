"""What to tell whom, written with the run and sent after it."""

from alembic import op

revision = "2026_11_22_0907"
down_revision = "2026_11_22_0906"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE outbox (
            message_id text NOT NULL,
            run_id uuid NOT NULL,
            topic text NOT NULL,
            recipient text,
            payload jsonb NOT NULL,
            created_at timestamptz NOT NULL,
            delivered_at timestamptz,
            CONSTRAINT outbox_pkey PRIMARY KEY (message_id),
            CONSTRAINT outbox_run_id_fkey FOREIGN KEY (run_id) REFERENCES runs (run_id)
        )
        """
    )
    op.execute("CREATE INDEX outbox_undelivered_idx ON outbox (created_at) WHERE delivered_at IS NULL")
    op.execute("CREATE INDEX outbox_run_id_idx ON outbox (run_id)")


def downgrade() -> None:
    op.execute("DROP TABLE outbox")
