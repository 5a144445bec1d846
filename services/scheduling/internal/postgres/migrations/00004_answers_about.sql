-- +goose NO TRANSACTION
-- +goose Up

-- The patient whom a stored answer is about, where a doctor or an attendant asked: it tells the reason for the visit, and
-- is found by this when the patient is erased. Empty where the patient asked, who is the caller. Answers stored by the
-- release before this one don't have it; they end a day later.
ALTER TABLE idempotency_keys ADD COLUMN IF NOT EXISTS about uuid;
DROP INDEX CONCURRENTLY IF EXISTS idempotency_keys_about; -- what an interrupted attempt left
CREATE INDEX CONCURRENTLY idempotency_keys_about ON idempotency_keys (about) WHERE about IS NOT NULL;

-- +goose Down
DROP INDEX CONCURRENTLY IF EXISTS idempotency_keys_about;
ALTER TABLE idempotency_keys DROP COLUMN IF EXISTS about;
