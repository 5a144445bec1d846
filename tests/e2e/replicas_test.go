package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/tests/system"
)

// TestReplicas runs two of each service against three event servers and one PostgreSQL, and has patients book without a
// pause while the schema gets what a next release may add, and while one of each is stopped and started. Nobody is refused,
// everything acknowledged exists, and each doctor hears of each booking once.
func TestReplicas(t *testing.T) {
	cluster, err := system.StartCluster(t.Context(), system.ClusterConfig{
		Dir: system.DataDir(t), Replicas: 2, NATSNodes: 3,
		Env: map[string][]string{"users": {"ATTEMPTS_PER_ADDRESS=100000"}, "sesinbox": {"INBOX_MAX_MESSAGES=100000"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	clinic := openClinic(t, cluster)
	clinic.whileBooking(t, "the next release's migrations are applied", func() { expand(t, cluster) })
	for _, name := range []string{"scheduling", "notifier", "users"} {
		for i, p := range cluster.Services[name] {
			clinic.whileBooking(t, p.Name+" is stopped and started", func() { restart(t, cluster, name, i) })
		}
	}
	leader := cluster.NATSNodes[streamLeader(t, cluster)]
	clinic.whileBooking(t, leader.Name+", which leads SCHEDULING, is stopped and started", func() {
		if err := leader.Stop(20 * time.Second); err != nil {
			t.Error(err)
		}
		clinic.goesOn(t)
		if err := leader.Start(); err != nil {
			t.Fatal(err)
		}
	})
	clinic.lostNothing(t)
}

// expand adds to every table what the migrations of a next release may, while this one's code runs: a column that may be
// null and one with a default. A statement that doesn't list its columns would stumble over either.
func expand(t *testing.T, c *system.Cluster) {
	t.Helper()
	for service := range c.Services {
		database, err := c.Database(t.Context(), service, "")
		if err != nil {
			t.Fatal(err)
		}
		db, err := pgx.Connect(t.Context(), database)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close(context.WithoutCancel(t.Context()))
		rows, err := db.Query(t.Context(), `SELECT format('SET lock_timeout = ''5s''; ALTER TABLE %I ADD COLUMN next_note text, ADD COLUMN next_count int NOT NULL DEFAULT 0', relname)
			FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition`)
		if err != nil {
			t.Fatal(err)
		}
		statements, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil || len(statements) < 5 {
			t.Fatalf("%s has %d tables: %v", service, len(statements), err)
		}
		for _, s := range statements {
			if _, err := db.Exec(t.Context(), s, pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatalf("%s: %s: %v", service, s, err)
			}
		}
	}
}

// restart stops a replica in the way of a deployment and starts it again.
func restart(t *testing.T, c *system.Cluster, name string, replica int) {
	t.Helper()
	p, other := c.Services[name][replica], c.Ops(name, 1-replica)
	if err := healthcheck(p); err != nil {
		t.Errorf("%s is running: %v", p.Name, err)
	}
	began := time.Now()
	if err := p.Stop(20 * time.Second); err != nil {
		t.Error(err)
	}
	t.Logf("%s ended within %s", p.Name, time.Since(began).Round(time.Millisecond))
	if err := healthcheck(p); err == nil {
		t.Errorf("%s is stopped and says that it is healthy", p.Name)
	}
	system.Eventually(t, 20*time.Second, "the other replica of "+name+" publishes", func() error {
		if !strings.Contains(metrics(t, other), "\noutbox_leader 1\n") {
			return errors.New("it doesn't lead")
		}
		return nil
	})
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if err := system.WaitReady(t.Context(), c.Origin(name, replica), 20*time.Second); err != nil {
		t.Error(err)
	}
}

// healthcheck runs the sub-command by which a container's engine asks.
func healthcheck(p *system.Process) error {
	cmd := exec.Command(p.Path, "healthcheck")
	cmd.Env = append(os.Environ(), p.Env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("healthcheck: %w: %s", err, out)
	}
	return nil
}

func metrics(t *testing.T, ops string) string {
	t.Helper()
	return string(system.Client{Origin: ops}.Do(t, http.MethodGet, "/metrics", nil).Want(t, http.StatusOK).Body)
}

// streamLeader is the number of the node that leads SCHEDULING, of which there are three copies.
func streamLeader(t *testing.T, c *system.Cluster) int {
	t.Helper()
	var leader int
	system.Eventually(t, 20*time.Second, "SCHEDULING has a leader and two followers", func() error {
		info, err := scheduling(t, c).Info(t.Context())
		if err != nil {
			return err
		}
		if info.Config.Replicas != 3 || info.Cluster == nil || len(info.Cluster.Replicas) != 2 || info.Cluster.Leader == "" {
			return fmt.Errorf("%d copies, %+v", info.Config.Replicas, info.Cluster)
		}
		leader = int(info.Cluster.Leader[len(info.Cluster.Leader)-1] - '1') // nats-1 is the first
		return nil
	})
	return leader
}

func scheduling(t *testing.T, c *system.Cluster) jetstream.Stream {
	t.Helper()
	nc, err := nats.Connect(c.NATSURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), "SCHEDULING")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// clinic is four doctors, each with a patient who books one slot after another.
type clinic struct {
	cluster *system.Cluster
	visits  []*visits
	made    atomic.Int64
}

// visits are a patient's, to one doctor.
type visits struct {
	doctorEmail string
	doctorID    string
	patient     system.Client // without an origin
	free        []time.Time
	booked      []string
}

func openClinic(t *testing.T, cluster *system.Cluster) *clinic {
	t.Helper()
	c := &clinic{cluster: cluster}
	users := system.Client{Origin: cluster.Origin("users", 1)}
	hours := everyDay()
	hours["slot_minutes"] = 10
	for _, day := range hours["weekly"].([]map[string]string) {
		day["start"], day["end"] = "00:00", "23:50"
	}
	for i := range 4 {
		v := &visits{doctorEmail: fmt.Sprintf("doctor%d@clinic.example", i)}
		v.doctorID = register(t, users, "doctors", map[string]any{
			"name": "Helena Prado", "cpf": cpf(1000 + i), "email": v.doctorEmail, "password": password,
			"crm": map[string]string{"number": fmt.Sprint(778800 + i), "state": "SP"}, "specialties": []string{"cardiology"},
		})
		email := fmt.Sprintf("regular%d@mail.example", i)
		register(t, users, "patients", map[string]any{"name": "Paciente Teste", "cpf": cpf(2000 + i), "email": email, "password": password})
		doctor, _ := system.SignIn(t, users.Origin, v.doctorEmail, password)
		v.patient, _ = system.SignIn(t, users.Origin, email, password)
		doctor.Origin = cluster.Origin("scheduling", 0)
		doctor.Do(t, http.MethodPut, "/v1/doctors/"+v.doctorID+"/availability", hours).Want(t, http.StatusOK)
		from := time.Now().AddDate(0, 0, 2)
		var list struct {
			Slots []struct {
				StartsAt time.Time `json:"starts_at"`
			} `json:"slots"`
		}
		doctor.Do(t, http.MethodGet, fmt.Sprintf("/v1/doctors/%s/slots?from=%s&to=%s", v.doctorID, from.Format(time.DateOnly), from.AddDate(0, 0, 14).Format(time.DateOnly)), nil).
			Want(t, http.StatusOK).JSON(t, &list)
		for _, s := range list.Slots {
			v.free = append(v.free, s.StartsAt)
		}
		c.visits = append(c.visits, v)
	}
	return c
}

// whileBooking does something while every patient books, and until each has booked after it.
func (c *clinic) whileBooking(t *testing.T, what string, do func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	before := c.made.Load()
	for i, v := range c.visits {
		group.Go(func() {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for n := i; ctx.Err() == nil; n++ {
				c.book(t, v, n)
				<-tick.C
			}
		})
	}
	c.goesOn(t)
	do()
	c.goesOn(t)
	t.Logf("%s: %d bookings meanwhile", what, c.made.Load()-before)
}

// goesOn returns when bookings are made.
func (c *clinic) goesOn(t *testing.T) {
	t.Helper()
	before := c.made.Load()
	system.Eventually(t, 30*time.Second, "bookings go on", func() error {
		if made := c.made.Load() - before; made < 8 {
			return fmt.Errorf("%d bookings", made)
		}
		return nil
	})
}

// book takes the next slot, at one replica or the other: as behind a balancer, a connection that is refused goes to the
// other, and nothing else is tried again.
func (c *clinic) book(t *testing.T, v *visits, n int) {
	if len(v.free) == 0 {
		t.Errorf("no slot is left for %s", v.doctorEmail)
		return
	}
	slot := v.free[0]
	v.free = v.free[1:]
	var answer system.Answer
	err := io.ErrNoProgress
	for try := 0; try < 2 && err != nil && (try == 0 || errors.Is(err, syscall.ECONNREFUSED)); try++ {
		v.patient.Origin = c.cluster.Origin("scheduling", (n+try)%2)
		answer, err = v.patient.With("Idempotency-Key", slot.Format(time.RFC3339)).
			Try(context.WithoutCancel(t.Context()), http.MethodPost, "/v1/appointments", map[string]any{"doctor_id": v.doctorID, "starts_at": slot})
	}
	if err != nil || answer.Status != http.StatusCreated {
		t.Errorf("%s is refused to a patient: %v, %d %s", slot, err, answer.Status, answer.Body)
		return
	}
	var a appointment
	if err := json.Unmarshal(answer.Body, &a); err != nil {
		t.Errorf("%s: %v", answer.Body, err)
	}
	v.booked = append(v.booked, a.ID)
	c.made.Add(1)
}

// lostNothing: each booking is there, as one event, and each doctor has one e-mail about each.
func (c *clinic) lostNothing(t *testing.T) {
	t.Helper()
	for _, v := range c.visits {
		v.patient.Origin = c.cluster.Origin("scheduling", 0)
		for _, id := range v.booked {
			var a appointment
			v.patient.Do(t, http.MethodGet, "/v1/appointments/"+id, nil).Want(t, http.StatusOK).JSON(t, &a)
			if a.Status != "booked" {
				t.Errorf("%s is %s", id, a.Status)
			}
		}
		system.Eventually(t, 60*time.Second, "e-mails to "+v.doctorEmail, func() error {
			var list struct{ Matching int }
			query := url.Values{"to": {v.doctorEmail}, "q": {"Nova consulta agendada"}, "limit": {"1"}}
			system.Client{Origin: c.cluster.Inbox}.Do(t, http.MethodGet, "/messages?"+query.Encode(), nil).Want(t, http.StatusOK).JSON(t, &list)
			if list.Matching > len(v.booked) {
				t.Fatalf("%d e-mails about %d bookings", list.Matching, len(v.booked))
			}
			if list.Matching < len(v.booked) {
				return fmt.Errorf("%d e-mails about %d bookings", list.Matching, len(v.booked))
			}
			return nil
		})
	}
	stream := scheduling(t, c.cluster)
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter("healthmed.scheduling.appointment.booked.>"))
	if err != nil {
		t.Fatal(err)
	}
	var events uint64
	for _, n := range info.State.Subjects {
		events += n
	}
	if made := c.made.Load(); events != uint64(made) {
		t.Errorf("%d events of %d bookings", events, made)
	}
	t.Logf("%d bookings, as many events, one e-mail to the doctor for each", c.made.Load())
}
