"""${message[0].upper() + message[1:].replace("_", " ")}.

Workers of the version before this one are STILL RUNNING while this is applied, and may be for days:
- add a column as NULL or with a constant default; never rename or drop what the last release reads or writes;
- drop only what no release in use names any more, one release later;
- build an index on a big table CONCURRENTLY, in a migration of its own (`with op.get_context().autocommit_block():`);
- `accounts`, `account_signals` and `csms` may be views over the user's own tables: look before altering them.
"""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${upgrades if upgrades else 'op.execute("")'}


def downgrade() -> None:
    ${downgrades if downgrades else 'op.execute("")'}
