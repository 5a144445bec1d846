package postgres

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

// Rebuild is a projection of people in the making, beside the one that is in use: a temporary table of the same name on a
// connection of its own, so that the same statements fill it.
type Rebuild struct {
	store *Store
	conn  *pgxpool.Conn
}

// Rebuilt tells what a rebuild found.
type Rebuilt struct {
	Told    int // people that the stream tells of
	Changed int // of them, those who were missing or different
	Kept    int // people that the stream no longer tells of
}

// BeginRebuild makes an empty projection. Close it.
func (s *Store) BeginRebuild(ctx context.Context) (*Rebuild, error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	r := &Rebuild{store: s, conn: conn}
	if _, err := conn.Exec(ctx, `CREATE TEMPORARY TABLE people (LIKE public.people INCLUDING ALL)`); err != nil {
		r.Close(ctx)
		return nil, fmt.Errorf("rebuild: %w", err)
	}
	return r, nil
}

// Close drops what was made, with its connection.
func (r *Rebuild) Close(ctx context.Context) {
	_ = r.conn.Hijack().Close(context.WithoutCancel(ctx)) // the server drops the table with the session
}

// Save is SavePerson into the new projection, without what follows from it.
func (r *Rebuild) Save(ctx context.Context, p Person) error {
	if p.Specialties == nil {
		p.Specialties = []string{}
	}
	_, err := r.conn.Exec(ctx, savePerson, p.ID, string(p.Role), p.Status, null(p.Name), null(p.CRMNumber), null(p.CRMState), p.Specialties, p.Version)
	return err
}

// Erase is ErasePerson into the new projection.
func (r *Rebuild) Erase(ctx context.Context, e Erased) error {
	_, err := r.conn.Exec(ctx, erasePerson, e.ID, string(e.Role), e.Version, e.At)
	return err
}

// mergePeople lays the new projection over the one in use. Whom the stream no longer tells of (their events have
// expired) stays, and nobody erased comes back.
const mergePeople = `
INSERT INTO public.people AS p (id, role, status, name, crm_number, crm_state, specialties, version, erased_at)
SELECT id, role, status, name, crm_number, crm_state, specialties, version, erased_at FROM pg_temp.people
ON CONFLICT (id) DO UPDATE SET role = excluded.role, status = excluded.status, name = excluded.name,
    crm_number = excluded.crm_number, crm_state = excluded.crm_state, specialties = excluded.specialties,
    version = excluded.version, erased_at = excluded.erased_at
WHERE (p.erased_at IS NULL OR excluded.erased_at IS NOT NULL)
    AND (p.role, p.status, p.name, p.crm_number, p.crm_state, p.specialties, p.version, p.erased_at)
        IS DISTINCT FROM (excluded.role, excluded.status, excluded.name, excluded.crm_number, excluded.crm_state,
            excluded.specialties, excluded.version, excluded.erased_at)
RETURNING p.id, p.role, p.status, p.version`

// Finish puts the new projection in place. The one in use can be read but not written meanwhile; catchUp reads what has come
// since, so that nothing that was written in between is lost.
func (r *Rebuild) Finish(ctx context.Context, catchUp func(context.Context) error) (found Rebuilt, err error) {
	var erased []Erased
	err = pgx.BeginFunc(ctx, r.conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;
SET LOCAL lock_timeout = '10s'; LOCK TABLE public.people IN SHARE ROW EXCLUSIVE MODE`); err != nil {
			return err
		}
		if err := catchUp(ctx); err != nil {
			return err
		}
		b := &pgx.Batch{}
		b.Queue(`SELECT count(*), (SELECT count(*) FROM public.people AS p WHERE NOT EXISTS (SELECT FROM pg_temp.people AS n WHERE n.id = p.id))
FROM pg_temp.people`).QueryRow(func(row pgx.Row) error { return row.Scan(&found.Told, &found.Kept) })
		if err := send(ctx, tx, b); err != nil {
			return err
		}
		changed, err := r.merge(ctx, tx)
		if err != nil {
			return err
		}
		found.Changed = len(changed)
		b = &pgx.Batch{}
		for _, c := range changed {
			if c.Role == string(booking.Doctor) {
				queueDoctorChange(b, c.ID)
			}
			if c.Status == "erased" {
				erased = append(erased, Erased{ID: c.ID, Role: booking.Role(c.Role), Version: c.Version, At: r.store.clock()})
			} else if c.Role == string(booking.Doctor) && c.Status == "rejected" {
				queueDeparture(ctx, b, c.ID, r.store.clock())
			}
		}
		return send(ctx, tx, b)
	})
	// What an erasure takes along besides the name, for those of whose erasure this service had not heard.
	for _, e := range erased {
		if err == nil {
			err = r.store.ErasePerson(ctx, e)
		}
	}
	if err != nil {
		return found, fmt.Errorf("rebuild: %w", err)
	}
	return found, nil
}

// changedPerson is a row that the merge wrote.
type changedPerson struct {
	ID      uuid.UUID
	Role    string
	Status  string
	Version int64
}

func (r *Rebuild) merge(ctx context.Context, tx pgx.Tx) ([]changedPerson, error) {
	rows, err := tx.Query(ctx, mergePeople)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[changedPerson])
}
