package postgres

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/telemetry"
	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

// Person is what this service keeps of someone's account.
type Person struct {
	ID          uuid.UUID
	Role        booking.Role
	Status      string
	Name        string
	CRMNumber   string
	CRMState    string
	Specialties []string
	Version     int64 // sequence of the event that said so
}

const savePerson = `
INSERT INTO people AS p (id, role, status, name, crm_number, crm_state, specialties, version)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (id) DO UPDATE SET role = excluded.role, status = excluded.status, name = excluded.name,
    crm_number = excluded.crm_number, crm_state = excluded.crm_state, specialties = excluded.specialties,
    version = excluded.version
WHERE p.version < excluded.version AND p.erased_at IS NULL`

// SavePerson keeps what an event said, unless a later one has been applied, or the person was erased. A doctor who
// was rejected departs.
func (s *Store) SavePerson(ctx context.Context, p Person) error {
	if p.Specialties == nil {
		p.Specialties = []string{}
	}
	rejected := p.Role == booking.Doctor && p.Status == "rejected"
	departed := false
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, savePerson, p.ID, string(p.Role), p.Status, null(p.Name), null(p.CRMNumber),
			null(p.CRMState), p.Specialties, p.Version)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		b := &pgx.Batch{}
		if p.Role == booking.Doctor {
			queueDoctorChange(b, p.ID)
		}
		if rejected {
			queueDeparture(ctx, b, p.ID, s.clock())
		} else {
			b.Queue(`DELETE FROM departures WHERE person_id = $1`, p.ID)
		}
		departed = rejected
		return send(ctx, tx, b)
	})
	if err == nil && departed {
		s.freed()
	}
	return err
}

const erasePerson = `
INSERT INTO people (id, role, status, version, erased_at) VALUES ($1, $2, 'erased', $3, $4)
ON CONFLICT (id) DO UPDATE SET status = 'erased', name = NULL, crm_number = NULL, crm_state = NULL, specialties = '{}',
    version = greatest(people.version, excluded.version), erased_at = coalesce(people.erased_at, excluded.erased_at)`

// Erased says that a person's account was erased.
type Erased struct {
	ID      uuid.UUID
	Role    booking.Role
	Version int64 // sequence of the event that said so
	At      time.Time
}

// ErasePerson forgets who the person was and what they wrote, leaves a tombstone that refuses later writes by or for
// them, and has their future appointments cancelled. Ids and times of appointments stay. What is written meanwhile by
// somebody who hasn't seen the tombstone is forgotten by the last look of SettleDepartures.
func (s *Store) ErasePerson(ctx context.Context, e Erased) error {
	id, role := e.ID, e.Role
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		now := s.clock()
		b := &pgx.Batch{}
		b.Queue(erasePerson, id, string(role), e.Version, e.At)
		queueForget(b, id, now)
		if role == booking.Doctor {
			queueDoctorChange(b, id)
		}
		queueDeparture(ctx, b, id, now)
		return send(ctx, tx, b)
	})
	if err == nil {
		s.schedules.drop(id)
		s.freed()
	}
	return err
}

// queueForget takes away what the person wrote and what was written about them, and the places in line that say what
// they seek a doctor for. It finds all of it by index, and nothing where there is nothing left.
func queueForget(b *pgx.Batch, person uuid.UUID, now time.Time) {
	b.Queue(`UPDATE appointments SET reason = NULL WHERE patient_id = $1 AND reason IS NOT NULL`, person)
	b.Queue(`UPDATE appointment_history SET note = NULL WHERE note IS NOT NULL AND appointment_id = ANY (ARRAY(
    SELECT a.id FROM appointments a WHERE a.patient_id = $1 OR a.doctor_id = $1))`, person)
	b.Queue(`DELETE FROM idempotency_keys WHERE caller = $1`, person)
	b.Queue(redactAnswers, person)
	b.Queue(`DELETE FROM calendars WHERE owner_id = $1`, person)
	queueLeaveLines(b, person, now)
	b.Queue(`UPDATE schedule_exceptions SET note = NULL WHERE doctor_id = $1 AND note IS NOT NULL`, person)
}

// queueLeaveLines removes an erased person's places in line, and closes the line for them where they were the doctor.
func queueLeaveLines(b *pgx.Batch, person uuid.UUID, now time.Time) {
	b.Queue(`DELETE FROM waitlist WHERE patient_id = $1`, person)
	b.Queue(`UPDATE waitlist SET status = 'withdrawn', updated_at = $2 WHERE doctor_id = $1 AND status = 'waiting'`, person, now)
}

// queueDeparture has the worker cancel what the person still has before them.
func queueDeparture(ctx context.Context, b *pgx.Batch, person uuid.UUID, now time.Time) {
	origin := telemetry.OriginOf(ctx)
	b.Queue(`INSERT INTO departures (person_id, since, next_look, request_id, trace_parent) VALUES ($1, $2, $2, $3, $4)
ON CONFLICT (person_id) DO UPDATE SET since = excluded.since, next_look = excluded.next_look,
    request_id = excluded.request_id, trace_parent = excluded.trace_parent`, person, now, origin.RequestID, origin.TraceParent)
}
