package accountmail_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/bus/accountmail"
	"github.com/healthmed/healthmed/pkg/natstest"
	"github.com/healthmed/healthmed/pkg/telemetry"
)

var expires = time.Date(2026, 12, 1, 13, 0, 0, 0, time.UTC)

func message() accountmail.Message {
	return accountmail.Message{
		ID:     uuid.MustParse("0193b5a1-7c2e-7bb3-9d6a-0123456789ab"),
		UserID: uuid.MustParse("0193b5a0-0000-7000-8000-0000000000a7"),
		Kind:   accountmail.ResetPassword, Name: "Maria Souza", Email: "maria@example.com", Locale: "pt-BR",
		Token: "s3cret", ExpiresAt: expires,
	}
}

func TestEncode_WritesWhatTheNotifierReads(t *testing.T) {
	t.Parallel()
	m := message()
	m.ExpiresAt = expires.In(time.FixedZone("", -3*3600))
	body, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"id":"0193b5a1-7c2e-7bb3-9d6a-0123456789ab","kind":"reset_password","user_id":"0193b5a0-0000-7000-8000-0000000000a7",` +
		`"name":"Maria Souza","email":"maria@example.com","locale":"pt-BR","token":"s3cret","expires_at":"2026-12-01T13:00:00Z"}`
	if string(body) != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
	got, err := accountmail.Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	if got != message() {
		t.Errorf("decoded %+v", got.Subject())
	}
}

func TestDecode_RefusesWhatCannotBecomeAnEmailAndNeverQuotesIt(t *testing.T) {
	t.Parallel()
	change := func(f func(map[string]any)) string {
		body, err := message().Encode()
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(body, &m); err != nil {
			t.Fatal(err)
		}
		f(m)
		body, err = json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	for name, c := range map[string]struct{ body, want string }{
		"empty":          {"", "not the expected JSON"},
		"not JSON":       {`{"token":"s3cret"`, "not the expected JSON"},
		"wrong type":     {change(func(m map[string]any) { m["id"] = "s3cret" }), "not the expected JSON"},
		"no id":          {change(func(m map[string]any) { delete(m, "id") }), "id is missing"},
		"no user":        {change(func(m map[string]any) { delete(m, "user_id") }), "user_id is missing"},
		"no secret":      {change(func(m map[string]any) { delete(m, "token") }), "link and token are missing"},
		"no expiry":      {change(func(m map[string]any) { delete(m, "expires_at") }), "expires_at is missing"},
		"unknown kind":   {change(func(m map[string]any) { m["kind"] = "s3cret" }), "kind is unknown"},
		"injected lines": {change(func(m map[string]any) { m["email"] = "a@b\r\nBcc: s3cret" }), "email is missing or not an address"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := accountmail.Decode([]byte(c.body))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Errorf("quotes the message: %v", err)
			}
		})
	}
}

func TestDecode_ToleratesFieldsOfALaterVersion(t *testing.T) {
	t.Parallel()
	body, err := message().Encode()
	if err != nil {
		t.Fatal(err)
	}
	later := strings.Replace(string(body), "{", `{"reply_to":"x",`, 1)
	if got, err := accountmail.Decode([]byte(later)); err != nil || got != message() {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestMessage_NeverPrintsPersonOrSecret(t *testing.T) {
	t.Parallel()
	m := message()
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "message", m)
	for _, text := range []string{fmt.Sprint(m), fmt.Sprintf("%v %+v %#v %s", m, m, m, m), log.String()} {
		for _, private := range []string{m.Token, m.Email, m.Name} {
			if strings.Contains(text, private) {
				t.Errorf("%q is in %q", private, text)
			}
		}
		if !strings.Contains(text, m.ID.String()) {
			t.Errorf("the id is not in %q", text)
		}
	}
}

func TestRow_IsWhatTheOutboxPublishes(t *testing.T) {
	t.Parallel()
	ctx := telemetry.WithRequestID(t.Context(), "req-1")
	ctx = telemetry.WithTraceParent(ctx, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	m := message()
	row, err := m.Row(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if want := "healthmed.users.mail.reset_password.v1.0193b5a0-0000-7000-8000-0000000000a7"; row.Subject != want {
		t.Errorf("subject %s, want %s", row.Subject, want)
	}
	if got := bus.StreamOf(row.Subject); got != bus.AccountMail {
		t.Errorf("taken by %q", got)
	}
	if row.ID != [16]byte(m.ID) || row.AggregateID != [16]byte(m.ID) || row.AggregateVersion != 1 {
		t.Errorf("ids %x %x %d", row.ID, row.AggregateID, row.AggregateVersion)
	}
	var headers map[string]string
	if err := json.Unmarshal(row.Headers, &headers); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"Content-Type": "application/json; charset=utf-8", "Correlation-Id": "req-1",
		"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}
	if diff := cmp.Diff(want, headers); diff != "" {
		t.Error(diff)
	}
	m.Token = ""
	if _, err := m.Row(ctx); err == nil {
		t.Error("a message without a secret was taken")
	}
}

func TestHandler_GivesTheNotifierEachMessageThatIsStillOfUse(t *testing.T) {
	t.Parallel()
	conn, err := bus.Connect(t.Context(), natstest.New(t), "test", slog.New(slog.NewTextHandler(t.Output(), nil)), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.EnsureStreams(t.Context(), bus.AccountMail, bus.DeadLetters); err != nil {
		t.Fatal(err)
	}
	fresh, old := message(), message()
	fresh.ID, fresh.ExpiresAt = uuid.Must(uuid.NewV7()), expires.Add(time.Minute)
	old.ID = uuid.Must(uuid.NewV7())
	for _, m := range []accountmail.Message{old, fresh} {
		row, err := m.Row(telemetry.WithRequestID(t.Context(), "req-"+m.ID.String()))
		if err != nil {
			t.Fatal(err)
		}
		msg := nats.NewMsg(row.Subject)
		msg.Data = row.Data
		msg.Header.Set(bus.HeaderCorrelationID, "req-"+m.ID.String())
		if _, err := conn.JS.PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type got struct {
		m         accountmail.Message
		requestID string
	}
	arrived, done := make(chan got, 2), make(chan error, 1)
	go func() {
		done <- conn.SubscribeRaw(ctx, bus.Subscription{Stream: bus.AccountMail, Durable: "notifier-account-mail"},
			accountmail.Handler(func() time.Time { return expires }, func(ctx context.Context, m accountmail.Message) error {
				arrived <- got{m, telemetry.RequestID(ctx)}
				return nil
			}))
	}()
	select {
	case g := <-arrived: // the first to arrive, though the expired one was first in the queue
		if g.m != fresh || g.requestID != "req-"+fresh.ID.String() {
			t.Errorf("got %v of %s", g.m, g.requestID)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nothing arrived")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	stream, err := conn.JS.Stream(t.Context(), bus.AccountMail)
	if err != nil {
		t.Fatal(err)
	}
	if left := stream.CachedInfo().State.Msgs; left != 0 {
		t.Errorf("%d messages with a secret are still stored", left)
	}
}

func TestHandler_RefusesForGoodWhatItCannotRead(t *testing.T) {
	t.Parallel()
	h := accountmail.Handler(time.Now, func(context.Context, accountmail.Message) error { return nil })
	err := h(t.Context(), bus.RawMessage{Data: []byte("{")})
	if !bus.IsPermanent(err) {
		t.Errorf("got %v, want a permanent error", err)
	}
}

func FuzzDecode(f *testing.F) {
	body, err := message().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte(`{"id":null,"expires_at":"0000-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := accountmail.Decode(body)
		if err != nil {
			return
		}
		again, err := m.Encode()
		if err != nil {
			t.Fatalf("decoded, but not encoded: %v", err)
		}
		same, err := accountmail.Decode(again)
		if err != nil || same != m {
			t.Errorf("came back as another message: %v", err)
		}
	})
}
