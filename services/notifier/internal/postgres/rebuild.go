package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

// Rebuild is what is known of people and appointments, in the making beside what is in use: temporary tables of the same
// names on a connection of their own.
type Rebuild struct{ conn *pgxpool.Conn }

// Rebuilt tells what a rebuild found.
type Rebuilt struct{ Contacts, Appointments RebuiltRows }

// RebuiltRows are those of one projection.
type RebuiltRows struct {
	Told    int // of whom or which the stream tells
	Changed int // of them, those that were missing or different
	Kept    int // those that the stream no longer tells of
}

// BeginRebuild makes empty projections. Close them.
func (s *Store) BeginRebuild(ctx context.Context) (*Rebuild, error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	r := &Rebuild{conn: conn}
	if _, err := conn.Exec(ctx, `CREATE TEMPORARY TABLE contacts (LIKE public.contacts INCLUDING ALL);
CREATE TEMPORARY TABLE appointments (LIKE public.appointments INCLUDING ALL)`); err != nil {
		r.Close(ctx)
		return nil, fmt.Errorf("rebuild: %w", err)
	}
	return r, nil
}

// Close drops what was made, with its connection.
func (r *Rebuild) Close(ctx context.Context) {
	_ = r.conn.Hijack().Close(context.WithoutCancel(ctx)) // the server drops the tables with the session
}

// SaveContact is Store.SaveContact into the new projection. It wakes nothing.
func (r *Rebuild) SaveContact(ctx context.Context, c notice.Contact, at time.Time) (int, error) {
	_, err := r.conn.Exec(ctx, saveContact, c.ID, c.Role, c.Name, c.Email, c.Locale, c.Version, at)
	return 0, err
}

// EraseContact is Store.EraseContact into the new projection.
func (r *Rebuild) EraseContact(ctx context.Context, id uuid.UUID, role string, version int64, at time.Time) (int, error) {
	_, err := r.conn.Exec(ctx, eraseContact, id, role, version, at)
	return 0, err
}

// SaveAppointment keeps the state that an event tells, unless a later one is known.
func (r *Rebuild) SaveAppointment(ctx context.Context, a notice.Appointment, at time.Time) error {
	_, err := r.conn.Exec(ctx, `
		INSERT INTO appointments (id, doctor_id, patient_id, starts_at, ends_at, time_zone, status, version, actor_role, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (id) DO UPDATE SET doctor_id = excluded.doctor_id, patient_id = excluded.patient_id,
			starts_at = excluded.starts_at, ends_at = excluded.ends_at, time_zone = excluded.time_zone,
			status = excluded.status, version = excluded.version, actor_role = excluded.actor_role,
			updated_at = excluded.updated_at
		WHERE appointments.version < excluded.version`,
		a.ID, a.DoctorID, a.PatientID, a.StartsAt, a.EndsAt, a.TimeZone, a.Status, a.Version, a.ActorRole, at)
	return err
}

// mergeContacts lays the new projection over the one in use. What people chose here, and what became of mail to an address
// that stays, are not the stream's to tell. Whom it no longer tells of stays, and nobody erased comes back. Deliveries that
// waited for somebody are woken.
const mergeContacts = `
WITH changed AS (
	INSERT INTO public.contacts AS c (user_id, role, name, email, locale, version, erased, updated_at)
	SELECT user_id, role, name, email, locale, version, erased, updated_at FROM pg_temp.contacts
	ON CONFLICT (user_id) DO UPDATE SET role = excluded.role, name = excluded.name, email = excluded.email,
		locale = excluded.locale, version = excluded.version, erased = excluded.erased, updated_at = excluded.updated_at,
		undeliverable = CASE WHEN c.email = excluded.email THEN c.undeliverable ELSE '' END,
		undeliverable_at = CASE WHEN c.email = excluded.email THEN c.undeliverable_at END
	WHERE (excluded.erased OR NOT c.erased) AND (c.role, c.name, c.email, c.locale, c.version, c.erased)
		IS DISTINCT FROM (excluded.role, excluded.name, excluded.email, excluded.locale, excluded.version, excluded.erased)
	RETURNING c.user_id
), woken AS (
	UPDATE deliveries SET status = 'pending', due_at = $1, missing_id = NULL, updated_at = $1
	WHERE status = 'waiting' AND missing_id IN (SELECT user_id FROM changed)
)
SELECT (SELECT count(*) FROM pg_temp.contacts), (SELECT count(*) FROM changed),
	(SELECT count(*) FROM public.contacts AS c WHERE NOT EXISTS (SELECT FROM pg_temp.contacts AS n WHERE n.user_id = c.user_id))`

const mergeAppointments = `
WITH changed AS (
	INSERT INTO public.appointments AS a (id, doctor_id, patient_id, starts_at, ends_at, time_zone, status, version, actor_role, updated_at)
	SELECT id, doctor_id, patient_id, starts_at, ends_at, time_zone, status, version, actor_role, updated_at FROM pg_temp.appointments
	ON CONFLICT (id) DO UPDATE SET doctor_id = excluded.doctor_id, patient_id = excluded.patient_id, starts_at = excluded.starts_at,
		ends_at = excluded.ends_at, time_zone = excluded.time_zone, status = excluded.status, version = excluded.version,
		actor_role = excluded.actor_role, updated_at = excluded.updated_at
	WHERE (a.doctor_id, a.patient_id, a.starts_at, a.ends_at, a.time_zone, a.status, a.version, a.actor_role)
		IS DISTINCT FROM (excluded.doctor_id, excluded.patient_id, excluded.starts_at, excluded.ends_at, excluded.time_zone,
			excluded.status, excluded.version, excluded.actor_role)
	RETURNING 1
)
SELECT (SELECT count(*) FROM pg_temp.appointments), (SELECT count(*) FROM changed),
	(SELECT count(*) FROM public.appointments AS a WHERE NOT EXISTS (SELECT FROM pg_temp.appointments AS n WHERE n.id = a.id))`

// Finish puts the new projections in place. Those in use can be read but not written meanwhile; catchUp reads what has come
// since, so that nothing that was written in between is lost.
func (r *Rebuild) Finish(ctx context.Context, now time.Time, catchUp func(context.Context) error) (found Rebuilt, err error) {
	err = pgx.BeginFunc(ctx, r.conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;
SET LOCAL lock_timeout = '10s'; LOCK TABLE public.contacts, public.appointments IN SHARE ROW EXCLUSIVE MODE`); err != nil {
			return err
		}
		if err := catchUp(ctx); err != nil {
			return err
		}
		scan := func(rows *RebuiltRows) func(pgx.Row) error {
			return func(row pgx.Row) error { return row.Scan(&rows.Told, &rows.Changed, &rows.Kept) }
		}
		var b pgx.Batch
		b.Queue(mergeContacts, now).QueryRow(scan(&found.Contacts))
		b.Queue(mergeAppointments).QueryRow(scan(&found.Appointments))
		return tx.SendBatch(ctx, &b).Close()
	})
	if err != nil {
		return found, errors.Join(errors.New("rebuild: nothing was changed"), err)
	}
	return found, nil
}
