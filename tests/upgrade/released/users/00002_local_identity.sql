-- +goose Up
CREATE TABLE credentials (
    user_id       uuid PRIMARY KEY REFERENCES users,
    password_hash text NOT NULL,     -- argon2id, PHC string
    changed_at    timestamptz NOT NULL
);

-- A family is one sign-in: the refresh tokens that follow from it, each used once.
CREATE TABLE refresh_families (
    id         uuid PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES users,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_for text CHECK (revoked_for IN ('logout', 'reuse', 'password', 'erasure'))
);
CREATE INDEX refresh_families_user ON refresh_families (user_id) WHERE revoked_at IS NULL;
CREATE INDEX refresh_families_expiry ON refresh_families (expires_at);

CREATE TABLE refresh_tokens (
    hash      bytea PRIMARY KEY,     -- SHA-256 of a token of 256 random bits
    family_id uuid NOT NULL REFERENCES refresh_families ON DELETE CASCADE,
    issued_at timestamptz NOT NULL,
    used_at   timestamptz
);
CREATE INDEX refresh_tokens_family ON refresh_tokens (family_id);

-- Keys that sign access tokens. The private half is sealed with a configured key.
CREATE TABLE signing_keys (
    kid            text PRIMARY KEY,
    public_key     bytea NOT NULL,   -- Ed25519
    private_sealed bytea NOT NULL,
    private_key_id text NOT NULL,
    created_at     timestamptz NOT NULL,
    signs_from     timestamptz NOT NULL  -- published before it signs, so that every verifier knows it in time
);

-- +goose Down
DROP TABLE signing_keys;
DROP TABLE refresh_tokens;
DROP TABLE refresh_families;
DROP TABLE credentials;
