package outbox_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/pkg/natstest"
	"github.com/healthmed/healthmed/pkg/outbox"
)

func TestRelay_QuarantinesAPoisonRow_WhichBlocksItsOwnAggregateAlone(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	small := natstest.NewServer(t, natstest.WithOptions(func(o *server.Options) { o.MaxPayload = 64 << 10 }))
	js := connect(t, small)
	addStream(t, js, "OTHER", "healthmed.other.>")

	// Each kind of poison is the second of three events of its aggregate.
	poisons := map[string]func(*outbox.Raw){
		"too large for the server":        func(m *outbox.Raw) { m.Data = make([]byte, 100<<10) },
		"subject of another stream":       func(m *outbox.Raw) { m.Subject = "healthmed.other.thing" },
		"subject that no stream captures": func(m *outbox.Raw) { m.Subject = "healthmed.nowhere.thing" },
	}
	want := map[string][]int64{}
	var ids []uuid.UUID
	for range 20 {
		ids = append(ids, uuid.New())
	}
	for _, spoil := range poisons {
		id := uuid.New()
		bad := thing(id, 2)
		spoil(&bad)
		add(t, pool, thing(id, 1), bad, thing(id, 3))
		want[id.String()] = []int64{1}
	}
	for v := range int64(10) {
		for _, id := range ids {
			add(t, pool, thing(id, v+1))
			want[id.String()] = append(want[id.String()], v+1)
		}
	}
	cfg := relayConfig(pool, js)
	cfg.MaxAttempts, cfg.Poll = 2, 20*time.Millisecond
	run(t, cfg)
	eventually(t, "the healthy published", func() bool {
		// A subject that nobody captures is told from a stream that is down by what the stream does for others.
		add(t, pool, thing(ids[0], int64(len(want[ids[0].String()])+1)))
		want[ids[0].String()] = append(want[ids[0].String()], int64(len(want[ids[0].String()])+1))
		return count(t, pool, "quarantined_at IS NOT NULL") == len(poisons)
	})
	eventually(t, "only the poisoned and those behind them left", func() bool {
		return count(t, pool, "published_at IS NULL") == 2*len(poisons)
	})
	if diff := cmp.Diff(want, versions(t, js)); diff != "" {
		t.Errorf("versions in the stream (-want +got):\n%s", diff)
	}
	state, err := outbox.Status(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	for _, trouble := range state.Troubled {
		if trouble.Attempts != 2 || trouble.LastError == "" {
			t.Errorf("trouble %+v, want 2 attempts and a reason", trouble)
		}
	}

	// The operator mends one and redrives it: its aggregate goes on, in order.
	var mended uuid.UUID
	if err := pool.QueryRow(t.Context(), `UPDATE outbox SET subject = $1 || aggregate_id, data = '\x0000000000000002'
		WHERE subject = 'healthmed.other.thing' RETURNING aggregate_id`, subject).Scan(&mended); err != nil {
		t.Fatal(err)
	}
	if n, err := outbox.Redrive(t.Context(), pool); err != nil || n != int64(len(poisons)) {
		t.Fatalf("%d redriven (%v), want %d", n, err, len(poisons))
	}
	eventually(t, "the mended aggregate published", func() bool {
		return count(t, pool, "published_at IS NULL AND aggregate_id = '"+mended.String()+"'") == 0
	})
	if diff := cmp.Diff([]int64{1, 2, 3}, versions(t, js)[mended.String()]); diff != "" {
		t.Errorf("the mended aggregate in the stream (-want +got):\n%s", diff)
	}
}

func TestRelay_LosesNothingAndBlamesNobodyWhileNATSIsDown(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	nats := natstest.NewServer(t)
	js := connect(t, nats)
	relay, _ := run(t, relayConfig(pool, js))
	ids := make([]uuid.UUID, 50)
	want := map[string][]int64{}
	for i := range ids {
		ids[i] = uuid.New()
	}
	more := func(v int64) {
		for _, id := range ids {
			add(t, pool, thing(id, v))
			want[id.String()] = append(want[id.String()], v)
		}
		relay.Nudge()
	}
	more(1)
	eventually(t, "published before the outage", drained(t, pool))
	nats.Stop()
	more(2)
	eventually(t, "the relay seeing the outage", func() bool { relay.Nudge(); return !js.Conn().IsConnected() })
	more(3)
	nats.Start()
	more(4)
	eventually(t, "drained after the outage", drained(t, pool))
	if n := count(t, pool, "attempts > 0"); n != 0 {
		t.Errorf("%d rows were blamed for the outage", n)
	}
	if diff := cmp.Diff(want, versions(t, js)); diff != "" {
		t.Errorf("versions in the stream (-want +got):\n%s", diff)
	}
}

func TestRelay_DrainsAcrossARestartOfNATSInTheMidst(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	nats := natstest.NewServer(t)
	js := connect(t, nats)
	const aggregates, each = 200, 20
	want := map[string][]int64{}
	for range aggregates {
		id := uuid.New()
		for v := range int64(each) {
			add(t, pool, thing(id, v+1))
			want[id.String()] = append(want[id.String()], v+1)
		}
	}
	cfg := relayConfig(pool, js)
	cfg.Batch = 100
	run(t, cfg)
	eventually(t, "some published", func() bool { return count(t, pool, "published_at IS NOT NULL") > 200 })
	nats.Restart()
	eventually(t, "drained", drained(t, pool))
	if n := count(t, pool, "attempts > 0"); n != 0 {
		t.Errorf("%d rows were blamed for the restart", n)
	}
	if diff := cmp.Diff(want, versions(t, js)); diff != "" {
		t.Errorf("versions in the stream (-want +got):\n%s", diff)
	}
}

// users publishes to USERS and to ACCOUNT_MAIL: when one of them is missing the other goes on.
func TestRelay_OneStreamDownDoesNotStopAnother(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	js := connect(t, natstest.NewServer(t))
	cfg := relayConfig(pool, js)
	cfg.Poll, cfg.Batch = 20*time.Millisecond, 10
	cfg.StreamFor = func(subject string) string {
		if subject == "healthmed.mail.x" {
			return "MAIL"
		}
		return stream
	}
	run(t, cfg)
	mail := make([]outbox.Raw, 30) // more than fit in a round
	for i := range mail {
		mail[i] = outbox.Raw{Subject: "healthmed.mail.x"}
	}
	add(t, pool, mail...)
	add(t, pool, thing(uuid.New(), 1), thing(uuid.New(), 1))
	eventually(t, "the other stream published", func() bool { return count(t, pool, "published_at IS NOT NULL") == 2 })
	addStream(t, js, "MAIL", "healthmed.mail.>")
	eventually(t, "drained when the stream is there", drained(t, pool))
	if n := count(t, pool, "attempts > 0"); n != 0 {
		t.Errorf("%d rows were blamed for the missing stream", n)
	}
	if n := len(messages(t, js, "MAIL")); n != len(mail) {
		t.Errorf("%d messages in the stream, want %d", n, len(mail))
	}
}

// A full stream pushes back: rows wait in the outbox, without blame.
func TestRelay_WaitsForAFullStream(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	js := dial(t, natstest.NewServer(t).Config().URL)
	full := jetstream.StreamConfig{Name: stream, Subjects: []string{"healthmed.test.>"}, MaxBytes: 2000, Discard: jetstream.DiscardNew}
	if _, err := js.CreateStream(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	cfg := relayConfig(pool, js)
	cfg.Poll = 20 * time.Millisecond
	run(t, cfg)
	const n = 30
	for range n {
		add(t, pool, thing(uuid.New(), 1))
	}
	eventually(t, "a row put off", func() bool {
		return count(t, pool, "next_attempt_at IS NOT NULL AND last_error LIKE '%maximum bytes%'") > 0
	})
	full.MaxBytes = 1 << 20
	if _, err := js.UpdateStream(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	eventually(t, "drained when there is room", drained(t, pool))
	if n := count(t, pool, "attempts > 0"); n != 0 {
		t.Errorf("%d rows were blamed for the full stream", n)
	}
	if got := len(messages(t, js, stream)); got != n {
		t.Errorf("%d messages in the stream, want %d", got, n)
	}
}

// A row whose columns were written past this package must not stop the others, whatever is in it.
func TestRelay_SurvivesRowsThatAreNotWellFormed(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	js := connect(t, natstest.NewServer(t))
	for _, columns := range []string{
		`'healthmed.test.*', '{}'`, `'healthmed.test.a b', '{}'`, `E'healthmed.test.a\r\nPUB x 0\r\n', '{}'`, `'', '{}'`,
		`'healthmed.test.a', '[1]'`, `'healthmed.test.a', '{"X": 1}'`,
	} {
		if _, err := pool.Exec(t.Context(), `INSERT INTO outbox (id, aggregate_id, aggregate_version, data, subject, headers)
			VALUES (gen_random_uuid(), gen_random_uuid(), 1, '', `+columns+`)`); err != nil {
			t.Fatal(err)
		}
	}
	add(t, pool, thing(uuid.New(), 1))
	cfg := relayConfig(pool, js)
	cfg.MaxAttempts = 1
	run(t, cfg)
	eventually(t, "the good one published", func() bool { return count(t, pool, "published_at IS NOT NULL") == 1 })
	if n := count(t, pool, "quarantined_at IS NOT NULL"); n != 6 {
		t.Errorf("%d rows quarantined, want 6", n)
	}
	if n := len(messages(t, js, stream)); n != 1 {
		t.Errorf("%d messages in the stream, want 1", n)
	}
}
