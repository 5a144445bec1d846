package e2e

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/healthmed/healthmed/tests/system"
)

// TestRefusals sends what clients get wrong, or send on purpose: each is a clear problem, nothing of it is
// echoed, and nothing is written.
func TestRefusals(t *testing.T) {
	sys := system.Start(t, system.DataDir(t))
	anyone := system.Client{Origin: sys.Origin}
	patientBody := func(change map[string]any) map[string]any {
		body := map[string]any{"name": "Rita Nunes", "cpf": "935.411.347-80", "email": "rita.nunes@mail.example", "password": password}
		for name, value := range change {
			body[name] = value
		}
		return body
	}
	doctorBody := map[string]any{
		"name": "Davi Rocha", "cpf": "714.602.380-01", "email": "davi.rocha@clinic.example", "password": password,
		"crm": map[string]string{"number": "5544", "state": "RJ"}, "specialties": []string{"dermatology"},
	}
	doctorID := register(t, anyone, "doctors", doctorBody)
	doctor, _ := system.SignIn(t, sys.Origin, "davi.rocha@clinic.example", password)
	doctor.Do(t, http.MethodPut, "/v1/doctors/"+doctorID+"/availability", everyDay()).Want(t, http.StatusOK)
	register(t, anyone, "patients", patientBody(nil))
	register(t, anyone, "patients", patientBody(map[string]any{"cpf": "15350946056", "email": "outro@mail.example"}))
	rita, _ := system.SignIn(t, sys.Origin, "rita.nunes@mail.example", password)
	intruder, _ := system.SignIn(t, sys.Origin, "outro@mail.example", password)
	slot := firstSlot(t, anyone, doctorID)
	book := func(c system.Client, key string, starts time.Time, doctorID string) system.Answer {
		return c.With("Idempotency-Key", key).Do(t, http.MethodPost, "/v1/appointments", map[string]any{"doctor_id": doctorID, "starts_at": starts})
	}
	var own appointment
	book(rita, "own", slot, doctorID).Want(t, http.StatusCreated).JSON(t, &own)

	post := func(path string, body any) func() system.Answer {
		return func() system.Answer { return anyone.Do(t, http.MethodPost, path, body) }
	}
	fresh := func(change map[string]any) map[string]any {
		body := patientBody(map[string]any{"cpf": "168.995.350-09", "email": "nova@mail.example"})
		for name, value := range change {
			body[name] = value
		}
		return body
	}
	cases := []struct {
		name   string
		send   func() system.Answer
		status int
		kind   string
		faults []string // pointers that must be named
	}{
		{"CPF with a wrong check digit", post("/v1/patients", fresh(map[string]any{"cpf": "168.995.350-08"})), 422, "validation", []string{"/cpf"}},
		{"CPF of one digit repeated", post("/v1/patients", fresh(map[string]any{"cpf": "11111111111"})), 422, "validation", []string{"/cpf"}},
		{"weak password", post("/v1/patients", fresh(map[string]any{"password": "Quase-boa"})), 422, "validation", []string{"/password"}},
		{"every fault at once", post("/v1/patients", map[string]any{"name": "", "cpf": "123", "email": "nova@", "password": "x", "role": "admin", "birth_date": "2999-01-01"}), 422, "validation",
			[]string{"/name", "/cpf", "/email", "/password", "/role", "/birth_date"}},
		{"CRM without state", post("/v1/doctors", map[string]any{"name": "Davi Rocha", "cpf": "168.995.350-09", "email": "nova@mail.example", "password": password,
			"crm": map[string]string{"number": "5544"}, "specialties": []string{"dermatology"}}), 422, "validation", []string{"/crm/state"}},
		{"somebody's e-mail again", post("/v1/patients", fresh(map[string]any{"email": "rita.nunes@mail.example"})), 409, "already-registered", nil},
		{"somebody's CPF again", post("/v1/patients", fresh(map[string]any{"cpf": "93541134780"})), 409, "already-registered", nil},
		{"malformed JSON", post("/v1/patients", []byte(`{"name": "Rita`)), 400, "", nil},
		{"oversized body", post("/v1/patients", bytes.Repeat([]byte(" "), 1<<20)), 413, "", nil},
		{"wrong password", post("/v1/auth/login", map[string]string{"email": "rita.nunes@mail.example", "password": "Errad@123"}), 401, "invalid-credentials", nil},
		{"unknown account", post("/v1/auth/login", map[string]string{"email": "ninguem@mail.example", "password": "Errad@123"}), 401, "invalid-credentials", nil},
		{"no token", func() system.Answer { return book(anyone, "x1", slot.Add(time.Hour), doctorID) }, 401, "unauthenticated", nil},
		{"forged token", func() system.Answer {
			forged := rita
			forged.Token = rita.Token[:len(rita.Token)-8] + "AAAAAAAA"
			return book(forged, "x2", slot.Add(time.Hour), doctorID)
		}, 401, "unauthenticated", nil},
		{"a doctor cannot book", func() system.Answer { return book(doctor, "x3", slot.Add(time.Hour), doctorID) }, 403, "forbidden", nil},
		{"past slot", func() system.Answer { return book(intruder, "x4", slot.AddDate(0, 0, -7), doctorID) }, 422, "too-soon", nil},
		{"slot off the grid", func() system.Answer { return book(intruder, "x5", slot.Add(7*time.Minute), doctorID) }, 422, "outside-availability", nil},
		{"beyond the horizon", func() system.Answer { return book(intruder, "x6", slot.AddDate(0, 0, 90), doctorID) }, 422, "beyond-horizon", nil},
		{"unknown doctor", func() system.Answer {
			return book(intruder, "x7", slot.Add(time.Hour), "01890000-0000-7000-8000-000000000000")
		}, 404, "doctor-not-found", nil},
		{"another patient's appointment", func() system.Answer {
			return intruder.Do(t, http.MethodGet, "/v1/appointments/"+own.ID, nil)
		}, 404, "not-found", nil},
		{"cancelling another patient's appointment", func() system.Answer {
			return intruder.Do(t, http.MethodPost, "/v1/appointments/"+own.ID+"/cancel", map[string]string{"reason": "x"})
		}, 404, "not-found", nil},
		{"another doctor's hours", func() system.Answer {
			return rita.Do(t, http.MethodPut, "/v1/doctors/"+doctorID+"/availability", everyDay())
		}, 403, "forbidden", nil},
		{"hours that end before they start, beside other faults", func() system.Answer {
			wrong := everyDay()
			wrong["slot_minutes"], wrong["time_zone"] = 0, "America/Narnia"
			wrong["weekly"] = []map[string]string{
				{"weekday": "monday", "start": "12:00", "end": "09:00"}, {"weekday": "tuesday", "start": "9h", "end": "12:00"},
				{"weekday": "friday", "start": "09:00", "end": "12:00"}, {"weekday": "friday", "start": "11:00", "end": "13:00"},
			}
			return doctor.Do(t, http.MethodPut, "/v1/doctors/"+doctorID+"/availability", wrong)
		}, 422, "validation", []string{"/slot_minutes", "/time_zone", "/weekly/0/end", "/weekly/1/start", "/weekly/3"}},
		{"unknown query name", func() system.Answer { return anyone.Do(t, http.MethodGet, "/v1/doctors?nome=ana", nil) }, 422, "validation", nil},
		{"unknown route", func() system.Answer { return anyone.Do(t, http.MethodGet, "/v1/nowhere", nil) }, 404, "not-found", nil},
		{"wrong method", func() system.Answer { return anyone.Do(t, http.MethodDelete, "/v1/doctors", nil) }, 405, "", nil},
		{"same key, other body", func() system.Answer { return book(rita, "own", slot.Add(time.Hour), doctorID) }, 422, "idempotency-key-reused", nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			answer := c.send()
			var p struct {
				Type   string
				Errors []struct{ Pointer string }
			}
			answer.Want(t, c.status).JSON(t, &p)
			if c.kind != "" && p.Type != "/problems/"+c.kind {
				t.Errorf("type %q, want /problems/%s", p.Type, c.kind)
			}
			named := map[string]bool{}
			for _, e := range p.Errors {
				named[e.Pointer] = true
			}
			for _, pointer := range c.faults {
				if !named[pointer] {
					t.Errorf("%s is not named in %s", pointer, answer.Body)
				}
			}
			for _, secret := range []string{"168.995", "16899535", password, "Quase-boa", "Errad@", "11111111111"} {
				if strings.Contains(string(answer.Body), secret) {
					t.Errorf("the answer echoes %q: %s", secret, answer.Body)
				}
			}
		})
	}
	t.Run("nothing was written", func(t *testing.T) {
		for name, c := range map[string]system.Client{"Rita": rita, "the intruder": intruder} {
			var list struct{ Items []appointment }
			c.Do(t, http.MethodGet, "/v1/appointments", nil).Want(t, http.StatusOK).JSON(t, &list)
			if want := map[string]int{"Rita": 1}[name]; len(list.Items) != want {
				t.Errorf("%s has %d appointments, want %d", name, len(list.Items), want)
			}
		}
		anyone.Do(t, http.MethodPost, "/v1/auth/login", map[string]string{"email": "nova@mail.example", "password": password}).Want(t, http.StatusUnauthorized)
	})
}
