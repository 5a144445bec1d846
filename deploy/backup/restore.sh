#!/usr/bin/env bash
# Restores what backup.sh made into empty databases: restore.sh FOLDER, with USERS_DATABASE_URL, SCHEDULING_DATABASE_URL and
# NOTIFIER_DATABASE_URL. The services must be stopped. Afterwards start them; if streams were lost too, have each of them
# publish again what its outbox still holds (7 days):
#   users outbox replay --since 168h; scheduling outbox replay --since 168h; notifier outbox replay --since 168h
# Subscribers know events by their ids, the notifier too: nothing is sent twice.
set -euo pipefail

folder="${1:?usage: restore.sh FOLDER}"
: "${USERS_DATABASE_URL:?}" "${SCHEDULING_DATABASE_URL:?}" "${NOTIFIER_DATABASE_URL:?}"

for service in users scheduling notifier; do
	url="$(echo "$service" | tr a-z A-Z)_DATABASE_URL"
	tables="$(psql --no-psqlrc -Atc "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')" "${!url}")"
	[ "$tables" = 0 ] || { echo "the database of $service isn't empty: $tables tables" >&2; exit 1; }
done
for service in users scheduling notifier; do
	url="$(echo "$service" | tr a-z A-Z)_DATABASE_URL"
	pg_restore --exit-on-error --single-transaction --no-owner --no-privileges --dbname="${!url}" "$folder/$service.dump"
	psql --no-psqlrc -qc ANALYZE "${!url}"
done
