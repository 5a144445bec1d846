#!/bin/bash
# A database and a role for each of DATABASES: none can connect to another's. It may be run again, which gives the roles
# the passwords that are in Secrets Manager now. PGHOST, PGUSER and PGPASSWORD are the master user's, who is no superuser
# on RDS; <NAME>_PASSWORD is a role's, DATABASE_CA the authorities that sign the server's certificate.
set -euo pipefail

PGSSLROOTCERT=$(mktemp)
export PGSSLROOTCERT PGSSLMODE="${PGSSLMODE:-verify-full}" PGDATABASE=postgres
printf '%s\n' "$DATABASE_CA" >"$PGSSLROOTCERT"

for database in $DATABASES; do
	variable=$(tr '[:lower:]' '[:upper:]' <<<"$database")_PASSWORD
	# As a setting of the session, the password stands in no statement, and so in no log of slow or failed ones.
	export PGOPTIONS="-c healthmed.password=${!variable:?}"
	psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --set name="$database" <<'SQL'
SELECT format('CREATE ROLE %I', :'name')
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'name') \gexec
SET healthmed.role = :'name';
DO $$ BEGIN
  EXECUTE format('ALTER ROLE %I LOGIN PASSWORD %L', current_setting('healthmed.role'), current_setting('healthmed.password'));
END $$;
-- Whoever isn't a superuser must be a member to make a database for the role.
GRANT :"name" TO CURRENT_USER;
SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'name')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
REVOKE :"name" FROM CURRENT_USER;
SQL
	echo "$database: database and role are as they should be"
done
