package postgres

import (
	"context"

	"github.com/google/uuid"
)

// Appointment is what this service keeps of one: who sees whom, and whether it stands.
type Appointment struct {
	ID        uuid.UUID
	DoctorID  uuid.UUID
	PatientID uuid.UUID
	Version   int64
	Stands    bool // neither declined nor cancelled
}

// KeepAppointments stores the states of appointments, all or nothing, unless later ones are there already: events may come
// twice and late, and several of one appointment together.
func (s *Store) KeepAppointments(ctx context.Context, latest []Appointment) error {
	var ids, doctors, patients []uuid.UUID
	var versions []int64
	var stands []bool
	for _, a := range latest {
		ids, doctors, patients = append(ids, a.ID), append(doctors, a.DoctorID), append(patients, a.PatientID)
		versions, stands = append(versions, a.Version), append(stands, a.Stands)
	}
	// In the order of their ids, so that two replicas can't wait for one another.
	_, err := s.pool.Exec(ctx, `
		INSERT INTO appointments AS a (id, doctor_id, patient_id, version, stands)
		SELECT DISTINCT ON (id) id, doctor_id, patient_id, version, stands
		FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::boolean[]) AS e(id, doctor_id, patient_id, version, stands)
		ORDER BY id, version DESC
		ON CONFLICT (id) DO UPDATE SET version = excluded.version, stands = excluded.stands WHERE a.version < excluded.version`,
		ids, doctors, patients, versions, stands)
	return err
}

// HasAppointment says whether a patient has an appointment with a doctor that was neither declined nor cancelled, past ones included.
func (s *Store) HasAppointment(ctx context.Context, doctorID, patientID uuid.UUID) (bool, error) {
	var has bool
	err := s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM appointments WHERE patient_id = $2 AND doctor_id = $1 AND stands)`,
		doctorID, patientID).Scan(&has)
	return has, err
}
