#!/bin/sh
# The first time only: a random password, and the URL that holds it, in a volume that this project's containers share.
# Read by root (the database's entry point) and by the group of the image's user, by nobody else. With a database or a
# secret store of your own, leave this service out and let DATABASE_URL_FILE name your file.
set -eu
cd /run/secrets
[ -s database_url ] && exit 0
umask 027
password=$(head -c 32 /dev/urandom | base64 | tr -d '\n=' | tr '+/' '-_')
printf '%s' "$password" >postgres_password
printf 'postgresql://bandshift:%s@db:5432/bandshift' "$password" >database_url.new
chgrp 10001 . database_url.new
mv database_url.new database_url
