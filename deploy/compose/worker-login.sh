#!/bin/sh
# When the database is made: the role that the worker logs in as. What it may do, `bandshift db roles` grants.
set -eu
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\set password `cat /run/secrets/worker_password`
CREATE ROLE bandshift_app LOGIN PASSWORD :'password';
SQL
