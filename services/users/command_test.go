package users_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/config"
	"github.com/healthmed/healthmed/services/users"
	"github.com/healthmed/healthmed/services/users/internal/userstest"
)

// command runs a sub-command as an operator does, beside the running service.
func command(t *testing.T, cfg users.Config, args ...string) (string, error) {
	t.Helper()
	if cfg.Auth.JWKSURL == "" {
		cfg.Auth.JWKSURL = "http://127.0.0.1/unused"
	}
	var out bytes.Buffer
	err := users.Command(t.Context(), cfg, args, &out)
	return out.String(), err
}

func TestRotateKeys_TheOldKeyIsNoLongerNeeded(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	crowd := &userstest.Crowd{Service: s}
	patient, doctor := crowd.Patient(), crowd.Doctor()
	key := func(fill string) string { return strings.Repeat(fill, 43) + "=" }
	cfg := s.Config
	cfg.KeysCPF, cfg.KeysToken = config.Secret("c2:"+key("Q")+","+s.Config.KeysCPF.Reveal()), config.Secret("t2:"+key("U")+","+s.Config.KeysToken.Reveal())

	// A ring that lacks the key by which things lie is an error, and nothing is changed.
	without := cfg
	without.KeysCPF = config.Secret("c2:" + key("Q"))
	if _, err := command(t, without, "rotate-keys"); err == nil {
		t.Error("rotating without the old key went well")
	}
	for _, want := range []string{"2 CPFs encrypted anew under key c2\n1 token signing keys encrypted anew under key t2\n", "0 CPFs encrypted anew under key c2\n0 token signing keys encrypted anew under key t2\n"} {
		if out, err := command(t, cfg, "rotate-keys"); err != nil || out != want {
			t.Errorf("got %q, %v; want %q", out, err, want)
		}
	}
	s.Stop()
	cfg.KeysCPF, cfg.KeysToken = config.Secret("c2:"+key("Q")), config.Secret("t2:"+key("U"))
	again := userstest.Run(t, cfg)
	for _, p := range []userstest.Person{patient, doctor} { // signed in still, CPF still theirs and still found
		if got := again.Do("GET", "/v1/me/export", p.Token, nil).Want(200).Text("cpf"); got != p.CPF {
			t.Error("the CPF is not what it was")
		}
		again.Do("POST", "/v1/patients", "", patientBody(7, fields{"cpf": p.CPF})).Problem(409, "already-registered")
	}
}

func TestOutbox_StatusAndReplay(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	patient := (&userstest.Crowd{Service: s}).Patient()
	userstest.NextEvent(t, s, "healthmed.users.user.registered.v1."+patient.ID)
	userstest.Eventually(t, "the outbox is empty", func() bool {
		out, err := command(t, s.Config, "outbox", "status")
		return err == nil && strings.Contains(out, "pending:     0")
	})
	if out, err := command(t, s.Config, "outbox", "replay", "--since", "1h"); err != nil || !strings.Contains(out, "will be published again") {
		t.Errorf("got %q, %v", out, err)
	}
	if out, err := command(t, s.Config, "outbox", "redrive"); err != nil || !strings.Contains(out, "0 events") {
		t.Errorf("got %q, %v", out, err)
	}
	if _, err := command(t, s.Config, "outbox", "explode"); err == nil {
		t.Error("an unknown sub-command went well")
	}
	if _, err := command(t, s.Config, "explode"); err == nil || !strings.Contains(err.Error(), "rotate-keys") {
		t.Errorf("got %v", err)
	}
}

func TestAuditDrop_EndsTheRetentionOfOldMonthsAlone(t *testing.T) {
	t.Parallel()
	s := userstest.Start(t)
	now := time.Date(2027, 3, 31, 23, 0, 0, 0, time.UTC)
	cfg := s.Config
	cfg.Now = func() time.Time { return now }
	userstest.Database(t, s, func(c *pgx.Conn) error {
		_, err := c.Exec(t.Context(), `SELECT audit_make_partitions('2026-01-15', 15);
			INSERT INTO audit_log (id, at, action, outcome) SELECT gen_random_uuid(), at, 'sign_in', 'ok' FROM generate_series(timestamptz '2026-01-10Z', '2027-03-10Z', '1 month') at`)
		return err
	})
	months := func() int { return userstest.Count(t, s, `SELECT count(*) FROM audit_log WHERE action = 'sign_in'`) }
	if got := months(); got != 15 {
		t.Fatalf("got %d entries", got)
	}
	for _, args := range [][]string{nil, {"--before", "2026"}, {"--before", "2026-10"}, {"--before", "2027-03"}, {"--before", "2026-02", "x"}} {
		if out, err := command(t, cfg, append([]string{"audit-drop"}, args...)...); err == nil || out != "" || months() != 15 {
			t.Errorf("%v: got %q, %v, and %d entries", args, out, err, months())
		}
	}
	want := "dropped audit_log_202601\ndropped audit_log_202602\n"
	if out, err := command(t, cfg, "audit-drop", "--before", "2026-03"); err != nil || out != want || months() != 13 {
		t.Errorf("got %q, %v, and %d entries", out, err, months())
	}
	if out, err := command(t, cfg, "audit-drop", "--before", "2026-09"); err != nil || strings.Count(out, "dropped") != 6 || months() != 7 {
		t.Errorf("got %q, %v, and %d entries", out, err, months())
	}
}
