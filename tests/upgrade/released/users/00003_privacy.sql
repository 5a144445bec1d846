-- +goose Up
-- One-time secrets that travel by e-mail. Only their hash is kept.
CREATE TABLE account_tokens (
    hash       bytea PRIMARY KEY,   -- SHA-256 of 256 random bits
    user_id    uuid NOT NULL REFERENCES users,
    kind       text NOT NULL CHECK (kind IN ('verify_email', 'reset_password')),
    email      text NOT NULL,       -- the address that it was sent to, and proves
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX account_tokens_user ON account_tokens (user_id);
CREATE INDEX account_tokens_expiry ON account_tokens (expires_at);

-- Budgets of attempts (generic cell rate algorithm): when a budget will be whole again. Keys are HMACs, so that
-- neither e-mails nor addresses can be read here.
CREATE TABLE throttles (
    key     bytea PRIMARY KEY,
    full_at timestamptz NOT NULL
);
CREATE INDEX throttles_full ON throttles (full_at);

-- What SCHEDULING's events say of who sees whom.
CREATE TABLE appointments (
    id         uuid PRIMARY KEY,
    doctor_id  uuid NOT NULL,
    patient_id uuid NOT NULL,
    version    bigint NOT NULL,
    stands     boolean NOT NULL    -- neither declined nor cancelled
);
CREATE INDEX appointments_pair ON appointments (patient_id, doctor_id) WHERE stands;
CREATE INDEX appointments_doctor ON appointments (doctor_id);

-- Erasures under way: the person's data is gone from the tables above in the transaction that adds the row; identity
-- provider and event streams follow.
CREATE TABLE erasures (
    user_id      uuid PRIMARY KEY REFERENCES users,
    requested_at timestamptz NOT NULL,
    announced_at timestamptz,   -- streams purged and UserErased in the outbox
    finished_at  timestamptz    -- purged once more, of what a relay had in its hands meanwhile
);
CREATE INDEX erasures_open ON erasures (requested_at) WHERE finished_at IS NULL;

-- Who did what to whose data. Written, never changed. A month is a partition, so that an operator ends retention by
-- dropping one; the service can't.
CREATE TABLE audit_log (
    id         uuid NOT NULL,
    at         timestamptz NOT NULL,
    actor_id   uuid,               -- nobody signed in: NULL
    actor_role text,
    action     text NOT NULL,
    subject_id uuid,               -- whose data
    outcome    text NOT NULL CHECK (outcome IN ('ok', 'denied')),
    address    inet,
    request_id text,
    detail     jsonb,
    PRIMARY KEY (at, id)
) PARTITION BY RANGE (at);
CREATE INDEX audit_log_subject ON audit_log (subject_id, at);
CREATE INDEX audit_log_actor ON audit_log (actor_id, at);
CREATE TABLE audit_log_default PARTITION OF audit_log DEFAULT;

-- +goose StatementBegin
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
-- +goose StatementEnd
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log_default FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();

-- +goose StatementBegin
-- audit_make_partitions makes the partitions of some months (UTC) from the one of a day on.
CREATE FUNCTION audit_make_partitions(first date, months integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    month date;
    name  text;
BEGIN
    FOR month IN SELECT (date_trunc('month', first::timestamp) + n * interval '1 month')::date FROM generate_series(0, months - 1) n LOOP
        name := 'audit_log_' || to_char(month, 'YYYYMM');
        CONTINUE WHEN to_regclass(name) IS NOT NULL;
        BEGIN
            EXECUTE format('CREATE TABLE %I PARTITION OF audit_log FOR VALUES FROM (%L) TO (%L)', name,
                month::timestamp AT TIME ZONE 'UTC', (month + interval '1 month')::timestamp AT TIME ZONE 'UTC');
            EXECUTE format('CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()', name);
            EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE ON %I FROM CURRENT_USER', name);
        EXCEPTION WHEN check_violation OR duplicate_table THEN
            NULL; -- the default partition has rows of it already, or another replica was first
        END;
    END LOOP;
END
$$;
-- +goose StatementEnd
REVOKE UPDATE, DELETE, TRUNCATE ON audit_log, audit_log_default FROM CURRENT_USER;
SELECT audit_make_partitions((now() AT TIME ZONE 'UTC')::date, 3);

-- +goose Down
DROP TABLE audit_log;
DROP FUNCTION audit_make_partitions;
DROP FUNCTION audit_refuse;
DROP TABLE erasures;
DROP TABLE appointments;
DROP TABLE throttles;
DROP TABLE account_tokens;
