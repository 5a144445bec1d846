-- +goose Up

CREATE EXTENSION IF NOT EXISTS btree_gist;

-- What this service knows of people, from the USERS stream. It may lag behind; a person it doesn't know yet may book
-- and be booked. An erased person stays as a tombstone, so that nothing late brings them back.
CREATE TABLE people (
    id          uuid PRIMARY KEY,
    role        text   NOT NULL CHECK (role IN ('patient', 'doctor', 'admin')),
    status      text   NOT NULL,
    name        text,
    crm_number  text,
    crm_state   text,
    specialties text[] NOT NULL DEFAULT '{}',
    version     bigint NOT NULL,               -- sequence of the last event applied
    erased_at   timestamptz,
    CHECK (erased_at IS NULL OR (name IS NULL AND crm_number IS NULL AND specialties = '{}'))
);

-- People who left (erased, or a doctor who was rejected) and whose future appointments are to be cancelled. The row
-- stays until no booking that began before it can still be under way.
CREATE TABLE departures (
    person_id  uuid PRIMARY KEY,
    since      timestamptz NOT NULL,
    next_look  timestamptz NOT NULL
);
CREATE INDEX departures_due ON departures (next_look);

-- When a doctor sees patients. No foreign key to people: a doctor may set this before the projection knows them.
CREATE TABLE schedules (
    doctor_id             uuid PRIMARY KEY,
    version               bigint  NOT NULL CHECK (version > 0),
    time_zone             text    NOT NULL,
    slot_minutes          integer NOT NULL CHECK (slot_minutes > 0),
    buffer_minutes        integer NOT NULL CHECK (buffer_minutes >= 0),
    min_notice_minutes    integer NOT NULL CHECK (min_notice_minutes >= 0),
    horizon_days          integer NOT NULL CHECK (horizon_days > 0),
    cancel_notice_minutes integer NOT NULL CHECK (cancel_notice_minutes >= 0),
    booking_mode          text    NOT NULL CHECK (booking_mode IN ('instant', 'approval')),
    observe_holidays      boolean NOT NULL,
    weekly                jsonb   NOT NULL,
    updated_at            timestamptz NOT NULL
);

CREATE TABLE schedule_exceptions (
    doctor_id uuid  NOT NULL REFERENCES schedules,
    day       date  NOT NULL,
    hours     jsonb NOT NULL,                  -- [] is closed
    note      text,
    PRIMARY KEY (doctor_id, day)
);

-- Appointments, and the holds that may become one. Both occupy time under the same two constraints, which alone
-- decide who gets it. A held row has version 0, no history and no events, and is deleted when it expires.
CREATE TABLE appointments (
    id            uuid PRIMARY KEY,
    doctor_id     uuid   NOT NULL,
    patient_id    uuid   NOT NULL,
    status        text   NOT NULL
        CHECK (status IN ('held', 'requested', 'booked', 'declined', 'cancelled', 'completed', 'no_show')),
    starts_at     timestamptz NOT NULL,
    ends_at       timestamptz NOT NULL,
    blocked_until timestamptz NOT NULL,        -- ends_at plus the doctor's buffer when booked
    time_zone     text   NOT NULL,
    reason        text,
    version       bigint NOT NULL,
    expires_at    timestamptz,                 -- of a hold or a request
    waitlist_id   uuid,                        -- of a hold that was offered to someone in line
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    -- A null or an empty range would slip past the exclusion constraints.
    CHECK (starts_at < ends_at AND ends_at <= blocked_until),
    CHECK (isfinite(starts_at) AND isfinite(blocked_until)),
    CHECK ((status IN ('held', 'requested')) = (expires_at IS NOT NULL)),
    CHECK ((status = 'held') = (version = 0)),
    CONSTRAINT doctor_never_twice EXCLUDE USING gist
        (doctor_id WITH =, tstzrange(starts_at, blocked_until) WITH &&)
        WHERE (status IN ('held', 'requested', 'booked')),
    CONSTRAINT patient_never_twice EXCLUDE USING gist
        (patient_id WITH =, tstzrange(starts_at, ends_at) WITH &&)
        WHERE (status IN ('held', 'requested', 'booked'))
);
CREATE INDEX appointments_by_doctor ON appointments (doctor_id, starts_at, id);
CREATE INDEX appointments_by_patient ON appointments (patient_id, starts_at, id);
CREATE INDEX appointments_by_start ON appointments (starts_at, id);
CREATE INDEX appointments_expiring ON appointments (expires_at) WHERE expires_at IS NOT NULL;

-- Who did what, when: one row per version. No foreign key: appointments are never deleted, and the check would cost
-- each booking a second look at the row it just wrote.
CREATE TABLE appointment_history (
    appointment_id uuid   NOT NULL,
    version        bigint NOT NULL,
    action         text   NOT NULL,
    status         text   NOT NULL,
    actor_role     text   NOT NULL,
    actor_id       uuid   NOT NULL,
    note           text,
    starts_at      timestamptz NOT NULL,
    ends_at        timestamptz NOT NULL,
    at             timestamptz NOT NULL,
    PRIMARY KEY (appointment_id, version)
);

-- First answers, by caller and Idempotency-Key. Written in the transaction of what they answer; kept for a day.
CREATE TABLE idempotency_keys (
    caller      uuid     NOT NULL,
    key         text     NOT NULL,
    fingerprint bytea    NOT NULL,
    status      smallint NOT NULL,
    body        bytea    NOT NULL,
    location    text     NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (caller, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys USING brin (created_at);

CREATE TABLE waitlist (
    id         uuid PRIMARY KEY,
    place      bigint GENERATED ALWAYS AS IDENTITY,
    patient_id uuid NOT NULL,
    doctor_id  uuid,
    specialty  text,
    from_date  date NOT NULL,
    to_date    date NOT NULL,
    status     text NOT NULL
        CHECK (status IN ('waiting', 'offered', 'fulfilled', 'missed', 'withdrawn', 'ended')),
    hold_id    uuid,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CHECK (from_date <= to_date),
    CHECK ((doctor_id IS NULL) <> (specialty IS NULL))
);
CREATE INDEX waitlist_for_doctor ON waitlist (doctor_id, place) WHERE status = 'waiting' AND doctor_id IS NOT NULL;
CREATE INDEX waitlist_for_specialty ON waitlist (specialty, place) WHERE status = 'waiting' AND specialty IS NOT NULL;
CREATE INDEX waitlist_by_patient ON waitlist (patient_id, id);
CREATE INDEX waitlist_ending ON waitlist (to_date) WHERE status = 'waiting';

-- Time that came free and has not been offered to the waitlist yet.
CREATE TABLE freed_times (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    doctor_id  uuid        NOT NULL,
    starts_at  timestamptz NOT NULL,
    ends_at    timestamptz NOT NULL,
    due_at     timestamptz NOT NULL,
    attempts   integer     NOT NULL DEFAULT 0
);
CREATE INDEX freed_times_due ON freed_times (due_at, id);

-- The last transaction that changed what a search may assume of a doctor: schedule, profile, or time given back.
-- Readers ask for what changed since the oldest transaction that was running when they last asked.
CREATE TABLE doctor_changes (
    doctor_id uuid PRIMARY KEY,
    changed   xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX doctor_changes_since ON doctor_changes (changed);

-- Secret calendar feeds: the token is kept as its SHA-256 only.
CREATE TABLE calendars (
    owner_id      uuid PRIMARY KEY,
    role          text    NOT NULL CHECK (role IN ('patient', 'doctor')),
    token_hash    bytea   NOT NULL UNIQUE,
    include_names boolean NOT NULL,
    created_at    timestamptz NOT NULL
);

-- +goose Down
DROP TABLE calendars, doctor_changes, freed_times, waitlist, idempotency_keys, appointment_history, appointments,
    schedule_exceptions, schedules, departures, people;
