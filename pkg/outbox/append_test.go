package outbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/outbox"
	"github.com/healthmed/healthmed/pkg/pgtest"
	"github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/pkg/telemetry"
)

func newPool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	return openPool(t, postgresConfig(t))
}

func postgresConfig(t testing.TB) postgres.Config {
	t.Helper()
	return pgtest.New(t, outbox.Migrations())
}

func openPool(t testing.TB, cfg postgres.Config) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// changed is an event about a doctor's availability, the smallest of the contract.
func changed(t testing.TB, doctor uuid.UUID, version int64) events.Envelope {
	t.Helper()
	env, err := events.New(&events.AvailabilityChanged{DoctorID: doctor, Version: version,
		OccurredAt: time.Date(2026, 12, 1, 13, 0, 0, 0, time.UTC)}, version)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

type stored struct {
	ID        uuid.UUID
	Subject   string
	Aggregate uuid.UUID
	Version   int64
	Headers   map[string]string
	Data      string
	Secret    bool
}

func storedRows(t *testing.T, pool *pgxpool.Pool) []stored {
	t.Helper()
	rows, _ := pool.Query(t.Context(), `SELECT id, subject, aggregate_id, aggregate_version, headers, convert_from(data, 'UTF8'), secret
		FROM outbox ORDER BY seq`)
	got, err := pgx.CollectRows(rows, pgx.RowToStructByPos[stored])
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestAppend_StoresEventsInTheOrderGiven_WithTheRequestThatCausedThem(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ctx := telemetry.WithTraceParent(telemetry.WithRequestID(t.Context(), "req-1"), trace)
	doctor := uuid.New()
	var want []stored
	var envs []events.Envelope
	for v := range int64(4) {
		env := changed(t, doctor, v+1)
		full := env
		full.CorrelationID, full.TraceParent = "req-1", trace
		body, err := full.Encode()
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, stored{env.ID, env.Data.Subject(), doctor, v + 1, full.Headers(), string(body), false})
		envs = append(envs, env)
	}

	// One each way: Append alone, Append of several, in a batch, in a statement of the caller's own.
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if err := outbox.Append(ctx, tx, envs[0], envs[1]); err != nil {
			return err
		}
		var b pgx.Batch
		if err := outbox.Queue(ctx, &b, envs[2]); err != nil {
			return err
		}
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return err
		}
		row, err := outbox.NewRow(ctx, envs[3])
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO outbox (id, subject, aggregate_id, aggregate_version, headers, data)
			VALUES ($1, $2, $3, $4, $5, $6)`, row.ID, row.Subject, row.AggregateID, row.AggregateVersion, row.Headers, row.Data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, storedRows(t, pool)); diff != "" {
		t.Errorf("stored rows (-want +got):\n%s", diff)
	}
}

func TestAppend_LeavesNothingWhenTheTransactionRollsBack(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	failure := errors.New("the business said no")
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		return errors.Join(outbox.Append(t.Context(), tx, changed(t, uuid.New(), 1)), failure)
	})
	if !errors.Is(err, failure) {
		t.Fatal(err)
	}
	if got := storedRows(t, pool); len(got) != 0 {
		t.Errorf("%d rows stored, want none", len(got))
	}
}

func TestAppendRaw_StoresAMessageThatIsNoEvent(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	id := uuid.New()
	msg := outbox.Raw{ID: id, Subject: "healthmed.users.mail.verify.v1." + id.String(), Headers: map[string]string{"Content-Type": "application/json"},
		Data: []byte(`{"link":"x"}`), Secret: true}
	if err := outbox.AppendRaw(t.Context(), pool, msg, outbox.Raw{Subject: "a.b"}); err != nil {
		t.Fatal(err)
	}
	got := storedRows(t, pool)
	if len(got) != 2 {
		t.Fatalf("%d rows stored, want 2", len(got))
	}
	want := stored{id, msg.Subject, id, 0, map[string]string{"Nats-Msg-Id": id.String(), "Content-Type": "application/json"}, `{"link":"x"}`, true}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Errorf("stored row (-want +got):\n%s", diff)
	}
	if got[1].ID == uuid.Nil || got[1].Aggregate != got[1].ID || got[1].Headers["Nats-Msg-Id"] != got[1].ID.String() {
		t.Errorf("a message without id got %+v, want one of its own throughout", got[1])
	}
}

func TestAppendRaw_RefusesWhatCouldNeverBePublished(t *testing.T) {
	t.Parallel()
	for name, msg := range map[string]outbox.Raw{
		"no subject":    {},
		"wildcard":      {Subject: "a.*.b"},
		"tail wildcard": {Subject: "a.>"},
		"empty token":   {Subject: "a..b"},
		"trailing dot":  {Subject: "a.b."},
		"space":         {Subject: "a b"},
		"line break":    {Subject: "a\r\nPUB b"},
		"long subject":  {Subject: strings.Repeat("a", 2000)},
		"too large":     {Subject: "a.b", Data: make([]byte, outbox.MaxBytes)},
		"large headers": {Subject: "a.b", Headers: map[string]string{"X": strings.Repeat("a", outbox.MaxBytes)}},
		"with a NUL":    {Subject: "a.b\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// nil: refused before the database is asked
			if err := outbox.AppendRaw(t.Context(), nil, msg); !errors.Is(err, outbox.ErrRefused) {
				t.Errorf("error %v, want %v", err, outbox.ErrRefused)
			}
		})
	}
}

func TestNewRow_HeadersAreAJSONObject(t *testing.T) {
	t.Parallel()
	env := changed(t, uuid.New(), 1)
	row, err := outbox.NewRow(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal(row.Headers, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(env.Headers(), got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}
