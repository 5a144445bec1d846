package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// demoPassword is the demo doctors' and patient's. It is printed at start: nothing here is meant for anyone else.
const demoPassword = "Demo#2026"

// account of a demo person, as POST /v1/doctors or /v1/patients takes it.
type account struct {
	role string // doctor or patient
	body map[string]any
}

func (a account) email() string { return a.body["email"].(string) }

// demoAccounts are two doctors and a patient. Their CPFs are made up, with right check digits.
func demoAccounts() []account {
	person := func(name, cpf, email string) map[string]any {
		return map[string]any{"name": name, "cpf": cpf, "email": email, "password": demoPassword}
	}
	ana := person("Ana Souza", "529.982.247-25", "ana.souza@healthmed.example")
	ana["crm"] = map[string]string{"number": "123456", "state": "SP"}
	ana["specialties"] = []string{"cardiology"}
	bruno := person("Bruno Lima", "111.444.777-35", "bruno.lima@healthmed.example")
	bruno["crm"] = map[string]string{"number": "654321", "state": "AM"}
	bruno["specialties"] = []string{"dermatology", "pediatrics"}
	carla := person("Carla Dias", "123.456.789-09", "carla.dias@healthmed.example")
	return []account{{"doctor", ana}, {"doctor", bruno}, {"patient", carla}}
}

// demoAvailability is every day of the week, so that whoever tries the system finds a free slot.
func demoAvailability(zone string) map[string]any {
	var weekly []map[string]string
	for _, day := range []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"} {
		weekly = append(weekly,
			map[string]string{"weekday": day, "start": "08:00", "end": "12:00"},
			map[string]string{"weekday": day, "start": "13:00", "end": "18:00"})
	}
	return map[string]any{
		"time_zone": zone, "slot_minutes": 30, "buffer_minutes": 0, "min_notice_minutes": 60,
		"horizon_days": 60, "booking_mode": "instant", "weekly": weekly,
	}
}

// seedDemo makes what is missing of the demo accounts, through the same API that everyone uses. It may run at
// every start: what exists is left as it is.
func seedDemo(ctx context.Context, origin string) error {
	api := client{origin: origin, http: &http.Client{}}
	zones := []string{"America/Sao_Paulo", "America/Manaus"}
	for i, a := range demoAccounts() {
		status, err := api.call(ctx, http.MethodPost, "/v1/"+a.role+"s", "", a.body, nil)
		if err != nil {
			return err
		}
		if status != http.StatusCreated && status != http.StatusConflict {
			return fmt.Errorf("demo: registering a %s answered %d", a.role, status)
		}
		if a.role != "doctor" {
			continue
		}
		if err := seedAvailability(ctx, api, a, zones[i%len(zones)]); err != nil {
			return err
		}
	}
	return nil
}

// seedAvailability publishes a demo doctor's hours unless the doctor has some, or has changed the password.
func seedAvailability(ctx context.Context, api client, doctor account, zone string) error {
	var session struct {
		AccessToken string `json:"access_token"`
		User        struct {
			ID string `json:"id"`
		} `json:"user"`
	}
	credentials := map[string]string{"email": doctor.email(), "password": demoPassword}
	status, err := api.call(ctx, http.MethodPost, "/v1/auth/login", "", credentials, &session)
	if err != nil || status != http.StatusOK {
		return err
	}
	path := "/v1/doctors/" + session.User.ID + "/availability"
	var now struct {
		Weekly []json.RawMessage `json:"weekly"`
	}
	if status, err := api.call(ctx, http.MethodGet, path, "", nil, &now); err != nil || status == http.StatusOK && len(now.Weekly) > 0 {
		return err
	}
	status, err = api.call(ctx, http.MethodPut, path, session.AccessToken, demoAvailability(zone), nil)
	// With DOCTOR_APPROVAL=manual the doctor waits for an administrator, and may not publish before.
	if err == nil && status != http.StatusOK && status != http.StatusForbidden {
		err = fmt.Errorf("demo: publishing availability answered %d", status)
	}
	return err
}

// client calls the public API.
type client struct {
	origin string
	http   *http.Client
}

// call sends body as JSON and decodes a 2xx answer into out; it returns the status.
func (c client) call(ctx context.Context, method, path, token string, body, out any) (int, error) {
	var payload io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return 0, err
		}
		payload = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.origin+path, payload)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return 0, err
	}
	if out != nil && res.StatusCode < 300 {
		return res.StatusCode, json.Unmarshal(answer, out)
	}
	return res.StatusCode, nil
}
