package users_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/services/users/internal/userstest"
)

func TestRegisterPatient_AnswersTheAccountAndSignsIn(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	res := s.Do("POST", "/v1/patients", "", map[string]any{
		"name": "  José   da Silva ", "cpf": "529.982.247-25", "email": "Jose@EXAMPLE.com", "password": userstest.Password,
		"phone": "(11) 98765-4321", "birth_date": "1990-05-20",
	}).Want(201)
	got := res.JSON()
	id := got["id"].(string)
	for _, made := range []string{"id", "created_at", "updated_at"} {
		delete(got, made)
	}
	want := map[string]any{
		"role": "patient", "status": "active", "name": "José da Silva", "email": "jose@example.com", "email_verified": false,
		"cpf": "***.982.247-**", "phone": "+5511987654321", "birth_date": "1990-05-20", "locale": "pt-BR", "version": 1.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("registration (-want +got):\n%s", diff)
	}
	if got, want := res.Header.Get("Location"), "/v1/patients/"+id; got != want {
		t.Errorf("got Location %q, want %q", got, want)
	}
	login := s.Do("POST", "/v1/auth/login", "", map[string]any{"email": "JOSE@example.com", "password": userstest.Password}).Want(200)
	wantUser := map[string]any{"id": id, "role": "patient", "name": "José da Silva"}
	if diff := cmp.Diff(wantUser, login.JSON()["user"]); diff != "" {
		t.Errorf("user of the session (-want +got):\n%s", diff)
	}
	if got := login.Text("expires_in"); got != "900" {
		t.Errorf("got expires_in %s, want 900", got)
	}
	me := s.Do("GET", "/v1/me", login.Text("access_token"), nil).Want(200)
	if me.Text("id") != id || me.Header.Get("ETag") != `"1"` || me.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %s with %v", me.Body, me.Header)
	}
}

func TestRegisterDoctor_IsFoundByThePublic_AndAnnounced(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	doctor := (&userstest.Crowd{Service: s}).Doctor(map[string]any{
		"name": "Ângela d'Ávila", "crm": map[string]any{"number": "0123456", "state": "RJ"}, "specialties": []string{"pediatrics", "cardiology"},
	})
	want := map[string]any{
		"id": doctor.ID, "name": "Ângela d'Ávila", "crm": map[string]any{"number": "123456", "state": "RJ"},
		"specialties": []any{"cardiology", "pediatrics"},
	}
	if diff := cmp.Diff(want, s.Do("GET", "/v1/doctors/"+doctor.ID, "", nil).Want(200).JSON()); diff != "" {
		t.Errorf("public profile (-want +got):\n%s", diff)
	}
	for _, query := range []string{"?name=angela", "?name=DAV", "?specialty=pediatrics", "?crm=123456", "?crm=123456-RJ", ""} {
		if diff := cmp.Diff([]any{want}, s.Do("GET", "/v1/doctors"+query, "", nil).Want(200).JSON()["items"]); diff != "" {
			t.Errorf("doctors%s (-want +got):\n%s", query, diff)
		}
	}
	for _, query := range []string{"?name=bela", "?specialty=urology", "?crm=123456-SP", "?name=%21%21"} {
		if diff := cmp.Diff([]any{}, s.Do("GET", "/v1/doctors"+query, "", nil).Want(200).JSON()["items"]); diff != "" {
			t.Errorf("doctors%s (-want +got):\n%s", query, diff)
		}
	}

	env := userstest.NextEvent(t, s, "healthmed.users.user.registered.v1."+doctor.ID)
	wantEvent := &events.UserRegistered{
		Role: "doctor", Status: "active", Name: "Ângela d'Ávila", Email: doctor.Email, Locale: "pt-BR",
		Doctor: &events.DoctorProfile{CRM: events.CRM{Number: "123456", State: "RJ"}, Specialties: []string{"cardiology", "pediatrics"}},
	}
	if diff := cmp.Diff(wantEvent, env.Data, cmpopts.IgnoreFields(events.UserRegistered{}, "UserID", "OccurredAt")); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	if env.Sequence != 1 || env.Data.AggregateID().String() != doctor.ID || env.CorrelationID == "" {
		t.Errorf("got sequence %d of %s, caused by %q", env.Sequence, env.Data.AggregateID(), env.CorrelationID)
	}
	body, err := env.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(body), doctor.CPF) {
		t.Error("the event carries the CPF")
	}
	if env.Data.Subject() == "" || bus.StreamOf(env.Data.Subject()) != bus.Users {
		t.Errorf("got subject %q", env.Data.Subject())
	}
}

//nolint:tparallel // the cases share one service, and what is written is counted after them
func TestRegister_TellsAllFaultsAtOnce_AndEchoesNone(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	cases := []struct {
		name, path, body string
		status           int
		problem          string
		faults           []string
	}{
		{"everything wrong", "/v1/doctors", `{"name":"1","cpf":"52998224724","crm":{"number":"12x"},"specialties":["magic"],"email":"a@b","password":"fracasso"}`,
			422, "validation", []string{"/cpf", "/crm/number", "/crm/state", "/email", "/name", "/password", "/specialties/0"}},
		{"missing", "/v1/patients", `{}`, 422, "validation", []string{"/cpf", "/email", "/name", "/password"}},
		{"repeated digits", "/v1/patients", patient(`"cpf":"111.111.111-11"`), 422, "validation", []string{"/cpf"}},
		{"mass assignment", "/v1/patients", patient(`"role":"admin","status":"active","id":"0193"`), 422, "validation", []string{"/id", "/role", "/status"}},
		{"born tomorrow", "/v1/patients", patient(`"birth_date":"2190-01-01"`), 422, "validation", []string{"/birth_date"}},
		{"header injection", "/v1/patients", patient(`"name":"Ana\r\nBcc: x@y.z"`), 422, "validation", []string{"/name"}},
		{"template injection", "/v1/patients", patient(`"name":"{{.Secret}} <script>"`), 422, "validation", []string{"/name"}},
		{"look-alike e-mail", "/v1/patients", patient(`"email":"аna@example.com"`), 422, "validation", []string{"/email"}},
		{"malformed", "/v1/patients", `{"name":`, 400, "malformed-json", nil},
		{"too large", "/v1/patients", patient(`"name":"` + strings.Repeat("a", 70<<10) + `"`), 413, "too-large", nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			res := s.Do("POST", c.path, "", c.body).Want(c.status)
			if c.faults != nil {
				res.Problem(c.status, c.problem)
				if diff := cmp.Diff(c.faults, res.Faults(), cmpopts.SortSlices(strings.Compare)); diff != "" {
					t.Errorf("faults (-want +got):\n%s", diff)
				}
			}
			for _, secret := range []string{"52998224724", "fracasso", "111.111", "Secret", "аna"} {
				if strings.Contains(string(res.Body), secret) {
					t.Errorf("%q is echoed: %s", secret, res.Body)
				}
			}
		})
	}
	if n := userstest.Count(t, s, `SELECT count(*) FROM users WHERE role <> 'admin'`); n != 0 {
		t.Errorf("%d accounts were written", n)
	}
}

// patient is a good registration with something in it changed or added.
func patient(change string) string {
	fields := map[string]json.RawMessage{
		"name": []byte(`"Ana Silva"`), "cpf": []byte(`"52998224725"`), "email": []byte(`"ana@example.com"`),
		"password": []byte(`"` + userstest.Password + `"`),
	}
	var changes map[string]json.RawMessage
	if err := json.Unmarshal([]byte("{"+change+"}"), &changes); err != nil {
		panic(err)
	}
	for k, v := range changes {
		fields[k] = v
	}
	body, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return string(body)
}

func TestRegister_RefusesWhatAnotherAccountHas_WithoutSayingWhich(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	crowd := &userstest.Crowd{Service: s}
	first := crowd.Doctor(map[string]any{"crm": map[string]any{"number": "77", "state": "SP"}})
	base := func() map[string]any {
		return map[string]any{
			"name": "Outra Pessoa", "cpf": userstest.CPF(900), "email": "other@example.com", "password": userstest.Password,
			"crm": map[string]any{"number": "78", "state": "SP"}, "specialties": []string{"cardiology"},
		}
	}
	var bodies []string
	for field, taken := range map[string]any{
		"email": strings.ToUpper(first.Email), "cpf": first.CPF, "crm": map[string]any{"number": "0077", "state": "SP"},
	} {
		body := base()
		body[field] = taken
		res := s.Do("POST", "/v1/doctors", "", body, "X-Request-Id", "same").Problem(409, "already-registered")
		bodies = append(bodies, string(res.Body))
	}
	if bodies[0] != bodies[1] || bodies[1] != bodies[2] {
		t.Errorf("the answers differ: %q", bodies)
	}
	s.Do("POST", "/v1/doctors", "", base()).Want(201)
}

func TestLogin_SaysTheSameForAWrongPasswordAndAnUnknownEmail(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	person := (&userstest.Crowd{Service: s}).Patient()
	wrong := s.Do("POST", "/v1/auth/login", "", map[string]any{"email": person.Email, "password": "Errada-1x"}, "X-Request-Id", "same").
		Problem(401, "invalid-credentials")
	unknown := s.Do("POST", "/v1/auth/login", "", map[string]any{"email": "nobody@example.com", "password": "Errada-1x"}, "X-Request-Id", "same").
		Problem(401, "invalid-credentials")
	if string(wrong.Body) != string(unknown.Body) {
		t.Errorf("the answers differ: %s and %s", wrong.Body, unknown.Body)
	}
}

func TestRefresh_GivesEachTokenOnce_AndReuseEndsTheSignIn(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	person := (&userstest.Crowd{Service: s}).Patient()
	exchange := func(token string) userstest.Response {
		return s.Do("POST", "/v1/auth/refresh", "", map[string]any{"refresh_token": token})
	}
	second := exchange(person.Refresh).Want(200)
	s.Do("GET", "/v1/me", second.Text("access_token"), nil).Want(200)
	exchange(person.Refresh).Problem(401, "unauthenticated")
	exchange(second.Text("refresh_token")).Problem(401, "unauthenticated")
	exchange("made-up").Problem(401, "unauthenticated")
}

func TestLogout_EndsTheSignIn(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	crowd := &userstest.Crowd{Service: s}
	person := crowd.Patient()
	other := crowd.SignIn(person, userstest.Password)
	for range 2 {
		s.Do("POST", "/v1/auth/logout", "", map[string]any{"refresh_token": person.Refresh}).Want(204)
	}
	s.Do("POST", "/v1/auth/refresh", "", map[string]any{"refresh_token": person.Refresh}).Problem(401, "unauthenticated")
	s.Do("POST", "/v1/auth/refresh", "", map[string]any{"refresh_token": other.Refresh}).Want(200)
}

func TestAdmin_IsMadeAtStart_AndOnlyOnce(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	admin := (&userstest.Crowd{Service: s}).Admin()
	if got := s.Do("GET", "/v1/me", admin.Token, nil).Want(200).Text("role"); got != "admin" {
		t.Errorf("got role %q", got)
	}
	cfg := s.Config
	s.Stop()
	again := userstest.Run(t, cfg)
	if got := (&userstest.Crowd{Service: again}).Admin(); got.ID != admin.ID {
		t.Errorf("got another administrator %s, had %s", got.ID, admin.ID)
	}
	// The token from before the restart is still good: signing keys are kept in the database.
	again.Do("GET", "/v1/me", admin.Token, nil).Want(200)
}

func TestMe_NeedsAToken(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	s.Do("GET", "/v1/me", "", nil).Problem(401, "unauthenticated")
	s.Do("GET", "/v1/me", "not.a.token", nil).Problem(401, "unauthenticated")
}

func TestCPF_LiesEncryptedInTheDatabase(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	person := (&userstest.Crowd{Service: s}).Patient()
	if n := userstest.Count(t, s, `SELECT count(*) FROM users WHERE users::text LIKE '%' || $1 || '%' OR position($1::bytea in cpf_sealed) > 0`, person.CPF); n != 0 {
		t.Error("the CPF can be read in the database")
	}
	if strings.Contains(s.Logs.String(), person.CPF) || strings.Contains(s.Logs.String(), userstest.Password) {
		t.Error("CPF or password is in the logs")
	}
}
