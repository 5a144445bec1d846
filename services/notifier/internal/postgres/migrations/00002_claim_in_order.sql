-- +goose NO TRANSACTION
-- +goose Up

-- A claim walks this index in the order of sending and stops after a few rows, however long the queue is. Through
-- (status, due_at) every claim read and sorted all that was due. The release after this one can narrow deliveries_due
-- to 'sending' and 'unknown'.
DROP INDEX CONCURRENTLY IF EXISTS deliveries_claim; -- what an interrupted attempt left
CREATE INDEX CONCURRENTLY deliveries_claim ON deliveries (due_at, version) WHERE status IN ('pending', 'waiting');

-- +goose Down
DROP INDEX CONCURRENTLY IF EXISTS deliveries_claim;
