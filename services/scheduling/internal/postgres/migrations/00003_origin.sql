-- +goose Up

-- The request that the work came from, for the events that it leads to. Empty where unknown. Locked in the order in which
-- a departure is settled.
ALTER TABLE departures
    ADD COLUMN request_id   text NOT NULL DEFAULT '',
    ADD COLUMN trace_parent text NOT NULL DEFAULT '';
ALTER TABLE freed_times
    ADD COLUMN request_id   text NOT NULL DEFAULT '',
    ADD COLUMN trace_parent text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE departures DROP COLUMN request_id, DROP COLUMN trace_parent;
ALTER TABLE freed_times DROP COLUMN request_id, DROP COLUMN trace_parent;
