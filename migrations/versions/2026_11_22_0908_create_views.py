"""What others may read and rely on: the band of each account over time, and its coverage now.

`band_periods` has a row per stay in a band; `valid_to` is NULL while the stay lasts. A row of the history that changes
no band (an intervention that settles) starts no stay, and an account that leaves ends its last one. `coverage_current`
holds only the columns that stay what they are from release to release.
"""

from alembic import op

revision = "2026_11_22_0908"
down_revision = "2026_11_22_0907"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE VIEW band_periods AS
        SELECT account_id, band, valid_from, valid_to, run_id, move, rule
        FROM (
            SELECT
                account_id,
                to_band AS band,
                changed_at AS valid_from,
                lead(changed_at) OVER (PARTITION BY account_id ORDER BY changed_at, run_id) AS valid_to,
                run_id,
                move,
                rule
            FROM band_history
            WHERE from_band IS DISTINCT FROM to_band
        ) AS changes
        WHERE band IS NOT NULL
        """
    )
    op.execute(
        """
        CREATE VIEW coverage_current AS
        SELECT account_id, band, band_since, band_rule, owner_id, owner_since, waiting_since
        FROM coverage
        """
    )


def downgrade() -> None:
    op.execute("DROP VIEW coverage_current")
    op.execute("DROP VIEW band_periods")
