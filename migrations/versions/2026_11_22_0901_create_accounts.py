"""Accounts and their signals: what is true of a customer, and what has happened."""

from alembic import op

revision = "2026_11_22_0901"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE accounts (
            account_id text COLLATE "C" NOT NULL,
            name text,
            status text DEFAULT 'active' NOT NULL,
            segment text,
            region text,
            language text,
            parent_id text COLLATE "C",
            standalone boolean DEFAULT false NOT NULL,
            currency text,
            arr numeric(18, 2),
            expansion_arr numeric(18, 2),
            strategic_importance integer,
            product_complexity integer,
            seats bigint,
            adoption numeric(6, 4),
            contract_term_months integer,
            renewal_on date,
            last_engaged_at timestamptz,
            onboarded_at timestamptz,
            first_value_at timestamptz,
            signed_on date,
            attributes jsonb DEFAULT '{}'::jsonb NOT NULL,
            synced_at timestamptz DEFAULT now() NOT NULL,
            CONSTRAINT accounts_pkey PRIMARY KEY (account_id),
            CONSTRAINT accounts_status_check CHECK (status IN ('active', 'churned'))
        )
        """
    )
    op.execute(
        """
        CREATE TABLE account_signals (
            account_id text COLLATE "C" NOT NULL,
            signal_id text COLLATE "C" NOT NULL,
            kind text NOT NULL,
            occurred_at timestamptz NOT NULL,
            value numeric(20, 4),
            detail text,
            CONSTRAINT account_signals_pkey PRIMARY KEY (account_id, signal_id)
        )
        """
    )
    op.execute("CREATE INDEX account_signals_kind_occurred_at_idx ON account_signals (kind, occurred_at)")


def downgrade() -> None:
    op.execute("DROP TABLE account_signals")
    op.execute("DROP TABLE accounts")
