-- +goose Up

-- The public keys that an issuer of access tokens had when it was last asked: what a replica that starts while the
-- issuer is away verifies by.
CREATE TABLE issuer_keys (
    url        text        PRIMARY KEY, -- where the issuer publishes them
    jwks       json        NOT NULL,    -- RFC 7517, the keys that are used, public parts only
    fetched_at timestamptz NOT NULL     -- when the issuer was asked
);
