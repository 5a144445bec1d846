#!/bin/bash
# A database and a role for each service: none can read another's tables. Runs once, on an empty volume.
set -euo pipefail

# The superuser signs in within the container alone (docker compose exec postgres psql -U postgres): the password that the
# image insists on opens nothing.
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres -c 'ALTER ROLE CURRENT_USER PASSWORD NULL'

for service in users scheduling notifier; do
	password_variable="$(echo "$service" | tr a-z A-Z)_DB_PASSWORD"
	psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
		-v name="$service" -v password="${!password_variable:?}" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
	# btree_gist is a trusted extension: the owner of the database could make it, but say so here, once.
	psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$service" -c 'CREATE EXTENSION IF NOT EXISTS btree_gist'
done
