package scheduling_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/services/scheduling"
)

// people is the whole projection.
func (s *service) people() map[uuid.UUID]string {
	s.t.Helper()
	rows, err := s.db.Query(s.t.Context(), `SELECT id, people::text FROM people`)
	if err != nil {
		s.t.Fatal(err)
	}
	all := map[uuid.UUID]string{}
	var id uuid.UUID
	var text string
	if _, err := pgx.ForEachRow(rows, []any{&id, &text}, func() error { all[id] = text; return nil }); err != nil {
		s.t.Fatal(err)
	}
	return all
}

func (s *service) rebuild() string {
	s.t.Helper()
	var out strings.Builder
	if err := scheduling.Projection(s.t.Context(), s.config, []string{"rebuild"}, &out); err != nil {
		s.t.Fatal(err)
	}
	return out.String()
}

// said publishes what USERS says of somebody.
func (s *service) said(ev events.Event, version int64) {
	s.t.Helper()
	env, err := events.New(ev, version)
	if err != nil {
		s.t.Fatal(err)
	}
	body, err := env.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.users.JS.Publish(s.t.Context(), ev.Subject(), body); err != nil {
		s.t.Fatal(err)
	}
}

func TestProjection_RebuiltFromNothingIsTheSame(t *testing.T) {
	t.Parallel()
	s := start(t)
	const n = 60
	doctor := &events.DoctorProfile{CRM: events.CRM{Number: "123456", State: "SP"}, Specialties: []string{"cardiology", "geriatrics"}}
	var last uuid.UUID
	for i := range n {
		last = newID(t)
		reg := events.UserRegistered{UserID: last, Role: "patient", Status: "active", Name: "Ana Souza", Email: "a@mail.example", Locale: "pt-BR", OccurredAt: time.Now()}
		if i%3 == 0 {
			reg.Role, reg.Doctor = "doctor", doctor
		}
		s.said(&reg, 1)
		if i%2 == 0 {
			updated := events.UserUpdated(reg)
			updated.Name = "Ana de Souza"
			s.said(&updated, 2)
		}
		if i%10 == 0 {
			s.said(&events.UserErased{UserID: last, Role: reg.Role, OccurredAt: time.Now()}, 3)
		}
	}
	eventually(t, "everybody known", func() bool { return len(s.people()) == n && strings.Contains(s.people()[last], "Ana") })
	eventually(t, "erasures known", func() bool {
		erased := 0
		for _, row := range s.people() {
			if strings.Contains(row, "erased") {
				erased++
			}
		}
		return erased == n/10
	})
	want := s.people()

	if out := s.rebuild(); !strings.Contains(out, "0 rows were not as they say") || cmp.Diff(want, s.people()) != "" {
		t.Errorf("a right projection was changed: %s%s", out, cmp.Diff(want, s.people()))
	}
	if _, err := s.db.Exec(t.Context(), `DELETE FROM people`); err != nil {
		t.Fatal(err)
	}
	out := s.rebuild()
	if diff := cmp.Diff(want, s.people()); diff != "" {
		t.Errorf("rebuilt from nothing: %s%s", out, diff)
	}
	if _, err := s.db.Exec(t.Context(), `UPDATE people SET name = 'wrong', version = version - 1 WHERE erased_at IS NULL; INSERT INTO people (id, role, status, version) VALUES ($1, 'patient', 'active', 9)`, pgx.QueryExecModeSimpleProtocol, newID(t)); err != nil {
		t.Fatal(err)
	}
	if out := s.rebuild(); !strings.Contains(out, "54 rows were not as they say") || !strings.Contains(out, "1 people are kept") {
		t.Error(out)
	}
	got := s.people()
	for id, row := range want {
		if got[id] != row {
			t.Errorf("mended %s, want %s", got[id], row)
		}
	}
	if err := scheduling.Projection(t.Context(), s.config, nil, &strings.Builder{}); err == nil {
		t.Error("took no argument for rebuild")
	}
}

// What is published while a rebuild runs is neither lost nor taken back.
func TestProjection_RebuildsWhileEventsArrive(t *testing.T) {
	t.Parallel()
	s := start(t)
	ids := make([]uuid.UUID, 8)
	for i := range ids {
		ids[i] = newID(t)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int64)
	go func() {
		version := int64(0)
		for ctx.Err() == nil && version < 150 {
			version++
			for _, id := range ids {
				s.said(&events.UserUpdated{UserID: id, Role: "patient", Status: "active", Name: "Ana", Email: "a@mail.example", Locale: "pt-BR", OccurredAt: time.Now()}, version)
			}
		}
		done <- version
	}()
	for range 3 {
		s.rebuild()
	}
	cancel()
	version := <-done
	eventually(t, "all are at their last version", func() bool {
		var behind int
		err := s.db.QueryRow(t.Context(), `SELECT count(*) FROM people WHERE version <> $1`, version).Scan(&behind)
		return err == nil && behind == 0 && len(s.people()) == len(ids)
	})
}

// A stream that is lost altogether: the service makes it anew, the outbox fills it, and what was booked meanwhile is in it.
func TestStreamLost_IsMadeAnewAndFilledByReplay(t *testing.T) {
	t.Parallel()
	s := start(t)
	published := func() bool { return s.count(`SELECT count(*) FROM outbox WHERE published_at IS NULL`) == 0 }
	doctor, patient := s.doctor(allWeek("08:00", "18:00")), s.person(auth.Patient)
	slots := s.slots(doctor.id, 7)
	s.book(patient, doctor, slots[0].StartsAt)
	eventually(t, "published", published)
	if err := s.users.JS.DeleteStream(t.Context(), bus.Scheduling); err != nil {
		t.Fatal(err)
	}
	s.book(patient, doctor, slots[2].StartsAt)                                 // bookings go on
	if err := s.users.EnsureStreams(t.Context(), bus.Scheduling); err != nil { // the service does it too, every 30 seconds
		t.Fatal(err)
	}
	var out strings.Builder
	if err := scheduling.Outbox(t.Context(), s.config, []string{"replay", "--since", "1h"}, &out); err != nil {
		t.Fatal(err)
	}
	eventually(t, "published again", published)
	want := s.count(`SELECT count(*) FROM outbox`)
	var got []events.Envelope
	if _, err := s.users.Replay(t.Context(), bus.Scheduling, nil, 0, func(_ context.Context, m bus.Message) error { got = append(got, m.Envelope); return nil }); err != nil {
		t.Fatal(err)
	}
	seen := map[uuid.UUID]bool{}
	for _, env := range got {
		seen[env.ID] = true
	}
	if len(got) != want || len(seen) != want {
		t.Errorf("%d events, %d different ones, want %d\n%s", len(got), len(seen), want, out.String())
	}
}
