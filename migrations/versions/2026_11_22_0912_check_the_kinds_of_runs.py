"""The kinds of all runs are known to be as the check says, which was added without looking at those that were there."""

from alembic import op

revision = "2026_11_22_0912"
down_revision = "2026_11_22_0911"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE runs VALIDATE CONSTRAINT runs_kind_check")


def downgrade() -> None:
    op.execute("ALTER TABLE runs DROP CONSTRAINT runs_kind_check")
    op.execute(
        """
        ALTER TABLE runs ADD CONSTRAINT runs_kind_check
            CHECK (kind IN ('scheduled', 'manual', 'import', 'rebalance')) NOT VALID
        """
    )
