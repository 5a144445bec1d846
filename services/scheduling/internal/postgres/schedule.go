package postgres

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/telemetry"
	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

// cachedSchedules bounds the cache; a compiled schedule takes about a kilobyte.
const cachedSchedules = 20_000

// scheduleCache keeps compiled schedules. It may be stale: whoever uses one to change anything, or to list slots,
// compares versions in the same round trip, and refreshes.
type scheduleCache struct {
	mu       sync.RWMutex
	byDoctor map[uuid.UUID]*booking.Schedule
}

func newScheduleCache() *scheduleCache {
	return &scheduleCache{byDoctor: make(map[uuid.UUID]*booking.Schedule)}
}

func (c *scheduleCache) get(doctor uuid.UUID) *booking.Schedule {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byDoctor[doctor]
}

func (c *scheduleCache) put(s *booking.Schedule) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.byDoctor[s.DoctorID]; old != nil && old.Version > s.Version {
		return
	}
	for doctor := range c.byDoctor {
		if len(c.byDoctor) < cachedSchedules {
			break
		}
		delete(c.byDoctor, doctor)
	}
	c.byDoctor[s.DoctorID] = s
}

func (c *scheduleCache) drop(doctor uuid.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byDoctor, doctor)
}

// schedule is the doctor's, from memory if it is there.
func (s *Store) schedule(ctx context.Context, doctor uuid.UUID) (*booking.Schedule, error) {
	if cached := s.schedules.get(doctor); cached != nil {
		return cached, nil
	}
	return s.refresh(ctx, doctor)
}

// refresh reads the doctor's schedule and remembers it. ErrNoAvailability: they have set none; ErrDoctorNotFound:
// nobody by that id is known, or they have left.
func (s *Store) refresh(ctx context.Context, doctor uuid.UUID) (*booking.Schedule, error) {
	schedule, err := s.loadSchedule(ctx, s.pool, doctor)
	if err == nil {
		err = s.practises(ctx, doctor)
	}
	if err == nil {
		s.schedules.put(schedule)
		return schedule, nil
	}
	s.schedules.drop(doctor)
	if !errors.Is(err, pgx.ErrNoRows) {
		return nil, err
	}
	var known bool
	err = s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM people
WHERE id = $1 AND role = 'doctor' AND status = 'active' AND erased_at IS NULL)`, doctor).Scan(&known)
	switch {
	case err != nil:
		return nil, err
	case known:
		return nil, booking.ErrNoAvailability
	}
	return nil, booking.ErrDoctorNotFound
}

// practises refuses someone who is known not to be an active doctor. Nobody known is fine: the projection may lag.
func (s *Store) practises(ctx context.Context, doctor uuid.UUID) error {
	var barred bool
	err := s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM people
WHERE id = $1 AND (role <> 'doctor' OR status <> 'active' OR erased_at IS NOT NULL))`, doctor).Scan(&barred)
	if err == nil && barred {
		return booking.ErrDoctorNotFound
	}
	return err
}

// querier is a pool or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// scheduleColumns are scanned by scheduleRow; exceptions come as parallel arrays, from two days ago on.
const scheduleColumns = `s.doctor_id, s.version, s.time_zone, s.slot_minutes, s.buffer_minutes, s.min_notice_minutes,
s.horizon_days, s.cancel_notice_minutes, s.booking_mode, s.observe_holidays, s.weekly,
ARRAY(SELECT e.day FROM schedule_exceptions e WHERE e.doctor_id = s.doctor_id AND e.day >= $1 ORDER BY e.day),
ARRAY(SELECT e.hours FROM schedule_exceptions e WHERE e.doctor_id = s.doctor_id AND e.day >= $1 ORDER BY e.day)`

type scheduleRow struct {
	doctor  uuid.UUID
	version int64
	a       booking.Availability
	days    []time.Time
	hours   [][]booking.Hours
}

func (r *scheduleRow) targets() []any {
	a := &r.a
	return []any{&r.doctor, &r.version, &a.TimeZone, &a.SlotMinutes, &a.BufferMinutes, &a.MinNoticeMinutes,
		&a.HorizonDays, &a.CancelNoticeMinutes, &a.Mode, &a.ObserveHolidays, &a.Weekly, &r.days, &r.hours}
}

func (r *scheduleRow) schedule(zones *booking.Zones) (*booking.Schedule, error) {
	exceptions := make([]booking.Exception, len(r.days))
	for i, day := range r.days {
		exceptions[i] = booking.Exception{Date: booking.DateOf(day, time.UTC), Hours: r.hours[i]}
	}
	return booking.NewSchedule(zones, r.doctor, r.version, r.a, exceptions)
}

// exceptionsSince is the first date whose exceptions can still matter: today somewhere, with a day to spare.
func (s *Store) exceptionsSince() time.Time { return s.clock().AddDate(0, 0, -2) }

func (s *Store) loadSchedule(ctx context.Context, q querier, doctor uuid.UUID) (*booking.Schedule, error) {
	var row scheduleRow
	err := q.QueryRow(ctx, `SELECT `+scheduleColumns+` FROM schedules s WHERE s.doctor_id = $2`,
		s.exceptionsSince(), doctor).Scan(row.targets()...)
	if err != nil {
		return nil, err
	}
	return row.schedule(&s.zones)
}

// Availability is what the doctor has set, with its version.
func (s *Store) Availability(ctx context.Context, doctor uuid.UUID) (*booking.Schedule, error) {
	return s.refresh(ctx, doctor)
}

const setAvailability = `
INSERT INTO schedules AS s (doctor_id, version, time_zone, slot_minutes, buffer_minutes, min_notice_minutes,
    horizon_days, cancel_notice_minutes, booking_mode, observe_holidays, weekly, updated_at)
VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (doctor_id) DO UPDATE SET version = s.version + 1, time_zone = excluded.time_zone,
    slot_minutes = excluded.slot_minutes, buffer_minutes = excluded.buffer_minutes,
    min_notice_minutes = excluded.min_notice_minutes, horizon_days = excluded.horizon_days,
    cancel_notice_minutes = excluded.cancel_notice_minutes, booking_mode = excluded.booking_mode,
    observe_holidays = excluded.observe_holidays, weekly = excluded.weekly, updated_at = excluded.updated_at
RETURNING version`

// SetAvailability replaces what the doctor has set; appointments stay as they are. ifVersion, when not 0, is the
// version that it must replace (ErrStale). The doctor need not be known yet, but must not have left.
func (s *Store) SetAvailability(ctx context.Context, doctor uuid.UUID, a booking.Availability, ifVersion int64) (*booking.Schedule, error) {
	if err := a.Validate(); err != nil {
		return nil, err
	}
	return s.changeSchedule(ctx, doctor, ifVersion, func(tx pgx.Tx, now time.Time) (version int64, err error) {
		err = tx.QueryRow(ctx, setAvailability, doctor, a.TimeZone, a.SlotMinutes, a.BufferMinutes, a.MinNoticeMinutes,
			a.HorizonDays, a.CancelNoticeMinutes, a.Mode, a.ObserveHolidays, weekly(a), now).Scan(&version)
		return version, err
	})
}

func weekly(a booking.Availability) []booking.WeeklyHours {
	if a.Weekly == nil {
		return []booking.WeeklyHours{}
	}
	return a.Weekly
}

// changeSchedule runs change, which makes and returns the next version, and in the same transaction tells other
// systems, searches and the waitlist.
func (s *Store) changeSchedule(ctx context.Context, doctor uuid.UUID, ifVersion int64,
	change func(tx pgx.Tx, now time.Time) (int64, error)) (schedule *booking.Schedule, err error) {
	err = s.inTxInTurn(ctx, func(tx pgx.Tx) error {
		if err := mayPractise(ctx, tx, doctor); err != nil {
			return err
		}
		// One change of a schedule at a time, its first one included.
		if err := lock(ctx, tx, doctor); err != nil {
			return err
		}
		if err := checkVersion(ctx, tx, doctor, ifVersion); err != nil {
			return err
		}
		now := s.clock()
		version, err := change(tx, now)
		if err != nil {
			return err
		}
		if schedule, err = s.loadSchedule(ctx, tx, doctor); err != nil {
			return err
		}
		b := &pgx.Batch{}
		ev := &events.AvailabilityChanged{DoctorID: doctor, Version: version, OccurredAt: now}
		if err := queueEvent(ctx, b, ev, version); err != nil {
			return err
		}
		queueDoctorChange(b, doctor)
		end := schedule.Horizon(now).Time().AddDate(0, 0, 2)
		queueFreed(ctx, b, doctor, now, end, now)
		return send(ctx, tx, b)
	})
	if err != nil {
		return nil, err
	}
	s.schedules.put(schedule)
	s.committed()
	s.freed()
	return schedule, nil
}

// mayPractise refuses someone who is known not to be a doctor, to have left, or to wait for approval. Nobody known is fine.
func mayPractise(ctx context.Context, tx pgx.Tx, doctor uuid.UUID) error {
	var barred, waits bool
	err := tx.QueryRow(ctx, `SELECT coalesce(bool_or(role <> 'doctor' OR status = 'rejected' OR erased_at IS NOT NULL), false),
	coalesce(bool_or(status = 'pending_verification'), false) FROM people WHERE id = $1`, doctor).Scan(&barred, &waits)
	switch {
	case err != nil:
		return err
	case barred:
		return booking.ErrDoctorNotFound
	case waits:
		return booking.ErrNotApproved
	}
	return nil
}

func checkVersion(ctx context.Context, tx pgx.Tx, doctor uuid.UUID, want int64) error {
	if want == 0 {
		return nil
	}
	var version int64
	err := tx.QueryRow(ctx, `SELECT version FROM schedules WHERE doctor_id = $1`, doctor).Scan(&version)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && version != want {
		return booking.ErrStale
	}
	return err
}

// queueDoctorChange tells searches, on every replica, that they may assume nothing about the doctor any more.
func queueDoctorChange(b *pgx.Batch, doctor uuid.UUID) {
	b.Queue(`INSERT INTO doctor_changes (doctor_id) VALUES ($1)
ON CONFLICT (doctor_id) DO UPDATE SET changed = pg_current_xact_id()`, doctor)
}

// queueFreed puts time that came free where the waitlist's worker finds it.
func queueFreed(ctx context.Context, b *pgx.Batch, doctor uuid.UUID, start, end, due time.Time) {
	origin := telemetry.OriginOf(ctx)
	b.Queue(`INSERT INTO freed_times (doctor_id, starts_at, ends_at, due_at, request_id, trace_parent) VALUES ($1, $2, $3, $4, $5, $6)`,
		doctor, start, end, due, origin.RequestID, origin.TraceParent)
}
