"""Every change of band and of owner, with its reason."""

from alembic import op

revision = "2026_11_22_0905"
down_revision = "2026_11_22_0904"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE band_history (
            account_id text COLLATE "C" NOT NULL,
            run_id uuid NOT NULL,
            changed_at timestamptz NOT NULL,
            from_band text,
            to_band text,
            move text NOT NULL,
            rule text NOT NULL,
            reason text NOT NULL,
            value numeric,
            evidence jsonb NOT NULL,
            policy_sha text,
            from_owner_id text COLLATE "C",
            to_owner_id text COLLATE "C",
            CONSTRAINT band_history_pkey PRIMARY KEY (account_id, run_id),
            CONSTRAINT band_history_move_check CHECK (
                move IN ('enter', 'graduate', 'demote', 'intervene', 'return', 'settle', 'pin', 'leave')
            ),
            CONSTRAINT band_history_run_id_fkey FOREIGN KEY (run_id) REFERENCES runs (run_id),
            CONSTRAINT band_history_policy_sha_fkey FOREIGN KEY (policy_sha) REFERENCES policies (policy_sha)
        )
        """
    )
    op.execute("CREATE INDEX band_history_changed_at_idx ON band_history (changed_at)")
    op.execute("CREATE INDEX band_history_run_id_idx ON band_history (run_id)")
    op.execute(
        """
        CREATE TABLE owner_history (
            account_id text COLLATE "C" NOT NULL,
            run_id uuid NOT NULL,
            changed_at timestamptz NOT NULL,
            from_owner_id text COLLATE "C",
            to_owner_id text COLLATE "C",
            why text NOT NULL,
            reason text NOT NULL,
            CONSTRAINT owner_history_pkey PRIMARY KEY (account_id, run_id),
            CONSTRAINT owner_history_run_id_fkey FOREIGN KEY (run_id) REFERENCES runs (run_id)
        )
        """
    )
    op.execute("CREATE INDEX owner_history_run_id_idx ON owner_history (run_id)")
    op.execute("CREATE INDEX owner_history_to_owner_id_idx ON owner_history (to_owner_id)")
    op.execute("CREATE INDEX owner_history_from_owner_id_idx ON owner_history (from_owner_id)")


def downgrade() -> None:
    op.execute("DROP TABLE owner_history")
    op.execute("DROP TABLE band_history")
