#!/bin/sh
# The first time only: random passwords and the URLs that hold them, in two volumes. The database, the migration and the
# sample company see the owner's; the worker sees nothing but its own URL, whose role may not change history.
set -eu
[ -s /worker/database_url ] && exit 0
umask 077

password() { head -c 32 /dev/urandom | base64 | tr -d '\n=' | tr '+/' '-_'; }
url() { printf 'postgresql://%s:%s@db:5432/bandshift' "$1" "$2"; }

owner=$(password) worker=$(password)
printf '%s' "$owner" >/owner/postgres_password
printf '%s' "$worker" >/owner/worker_password
url bandshift "$owner" >/owner/database_url
url bandshift_app "$worker" >/worker/database_url.new
chown 10001 /owner/database_url /worker/database_url.new # the image's user; the rest is read by root
mv /worker/database_url.new /worker/database_url
