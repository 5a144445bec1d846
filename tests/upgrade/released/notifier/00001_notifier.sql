-- +goose Up

-- People, as the USERS stream tells of them. An erased person stays as an empty tombstone.
CREATE TABLE contacts (
    user_id              uuid PRIMARY KEY,
    role                 text NOT NULL,
    name                 text NOT NULL,
    email                text NOT NULL,
    locale               text NOT NULL,
    version              bigint NOT NULL,
    erased               boolean NOT NULL DEFAULT false,
    undeliverable        text NOT NULL DEFAULT '',
    undeliverable_at     timestamptz,
    agenda               boolean NOT NULL DEFAULT true,
    reminders            boolean NOT NULL DEFAULT true,
    updated_at           timestamptz NOT NULL,
    CHECK (NOT erased OR (name = '' AND email = ''))
);
CREATE INDEX contacts_undeliverable ON contacts (undeliverable_at) WHERE undeliverable <> '';

-- The latest known state of each appointment.
CREATE TABLE appointments (
    id         uuid PRIMARY KEY,
    doctor_id  uuid NOT NULL,
    patient_id uuid NOT NULL,
    starts_at  timestamptz NOT NULL,
    ends_at    timestamptz NOT NULL,
    time_zone  text NOT NULL,
    status     text NOT NULL,
    version    bigint NOT NULL,
    actor_role text NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX appointments_agenda ON appointments (doctor_id, starts_at) WHERE status = 'booked';

-- Events that were taken in. A second arrival changes nothing.
CREATE TABLE inbox (
    event_id    uuid PRIMARY KEY,
    received_at timestamptz NOT NULL
);
CREATE INDEX inbox_received ON inbox (received_at);

CREATE TABLE deliveries (
    id             uuid PRIMARY KEY,
    event_id       uuid NOT NULL,
    template       text NOT NULL,
    recipient_id   uuid NOT NULL,
    doctor_id      uuid,
    patient_id     uuid,
    appointment_id uuid,
    version        bigint NOT NULL, -- of the appointment, as the event tells it
    detail         jsonb NOT NULL,
    secret         jsonb,           -- name, address and link of an account message; gone once the delivery is final
    status         text NOT NULL,
    planned_at     timestamptz NOT NULL, -- when the reader should have it
    expires_at     timestamptz,          -- from then on it makes no sense
    -- When the row next needs attention: to be tried (pending, waiting), the lease ends (sending), settled (unknown).
    due_at         timestamptz NOT NULL,
    attempts       integer NOT NULL DEFAULT 0,
    resends        integer NOT NULL DEFAULT 0,
    missing_id     uuid,            -- of waiting: whose arrival ends it
    -- What an attempt told its reader of the appointment.
    told_version   bigint,
    told_starts_at timestamptz,
    told_ends_at   timestamptz,
    told_invited   boolean NOT NULL DEFAULT false,
    last_error     text,
    ses_message_id text,
    published      integer NOT NULL DEFAULT 0, -- delivery events so far: their sequence
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    sent_at        timestamptz,
    delivered_at   timestamptz,     -- the recipient's server took it, as feedback tells
    UNIQUE (event_id, template, recipient_id),
    CHECK (status IN ('pending', 'waiting', 'sending', 'unknown', 'sent', 'bounced', 'complained', 'failed', 'skipped')),
    CHECK (secret IS NULL OR status IN ('pending', 'waiting', 'sending', 'unknown'))
);
CREATE INDEX deliveries_due ON deliveries (status, due_at) WHERE status IN ('pending', 'waiting', 'sending', 'unknown');
CREATE INDEX deliveries_thread ON deliveries (appointment_id, recipient_id) WHERE appointment_id IS NOT NULL;
CREATE INDEX deliveries_recipient ON deliveries (recipient_id, id);
CREATE INDEX deliveries_missing ON deliveries (missing_id) WHERE missing_id IS NOT NULL;
CREATE INDEX deliveries_trouble ON deliveries (status, id) WHERE status IN ('bounced', 'complained', 'failed');

-- Replicas that share the account's sending rate.
CREATE TABLE replicas (
    id        uuid PRIMARY KEY,
    joined_at timestamptz NOT NULL,
    seen_at   timestamptz NOT NULL
);

-- When feedback of the mail service was last heard: one row.
CREATE TABLE feedback (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    seen_at timestamptz NOT NULL
);
INSERT INTO feedback (seen_at) VALUES ('-infinity');

-- Messages that some service could not handle, as the DEAD_LETTERS stream tells of them, and deliveries that waited
-- in vain (stream "deliveries").
CREATE TABLE dead_letters (
    id          uuid PRIMARY KEY,
    stream      text NOT NULL,
    stream_seq  bigint NOT NULL,
    durable     text NOT NULL,
    subject     text NOT NULL,
    reason      text NOT NULL,
    attempts    bigint NOT NULL,
    letter      jsonb, -- the whole dead letter, for redriving
    failed_at   timestamptz NOT NULL,
    redriven_at timestamptz
);

-- +goose Down
DROP TABLE dead_letters, feedback, replicas, deliveries, inbox, appointments, contacts;
