-- +goose Up

-- When to look next for time that is free already, for someone in line: on joining, and again from time to time,
-- because time also comes into reach without being freed (the horizon moves on, the patient's own day clears).
ALTER TABLE waitlist ADD COLUMN look_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX waitlist_looks ON waitlist (look_at) WHERE status = 'waiting';

-- +goose Down
DROP INDEX waitlist_looks;
ALTER TABLE waitlist DROP COLUMN look_at;
