"""Getting data in: CSV files become rows of `accounts`, `account_signals`, `csms`, `csm_absences` and `coverage`."""
