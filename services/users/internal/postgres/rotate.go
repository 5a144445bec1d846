package postgres

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/services/users/internal/keyring"
)

// resealed is how many rows one transaction of a rotation takes on: well under every time-out.
const resealed = 500

// ResealCPFs encrypts anew, under the ring's current key, every CPF that lies under another one. It may be stopped at any time
// and started again. The service may run meanwhile.
func (s *Store) ResealCPFs(ctx context.Context) (done int, err error) {
	for after := uuid.Nil; ; {
		var n int
		if after, n, err = s.resealSome(ctx, after); err != nil {
			return done, err
		}
		if done += n; n < resealed {
			return done, nil
		}
	}
}

// resealSome takes on the next users by id.
func (s *Store) resealSome(ctx context.Context, after uuid.UUID) (last uuid.UUID, n int, err error) {
	type row struct {
		ID     uuid.UUID
		Sealed []byte
		KeyID  string
	}
	last = after
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		found, err := tx.Query(ctx, `
			SELECT id, cpf_sealed, cpf_key_id FROM users WHERE id > $1 AND cpf_key_id <> $2 ORDER BY id LIMIT $3 FOR UPDATE`,
			after, s.cpf.Current(), resealed)
		if err != nil {
			return err
		}
		rows, err := pgx.CollectRows(found, pgx.RowToStructByPos[row])
		if err != nil {
			return err
		}
		batch := &pgx.Batch{}
		for _, r := range rows {
			cpf, err := s.openCPF(r.ID, keyring.Sealed{KeyID: r.KeyID, Ciphertext: r.Sealed})
			if err != nil {
				return err
			}
			fresh := s.cpf.Seal([]byte(cpf.Digits()), cpfContext(r.ID))
			batch.Queue(`UPDATE users SET cpf_sealed = $2, cpf_key_id = $3 WHERE id = $1`, r.ID, fresh.Ciphertext, fresh.KeyID)
			last = r.ID
		}
		n = len(rows)
		return tx.SendBatch(ctx, batch).Close()
	})
	return last, n, err
}

// CPFsUnderOtherKeys counts those that the ring's current key did not seal.
func (s *Store) CPFsUnderOtherKeys(ctx context.Context) (n int, err error) {
	err = s.pool.QueryRow(ctx, `SELECT count(*) FROM users WHERE cpf_key_id <> $1`, s.cpf.Current()).Scan(&n)
	return n, err
}

// ResealSigningKeys encrypts the private halves of signing keys anew, where reseal wants it.
func (s *Store) ResealSigningKeys(ctx context.Context, reseal func(SigningKey) (fresh keyring.Sealed, err error)) (done int, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(signingKeysLock)); err != nil {
			return err
		}
		keys, err := readSigningKeys(ctx, tx)
		if err != nil {
			return err
		}
		for _, k := range keys {
			fresh, err := reseal(k)
			if err != nil {
				return err
			}
			if fresh.KeyID == k.Private.KeyID {
				continue
			}
			_, err = tx.Exec(ctx, `UPDATE signing_keys SET private_sealed = $2, private_key_id = $3 WHERE kid = $1`, k.KID, fresh.Ciphertext, fresh.KeyID)
			if err != nil {
				return err
			}
			done++
		}
		return nil
	})
	return done, err
}
