"""What a run that waits for approval would do, account by account."""

from alembic import op

revision = "2026_11_22_0923"
down_revision = "2026_11_22_0922"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE kept_moves (
            account_id text COLLATE "C" NOT NULL,
            run_id uuid NOT NULL,
            move text,
            rule text,
            from_band text,
            to_band text,
            value numeric,
            from_owner_id text COLLATE "C",
            to_owner_id text COLLATE "C",
            why text,
            reason text NOT NULL,
            CONSTRAINT kept_moves_pkey PRIMARY KEY (account_id, run_id),
            CONSTRAINT kept_moves_run_id_fkey FOREIGN KEY (run_id) REFERENCES runs (run_id),
            CONSTRAINT kept_moves_move_check CHECK (
                move IN ('enter', 'graduate', 'demote', 'intervene', 'return', 'settle', 'pin', 'leave')
            )
        )
        """
    )
    op.execute("CREATE INDEX kept_moves_run_id_idx ON kept_moves (run_id)")
    # The ledger has a row a week.
    op.execute(
        """
        -- squawk-ignore require-concurrent-index-creation
        CREATE INDEX runs_awaiting_idx ON runs (started_at) WHERE status = 'blocked' AND answer IS NULL
        """
    )


def downgrade() -> None:
    op.execute("DROP INDEX runs_awaiting_idx")
    op.execute("DROP TABLE kept_moves")
