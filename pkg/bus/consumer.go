package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	pullExpiry    = 10 * time.Second
	pullHeartbeat = 2 * time.Second // two missed and the consumer is looked for again
	lagEvery      = 15 * time.Second
	// waitingAside is how many failed messages may wait for their next try while others pass, where order isn't kept.
	waitingAside = 1000
)

// consumer is a durable on one stream, as its workers share it.
type consumer struct {
	conn       *Conn
	sub        Subscription
	filters    []string
	handle     RawHandler
	batch      *batch        // nil: one message at a time
	retryLimit time.Duration // between attempts to find the consumer
	redrives   bool          // its messages are dead letters to be unpacked
	final      bool          // it reads the dead letters themselves, and can't dead-letter further
	log        *slog.Logger
}

// config is the consumer as declared. The server's own MaxDeliver is not used: it drops a message without telling
// anybody, also when each delivery was lost with its process. The limit is counted here and ends in a dead letter.
func (co *consumer) config() jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Durable:        co.sub.Durable,
		AckPolicy:      jetstream.AckExplicitPolicy,
		DeliverPolicy:  jetstream.DeliverAllPolicy,
		AckWait:        co.sub.AckWait,
		MaxDeliver:     -1,
		MaxAckPending:  waitingAside,
		FilterSubjects: slices.Sorted(slices.Values(co.filters)),
	}
	if co.sub.InFlight == 1 && co.batch == nil && !co.final {
		cfg.MaxAckPending = 1 // the next message waits for this one's success: order, over all replicas
	}
	return cfg
}

// ensure finds the durable, makes it where it is missing, and brings it up to date where it differs. A user who may
// only read an existing consumer gets that one.
func (co *consumer) ensure(ctx context.Context) (jetstream.Consumer, error) {
	want, js := co.config(), co.conn.JS
	have, err := co.find(ctx)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		err = co.request(ctx, "CREATE", func(ctx context.Context) error {
			have, err = js.CreateConsumer(ctx, co.sub.Stream, want)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("create consumer: %w", err)
		}
		co.log.InfoContext(ctx, "consumer created")
		return have, nil
	}
	if err != nil {
		return nil, fmt.Errorf("consumer info: %w", err)
	}
	next := have.CachedInfo().Config
	filters := slices.Sorted(slices.Values(next.FilterSubjects))
	if next.FilterSubject != "" {
		filters = []string{next.FilterSubject}
	}
	if next.AckWait == want.AckWait && next.MaxDeliver == want.MaxDeliver && next.MaxAckPending == want.MaxAckPending &&
		len(next.BackOff) == 0 && slices.Equal(filters, want.FilterSubjects) {
		return have, nil
	}
	next.AckWait, next.MaxDeliver, next.MaxAckPending = want.AckWait, want.MaxDeliver, want.MaxAckPending
	next.BackOff, next.FilterSubject, next.FilterSubjects = nil, "", want.FilterSubjects
	var updated jetstream.Consumer
	err = co.request(ctx, "CREATE", func(ctx context.Context) error {
		updated, err = js.UpdateConsumer(ctx, co.sub.Stream, next)
		return err
	})
	if err == nil {
		co.log.InfoContext(ctx, "consumer updated")
		return updated, nil
	}
	if ctx.Err() == nil {
		co.log.WarnContext(ctx, "consumer differs from what is declared and could not be updated; using it as it is", "error", err)
	}
	return have, nil
}

// find looks the durable up.
func (co *consumer) find(ctx context.Context) (cons jetstream.Consumer, err error) {
	err = co.request(ctx, "INFO", func(ctx context.Context) error {
		cons, err = co.conn.JS.Consumer(ctx, co.sub.Stream, co.sub.Durable)
		return err
	})
	return cons, err
}

func (co *consumer) request(ctx context.Context, call string, do func(context.Context) error) error {
	return co.conn.denied.during(ctx, "$JS.API.CONSUMER."+call+"."+co.sub.Stream+"."+co.sub.Durable, do)
}

// supervise handles messages until ctx ends, and gets the consumer back whenever it is lost.
func (co *consumer) supervise(ctx context.Context) error {
	say := newChanges(co.log)
	for attempt := 1; ctx.Err() == nil; attempt++ {
		cons, err := co.ensure(ctx)
		if err == nil {
			say.error(ctx, "no consumer", nil)
			attempt = 0
			err = co.consume(ctx, cons)
			if ctx.Err() == nil {
				co.log.WarnContext(ctx, "consuming interrupted", "error", err)
			}
		} else if ctx.Err() == nil {
			say.error(ctx, "no consumer", err)
		}
		pause(ctx, growing(attempt, firstSupervise, co.retryLimit))
	}
	return nil
}

// consume takes one message or one batch at a time until ctx ends or the consumer is lost. No more is fetched ahead, so
// that no message waits in memory while its AckWait runs; but for a batch's followers, which wait for one batch at most.
func (co *consumer) consume(ctx context.Context, cons jetstream.Consumer) error {
	size := 1
	if co.batch != nil {
		size = co.batch.size
	}
	iter, err := cons.Messages(jetstream.PullMaxMessages(size), jetstream.PullExpiry(pullExpiry),
		jetstream.PullHeartbeat(pullHeartbeat), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	defer handBack(iter)
	effective := cons.CachedInfo().Config
	for {
		msg, err := iter.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("next: %w", err)
		}
		if co.batch == nil {
			co.process(ctx, msg, effective)
			continue
		}
		msgs, err := gather(iter, msg, size)
		co.processTogether(ctx, msgs, effective)
		if err != nil {
			return err
		}
	}
}

// handBack stops pulling; a message that arrived meanwhile is given to another replica at once.
func handBack(iter jetstream.MessagesContext) {
	iter.Drain()
	for {
		msg, err := iter.Next(jetstream.NextMaxWait(time.Second))
		if err != nil {
			iter.Stop()
			return
		}
		_ = msg.Nak() // if it fails, AckWait does the same
	}
}

// watchLag keeps the lag metric when no message brings news of it.
func (co *consumer) watchLag(ctx context.Context) error {
	for ctx.Err() == nil {
		wait := co.retryLimit
		if cons, err := co.find(ctx); err == nil {
			co.setLag(cons.CachedInfo().NumPending)
			wait = lagEvery
		}
		pause(ctx, wait)
	}
	return nil
}

func (co *consumer) setLag(pending uint64) {
	co.conn.metrics.lag.WithLabelValues(co.sub.Stream, co.sub.Durable).Set(float64(pending))
}
