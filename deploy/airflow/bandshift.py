"""bandshift in Airflow 3. Looks are idempotent: the policy's calendar decides when a slot is due, not this schedule.

No catch-up and no retries here: the ledger knows what was missed, and the next look tries again. Airflow's worker has
`bandshift` on its path and DATABASE_URL_FILE in its environment.
"""

from datetime import UTC, datetime

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG("bandshift", schedule="*/15 * * * *", start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False) as dag:
    BashOperator(task_id="recompute", bash_command="bandshift recompute --slot latest", retries=0)
