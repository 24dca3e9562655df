#!/bin/sh
# The role that the worker logs in as, with the password of its URL. What it may do, `bandshift db roles` grants.
set -eu
PGPASSWORD=$(cat /run/secrets/postgres_password)
export PGPASSWORD
psql --host db --username bandshift --dbname bandshift --no-psqlrc --quiet --set ON_ERROR_STOP=1 <<'SQL'
\set password `cat /run/secrets/worker_password`
SELECT 'CREATE ROLE bandshift_app' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bandshift_app') \gexec
ALTER ROLE bandshift_app LOGIN PASSWORD :'password';
SQL
