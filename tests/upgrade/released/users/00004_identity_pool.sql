-- +goose Up
-- Registrations under way in an identity pool (Amazon Cognito), noted before the pool is asked. The row goes in the
-- transaction that stores the user; one that stays tells the reconciling job what to undo.
CREATE TABLE registrations (
    email      text COLLATE "C" PRIMARY KEY,
    attempt    uuid NOT NULL,        -- who works on it: only the latest attempt may finish
    busy_until timestamptz NOT NULL, -- until then nobody else takes it up
    started_at timestamptz NOT NULL
);
CREATE INDEX registrations_age ON registrations (started_at);

-- What the identity pool has yet to be told of an account. The row goes once the pool has been told of that version.
CREATE TABLE pool_changes (
    user_id    uuid PRIMARY KEY REFERENCES users,
    change     uuid NOT NULL,        -- made anew with each change, so that a newer one is not taken for told
    sign_out   boolean NOT NULL DEFAULT false,
    changed_at timestamptz NOT NULL
);

-- Whose address is unconfirmed, by age: the reconciling job looks at the young ones.
CREATE INDEX users_unverified ON users (created_at) WHERE NOT email_verified AND status <> 'erased';

-- +goose Down
DROP INDEX users_unverified;
DROP TABLE pool_changes;
DROP TABLE registrations;
