"""Where each account stands: its band, its owner, and what the rules remember of it."""

from alembic import op

revision = "2026_11_22_0904"
down_revision = "2026_11_22_0903"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE coverage (
            account_id text COLLATE "C" NOT NULL,
            band text NOT NULL,
            band_since timestamptz NOT NULL,
            band_rule text NOT NULL,
            owner_id text COLLATE "C",
            owner_since timestamptz,
            first_owned_at timestamptz,
            waiting_since timestamptz,
            held_by text,
            held_from text,
            intervention text,
            intervention_from text,
            intervention_until timestamptz,
            spent_intervention text,
            pending jsonb,
            has_risen boolean DEFAULT false NOT NULL,
            fell_with text,
            CONSTRAINT coverage_pkey PRIMARY KEY (account_id)
        )
        """
    )
    op.execute("CREATE INDEX coverage_owner_id_idx ON coverage (owner_id)")
    op.execute("CREATE INDEX coverage_waiting_since_idx ON coverage (waiting_since) WHERE waiting_since IS NOT NULL")


def downgrade() -> None:
    op.execute("DROP TABLE coverage")
