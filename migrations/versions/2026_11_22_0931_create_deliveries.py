"""Each message on its way through each channel."""

from alembic import op

revision = "2026_11_22_0931"
down_revision = "2026_11_22_0923"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE deliveries (
            message_id text NOT NULL,
            channel text NOT NULL,
            status text NOT NULL,
            attempts integer NOT NULL DEFAULT 0,
            next_attempt_at timestamptz NOT NULL,
            gives_up_at timestamptz NOT NULL,
            last_error text,
            ended_at timestamptz,
            CONSTRAINT deliveries_pkey PRIMARY KEY (message_id, channel),
            CONSTRAINT deliveries_message_id_fkey FOREIGN KEY (message_id) REFERENCES outbox (message_id),
            CONSTRAINT deliveries_status_check CHECK (status IN ('waiting', 'delivered', 'parked'))
        )
        """
    )
    op.execute("CREATE INDEX deliveries_waiting_idx ON deliveries (next_attempt_at) WHERE status = 'waiting'")


def downgrade() -> None:
    op.execute("DROP TABLE deliveries")
