package users_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/bus/accountmail"
	"github.com/healthmed/healthmed/services/users"
	"github.com/healthmed/healthmed/services/users/internal/cognitotest"
	"github.com/healthmed/healthmed/services/users/internal/userstest"
)

// withPool makes a service keep its passwords in a Cognito user pool.
func withPool(pool *cognitotest.Pool) func(*users.Config) {
	return func(c *users.Config) {
		c.Identity = "cognito"
		c.Auth = auth.Config{
			Issuer: pool.Issuer(), ClientID: cognitotest.ClientID, JWKSURL: pool.Issuer() + "/.well-known/jwks.json",
		}
		c.CognitoUserPoolID, c.CognitoClientID, c.CognitoClientSecret = cognitotest.PoolID, cognitotest.ClientID, cognitotest.ClientSecret
		c.AWSRegion, c.AWSAccessKeyID, c.AWSSecretAccessKey, c.CognitoEndpoint = "sa-east-1", "test", "test", pool.URL
		c.KeysToken, c.AdminEmail, c.AdminPassword = "", "", ""
	}
}

// later runs the service again, its clock ahead: jobs run at start.
func later(t *testing.T, s *userstest.Service, ahead time.Duration) *userstest.Service {
	t.Helper()
	cfg := s.Config
	s.Stop()
	cfg.Now = func() time.Time { return time.Now().Add(ahead) }
	return userstest.Run(t, cfg)
}

func patientBody(n int, extra fields) fields {
	body := fields{
		"name": "Paciente Teste", "cpf": userstest.CPF(n), "email": fmt.Sprintf("patient%d@example.com", n), "password": userstest.Password,
	}
	for k, v := range extra {
		body[k] = v
	}
	return body
}

func login(s *userstest.Service, email, password string) userstest.Response {
	return s.Do("POST", "/v1/auth/login", "", fields{"email": email, "password": password})
}

func confirmed(s *userstest.Service, pool *cognitotest.Pool, email string) {
	s.Do("POST", "/v1/auth/email/verify", "", fields{"token": pool.Code(email), "email": email}).Want(204)
}

func TestCognito_FromRegistrationToErasure(t *testing.T) {
	t.Parallel()
	pool := cognitotest.New(t)
	s := userstest.Start(t, withPool(pool))
	email := "patient1@example.com"
	made := s.Do("POST", "/v1/patients", "", patientBody(1, nil)).Want(201)
	id := made.Text("id")
	if u := pool.User(email); u == nil || u.Sub != id || !slices.Equal(u.Groups, []string{"patients"}) {
		t.Fatalf("the pool has %+v, the database %s", u, id)
	}
	s.Do("POST", "/v1/patients", "", patientBody(1, nil)).Problem(409, "already-registered")
	login(s, email, userstest.Password).Problem(403, "email-not-verified")
	verify := func(body fields) userstest.Response { return s.Do("POST", "/v1/auth/email/verify", "", body) }
	verify(fields{"token": "000000", "email": email}).Problem(401, "unauthenticated")
	verify(fields{"token": "123456", "email": "nobody@example.com"}).Problem(401, "unauthenticated")
	verify(fields{"token": pool.Code(email)}).Problem(422, "validation")
	confirmed(s, pool, email)
	login(s, email, "Errada-1x").Problem(401, "invalid-credentials")
	login(s, "nobody@example.com", userstest.Password).Problem(401, "invalid-credentials")
	login(s, "no address", userstest.Password).Problem(401, "invalid-credentials")

	session := login(s, "PATIENT1@example.com", userstest.Password).Want(200)
	if diff := cmp.Diff(map[string]any{"id": id, "role": "patient", "name": "Paciente Teste"}, session.JSON()["user"]); diff != "" {
		t.Errorf("user of the session (-want +got):\n%s", diff)
	}
	me := s.Do("GET", "/v1/me", session.Text("access_token"), nil).Want(200)
	if me.Text("id") != id || me.Text("email_verified") != "true" {
		t.Errorf("got %s", me.Body)
	}
	// Any other service verifies by the same rules, from the same addresses.
	verifier, err := auth.NewVerifier(s.Config.Auth, auth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if who, err := verifier.Verify(t.Context(), session.Text("access_token")); err != nil || who.ID.String() != id || who.Role != auth.Patient {
		t.Errorf("another service sees %+v, %v", who, err)
	}
	if got := string(s.Do("GET", "/.well-known/jwks.json", "", nil).Want(200).Body); !strings.Contains(got, `"keys":[]`) {
		t.Errorf("own keys: %s", got)
	}
	s.Do("DELETE", "/v1/me", session.Text("access_token"), nil).Want(204)
	userstest.NextEvent(t, s, "healthmed.users.user.erased.v1."+id)
	if u := pool.User(email); u != nil {
		t.Errorf("the pool still has %+v", u)
	}
	login(s, email, userstest.Password).Problem(401, "invalid-credentials")
	s.Do("POST", "/v1/auth/refresh", "", fields{"refresh_token": session.Text("refresh_token")}).Problem(401, "unauthenticated")
	if back := s.Do("POST", "/v1/patients", "", patientBody(1, nil)).Want(201).Text("id"); back == id {
		t.Error("who comes back has the erased person's id")
	}
}

func TestCognito_RefreshTokensRotate_AndReuseEndsTheSignIn(t *testing.T) {
	t.Parallel()
	pool := cognitotest.New(t)
	s := userstest.Start(t, withPool(pool))
	s.Do("POST", "/v1/patients", "", patientBody(1, nil)).Want(201)
	confirmed(s, pool, "patient1@example.com")
	first := login(s, "patient1@example.com", userstest.Password).Want(200)
	refresh := func(token string) userstest.Response {
		return s.Do("POST", "/v1/auth/refresh", "", fields{"refresh_token": token})
	}
	second := refresh(first.Text("refresh_token")).Want(200)
	s.Do("GET", "/v1/me", second.Text("access_token"), nil).Want(200)
	refresh(first.Text("refresh_token")).Problem(401, "unauthenticated")
	refresh(second.Text("refresh_token")).Problem(401, "unauthenticated")
	refresh("made-up").Problem(401, "unauthenticated")
	if n := userstest.Count(t, s, `SELECT count(*) FROM audit_log WHERE action = 'refresh_token_reuse'`); n != 1 {
		t.Errorf("%d reuses in the audit log", n)
	}
	third := login(s, "patient1@example.com", userstest.Password).Want(200)
	for range 2 {
		s.Do("POST", "/v1/auth/logout", "", fields{"refresh_token": third.Text("refresh_token")}).Want(204)
	}
	refresh(third.Text("refresh_token")).Problem(401, "unauthenticated")
}

func TestCognito_PasswordsAreResetAndChanged(t *testing.T) {
	t.Parallel()
	pool := cognitotest.New(t)
	s := userstest.Start(t, withPool(pool))
	email := "patient1@example.com"
	id := s.Do("POST", "/v1/patients", "", patientBody(1, nil)).Want(201).Text("id")
	forgot := func(email string) { s.Do("POST", "/v1/auth/password/forgot", "", fields{"email": email}).Want(202) }
	forgot(email) // not confirmed yet: nothing is sent, nothing is said
	confirmed(s, pool, email)
	session := login(s, email, userstest.Password).Want(200)
	forgot("nobody@example.com")
	forgot(email)
	reset := func(body fields) userstest.Response { return s.Do("POST", "/v1/auth/password/reset", "", body) }
	pool.Policy(func(password string) bool { return len(password) >= 10 })
	reset(fields{"token": pool.Code(email), "password": "Curta-1x", "email": email}).Problem(422, "validation")
	reset(fields{"token": "abcdef", "password": "Renovada-2y", "email": email}).Problem(401, "unauthenticated")
	reset(fields{"token": pool.Code(email), "password": "Renovada-2y"}).Problem(422, "validation")
	reset(fields{"token": pool.Code(email), "password": "Renovada-2y", "email": email}).Want(204)
	userstest.MailToken(t, s, accountmail.PasswordChanged, id, email)
	s.Do("POST", "/v1/auth/refresh", "", fields{"refresh_token": session.Text("refresh_token")}).Problem(401, "unauthenticated")
	login(s, email, userstest.Password).Problem(401, "invalid-credentials")
	session = login(s, email, "Renovada-2y").Want(200)

	change := func(current, next string) userstest.Response {
		return s.Do("POST", "/v1/me/password", session.Text("access_token"), fields{"current_password": current, "new_password": next})
	}
	change("Errada-1x", "Renovada-3z").Problem(401, "invalid-credentials")
	// Ending the sign-ins may fail and is made good for.
	pool.Fail("AdminUserGlobalSignOut", cognitotest.Before)
	change("Renovada-2y", "Renovada-3z").Want(204)
	pool.Fail("AdminUserGlobalSignOut", cognitotest.None)
	s = later(t, s, 0)
	userstest.Eventually(t, "the pool has ended the sign-ins", func() bool {
		return s.Do("POST", "/v1/auth/refresh", "", fields{"refresh_token": session.Text("refresh_token")}).Status == 401
	})
	login(s, email, "Renovada-3z").Want(200)
}

func TestCognito_AnAddressChangesInThePoolToo(t *testing.T) {
	t.Parallel()
	pool := cognitotest.New(t)
	s := userstest.Start(t, withPool(pool))
	id := s.Do("POST", "/v1/patients", "", patientBody(1, nil)).Want(201).Text("id")
	confirmed(s, pool, "patient1@example.com")
	token := login(s, "patient1@example.com", userstest.Password).Want(200).Text("access_token")
	s.Do("PATCH", "/v1/me", token, fields{"email": "new@example.com"}).Want(200)
	proof := userstest.MailToken(t, s, accountmail.VerifyEmail, id, "new@example.com")
	login(s, "new@example.com", userstest.Password).Problem(401, "invalid-credentials")

	pool.Fail("AdminUpdateUserAttributes", cognitotest.Throttle)
	s.Do("POST", "/v1/auth/email/verify", "", fields{"token": proof}).Want(204)
	if u := pool.User("patient1@example.com"); u == nil || u.Sub != id {
		t.Fatalf("the pool has %+v", u)
	}
	pool.Fail("AdminUpdateUserAttributes", cognitotest.None)
	s = later(t, s, 0)
	userstest.Eventually(t, "the pool has the new address", func() bool { return pool.User("new@example.com") != nil })
	if u := pool.User("new@example.com"); u.Sub != id || !u.Verified {
		t.Errorf("the pool has %+v", u)
	}
	login(s, "new@example.com", userstest.Password).Want(200)
	login(s, "patient1@example.com", userstest.Password).Problem(401, "invalid-credentials")
	if n := userstest.Count(t, s, `SELECT count(*) FROM pool_changes`); n != 0 {
		t.Errorf("%d changes are still to be told", n)
	}
}

// Wherever a registration stops, the same person's next try finishes it, and leaves one account in the pool and one in
// the database, with one id.
func TestCognito_AHalfDoneRegistrationIsFinishedByTheNextTry(t *testing.T) {
	t.Parallel()
	pool := cognitotest.New(t)
	s := userstest.Start(t, withPool(pool))
	n := 0
	for _, operation := range []string{"SignUp", "AdminAddUserToGroup"} {
		for _, fault := range []cognitotest.Fault{cognitotest.Before, cognitotest.After, cognitotest.Throttle} {
			n++
			pool.Fail(operation, fault)
			if res := s.Do("POST", "/v1/patients", "", patientBody(n, nil)).Problem(503, "unavailable"); res.Header.Get("Retry-After") == "" {
				t.Errorf("%s: no Retry-After", operation)
			}
			pool.Fail(operation, cognitotest.None)
			if half := pool.User(fmt.Sprintf("patient%d@example.com", n)); half != nil {
				// Nobody else gets hold of it.
				s.Do("POST", "/v1/patients", "", patientBody(n, fields{"password": "Alheia-9z"})).Problem(409, "already-registered")
			}
			finishes(t, s, pool, n)
		}
	}
	// The database fails after the pool has the account.
	n++
	userstest.Database(t, s, func(c *pgx.Conn) error {
		_, err := c.Exec(t.Context(), `ALTER TABLE users ADD CONSTRAINT broken CHECK (false) NOT VALID`)
		return err
	})
	s.Do("POST", "/v1/patients", "", patientBody(n, nil)).Problem(500, "internal")
	sub := pool.User(fmt.Sprintf("patient%d@example.com", n)).Sub
	userstest.Database(t, s, func(c *pgx.Conn) error {
		_, err := c.Exec(t.Context(), `ALTER TABLE users DROP CONSTRAINT broken`)
		return err
	})
	// Confirmed in the pool meanwhile, by its code; signing in is no use yet.
	confirmed(s, pool, fmt.Sprintf("patient%d@example.com", n))
	login(s, fmt.Sprintf("patient%d@example.com", n), userstest.Password).Problem(401, "invalid-credentials")
	finishes(t, s, pool, n)
	if got := pool.User(fmt.Sprintf("patient%d@example.com", n)).Sub; got != sub {
		t.Errorf("the pool made another account: %s, had %s", got, sub)
	}
	if n := userstest.Count(t, s, `SELECT count(*) FROM registrations`); n != 0 {
		t.Errorf("%d registrations are still noted", n)
	}
}

// finishes registers the nth patient again, and signs in.
func finishes(t *testing.T, s *userstest.Service, pool *cognitotest.Pool, n int) {
	t.Helper()
	email := fmt.Sprintf("patient%d@example.com", n)
	id := s.Do("POST", "/v1/patients", "", patientBody(n, nil)).Want(201).Text("id")
	u := pool.User(email)
	if u.Sub != id || !slices.Equal(u.Groups, []string{"patients"}) {
		t.Errorf("patient %d: the pool has %+v, the database %s", n, u, id)
	}
	if !u.Confirmed {
		confirmed(s, pool, email)
	}
	token := login(s, email, userstest.Password).Want(200).Text("access_token")
	if me := s.Do("GET", "/v1/me", token, nil).Want(200); me.Text("id") != id || me.Text("email_verified") != "true" {
		t.Errorf("patient %d: got %s", n, me.Body)
	}
}

func TestCognito_AnAbandonedRegistrationIsUndone(t *testing.T) {
	t.Parallel()
	pool := cognitotest.New(t)
	s := userstest.Start(t, withPool(pool))
	pool.Fail("AdminAddUserToGroup", cognitotest.Before)
	s.Do("POST", "/v1/patients", "", patientBody(1, nil)).Problem(503, "unavailable")
	pool.Fail("AdminAddUserToGroup", cognitotest.None)
	// Too young to be undone: its owner may be trying again right now.
	s = later(t, s, 10*time.Minute)
	s.Do("POST", "/v1/patients", "", patientBody(1, fields{"password": "Outra-1x"})).Problem(409, "already-registered")
	if pool.User("patient1@example.com") == nil {
		t.Error("undone too early")
	}
	s = later(t, s, 20*time.Minute)
	userstest.Eventually(t, "the registration is undone", func() bool { return pool.User("patient1@example.com") == nil })
	userstest.Eventually(t, "nothing is noted any more", func() bool {
		return userstest.Count(t, s, `SELECT count(*) FROM registrations`) == 0
	})
	s.Do("POST", "/v1/patients", "", patientBody(1, fields{"password": "Outra-1x"})).Want(201)
}

func TestCognito_WhatTheDatabaseRefusesDoesNotStayInThePool(t *testing.T) {
	t.Parallel()
	pool := cognitotest.New(t)
	s := userstest.Start(t, withPool(pool))
	s.Do("POST", "/v1/patients", "", patientBody(1, nil)).Want(201)
	s.Do("POST", "/v1/patients", "", patientBody(2, fields{"cpf": userstest.CPF(1)})).Problem(409, "already-registered")
	if calls := pool.Calls("SignUp"); calls != 1 || pool.User("patient2@example.com") != nil {
		t.Errorf("the pool was asked %d times, and has %+v", calls, pool.User("patient2@example.com"))
	}
	pool.Policy(func(password string) bool { return len(password) > 20 })
	s.Do("POST", "/v1/patients", "", patientBody(3, nil)).Problem(422, "validation")
}

// Of many tries at once, by double clicks and impatient clients, one wins and the others learn so.
func TestCognito_TriesAtOnceMakeOneAccount(t *testing.T) {
	t.Parallel()
	pool := cognitotest.New(t)
	s := userstest.Start(t, withPool(pool))
	statuses := make(chan int, 8)
	for range cap(statuses) {
		go func() { statuses <- s.Do("POST", "/v1/patients", "", patientBody(1, nil)).Status }()
	}
	count := map[int]int{}
	for range cap(statuses) {
		count[<-statuses]++
	}
	if count[201] != 1 || count[201]+count[409]+count[503] != cap(statuses) {
		t.Errorf("got %v", count)
	}
	confirmed(s, pool, "patient1@example.com")
	login(s, "patient1@example.com", userstest.Password).Want(200)
}

func TestCognito_AnAccountThatThePoolHasLostMakesRoom_UnlessItWasConfirmed(t *testing.T) {
	t.Parallel()
	pool := cognitotest.New(t)
	s := userstest.Start(t, withPool(pool))
	ids := map[int]string{}
	for n := 1; n <= 3; n++ {
		ids[n] = s.Do("POST", "/v1/patients", "", patientBody(n, nil)).Want(201).Text("id")
	}
	confirmed(s, pool, "patient3@example.com")
	for n := 1; n <= 3; n++ {
		pool.Lose(fmt.Sprintf("patient%d@example.com", n))
	}
	s.Do("POST", "/v1/patients", "", patientBody(1, nil)).Problem(409, "already-registered") // too young to be sure
	// Old enough: the job erases what is under an hour of that age, the person's next try the rest.
	s = later(t, s, 30*time.Minute)
	userstest.NextEvent(t, s, "healthmed.users.user.erased.v1."+ids[1])
	if got := s.Do("POST", "/v1/patients", "", patientBody(1, nil)).Want(201).Text("id"); got == ids[1] {
		t.Error("the same id again")
	}
	s.Do("POST", "/v1/patients", "", patientBody(3, nil)).Problem(409, "already-registered")
	if n := userstest.Count(t, s, `SELECT count(*) FROM users WHERE id = $1 AND status = 'active'`, ids[3]); n != 1 {
		t.Error("a confirmed account was erased")
	}
}

func TestCognito_TheNextTryErasesALostAccountThatTheJobHasMissed(t *testing.T) {
	t.Parallel()
	pool := cognitotest.New(t)
	s := userstest.Start(t, withPool(pool))
	id := s.Do("POST", "/v1/patients", "", patientBody(1, nil)).Want(201).Text("id")
	pool.Lose("patient1@example.com")
	s = later(t, s, 48*time.Hour)
	s.Do("POST", "/v1/patients", "", patientBody(1, fields{"cpf": userstest.CPF(2)})).Problem(409, "already-registered") // somebody else
	if got := s.Do("POST", "/v1/patients", "", patientBody(1, nil)).Want(201).Text("id"); got == id {
		t.Error("the same id again")
	}
}

// The database says who is what: groups that somebody changed in the pool are mended at the next sign-in.
func TestCognito_GroupsFollowTheDatabase(t *testing.T) {
	t.Parallel()
	pool := cognitotest.New(t)
	s := userstest.Start(t, withPool(pool), func(c *users.Config) { c.AdminEmail, c.AdminPassword = userstest.AdminEmail, userstest.AdminPassword })
	admin := (&userstest.Crowd{Service: s}).Admin()
	if got := s.Do("GET", "/v1/me", admin.Token, nil).Want(200).Text("role"); got != "admin" {
		t.Errorf("the first administrator is %s", got)
	}
	email := "patient1@example.com"
	s.Do("POST", "/v1/patients", "", patientBody(1, nil)).Want(201)
	confirmed(s, pool, email)
	for _, groups := range [][]string{nil, {"admins"}, {"patients", "admins", "others"}} {
		pool.Edit(email, func(u *cognitotest.User) { u.Groups = groups })
		token := login(s, email, userstest.Password).Want(200).Text("access_token")
		s.Do("GET", "/v1/patients", token, nil).Problem(403, "forbidden")
		s.Do("GET", "/v1/me", token, nil).Want(200)
		if got := pool.User(email).Groups; !slices.Contains(got, "patients") || slices.Contains(got, "admins") {
			t.Errorf("groups %v became %v", groups, got)
		}
	}
}

func TestCognito_AwayOrThrottled_IsUnavailable_AndCostsNoAttempt(t *testing.T) {
	t.Parallel()
	pool := cognitotest.New(t)
	s := userstest.Start(t, withPool(pool), func(c *users.Config) { c.AttemptsPerAccount = 2 })
	s.Do("POST", "/v1/patients", "", patientBody(1, nil)).Want(201)
	confirmed(s, pool, "patient1@example.com")
	for range 3 {
		pool.Fail("InitiateAuth", cognitotest.Throttle)
		if res := login(s, "patient1@example.com", userstest.Password).Problem(503, "unavailable"); res.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	pool.Fail("InitiateAuth", cognitotest.None)
	login(s, "patient1@example.com", userstest.Password).Want(200)
	if logs := s.Logs.String(); strings.Contains(logs, "@example.com") || strings.Contains(logs, userstest.Password) {
		t.Error("the logs name somebody")
	}
}

func TestCognito_ConfigurationThatCannotWorkIsRefused(t *testing.T) {
	t.Parallel()
	pool := cognitotest.New(t)
	cfg := users.Config{}
	withPool(pool)(&cfg)
	cfg.CognitoUserPoolID, cfg.CognitoClientID, cfg.Auth.Issuer = "sa-east-1_Mine", "other", "https://cognito-idp.sa-east-1.amazonaws.com/sa-east-1_Other"
	err := cfg.Validate()
	for _, want := range []string{"COGNITO_CLIENT_ID and AUTH_CLIENT_ID differ", "AUTH_ISSUER is not the pool's"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}
