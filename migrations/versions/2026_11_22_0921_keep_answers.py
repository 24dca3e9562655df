"""A run that its guards stop waits for an answer, and the run that carries it out names it."""

from alembic import op

revision = "2026_11_22_0921"
down_revision = "2026_11_22_0912"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE runs
            ADD COLUMN failure text,
            ADD COLUMN approves uuid,
            ADD COLUMN lapses_at timestamptz,
            ADD COLUMN answer text,
            ADD COLUMN answered_at timestamptz,
            ADD COLUMN answered_by text,
            ADD CONSTRAINT runs_failure_check CHECK (failure IN ('transient', 'mistake', 'bug')) NOT VALID,
            ADD CONSTRAINT runs_answer_check CHECK (answer IN ('approved', 'rejected', 'lapsed')) NOT VALID,
            ADD CONSTRAINT runs_approves_fkey FOREIGN KEY (approves) REFERENCES runs (run_id) NOT VALID
        """
    )
    # What the old checks kept out, the new ones keep out, but for the words that are new.
    op.execute(
        """
        -- squawk-ignore ban-drop-constraint
        ALTER TABLE runs DROP CONSTRAINT runs_kind_check, DROP CONSTRAINT runs_status_check
        """
    )
    op.execute(
        """
        ALTER TABLE runs
            ADD CONSTRAINT runs_kind_check
                CHECK (kind IN ('scheduled', 'manual', 'import', 'rebalance', 'approval')) NOT VALID,
            ADD CONSTRAINT runs_status_check
                CHECK (status IN ('applied', 'nothing', 'blocked', 'failed', 'skipped')) NOT VALID
        """
    )


def downgrade() -> None:
    op.execute(
        """
        DO $$ BEGIN
            IF EXISTS (SELECT FROM runs WHERE kind = 'approval' OR status = 'skipped' OR answer IS NOT NULL) THEN
                RAISE EXCEPTION 'the ledger has approvals or skipped slots, which the older schema does not know';
            END IF;
        END $$
        """
    )
    op.execute(
        """
        ALTER TABLE runs
            DROP CONSTRAINT runs_kind_check,
            DROP CONSTRAINT runs_status_check,
            DROP COLUMN failure,
            DROP COLUMN approves,
            DROP COLUMN lapses_at,
            DROP COLUMN answer,
            DROP COLUMN answered_at,
            DROP COLUMN answered_by
        """
    )
    op.execute(
        """
        ALTER TABLE runs
            ADD CONSTRAINT runs_kind_check CHECK (kind IN ('scheduled', 'manual', 'import', 'rebalance')),
            ADD CONSTRAINT runs_status_check CHECK (status IN ('applied', 'nothing', 'blocked', 'failed'))
        """
    )
