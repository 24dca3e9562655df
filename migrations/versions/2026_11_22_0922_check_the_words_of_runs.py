"""All runs are known to be as the checks say, which were added without looking at those that were there."""

from alembic import op

revision = "2026_11_22_0922"
down_revision = "2026_11_22_0921"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for constraint in ("kind", "status", "failure", "answer"):
        op.execute(f"ALTER TABLE runs VALIDATE CONSTRAINT runs_{constraint}_check")
    op.execute("ALTER TABLE runs VALIDATE CONSTRAINT runs_approves_fkey")


def downgrade() -> None:
    op.execute(
        """
        ALTER TABLE runs
            DROP CONSTRAINT runs_kind_check,
            DROP CONSTRAINT runs_status_check,
            DROP CONSTRAINT runs_failure_check,
            DROP CONSTRAINT runs_answer_check,
            DROP CONSTRAINT runs_approves_fkey
        """
    )
    op.execute(
        """
        ALTER TABLE runs
            ADD CONSTRAINT runs_kind_check
                CHECK (kind IN ('scheduled', 'manual', 'import', 'rebalance', 'approval')) NOT VALID,
            ADD CONSTRAINT runs_status_check
                CHECK (status IN ('applied', 'nothing', 'blocked', 'failed', 'skipped')) NOT VALID,
            ADD CONSTRAINT runs_failure_check CHECK (failure IN ('transient', 'mistake', 'bug')) NOT VALID,
            ADD CONSTRAINT runs_answer_check CHECK (answer IN ('approved', 'rejected', 'lapsed')) NOT VALID,
            ADD CONSTRAINT runs_approves_fkey FOREIGN KEY (approves) REFERENCES runs (run_id) NOT VALID
        """
    )
