"""Dated human overrides of an account's band or owner, at most one standing per account."""

from alembic import op

revision = "2026_11_22_0906"
down_revision = "2026_11_22_0905"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE pins (
            account_id text COLLATE "C" NOT NULL,
            pinned_at timestamptz NOT NULL,
            band text,
            owner_id text COLLATE "C",
            reason text NOT NULL,
            pinned_by text NOT NULL,
            expires_at timestamptz NOT NULL,
            unpinned_at timestamptz,
            unpinned_by text,
            CONSTRAINT pins_pkey PRIMARY KEY (account_id, pinned_at),
            CONSTRAINT pins_something_check CHECK (band IS NOT NULL OR owner_id IS NOT NULL)
        )
        """
    )
    op.execute("CREATE UNIQUE INDEX pins_account_id_key ON pins (account_id) WHERE unpinned_at IS NULL")


def downgrade() -> None:
    op.execute("DROP TABLE pins")
