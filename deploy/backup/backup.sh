#!/usr/bin/env bash
# Backs up the services' databases: backup.sh FOLDER, with USERS_DATABASE_URL, SCHEDULING_DATABASE_URL and NOTIFIER_DATABASE_URL.
#
# The databases are the truth; streams are made anew from them (restore.sh says how). What isn't in here and belongs in a
# safe place of its own: the keys (KEYS_CPF, KEY_CPF_INDEX, KEYS_TOKEN), without which the encrypted columns stay closed.
set -euo pipefail

folder="${1:?usage: backup.sh FOLDER}"
: "${USERS_DATABASE_URL:?}" "${SCHEDULING_DATABASE_URL:?}" "${NOTIFIER_DATABASE_URL:?}"
[ ! -e "$folder" ] || { echo "$folder is there already" >&2; exit 1; }
mkdir -p "$folder.part"

# The notifier comes last: it must know of everything that the others say has happened, or a replay of their events would
# have it send again what was sent meanwhile.
for service in users scheduling notifier; do
	url="$(echo "$service" | tr a-z A-Z)_DATABASE_URL"
	pg_dump --format=custom --no-owner --no-privileges --file="$folder.part/$service.dump" --dbname="${!url}"
	pg_restore --list "$folder.part/$service.dump" >/dev/null # it can be read
done
mv "$folder.part" "$folder" # whole or not at all
du -h "$folder"/*.dump
