"""CSMs and the days on which they are away."""

from alembic import op

revision = "2026_11_22_0902"
down_revision = "2026_11_22_0901"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE csms (
            csm_id text COLLATE "C" NOT NULL,
            name text NOT NULL,
            email text,
            bands text[] NOT NULL,
            segments text[],
            regions text[],
            languages text[],
            max_accounts integer,
            max_book numeric(18, 2),
            max_new_per_run integer,
            hired_on date,
            active boolean DEFAULT true NOT NULL,
            CONSTRAINT csms_pkey PRIMARY KEY (csm_id)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE csm_absences (
            csm_id text COLLATE "C" NOT NULL,
            starts_on date NOT NULL,
            ends_on date NOT NULL,
            reason text,
            CONSTRAINT csm_absences_pkey PRIMARY KEY (csm_id, starts_on),
            CONSTRAINT csm_absences_order_check CHECK (ends_on >= starts_on)
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE csm_absences")
    op.execute("DROP TABLE csms")
