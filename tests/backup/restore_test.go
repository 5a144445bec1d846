package backup

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/tests/system"
)

const (
	bookings = 20
	booked   = "healthmed.scheduling.appointment.booked.>"
)

// TestRestore loses databases and streams. From the dumps everything acknowledged is there again, a replay fills the
// streams, nobody is written to twice, and bookings go on.
func TestRestore(t *testing.T) {
	system.Needs(t, "pg_dump", "pg_restore", "psql")
	dir := system.DataDir(t)
	c, err := system.StartCluster(t.Context(), system.ClusterConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	p := openPractice(t, c)
	for range bookings {
		p.book(t)
	}
	p.told(t, bookings)
	before := stored(t, c)

	began := time.Now()
	folder := filepath.Join(dir, "backup")
	script(t, c, "backup.sh", folder)
	backedUp := time.Since(began)
	lose(t, c)
	began = time.Now()
	script(t, c, "restore.sh", folder)
	start(t, c)
	t.Logf("backup %s, restore and start %s", backedUp.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))

	for _, id := range p.appointments {
		var a struct{ Status string }
		p.patient.Do(t, http.MethodGet, "/v1/appointments/"+id, nil).Want(t, http.StatusOK).JSON(t, &a)
		if a.Status != "booked" {
			t.Errorf("%s is %s after the restore", id, a.Status)
		}
	}
	for name, replicas := range c.Services {
		run(t, replicas[0], "outbox", "replay", "--since", "168h")
		t.Logf("%s has published its events again", name)
	}
	system.Eventually(t, 30*time.Second, "the stream is as it was", func() error {
		if after := stored(t, c); after != before {
			return fmt.Errorf("%d bookings, were %d", after, before)
		}
		return nil
	})
	p.book(t) // its e-mail comes after whatever the replayed events may have caused
	p.told(t, bookings+1)
	t.Run("a database that is not empty is left alone", func(t *testing.T) {
		if out, err := command(t, c, "restore.sh", folder).CombinedOutput(); err == nil || !strings.Contains(string(out), "isn't empty") {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// practice is a doctor and a patient.
type practice struct {
	c            *system.Cluster
	doctorID     string
	patient      system.Client
	free         []time.Time
	appointments []string
}

const (
	doctorEmail = "helena.prado@clinic.example"
	password    = "Cons#ulta2026"
)

func openPractice(t *testing.T, c *system.Cluster) *practice {
	t.Helper()
	users := system.Client{Origin: c.Origin("users", 0)}
	p := &practice{c: c}
	var account struct{ ID string }
	users.Do(t, http.MethodPost, "/v1/doctors", map[string]any{
		"name": "Helena Prado", "cpf": "390.533.447-05", "email": doctorEmail, "password": password,
		"crm": map[string]string{"number": "778899", "state": "SP"}, "specialties": []string{"cardiology"},
	}).Want(t, http.StatusCreated).JSON(t, &account)
	p.doctorID = account.ID
	users.Do(t, http.MethodPost, "/v1/patients", map[string]any{
		"name": "Marcos Alves", "cpf": "862.883.667-57", "email": "marcos.alves@mail.example", "password": password,
	}).Want(t, http.StatusCreated)
	doctor, _ := system.SignIn(t, users.Origin, doctorEmail, password)
	p.patient, _ = system.SignIn(t, users.Origin, "marcos.alves@mail.example", password)
	doctor.Origin, p.patient.Origin = c.Origin("scheduling", 0), c.Origin("scheduling", 0)
	var weekly []map[string]string
	for _, day := range []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"} {
		weekly = append(weekly, map[string]string{"weekday": day, "start": "09:00", "end": "17:00"})
	}
	doctor.Do(t, http.MethodPut, "/v1/doctors/"+p.doctorID+"/availability", map[string]any{
		"time_zone": "America/Sao_Paulo", "slot_minutes": 30, "buffer_minutes": 0, "min_notice_minutes": 0,
		"horizon_days": 30, "booking_mode": "instant", "weekly": weekly,
	}).Want(t, http.StatusOK)
	from := time.Now().AddDate(0, 0, 2)
	var list struct {
		Slots []struct {
			StartsAt time.Time `json:"starts_at"`
		}
	}
	doctor.Do(t, http.MethodGet, fmt.Sprintf("/v1/doctors/%s/slots?from=%s&to=%s", p.doctorID, from.Format(time.DateOnly), from.AddDate(0, 0, 3).Format(time.DateOnly)), nil).
		Want(t, http.StatusOK).JSON(t, &list)
	for _, s := range list.Slots {
		p.free = append(p.free, s.StartsAt)
	}
	return p
}

func (p *practice) book(t *testing.T) {
	t.Helper()
	slot := p.free[0]
	p.free = p.free[1:]
	var a struct{ ID string }
	p.patient.With("Idempotency-Key", slot.Format(time.RFC3339)).
		Do(t, http.MethodPost, "/v1/appointments", map[string]any{"doctor_id": p.doctorID, "starts_at": slot}).Want(t, http.StatusCreated).JSON(t, &a)
	p.appointments = append(p.appointments, a.ID)
}

// told waits until the doctor has exactly so many e-mails about bookings.
func (p *practice) told(t *testing.T, want int) {
	t.Helper()
	system.Eventually(t, 60*time.Second, "the doctor's e-mails", func() error {
		var list struct {
			Items []struct {
				To      []string
				Subject string
			}
		}
		system.Client{Origin: p.c.Inbox}.Do(t, http.MethodGet, "/messages", nil).Want(t, http.StatusOK).JSON(t, &list)
		told := 0
		for _, m := range list.Items {
			if m.To[0] == doctorEmail && strings.Contains(m.Subject, "Nova consulta agendada") {
				told++
			}
		}
		if told > want {
			t.Fatalf("%d e-mails to the doctor about %d bookings", told, want)
		}
		if told < want {
			return fmt.Errorf("%d e-mails about %d bookings", told, want)
		}
		return nil
	})
}

// stored counts the bookings in the stream, each appointment once.
func stored(t *testing.T, c *system.Cluster) int {
	t.Helper()
	nc, err := nats.Connect(c.NATSURL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "SCHEDULING")
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter(booked))
	if err != nil {
		t.Fatal(err)
	}
	return len(info.State.Subjects)
}

// lose ends the services and empties PostgreSQL and NATS.
func lose(t *testing.T, c *system.Cluster) {
	t.Helper()
	for _, replicas := range c.Services {
		if err := replicas[0].Stop(20 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.NATS.Stop(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(c.NATSDir(0)); err != nil {
		t.Fatal(err)
	}
	url, err := c.Database(t.Context(), "postgres", "")
	if err != nil {
		t.Fatal(err)
	}
	db, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	for name := range c.Services {
		if _, err := db.Exec(t.Context(), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Fatal(err)
		}
	}
}

func start(t *testing.T, c *system.Cluster) {
	t.Helper()
	if err := c.NATS.Start(); err != nil {
		t.Fatal(err)
	}
	for name, replicas := range c.Services {
		if err := replicas[0].Start(); err != nil {
			t.Fatal(err)
		}
		if err := system.WaitReady(t.Context(), c.Origin(name, 0), 30*time.Second); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

// script runs one of deploy/backup.
func script(t *testing.T, c *system.Cluster, name, folder string) {
	t.Helper()
	out, err := command(t, c, name, folder).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	t.Logf("%s\n%s", name, out)
}

func command(t *testing.T, c *system.Cluster, name, folder string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "../../deploy/backup/"+name, folder)
	cmd.Env = os.Environ()
	for service := range c.Services {
		url, err := c.Database(t.Context(), service, "") // makes it, empty, where it is missing
		if err != nil {
			t.Fatal(err)
		}
		cmd.Env = append(cmd.Env, strings.ToUpper(service)+"_DATABASE_URL="+url)
	}
	return cmd
}

// run runs a service's sub-command.
func run(t *testing.T, service *system.Process, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), service.Path, args...)
	cmd.Env = append(os.Environ(), service.Env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}
