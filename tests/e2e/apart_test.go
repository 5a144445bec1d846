package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/healthmed/healthmed/tests/system"
)

// TestServicesApart runs each service as a process of its own, as production does, and has 64 patients race for
// every one of 50 slots.
func TestServicesApart(t *testing.T) {
	cluster, err := system.StartCluster(t.Context(), system.ClusterConfig{
		Dir:     system.DataDir(t),
		Guarded: true,
		Env:     map[string][]string{"users": {"ATTEMPTS_PER_ADDRESS=100000"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	t.Run("idle below 100 MiB each", func(t *testing.T) {
		for name, replicas := range cluster.Services {
			used := system.UsageOf(replicas[0].PID()).Resident
			t.Logf("%s: %d MiB resident", name, used>>20)
			if used == 0 || used > 100<<20 {
				t.Errorf("%s uses %d bytes, want under 100 MiB", name, used)
			}
		}
	})
	users := system.Client{Origin: cluster.Origin("users", 0)}
	t.Run("event contract", func(t *testing.T) { // the gateway sends what belongs to no other service to users
		for path, want := range map[string]string{
			"/events": "AppointmentBooked", "/events/asyncapi.yaml": "asyncapi: 3.0.0", "/schemas/scheduling.appointment.booked.v1.json": "2020-12",
		} {
			if body := users.Do(t, http.MethodGet, path, nil).Want(t, http.StatusOK).Body; !bytes.Contains(body, []byte(want)) {
				t.Errorf("%s lacks %q", path, want)
			}
		}
	})
	scheduling := cluster.Origin("scheduling", 0)
	at := func(c system.Client, origin string) system.Client { c.Origin = origin; return c }

	doctorID := register(t, users, "doctors", map[string]any{
		"name": "Helena Prado", "cpf": cpf(1), "email": "helena@clinic.example", "password": password,
		"crm": map[string]string{"number": "778899", "state": "SP"}, "specialties": []string{"cardiology"},
	})
	doctor, _ := system.SignIn(t, users.Origin, "helena@clinic.example", password)
	hours := everyDay()
	hours["slot_minutes"] = 15 // 12 slots a day
	at(doctor, scheduling).Do(t, http.MethodPut, "/v1/doctors/"+doctorID+"/availability", hours).Want(t, http.StatusOK)
	patients := make([]system.Client, 64)
	for i := range patients {
		email := fmt.Sprintf("patient%d@mail.example", i)
		register(t, users, "patients", map[string]any{"name": "Paciente Teste", "cpf": cpf(100 + i), "email": email, "password": password})
		signedIn, _ := system.SignIn(t, users.Origin, email, password)
		patients[i] = at(signedIn, scheduling)
	}
	from := time.Now().AddDate(0, 0, 2)
	var list struct {
		Slots []struct {
			StartsAt time.Time `json:"starts_at"`
		} `json:"slots"`
	}
	at(users, scheduling).Do(t, http.MethodGet, fmt.Sprintf("/v1/doctors/%s/slots?from=%s&to=%s", doctorID, from.Format(time.DateOnly), from.AddDate(0, 0, 6).Format(time.DateOnly)), nil).
		Want(t, http.StatusOK).JSON(t, &list)
	if len(list.Slots) < 50 {
		t.Fatalf("%d slots, want 50", len(list.Slots))
	}
	began := time.Now()
	for _, slot := range list.Slots[:50] {
		if won, taken, other := race(t, patients, doctorID, slot.StartsAt); won != 1 || taken != 63 || other != nil {
			t.Errorf("%s: %d got the slot, %d were told that it is taken, others %v; want 1 and 63", slot.StartsAt, won, taken, other)
		}
	}
	t.Logf("3,200 requests in %s", time.Since(began).Round(time.Millisecond))
	t.Run("permissions of deploy/nats suffice", func(t *testing.T) {
		inbox := system.Client{Origin: cluster.Inbox}
		system.Eventually(t, 30*time.Second, "the doctor's e-mails", func() error {
			if list := inbox.Do(t, http.MethodGet, "/messages", nil).Want(t, http.StatusOK); !bytes.Contains(list.Body, []byte("helena@clinic.example")) {
				return errors.New("none yet")
			}
			return nil
		})
		for name, replicas := range cluster.Services {
			log, err := os.ReadFile(replicas[0].Log)
			if err != nil {
				t.Fatal(err)
			}
			if at := bytes.Index(bytes.ToLower(log), []byte("permissions violation")); at >= 0 {
				t.Errorf("%s was denied: %s", name, log[at:min(at+300, len(log))])
			}
		}
	})
}

// race has everyone ask for one slot at the same time.
func race(t *testing.T, patients []system.Client, doctorID string, slot time.Time) (won, taken int, other []int) {
	t.Helper()
	statuses := make([]int, len(patients))
	var start, done sync.WaitGroup
	start.Add(1)
	for i, p := range patients {
		done.Go(func() {
			start.Wait()
			statuses[i] = p.With("Idempotency-Key", slot.Format(time.RFC3339)).
				Do(t, http.MethodPost, "/v1/appointments", map[string]any{"doctor_id": doctorID, "starts_at": slot}).Status
		})
	}
	start.Done()
	done.Wait()
	for _, status := range statuses {
		switch status {
		case http.StatusCreated:
			won++
		case http.StatusConflict:
			taken++
		default:
			other = append(other, status)
		}
	}
	return won, taken, other
}

// cpf makes the n-th of a series of made-up CPFs with right check digits.
func cpf(n int) string {
	digits := fmt.Sprintf("%09d", 700_000_000+n)
	for weight := 10; weight <= 11; weight++ {
		sum := 0
		for i, d := range digits {
			sum += int(d-'0') * (weight - i)
		}
		digits += fmt.Sprint(sum * 10 % 11 % 10)
	}
	return digits
}
