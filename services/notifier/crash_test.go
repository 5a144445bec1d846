package notifier_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/healthmed/healthmed/pkg/config"
	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/sestest"
	notifier "github.com/healthmed/healthmed/services/notifier"
)

// asReplica in the environment makes this program a replica of the notifier rather than a test: one that can be killed.
const asReplica = "NOTIFIER_TEST_REPLICA"

func TestMain(m *testing.M) {
	if os.Getenv(asReplica) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg, err := config.Load[notifier.Config]()
	if err == nil {
		err = notifier.Run(ctx, cfg)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// startProcess runs a replica in a process of its own, until the test ends at the latest.
func (h *house) startProcess() *exec.Cmd {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), asReplica+"=1",
		"DATABASE_URL="+h.cfg.Postgres.URL.Reveal(), "NATS_URL="+h.cfg.Bus.URL, "NATS_MAX_BYTES="+strconv.FormatInt(h.cfg.Bus.MaxBytes, 10),
		"NATS_MAX_AGE="+h.cfg.Bus.MaxAge.String(), "NATS_NOTIFICATIONS_MAX_AGE="+h.cfg.Bus.NotificationsMaxAge.String(),
		"AUTH_ISSUER="+h.cfg.Auth.Issuer, "AUTH_CLIENT_ID="+h.cfg.Auth.ClientID, "AUTH_JWKS_URL="+h.cfg.Auth.JWKSURL,
		"HTTP_ADDR=127.0.0.1:0", "OPS_ADDR=127.0.0.1:0", "LOG_LEVEL=warn", "APP_URL="+h.cfg.AppURL,
		"AWS_ENDPOINT_URL_SESV2="+h.cfg.SESEndpoint, "AWS_REGION=sa-east-1", "AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local",
		fmt.Sprint("SEND_RATE=", h.cfg.SendRate), "SEND_TIMEOUT="+h.cfg.SendTimeout.String(),
		"SETTLE_AFTER="+h.cfg.SettleAfter.String(), "LEASE_MARGIN="+h.cfg.LeaseMargin.String())
	cmd.Stderr = testWriter{h.t}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		_ = cmd.Process.Kill() // ended already if the test killed it
		_ = cmd.Wait()
	})
	return cmd
}

// A replica is killed, without any chance to clean up, in the middle of sending. The other takes its work over; what
// was under way at that moment is in doubt and may arrive twice, and nothing else.
func TestKill_LosesNothingAndRepeatsOnlyWhatWasUnderWay(t *testing.T) {
	n := size(100, 500)
	h := newHouse(t)
	h.unlimited()
	// Longer than a busy machine stalls: a call that times out is in doubt too, and would be taken for the kill's doing.
	h.cfg.SendTimeout, h.cfg.LeaseMargin, h.cfg.SettleAfter = 15*time.Second, 5*time.Second, time.Second
	// A call takes a moment, so that some are under way when the replica is killed; they were accepted by then.
	h.ses.SetFault(func(*http.Request) sestest.Fault { return sestest.Fault{Accept: true, Delay: 20 * time.Millisecond} })
	first := h.startProcess()
	h.bookings(n, 1)
	eventually(t, "the replica is in the middle of sending", time.Minute, func() bool { return h.sent() >= n/2 })
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // tells that it was killed
	underWay := map[string]bool{}
	for _, id := range h.texts(`SELECT id::text FROM deliveries WHERE status = 'sending'`) {
		underWay[id] = true
	}
	if len(underWay) == 0 {
		t.Fatal("nothing was under way: the kill proves nothing")
	}

	h.start()
	eventually(t, "everything is sent", 2*time.Minute, func() bool { return h.sent() == 2*n })
	counts, twice := h.ses.Counts(), 0
	for id, c := range counts {
		switch {
		case c.Accepted == 0, c.Accepted > 2, c.Accepted == 2 && !underWay[id]:
			t.Errorf("delivery %s was accepted %d times; under way at the kill: %t", id, c.Accepted, underWay[id])
		case c.Accepted == 2:
			twice++
		}
	}
	if len(counts) != 2*n {
		t.Errorf("%d messages reached the mail service, want %d", len(counts), 2*n)
	}
	if resent := h.number(`SELECT coalesce(sum(resends), 0) FROM deliveries`); resent < twice || resent > len(underWay) {
		t.Errorf("%d resends are counted; %d arrived twice and %d were under way", resent, twice, len(underWay))
	}
	t.Logf("%d messages, %d under way at the kill, %d of them arrived twice, none lost", 2*n, len(underWay), twice)
}

// What a replica was claiming when it was told to stop is sent before it ends: no lease is left to run out.
func TestStop_WhileClaiming(t *testing.T) {
	h := newHouse(t)
	// A commit that takes its time, and that a cancellation comes too late for.
	if _, err := h.pool.Exec(t.Context(), `
		CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
			'BEGIN PERFORM pg_sleep(0.4); RETURN NULL; EXCEPTION WHEN query_canceled THEN RETURN NULL; END';
		CREATE CONSTRAINT TRIGGER slow_commit AFTER UPDATE ON deliveries DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
			WHEN (NEW.status = 'sending' AND OLD.status <> 'sending') EXECUTE FUNCTION dawdle()`); err != nil {
		t.Fatal(err)
	}
	stop := h.start()
	doctor, patient := h.person("doctor", "Doctor A", "doctor@example.com"), h.person("patient", "Patient A", "patient@example.com")
	h.publish(&events.AppointmentBooked{Appointment: appointment(doctor, patient)}, 1)
	committing := func() bool {
		return h.number(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'`) > 0
	}
	eventually(t, "a claim is being committed", 10*time.Second, committing)
	stop()
	eventually(t, "it is committed", 10*time.Second, func() bool { return !committing() })
	if n := h.number(`SELECT count(*) FROM deliveries WHERE status = 'sending'`); n != 0 {
		t.Errorf("%d leases are left to run out", n)
	}
	if n := h.number(`SELECT count(*) FROM deliveries WHERE status = 'sent'`); n == 0 {
		t.Error("what was claimed was not sent")
	}
}
