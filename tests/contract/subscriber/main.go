// A subscriber to the events of Health&Med: a durable consumer, an acknowledgement after each event, and every event
// handled once though it may be delivered twice.
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/pkg/events"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	name := env("CONSUMER", "my-system")
	options := []nats.Option{nats.Name(name), nats.CustomInboxPrefix("_INBOX_" + name), nats.MaxReconnects(-1)}
	if seed := os.Getenv("NATS_NKEY"); seed != "" {
		key, err := nats.NkeyOptionFromSeed(seed)
		if err != nil {
			return err
		}
		options = append(options, key)
	}
	if ca := os.Getenv("NATS_CA"); ca != "" {
		options = append(options, nats.RootCAs(ca))
	}
	conn, err := nats.Connect(env("NATS_URL", nats.DefaultURL), options...)
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	consumer, err := js.Consumer(ctx, env("STREAM", "SCHEDULING"), name)
	if err != nil {
		return err
	}
	seen, err := openJournal(name + ".handled")
	if err != nil {
		return err
	}
	defer seen.file.Close()
	// One request after the other, each of which ends at the server by itself: what a standing request would still be
	// given when this program leaves would reach nobody, and come again only after half a minute.
	for ctx.Err() == nil {
		batch, err := consumer.Fetch(100, jetstream.FetchMaxWait(2*time.Second), jetstream.FetchHeartbeat(500*time.Millisecond))
		if err != nil {
			return err
		}
		for msg := range batch.Messages() {
			if ctx.Err() != nil { // fetched and not begun: give it back at once
				if err := msg.Nak(); err != nil {
					log.Print(err)
				}
				continue
			}
			if err := receive(msg, seen); err != nil {
				log.Print(err)
				if err := msg.NakWithDelay(10 * time.Second); err != nil {
					log.Print(err)
				}
			}
		}
		if err := batch.Error(); err != nil { // mostly the connection; the client reconnects by itself
			log.Print(err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
	return conn.FlushTimeout(5 * time.Second) // what was given back has arrived
}

func receive(msg jetstream.Msg, seen *journal) error {
	event, err := events.Decode(msg.Data())
	if err != nil { // it will not get better: set it aside, don't have it delivered again
		log.Print(err)
		return msg.TermWithReason("not an event of the contract")
	}
	if !seen.ids[event.ID.String()] {
		if err := handle(event); err != nil {
			return err
		}
		if err := seen.add(event.ID.String()); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // what was begun is finished, also when stopping
	defer cancel()
	return msg.DoubleAck(ctx)
}

// handle is where your work goes.
func handle(event events.Envelope) error {
	switch e := event.Data.(type) {
	case *events.AppointmentBooked:
		fmt.Println(event.ID, "booked", e.AppointmentID, e.StartsAt.Format(time.RFC3339))
	case *events.AppointmentRescheduled:
		fmt.Println(event.ID, "moved", e.AppointmentID, e.Previous.StartsAt.Format(time.RFC3339), "to", e.StartsAt.Format(time.RFC3339))
	case *events.AppointmentCancelled:
		fmt.Println(event.ID, "cancelled", e.AppointmentID, "by", e.CancelledBy.Role)
	default: // also *events.Unknown: events that came after this program
		fmt.Println(event.ID, "ignored", e.Type())
	}
	return nil
}

// journal remembers what was handled. With a database, use a table instead and write to it in the transaction of
// your own change: INSERT INTO handled_events (id) VALUES ($1) ON CONFLICT DO NOTHING; no row means handled before.
type journal struct {
	ids  map[string]bool
	file *os.File
}

func openJournal(path string) (*journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{ids: map[string]bool{}, file: f}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		j.ids[lines.Text()] = true
	}
	return j, lines.Err()
}

func (j *journal) add(id string) error {
	if _, err := fmt.Fprintln(j.file, id); err != nil {
		return err
	}
	j.ids[id] = true
	return j.file.Sync()
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}
