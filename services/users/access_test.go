package users_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/services/users"
	"github.com/healthmed/healthmed/services/users/internal/api"
	"github.com/healthmed/healthmed/services/users/internal/userstest"
)

// route is what the contract says of an operation: who may call it, and what they get. Everybody else is refused.
type route struct {
	operation string
	who       string // roles that may, of "nobody patient doctor admin", nobody being a caller without a token
	body      fields
	status    int // for those who may
}

const (
	anyone   = "nobody patient doctor admin"
	signedIn = "patient doctor admin"
)

// routes are all operations, as the contract has them, with those that end an account last. {patient} and {doctor} are other
// people than the caller; {n} is a number that no other call has.
func routes() []route {
	registration := fields{"name": "Outra Pessoa", "cpf": "{cpf}", "email": "new{n}@example.com", "password": userstest.Password}
	doctor := maps.Clone(registration)
	doctor["crm"], doctor["specialties"] = fields{"number": "9{n}", "state": "SP"}, []string{"cardiology"}
	return []route{
		{"GET /v1/specialties", anyone, nil, 200},
		{"GET /.well-known/jwks.json", anyone, nil, 200},
		{"GET /v1/doctors", anyone, nil, 200},
		{"GET /v1/doctors/{doctor}", anyone, nil, 200},
		{"POST /v1/patients", anyone, registration, 201},
		{"POST /v1/doctors", anyone, doctor, 201},
		{"POST /v1/auth/login", anyone, fields{"email": "nobody{n}@example.com", "password": "Errada-1x"}, 401},
		{"POST /v1/auth/refresh", anyone, fields{"refresh_token": "made-up"}, 401},
		{"POST /v1/auth/logout", anyone, fields{"refresh_token": "made-up"}, 204},
		{"POST /v1/auth/password/forgot", anyone, fields{"email": "nobody{n}@example.com"}, 202},
		{"POST /v1/auth/password/reset", anyone, fields{"token": "made-up", "password": userstest.Password}, 401},
		{"POST /v1/auth/email/verify", anyone, fields{"token": "made-up"}, 401},
		{"GET /v1/me", signedIn, nil, 200},
		{"PATCH /v1/me", signedIn, fields{"name": "Nome Novo"}, 200},
		{"GET /v1/me/export", signedIn, nil, 200},
		{"POST /v1/me/password", signedIn, fields{"current_password": "Errada-1x", "new_password": "Renovada-2y"}, 401},
		{"GET /v1/patients", "admin", nil, 200},
		{"POST /v1/patients/search", "admin", fields{"email": "nobody@example.com"}, 200},
		{"GET /v1/patients/{patient}", "admin", nil, 200}, // and a doctor who has an appointment with them: another test
		{"PATCH /v1/patients/{patient}", "admin", fields{"name": "Nome Novo"}, 200},
		{"PATCH /v1/doctors/{doctor}", "admin", fields{"name": "Nome Novo"}, 200},
		{"POST /v1/doctors/{doctor}/verification", "admin", fields{"decision": "approved"}, 200},
		{"POST /v1/admins", "admin", fields{"name": "Outra Admin", "email": "admin{n}@example.com", "password": userstest.Password}, 201},
		{"GET /v1/audit", "admin", nil, 200},
		{"DELETE /v1/patients/{patient}", "admin", nil, 204},
		{"DELETE /v1/doctors/{doctor}", "admin", nil, 204},
		{"DELETE /v1/me", signedIn, nil, 204},
	}
}

// fill puts values in the place of {…}.
func fill(v any, values *strings.Replacer) any {
	switch v := v.(type) {
	case string:
		return values.Replace(v)
	case fields:
		out := fields{}
		for name, value := range v {
			out[name] = fill(value, values)
		}
		return out
	}
	return v
}

// operationsOf lists the operations of openapi.yaml, such as "GET /v1/patients/{patient}".
func operationsOf(t *testing.T) []string {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(api.Spec())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			for _, collection := range []string{"patient", "doctor"} {
				path = strings.Replace(path, "/v1/"+collection+"s/{id}", "/v1/"+collection+"s/{"+collection+"}", 1)
			}
			all = append(all, method+" "+path)
		}
	}
	return all
}

// Every operation of openapi.yaml is called by everybody, with another person's id. One that the list above lacks fails
// the test, so that nobody adds a route without saying who may call it.
func TestAccess_EveryRouteByEveryRole(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t, generous)
	crowd := &userstest.Crowd{Service: s}
	otherPatient, otherDoctor := crowd.Patient(), crowd.Doctor()
	callers := map[string]string{"nobody": "", "patient": crowd.Patient().Token, "doctor": crowd.Doctor().Token, "admin": crowd.Admin().Token}
	var listed []string
	n := 1000
	for _, r := range routes() {
		listed = append(listed, r.operation)
		method, path, _ := strings.Cut(r.operation, " ")
		before := stateOf(t, s, otherPatient.ID, otherDoctor.ID)
		refused := slices.DeleteFunc(strings.Fields(anyone), func(role string) bool { return strings.Contains(r.who, role) })
		for _, role := range append(refused, strings.Fields(r.who)...) { // those who may, last: they change things
			n++
			values := strings.NewReplacer("{patient}", otherPatient.ID, "{doctor}", otherDoctor.ID, "{n}", fmt.Sprint(n), "{cpf}", userstest.CPF(n))
			var body any
			if r.body != nil {
				body = fill(r.body, values)
			}
			res := s.Do(method, values.Replace(path), callers[role], body)
			switch {
			case strings.Contains(r.who, role):
				if res.Status != r.status {
					t.Errorf("%s by %s: got %d, want %d: %s", r.operation, role, res.Status, r.status, res.Body)
				}
			case role == "nobody":
				if res.Status != 401 || res.Header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s without a token: got %d: %s", r.operation, res.Status, res.Body)
				}
			case res.Status != 403 && res.Status != 404:
				t.Errorf("%s by %s: got %d, want a refusal: %s", r.operation, role, res.Status, res.Body)
			default:
				if diff := cmp.Diff(before, stateOf(t, s, otherPatient.ID, otherDoctor.ID)); diff != "" {
					t.Errorf("%s by %s changed somebody (-before +after):\n%s", r.operation, role, diff)
				}
			}
		}
	}
	if diff := cmp.Diff(sorted(operationsOf(t)), sorted(listed)); diff != "" {
		t.Errorf("operations of openapi.yaml and of this test (-openapi +test):\n%s", diff)
	}
}

// stateOf is the version and status of people.
func stateOf(t *testing.T, s *userstest.Service, ids ...string) (state []int) {
	t.Helper()
	for _, id := range ids {
		state = append(state, userstest.Count(t, s, `SELECT coalesce((SELECT version FROM users WHERE id = $1 AND status <> 'erased'), 0)`, id))
	}
	return state
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

// What a caller may not choose is refused wherever a body is taken, whoever asks.
func TestAccess_NobodyAssignsWhatIsNotTheirs(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t, generous)
	crowd := &userstest.Crowd{Service: s}
	otherPatient, otherDoctor, admin := crowd.Patient(), crowd.Doctor(), crowd.Admin()
	before := userstest.Count(t, s, `SELECT sum(version) FROM users`)
	tried := 0
	for i, r := range routes() {
		if r.body == nil {
			continue
		}
		method, path, _ := strings.Cut(r.operation, " ")
		values := strings.NewReplacer("{patient}", otherPatient.ID, "{doctor}", otherDoctor.ID, "{n}", fmt.Sprint(i), "{cpf}", userstest.CPF(5000+i))
		for name, value := range map[string]any{
			"id": uuid.NewString(), "role": "admin", "status": "active", "version": 99, "email_verified": true, "user_id": uuid.NewString(),
			"created_at": "2026-01-01T00:00:00Z", "password_hash": "x", "groups": []string{"admins"}, "__proto__": fields{"role": "admin"},
		} {
			body := fill(r.body, values).(fields)
			body[name] = value
			res := s.Do(method, values.Replace(path), admin.Token, body).Problem(422, "validation")
			if diff := cmp.Diff([]string{"/" + name}, res.Faults()); diff != "" {
				t.Errorf("%s with %s (-want +got):\n%s", r.operation, name, diff)
			}
			tried++
		}
	}
	if after := userstest.Count(t, s, `SELECT sum(version) FROM users`); after != before || tried == 0 {
		t.Errorf("%d bodies: versions rose from %d to %d", tried, before, after)
	}
}

// A token outlives its account by minutes; the rights of its role don't.
func TestAccess_EndsWithTheAccount(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	crowd := &userstest.Crowd{Service: s}
	patient, doctor, first := crowd.Patient(), crowd.Doctor(), crowd.Admin()
	userstest.Database(t, s, func(c *pgx.Conn) error {
		_, err := c.Exec(t.Context(), `INSERT INTO appointments (id, doctor_id, patient_id, version, stands) VALUES (gen_random_uuid(), $1, $2, 1, true)`,
			doctor.ID, patient.ID)
		return err
	})
	admin := userstest.Person{Email: "second@example.com"}
	s.Do("POST", "/v1/admins", first.Token, fields{"name": "Outra Admin", "email": admin.Email, "password": userstest.Password}).Want(201)
	admin = crowd.SignIn(admin, userstest.Password)
	calls := func(want int) {
		t.Helper()
		s.Do("GET", "/v1/patients/"+patient.ID, doctor.Token, nil).Want(want)
		s.Do("GET", "/v1/patients/"+patient.ID, admin.Token, nil).Want(want)
		s.Do("GET", "/v1/audit", admin.Token, nil).Want(want)
		s.Do("GET", "/v1/doctors?status=active", admin.Token, nil).Want(want)
	}
	calls(200)
	s.Do("DELETE", "/v1/me", doctor.Token, nil).Want(204)
	s.Do("DELETE", "/v1/me", admin.Token, nil).Want(204)
	calls(401)
	s.Do("POST", "/v1/admins", admin.Token, fields{"name": "Terceira Admin", "email": "third@example.com", "password": userstest.Password}).
		Problem(401, "unauthenticated")
}

// generous lets a test fail as often as it likes.
func generous(c *users.Config) { c.AttemptsPerAccount, c.AttemptsPerAddress = 1000, 10_000 }
