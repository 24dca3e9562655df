"""bandshift in Dagster. Looks are idempotent: the policy's calendar decides when a slot is due, not this schedule.

The code location has `bandshift` on its path and DATABASE_URL_FILE in its environment.
"""

import subprocess

import dagster


@dagster.op
def recompute() -> None:
    """The run whose slot is due is done, if one is."""
    subprocess.run(["bandshift", "recompute", "--slot", "latest"], check=True)  # noqa: S607 - whichever is on the path


@dagster.job
def bandshift() -> None:
    """One look at the ledger."""
    recompute()


every_quarter_of_an_hour = dagster.ScheduleDefinition(
    job=bandshift, cron_schedule="*/15 * * * *", default_status=dagster.DefaultScheduleStatus.RUNNING
)
definitions = dagster.Definitions(schedules=[every_quarter_of_an_hour])
