-- +goose Up

-- The request that the work came from, for the events that it leads to. Empty where unknown.
ALTER TABLE freed_times
    ADD COLUMN request_id   text NOT NULL DEFAULT '',
    ADD COLUMN trace_parent text NOT NULL DEFAULT '';
ALTER TABLE departures
    ADD COLUMN request_id   text NOT NULL DEFAULT '',
    ADD COLUMN trace_parent text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE freed_times DROP COLUMN request_id, DROP COLUMN trace_parent;
ALTER TABLE departures DROP COLUMN request_id, DROP COLUMN trace_parent;
