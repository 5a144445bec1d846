-- +goose Up

-- The request that asked for the erasure, for the event that announces it. Empty where unknown.
ALTER TABLE erasures
    ADD COLUMN request_id   text NOT NULL DEFAULT '',
    ADD COLUMN trace_parent text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE erasures DROP COLUMN request_id, DROP COLUMN trace_parent;
