package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// streams that other systems may read.
var streams = [...]string{"SCHEDULING", "USERS", "NOTIFICATIONS"}

// bus connects as an operator: past the links, for ever.
func (r *rig) bus() (*nats.Conn, jetstream.JetStream, error) {
	nc, err := nats.Connect(r.NATSURL, nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true), nats.ReconnectWait(200*time.Millisecond), nats.Name("chaos"))
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(5*time.Second))
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return nc, js, nil
}

// observer is another system that subscribes to everything, with durables of its own.
type observer struct {
	nc *nats.Conn
	mu sync.Mutex
	by map[string]int
}

// observe subscribes, once the streams are declared.
func (r *rig) observe(ctx context.Context) (*observer, error) {
	nc, js, err := r.bus()
	if err != nil {
		return nil, err
	}
	o := &observer{nc: nc, by: map[string]int{}}
	for _, name := range streams {
		stream, err := waitFor(ctx, 60*time.Second, func() (jetstream.Stream, error) { return js.Stream(ctx, name) })
		if err != nil {
			nc.Close()
			return nil, fmt.Errorf("stream %s: %w", name, err)
		}
		consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "chaos", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 5 * time.Second})
		if err != nil {
			nc.Close()
			return nil, err
		}
		if _, err := consumer.Consume(o.take, jetstream.PullHeartbeat(2*time.Second)); err != nil {
			nc.Close()
			return nil, err
		}
	}
	return o, nil
}

func (o *observer) take(m jetstream.Msg) {
	var env struct{ ID string }
	if json.Unmarshal(m.Data(), &env) == nil {
		o.mu.Lock()
		o.by[env.ID]++
		o.mu.Unlock()
	}
	_ = m.Ack() // if it is lost, the message comes again
}

func (o *observer) seen() map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.by)
}

// waitFor tries until it works or time is up.
func waitFor[T any](ctx context.Context, limit time.Duration, try func() (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		v, err := try()
		if err == nil {
			return v, nil
		}
		select {
		case <-ctx.Done():
			return v, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// read fetches everything that a stream holds.
func read(ctx context.Context, js jetstream.JetStream, name string) (list []Event, raw [][]byte, err error) {
	stream, err := js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: time.Minute})
	if err != nil {
		return nil, nil, err
	}
	const patience = 20 // in a cluster the new consumer may be without a leader for a moment
	for left, tries := consumer.CachedInfo().NumPending, 0; left > 0; {
		batch, err := consumer.Fetch(int(min(left, 500)), jetstream.FetchMaxWait(5*time.Second)) //nolint:gosec // at most 500
		if err != nil {
			return nil, nil, err
		}
		n := uint64(0)
		for m := range batch.Messages() {
			n++
			meta, err := m.Metadata()
			if err != nil {
				return nil, nil, err
			}
			var env struct{ ID, Type, Subject, Sequence string }
			if err := json.Unmarshal(m.Data(), &env); err != nil {
				return nil, nil, fmt.Errorf("%s at %d: %w", name, meta.Sequence.Stream, err)
			}
			version, _ := strconv.ParseInt(env.Sequence, 10, 64) // 0 for what isn't an event
			list = append(list, Event{Seq: meta.Sequence.Stream, ID: env.ID, Type: env.Type, Aggregate: env.Subject, Version: version})
			raw = append(raw, m.Data())
		}
		if tries++; n > 0 {
			tries = 0
		} else if tries == patience {
			return nil, nil, fmt.Errorf("%s: %d messages did not come: %w", name, left, batch.Error())
		} else {
			time.Sleep(500 * time.Millisecond)
		}
		left -= min(n, left)
	}
	return list, raw, nil
}

// durables are the positions of all that are declared.
func durables(ctx context.Context, js jetstream.JetStream) (list []Durable, err error) {
	for _, name := range append([]string{"ACCOUNT_MAIL", "DEAD_LETTERS", "REDRIVES"}, streams[:]...) {
		stream, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all := stream.ListConsumers(ctx)
		for info := range all.Info() {
			if info.Config.Durable != "" {
				list = append(list, Durable{
					Stream: name, Name: info.Name, Pending: info.NumPending, Unacked: uint64(info.NumAckPending), //nolint:gosec // never negative
					AckFloor: info.AckFloor.Stream, LastSeq: stream.CachedInfo().State.LastSeq,
				})
			}
		}
		if all.Err() != nil {
			return nil, all.Err()
		}
	}
	return list, nil
}
