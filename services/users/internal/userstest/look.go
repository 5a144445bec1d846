package userstest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/bus/accountmail"
	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/telemetry"
)

// Count runs a query of one number in the service's database.
func Count(t testing.TB, s *Service, sql string, args ...any) int {
	t.Helper()
	var n int
	Database(t, s, func(conn *pgx.Conn) error { return conn.QueryRow(t.Context(), sql, args...).Scan(&n) })
	return n
}

// Database runs f on a connection of its own to the service's database.
func Database(t testing.TB, s *Service, f func(*pgx.Conn) error) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.Config.Postgres.URL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if err := f(conn); err != nil {
		t.Fatal(err)
	}
}

// JetStream connects as another system does.
func JetStream(t testing.TB, s *Service) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(s.Config.Bus.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// NextEvent waits for the last event on a subject.
func NextEvent(t testing.TB, s *Service, subject string) events.Envelope {
	t.Helper()
	js := JetStream(t, s)
	var env events.Envelope
	Eventually(t, "an event on "+subject, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		stream, err := js.Stream(ctx, bus.StreamOf(subject))
		if err != nil {
			return false
		}
		msg, err := stream.GetLastMsgForSubject(ctx, subject)
		if err != nil {
			return false
		}
		if env, err = events.Decode(msg.Data); err != nil {
			t.Fatal(err)
		}
		return true
	})
	return env
}

// MailToken waits for the message that asks for an e-mail of a kind to a person, and gives its token.
func MailToken(t testing.TB, s *Service, kind accountmail.Kind, userID, address string) string {
	t.Helper()
	return AccountMail(t, s, kind, userID, address).Token
}

// AccountMail waits for the message that asks for an e-mail of a kind to a person at an address.
func AccountMail(t testing.TB, s *Service, kind accountmail.Kind, userID, address string) (m accountmail.Message) {
	t.Helper()
	js := JetStream(t, s)
	Eventually(t, "an account mail "+string(kind), func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		stream, err := js.Stream(ctx, bus.AccountMail)
		if err != nil {
			return false
		}
		msg, err := stream.GetLastMsgForSubject(ctx, "healthmed.users.mail."+string(kind)+".v1."+userID)
		if err != nil {
			return false
		}
		if m, err = accountmail.Decode(msg.Data); err != nil {
			t.Fatal(err)
		}
		return m.Email == address
	})
	return m
}

// Publish puts an event on its stream, as the service that owns it does.
func Publish(t testing.TB, s *Service, ev events.Event, version int64) {
	t.Helper()
	env, err := events.New(ev, version)
	if err != nil {
		t.Fatal(err)
	}
	body, err := env.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := JetStream(t, s).Publish(t.Context(), ev.Subject(), body, jetstream.WithMsgID(env.ID.String())); err != nil {
		t.Fatal(err)
	}
}

// Scheduling declares the stream of the scheduling service.
func Scheduling(t testing.TB, s *Service) {
	t.Helper()
	tel, err := telemetry.New(t.Context(), "scheduling", telemetry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := bus.Connect(t.Context(), s.Config.Bus, "scheduling", tel.Log, tel.Metrics)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.EnsureStreams(t.Context(), bus.Scheduling); err != nil {
		t.Fatal(err)
	}
}
