package users_test

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/bus/accountmail"
	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/services/users"
	"github.com/healthmed/healthmed/services/users/internal/userstest"
)

type fields = map[string]any

func TestChangeMe_AnnouncesTheChange_AndHonoursIfMatch(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	doctor := (&userstest.Crowd{Service: s}).Doctor()
	change := fields{"name": "Nova Graça", "phone": "(21) 98888-7777", "specialties": []string{"urology"}}
	res := s.Do("PATCH", "/v1/me", doctor.Token, change, "If-Match", `"1"`).Want(200)
	if res.Header.Get("ETag") != `"2"` || res.Text("name") != "Nova Graça" || res.Text("phone") != "+5521988887777" {
		t.Errorf("got %s with ETag %s", res.Body, res.Header.Get("ETag"))
	}
	env := userstest.NextEvent(t, s, "healthmed.users.user.updated.v1."+doctor.ID)
	got, ok := env.Data.(*events.UserUpdated)
	if !ok || env.Sequence != 2 || got.Name != "Nova Graça" || !cmp.Equal(got.Doctor.Specialties, []string{"urology"}) {
		t.Errorf("got event %+v of version %d", env.Data, env.Sequence)
	}
	for _, stale := range []string{`"1"`, `"3"`, `W/"2"`, `nonsense`, `"x"`} {
		s.Do("PATCH", "/v1/me", doctor.Token, fields{"name": "Outra"}, "If-Match", stale).Problem(412, "precondition-failed")
	}
	// What changes nothing is no new version.
	if got := s.Do("PATCH", "/v1/me", doctor.Token, change, "If-Match", "*").Want(200).Header.Get("ETag"); got != `"2"` {
		t.Errorf("got ETag %s", got)
	}
	for query, found := range map[string]int{"?name=gra%C3%A7a": 1, "?name=teste": 0, "?specialty=urology": 1, "?specialty=cardiology": 0} {
		if items := s.Do("GET", "/v1/doctors"+query, "", nil).Want(200).JSON()["items"].([]any); len(items) != found {
			t.Errorf("doctors%s: got %d, want %d", query, len(items), found)
		}
	}
	if got := s.Do("PATCH", "/v1/me", doctor.Token, fields{"phone": ""}).Want(200).Text("phone"); got != "" {
		t.Errorf("the telephone is still %s", got)
	}
	s.Do("PATCH", "/v1/me", doctor.Token, `{"role":"admin","status":"active","id":"x","cpf":"52998224725","version":9}`).Problem(422, "validation")
	s.Do("PATCH", "/v1/me", doctor.Token, `{}`).Problem(422, "validation")
}

func TestChangeMe_OfTwoAtOnceOneIsStale(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	patient := (&userstest.Crowd{Service: s}).Patient()
	statuses := make([]int, 8)
	var wg sync.WaitGroup
	for i := range statuses {
		wg.Go(func() {
			statuses[i] = s.Do("PATCH", "/v1/me", patient.Token, fields{"name": fmt.Sprintf("Pessoa Número %d", i)}, "If-Match", `"1"`).Status
		})
	}
	wg.Wait()
	count := map[int]int{}
	for _, status := range statuses {
		count[status]++
	}
	if diff := cmp.Diff(map[int]int{200: 1, 412: 7}, count); diff != "" {
		t.Error(diff)
	}
}

func TestEmail_IsConfirmedByItsMailbox(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	patient := (&userstest.Crowd{Service: s}).Patient()
	verify := func(token string) userstest.Response {
		return s.Do("POST", "/v1/auth/email/verify", "", fields{"token": token})
	}
	welcome := userstest.AccountMail(t, s, accountmail.VerifyEmail, patient.ID, patient.Email)
	if welcome.Changed {
		t.Error("a new account's address is asked for as a changed one")
	}
	token := welcome.Token
	verify("made-up").Problem(401, "unauthenticated")
	verify(token).Want(204)
	verify(token).Problem(401, "unauthenticated") // once
	if got := s.Do("GET", "/v1/me", patient.Token, nil).Text("email_verified"); got != "true" {
		t.Errorf("got email_verified %s", got)
	}

	// A new address counts once its own mailbox has confirmed it.
	me := s.Do("PATCH", "/v1/me", patient.Token, fields{"email": "New@Example.com"}).Want(200)
	if me.Text("email") != patient.Email || me.Text("pending_email") != "new@example.com" {
		t.Errorf("got %s", me.Body)
	}
	asked := userstest.AccountMail(t, s, accountmail.VerifyEmail, patient.ID, "new@example.com")
	if !asked.Changed {
		t.Error("a changed address is asked for as a new account's")
	}
	verify(asked.Token).Want(204)
	me = s.Do("GET", "/v1/me", patient.Token, nil).Want(200)
	if me.Text("email") != "new@example.com" || me.Text("pending_email") != "" || me.Text("email_verified") != "true" {
		t.Errorf("got %s", me.Body)
	}
	s.Do("POST", "/v1/auth/login", "", fields{"email": "new@example.com", "password": userstest.Password}).Want(200)
	s.Do("POST", "/v1/auth/login", "", fields{"email": patient.Email, "password": userstest.Password}).Problem(401, "invalid-credentials")
}

func TestPasswordReset_EndsEverySignIn(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	patient := (&userstest.Crowd{Service: s}).Patient()
	s.Do("POST", "/v1/auth/password/forgot", "", fields{"email": "nobody@example.com"}).Want(202)
	s.Do("POST", "/v1/auth/password/forgot", "", fields{"email": "no address"}).Want(202)
	s.Do("POST", "/v1/auth/password/forgot", "", fields{"email": patient.Email}).Want(202)
	token := userstest.MailToken(t, s, accountmail.ResetPassword, patient.ID, patient.Email)
	reset := func(token, password string) userstest.Response {
		return s.Do("POST", "/v1/auth/password/reset", "", fields{"token": token, "password": password})
	}
	reset(token, "weak").Problem(422, "validation")
	reset("made-up", "Renovada-2y").Problem(401, "unauthenticated")
	reset(token, "Renovada-2y").Want(204)
	reset(token, "Renovada-3z").Problem(401, "unauthenticated")
	s.Do("POST", "/v1/auth/refresh", "", fields{"refresh_token": patient.Refresh}).Problem(401, "unauthenticated")
	s.Do("POST", "/v1/auth/login", "", fields{"email": patient.Email, "password": userstest.Password}).Problem(401, "invalid-credentials")
	s.Do("POST", "/v1/auth/login", "", fields{"email": patient.Email, "password": "Renovada-2y"}).Want(200)
	userstest.MailToken(t, s, accountmail.PasswordChanged, patient.ID, patient.Email)
	// The token is in the message alone.
	if n := userstest.Count(t, s, `SELECT count(*) FROM outbox WHERE published_at IS NOT NULL AND position($1::bytea in data) > 0`, token); n != 0 {
		t.Error("the token lies in the outbox")
	}
}

// A sign-in with the old password that is being verified while the password is replaced is one of those that end.
func TestLogin_DoesNotOutliveAPasswordReplacedMeanwhile(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	patient := (&userstest.Crowd{Service: s}).Patient()
	answer := make(chan userstest.Response, 1)
	userstest.Database(t, s, func(c *pgx.Conn) error {
		return pgx.BeginFunc(t.Context(), c, func(tx pgx.Tx) error {
			// As the service does it, and stopped just before its end.
			if _, err := tx.Exec(t.Context(), `SELECT FROM users WHERE id = $1 FOR UPDATE`, patient.ID); err != nil {
				return err
			}
			if _, err := tx.Exec(t.Context(), `UPDATE credentials SET password_hash = 'another', changed_at = now() WHERE user_id = $1`, patient.ID); err != nil {
				return err
			}
			go func() {
				answer <- s.Do("POST", "/v1/auth/login", "", fields{"email": patient.Email, "password": userstest.Password})
			}()
			userstest.Eventually(t, "the sign-in waits for the account", func() bool {
				return userstest.Count(t, s, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 0
			})
			return nil
		})
	})
	(<-answer).Problem(401, "invalid-credentials")
}

func TestChangePassword_NeedsThePresentOne(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	patient := (&userstest.Crowd{Service: s}).Patient()
	s.Do("POST", "/v1/me/password", patient.Token, fields{"current_password": "Errada-1x", "new_password": "Renovada-2y"}).
		Problem(401, "invalid-credentials")
	s.Do("POST", "/v1/me/password", patient.Token, fields{"current_password": userstest.Password, "new_password": "Renovada-2y"}).Want(204)
	s.Do("POST", "/v1/auth/refresh", "", fields{"refresh_token": patient.Refresh}).Problem(401, "unauthenticated")
	s.Do("POST", "/v1/auth/login", "", fields{"email": patient.Email, "password": "Renovada-2y"}).Want(200)
}

func TestLogin_IsThrottledPerAccount_AlsoAfterARestart(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t, func(c *users.Config) { c.AttemptsPerAccount = 3 })
	crowd := &userstest.Crowd{Service: s}
	patient, other := crowd.Patient(), crowd.Patient()
	login := func(s *userstest.Service, email, password string) userstest.Response {
		return s.Do("POST", "/v1/auth/login", "", fields{"email": email, "password": password})
	}
	for range 3 {
		login(s, patient.Email, "Errada-1x").Problem(401, "invalid-credentials")
		login(s, "nobody@example.com", "Errada-1x").Problem(401, "invalid-credentials")
	}
	for _, email := range []string{patient.Email, "nobody@example.com", strings.ToUpper(patient.Email)} {
		if after := login(s, email, userstest.Password).Problem(429, "rate-limited").Header.Get("Retry-After"); after == "" || after == "0" {
			t.Errorf("got Retry-After %q", after)
		}
	}
	for range 5 { // what succeeds costs nothing
		login(s, other.Email, userstest.Password).Want(200)
	}
	cfg := s.Config
	s.Stop()
	again := userstest.Run(t, cfg)
	login(again, patient.Email, userstest.Password).Problem(429, "rate-limited")
	login(again, other.Email, userstest.Password).Want(200)
}

func TestLogin_IsThrottledPerAddress_AsTheTrustedProxySaysIt(t *testing.T) {
	t.Parallel()
	began := time.Now()
	s := userstest.Start(t, func(c *users.Config) {
		c.AttemptsPerAddress, c.TrustedProxies = 3, []string{"127.0.0.1"}
		c.Now = func() time.Time { return began } // the budget grows while a slow machine hashes
	})
	login := func(n int, from string) userstest.Response {
		return s.Do("POST", "/v1/auth/login", "", fields{"email": fmt.Sprintf("nobody%d@example.com", n), "password": "Errada-1x"}, "X-Forwarded-For", from)
	}
	for n := range 3 {
		login(n, fmt.Sprintf("2001:db8::%d", n)).Problem(401, "invalid-credentials")
	}
	login(9, "2001:db8::ffff").Problem(429, "rate-limited") // the same /64
	login(9, "203.0.113.7").Problem(401, "invalid-credentials")
}

func TestLogin_AFloodIsAnsweredAndTheRestStaysResponsive(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	patient := (&userstest.Crowd{Service: s}).Patient()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			res := s.Do("POST", "/v1/auth/login", "", fields{"email": patient.Email, "password": userstest.Password})
			if res.Status != 200 && (res.Header.Get("Retry-After") == "" || res.Status != 503 && res.Status != 429) {
				t.Errorf("got %d: %s", res.Status, res.Body)
			}
		})
	}
	s.Do("GET", "/v1/doctors", "", nil).Want(200)
	wg.Wait()
}

func TestDoctorApproval_Manual_ListsADoctorOnceApproved(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t, func(c *users.Config) { c.DoctorApproval = "manual" })
	crowd := &userstest.Crowd{Service: s}
	admin, doctor, patient := crowd.Admin(), crowd.Doctor(), crowd.Patient()
	listed := func() int { return len(s.Do("GET", "/v1/doctors", "", nil).Want(200).JSON()["items"].([]any)) }
	if listed() != 0 || s.Do("GET", "/v1/me", doctor.Token, nil).Text("status") != "pending_verification" {
		t.Error("a doctor who waits is listed, or active")
	}
	s.Do("GET", "/v1/doctors/"+doctor.ID, "", nil).Problem(404, "not-found")
	s.Do("GET", "/v1/doctors/"+doctor.ID, patient.Token, nil).Problem(404, "not-found")
	if got := s.Do("GET", "/v1/doctors/"+doctor.ID, doctor.Token, nil).Want(200).Text("status"); got != "pending_verification" {
		t.Errorf("the doctor sees status %q", got)
	}
	waiting := s.Do("GET", "/v1/doctors?status=pending_verification", admin.Token, nil).Want(200).JSON()["items"].([]any)
	if len(waiting) != 1 {
		t.Errorf("got %d doctors who wait", len(waiting))
	}
	s.Do("GET", "/v1/doctors?status=pending_verification", "", nil).Problem(401, "unauthenticated")
	s.Do("GET", "/v1/doctors?status=pending_verification", doctor.Token, nil).Problem(403, "forbidden")

	path := "/v1/doctors/" + doctor.ID + "/verification"
	s.Do("POST", path, doctor.Token, fields{"decision": "approved"}).Problem(403, "forbidden")
	s.Do("POST", path, admin.Token, fields{"decision": "maybe"}).Problem(422, "validation")
	for _, step := range []struct {
		decision, status string
		listed           int
	}{{"approved", "active", 1}, {"approved", "active", 1}, {"rejected", "rejected", 0}, {"approved", "active", 1}} {
		res := s.Do("POST", path, admin.Token, fields{"decision": step.decision, "reason": "CRM conferido"}).Want(200)
		if res.Text("status") != step.status || listed() != step.listed {
			t.Errorf("%s: got status %s and %d listed", step.decision, res.Text("status"), listed())
		}
	}
	env := userstest.NextEvent(t, s, "healthmed.users.user.updated.v1."+doctor.ID)
	if got := env.Data.(*events.UserUpdated).Status; got != "active" && env.Sequence < 4 {
		t.Errorf("got event with status %s", got)
	}
	s.Do("POST", "/v1/doctors/"+patient.ID+"/verification", admin.Token, fields{"decision": "approved"}).Problem(404, "not-found")
}

func TestDoctors_ComeInPages_ByPrefixOfAnyWord(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	crowd := &userstest.Crowd{Service: s}
	var ids []string
	for _, name := range []string{"Ana Anabela Souza", "Bruno Sá", "Ánderson Lima", "Carla Andrade", "Zoë Santana"} {
		ids = append(ids, crowd.Doctor(fields{"name": name}).ID)
	}
	pages := func(query string, limit int) (names []string) {
		cursor := ""
		for range 10 {
			path := fmt.Sprintf("/v1/doctors?limit=%d&%s", limit, query)
			if cursor != "" {
				path += "&cursor=" + url.QueryEscape(cursor)
			}
			res := s.Do("GET", path, "", nil).Want(200)
			for _, item := range res.JSON()["items"].([]any) {
				names = append(names, item.(map[string]any)["name"].(string))
			}
			if cursor = res.Text("next_cursor"); cursor == "" {
				return names
			}
		}
		t.Fatal("the pages don't end")
		return nil
	}
	for query, want := range map[string][]string{
		"":                     {"Ana Anabela Souza", "Ánderson Lima", "Bruno Sá", "Carla Andrade", "Zoë Santana"},
		"name=an":              {"Ana Anabela Souza", "Ánderson Lima", "Carla Andrade"},
		"name=SOU%20an":        {"Ana Anabela Souza"},
		"name=zoe":             {"Zoë Santana"},
		"name=s":               {"Bruno Sá", "Zoë Santana", "Ana Anabela Souza"},
		"specialty=cardiology": {"Ana Anabela Souza", "Ánderson Lima", "Bruno Sá", "Carla Andrade", "Zoë Santana"},
		"name=a%25":            {"Ana Anabela Souza", "Ánderson Lima", "Carla Andrade"},
		"name=x'%20OR%201=1":   nil,
	} {
		for _, limit := range []int{1, 2, 100} {
			if diff := cmp.Diff(want, pages(query, limit)); diff != "" {
				t.Errorf("%q by %d (-want +got):\n%s", query, limit, diff)
			}
		}
	}
	for _, bad := range []string{"limit=0", "limit=101", "limit=x", "cursor=%00", "cursor=e30x", "order=name", "specialty=magic", "crm=abc"} {
		s.Do("GET", "/v1/doctors?"+bad, "", nil).Problem(422, "validation")
	}
	s.Do("GET", "/v1/doctors/"+strings.ToUpper(ids[0]), "", nil).Want(200)
	s.Do("GET", "/v1/doctors/not-a-uuid", "", nil).Problem(422, "validation")
}

func TestSigningKeys_RotateWithoutAnyoneBeingSignedOut(t *testing.T) {
	t.Parallel()
	clock := struct {
		sync.Mutex
		ahead time.Duration
	}{}
	now := func() time.Time {
		clock.Lock()
		defer clock.Unlock()
		return time.Now().Add(clock.ahead)
	}
	s := userstest.Start(t, func(c *users.Config) {
		c.Now, c.SigningKeyAge, c.RefreshTokenTTL, c.AccessTokenTTL = now, 24*time.Hour, 90*24*time.Hour, 15*time.Minute
	})
	patient := (&userstest.Crowd{Service: s}).Patient()
	kids := func() (ids []string) {
		for _, k := range s.Do("GET", "/.well-known/jwks.json", "", nil).Want(200).JSON()["keys"].([]any) {
			ids = append(ids, k.(map[string]any)["kid"].(string))
		}
		return ids
	}
	first := kids()
	if len(first) != 1 {
		t.Fatalf("got keys %v", first)
	}
	refresh := func() {
		t.Helper()
		res := s.Do("POST", "/v1/auth/refresh", "", fields{"refresh_token": patient.Refresh}).Want(200)
		patient.Refresh, patient.Token = res.Text("refresh_token"), res.Text("access_token")
		s.Do("GET", "/v1/me", patient.Token, nil).Want(200)
	}
	step := func(d time.Duration) {
		clock.Lock()
		clock.ahead += d
		clock.Unlock()
	}
	step(25 * time.Hour) // the successor is published, and doesn't sign yet
	refresh()
	if got := kids(); len(got) != 2 || got[0] != first[0] {
		t.Fatalf("got keys %v", got)
	}
	step(6 * time.Minute) // now it signs; what the old key signed is still good
	s.Do("GET", "/v1/me", patient.Token, nil).Want(200)
	refresh()
	step(2 * time.Hour) // nobody needs the old key any more
	refresh()
	if got := kids(); len(got) != 1 || got[0] == first[0] {
		t.Errorf("got keys %v, had %v", got, first)
	}
}

func TestAudit_IsAppendOnly(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	(&userstest.Crowd{Service: s}).Patient()
	userstest.Database(t, s, func(conn *pgx.Conn) error {
		for _, sql := range []string{
			`UPDATE audit_log SET outcome = 'denied'`, `DELETE FROM audit_log`, `TRUNCATE audit_log`, `TRUNCATE audit_log_default`,
		} {
			if _, err := conn.Exec(t.Context(), sql); err == nil {
				t.Errorf("%s is allowed", sql)
			}
		}
		return nil
	})
	if n := userstest.Count(t, s, `SELECT count(*) FROM audit_log WHERE action = 'sign_in' AND outcome = 'ok'`); n != 1 {
		t.Errorf("got %d sign-ins in the log", n)
	}
}
