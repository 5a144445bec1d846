package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	replayBatch = 500
	replayWait  = 2 * time.Second // for the first message of a batch; what was pending may have expired or been purged
	replayKept  = time.Minute     // the server removes a consumer whose reader has died
)

// Replayed is how far a replay came.
type Replayed struct {
	Events  int    // given to the handler
	LastSeq uint64 // of the stream: everything up to there was given, or is gone; the next replay begins after it
}

// Replay gives handle every event of a stream that matches the subjects (empty is all) and comes after the sequence
// after (0 is from the beginning), oldest first, one at a time, up to the end as it was at the call. It is for rebuilding
// a projection from nothing: it has no durable, acknowledges nothing, and leaves the service's own subscription where it
// is. The first error of handle ends it. What cannot be decoded is logged and passed over: the subscription has
// dead-lettered it.
//
// Its consumer is called <connection>-replay, so that permissions can name it. There is one at a time.
func (c *Conn) Replay(ctx context.Context, stream string, subjects []string, after uint64, handle Handler) (done Replayed, err error) {
	info, err := c.streamInfo(ctx, stream)
	if err != nil {
		return done, fmt.Errorf("bus: replay of %s: %w", stream, err)
	}
	r := replay{conn: c, stream: stream, subjects: subjects, handle: handle, end: info.State.LastSeq}
	r.done.LastSeq = after
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), apiTimeout)
		defer cancel()
		_ = r.remove(ctx) // else the server does, after replayKept
	}()
	for r.done.LastSeq < r.end {
		if err := r.run(ctx); err != nil {
			return r.done, fmt.Errorf("bus: replay of %s: %w", stream, err)
		}
	}
	return r.done, nil
}

type replay struct {
	conn     *Conn
	stream   string
	subjects []string
	handle   Handler
	end      uint64
	done     Replayed
}

func (r *replay) name() string { return r.conn.NATS.Opts.Name + "-replay" }

func (r *replay) remove(ctx context.Context) error {
	name := r.name()
	err := r.conn.denied.during(ctx, "$JS.API.CONSUMER.DELETE."+r.stream+"."+name, func(ctx context.Context) error {
		return r.conn.JS.DeleteConsumer(ctx, r.stream, name)
	})
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil
	}
	return err
}

// run reads on from where the replay is, with a fresh consumer, until the end or until a message is missing: one that was
// lost on the way is not delivered again, so a new consumer begins with it.
func (r *replay) run(ctx context.Context) error {
	if err := r.remove(ctx); err != nil {
		return err
	}
	var cons jetstream.Consumer
	err := r.conn.denied.during(ctx, "$JS.API.CONSUMER.CREATE."+r.stream+"."+r.name(), func(ctx context.Context) (err error) {
		cons, err = r.conn.JS.CreateConsumer(ctx, r.stream, jetstream.ConsumerConfig{
			Name: r.name(), AckPolicy: jetstream.AckNonePolicy, FilterSubjects: r.subjects, InactiveThreshold: replayKept,
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.done.LastSeq + 1, MemoryStorage: true, Replicas: 1,
		})
		return err
	})
	if err != nil {
		return err
	}
	left := cons.CachedInfo().NumPending
	for taken := uint64(0); left > 0; {
		n, err := r.batch(ctx, cons, taken)
		if err != nil {
			return err
		}
		if r.done.LastSeq >= r.end {
			return nil
		}
		info, err := cons.Info(ctx)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			return nil // begin again
		}
		if err != nil {
			return err
		}
		if taken += n; info.Delivered.Consumer != taken {
			return nil // begin again, with what was lost on the way
		}
		left = info.NumPending
	}
	r.done.LastSeq = r.end // what is between matches none of the subjects, or has expired meanwhile
	return nil
}

// batch takes what comes in one request, after a number of messages that the consumer gave before. It ends early at the end
// of the replay, and where a message is missing.
func (r *replay) batch(ctx context.Context, cons jetstream.Consumer, before uint64) (n uint64, err error) {
	batch, err := cons.Fetch(replayBatch, jetstream.FetchMaxWait(replayWait))
	if err != nil {
		return 0, err
	}
	for msg := range batch.Messages() {
		meta, err := msg.Metadata()
		if err != nil {
			return n, err
		}
		if meta.Sequence.Consumer != before+n+1 {
			return n, nil
		}
		n++
		if meta.Sequence.Stream <= r.end {
			if err := r.take(ctx, rawMessage(msg, meta)); err != nil {
				return n, err
			}
		}
		if meta.NumPending == 0 || meta.Sequence.Stream >= r.end {
			r.done.LastSeq = r.end
			return n, nil
		}
	}
	return n, ctx.Err()
}

// take gives one message to the handler.
func (r *replay) take(ctx context.Context, raw RawMessage) error {
	m, err := decode(raw)
	if err != nil {
		r.conn.log.WarnContext(ctx, "passed over in replay", "stream", r.stream, "stream_seq", raw.StreamSeq, "error", err)
	} else {
		if err := r.handle(ctx, m); err != nil {
			return fmt.Errorf("sequence %d: %w", raw.StreamSeq, err)
		}
		r.done.Events++
	}
	r.done.LastSeq = raw.StreamSeq
	return nil
}
