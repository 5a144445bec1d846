-- +goose Up

-- Numbers of rows. Not an identity column, because PostgreSQL has those on partitioned tables from 17 on only.
-- CACHE stays 1: numbers must be given out in the order in which one aggregate's transactions follow one another.
CREATE SEQUENCE outbox_seq AS bigint;

CREATE TABLE outbox (
    seq               bigint      NOT NULL DEFAULT nextval('outbox_seq'),
    id                uuid        NOT NULL, -- the event's id, and the Nats-Msg-Id
    subject           text        NOT NULL,
    aggregate_id      uuid        NOT NULL, -- rows of one aggregate are published in order, one at a time
    aggregate_version bigint      NOT NULL,
    headers           jsonb       NOT NULL DEFAULT '{}',
    data              bytea       NOT NULL,
    secret            boolean     NOT NULL DEFAULT false, -- data is blanked once published, and never replayed
    created_at        timestamptz NOT NULL DEFAULT now(),
    published_at      timestamptz,
    attempts          integer     NOT NULL DEFAULT 0,
    next_attempt_at   timestamptz,
    quarantined_at    timestamptz,
    last_error        text,
    PRIMARY KEY (seq, created_at)
) PARTITION BY RANGE (created_at);

-- What is to be published: as small as the backlog, whatever the table holds.
CREATE INDEX outbox_pending ON outbox (seq) WHERE published_at IS NULL;

-- What is in trouble, and so holds back the later rows of its aggregate: usually empty.
CREATE INDEX outbox_held ON outbox (aggregate_id)
    WHERE published_at IS NULL AND (quarantined_at IS NOT NULL OR next_attempt_at IS NOT NULL);

-- Takes rows of days that have no partition yet, so that an insert never fails.
CREATE TABLE outbox_default PARTITION OF outbox DEFAULT;

-- +goose StatementBegin
-- outbox_make_partitions makes the partitions of some days (UTC). ATTACH, unlike CREATE ... PARTITION OF, doesn't lock
-- out those who insert. A day of which the default partition already holds rows stays there.
CREATE FUNCTION outbox_make_partitions(first date, days integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    day  date;
    name text;
BEGIN
    FOR day IN SELECT first + n FROM generate_series(0, days - 1) AS n LOOP
        name := 'outbox_' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass(name) IS NOT NULL;
        BEGIN
            EXECUTE format('CREATE TABLE %I (LIKE outbox INCLUDING ALL)', name);
            EXECUTE format('ALTER TABLE outbox ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name,
                day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
        EXCEPTION WHEN check_violation THEN
            NULL; -- the block's sub-transaction took the table back
        END;
    END LOOP;
END
$$;
-- +goose StatementEnd

SELECT outbox_make_partitions((now() AT TIME ZONE 'UTC')::date, 4);
