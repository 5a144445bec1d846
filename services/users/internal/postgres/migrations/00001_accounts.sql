-- +goose Up
CREATE TABLE users (
    id              uuid PRIMARY KEY,
    role            text NOT NULL CHECK (role IN ('patient', 'doctor', 'admin')),
    status          text NOT NULL CHECK (status IN ('active', 'pending_verification', 'rejected', 'erased')),
    version         bigint NOT NULL CHECK (version > 0),
    name            text,
    name_key        text COLLATE "C",   -- folded: lower case, no accents
    email           text COLLATE "C",
    email_verified  boolean NOT NULL DEFAULT false,
    pending_email   text COLLATE "C",   -- a change that awaits its confirmation
    phone           text,
    birth_date      date,
    locale          text,
    cpf_sealed      bytea,              -- AES-256-GCM, the user's id authenticated with it
    cpf_key_id      text,               -- the configured key that sealed it
    cpf_index       bytea,              -- HMAC, to find and to keep unique
    crm_number      text COLLATE "C",
    crm_state       text COLLATE "C",
    specialties     text[] NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    CHECK ((cpf_sealed IS NULL) = (cpf_key_id IS NULL) AND (cpf_sealed IS NULL) = (cpf_index IS NULL)),
    CHECK ((crm_number IS NULL) = (crm_state IS NULL)),
    -- Nobody is half a person: all that a role needs, or, once erased, nothing.
    CHECK (CASE WHEN status = 'erased'
           THEN num_nonnulls(name, name_key, email, pending_email, phone, birth_date, locale, cpf_sealed, crm_number) = 0
                AND specialties = '{}' AND NOT email_verified
           ELSE num_nulls(name, name_key, email, locale) = 0
                AND (role = 'admin') = (cpf_sealed IS NULL)
                AND (role = 'doctor') = (crm_number IS NOT NULL)
           END)
);
CREATE UNIQUE INDEX users_email ON users (email);
CREATE UNIQUE INDEX users_cpf ON users (cpf_index);
CREATE UNIQUE INDEX users_crm ON users (crm_number, crm_state);
CREATE INDEX users_cpf_key ON users (cpf_key_id) WHERE cpf_key_id IS NOT NULL;
CREATE INDEX users_by_name ON users (role, name_key, id) WHERE status <> 'erased';

-- The terms by which listed doctors are found: 'w:' and a folded word of the name, 's:' and a specialty, 'c:' and a CRM
-- number, and 'a:' for all. One ordered index answers every search, and pages come in the order of its key.
CREATE TABLE doctor_terms (
    term      text COLLATE "C" NOT NULL,
    name_key  text COLLATE "C" NOT NULL,
    doctor_id uuid NOT NULL REFERENCES users,
    PRIMARY KEY (term, name_key, doctor_id)
);
CREATE INDEX doctor_terms_doctor ON doctor_terms (doctor_id);

-- +goose Down
DROP TABLE doctor_terms;
DROP TABLE users;
