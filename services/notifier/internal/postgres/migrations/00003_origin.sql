-- +goose Up

-- The request that a delivery came from, for its events and for the trace of its sending. Empty where unknown.
ALTER TABLE deliveries
    ADD COLUMN request_id   text NOT NULL DEFAULT '',
    ADD COLUMN trace_parent text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE deliveries DROP COLUMN request_id, DROP COLUMN trace_parent;
