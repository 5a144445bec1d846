package outbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
)

const (
	leaderLock     = 0x6f7574626f78 // "outbox": advisory locks belong to one database, and so to one service
	standByPause   = 500 * time.Millisecond
	roundTimeout   = 10 * time.Second
	stopTimeout    = 500 * time.Millisecond // for publishing what is left, and again for marking it
	firstCoolDown  = 250 * time.Millisecond
	maxCoolDown    = 5 * time.Second
	connectTimeout = 5 * time.Second
)

// term is one connection's life: stand by until the lock is free, then lead until ctx ends or the connection is lost.
func (r *Relay) term(ctx context.Context) (err error) {
	conn, err := r.connect(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { // closing the connection releases the lock
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		err = errors.Join(err, conn.Close(ctx))
	}()
	if err := r.standBy(ctx, conn); err != nil {
		return err
	}
	r.cfg.Log.InfoContext(ctx, "outbox relay: leading")
	r.leading.Store(true)
	defer func() {
		r.leading.Store(false)
		r.cfg.Log.InfoContext(context.WithoutCancel(ctx), "outbox relay: no longer leading")
	}()
	return r.lead(ctx, conn)
}

// connect makes the connection that the lock lives on. Its parameters make sure that a leader that vanished without a
// word is noticed within some ten seconds, and that statements use the small partial indexes whatever the statistics
// say, by a plan that is made once: with few rows to mark PostgreSQL would plan each time, which takes as long as marking
// them. Marks needn't wait for the disk: one that is lost means that a message is sent again, and dropped as duplicate.
func (r *Relay) connect(ctx context.Context) (*pgx.Conn, error) {
	pool := r.cfg.Pool.Config()
	cc := pool.ConnConfig
	cc.Tracer = nil
	host, _ := os.Hostname() // only to be read by an operator
	for name, value := range map[string]string{
		"application_name":        fmt.Sprintf("outbox-relay %.30s/%d", host, os.Getpid()),
		"statement_timeout":       strconv.FormatInt(roundTimeout.Milliseconds(), 10),
		"idle_session_timeout":    "0",
		"synchronous_commit":      "off",
		"tcp_keepalives_idle":     "4",
		"tcp_keepalives_interval": "2",
		"tcp_keepalives_count":    "3",
		"tcp_user_timeout":        "10000",
		"enable_seqscan":          "off",
		"enable_bitmapscan":       "off",
		"enable_hashjoin":         "off",
		"enable_mergejoin":        "off",
		"jit":                     "off",
		"plan_cache_mode":         "force_generic_plan",
	} {
		cc.RuntimeParams[name] = value
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if pool.BeforeConnect != nil {
		if err := pool.BeforeConnect(ctx, cc); err != nil {
			return nil, err
		}
	}
	return pgx.ConnectConfig(ctx, cc)
}

// standBy returns nil when the lock is ours. Meanwhile nudges are passed on to the leader. It asks again and again
// rather than wait inside PostgreSQL, where a waiting statement would hold back vacuum.
func (r *Relay) standBy(ctx context.Context, conn *pgx.Conn) error {
	retry := time.NewTicker(standByPause)
	defer retry.Stop()
	for {
		var ok bool
		err := withTimeout(ctx, roundTimeout, func(ctx context.Context) error {
			return conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", int64(leaderLock)).Scan(&ok)
		})
		if err != nil || ok {
			return err
		}
		for again := true; again; {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-retry.C:
				again = false
			case <-r.nudge:
				if nc := r.cfg.JS.Conn(); r.cfg.NudgeSubject != "" && nc.IsConnected() {
					_ = nc.Publish(r.cfg.NudgeSubject, nil) // lost, the leader's poll makes up for it
				}
			}
		}
	}
}

func withTimeout(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return f(ctx)
}

// leader is a term of leadership.
type leader struct {
	*Relay
	conn     *pgx.Conn
	pub      *publisher
	coolDown time.Duration // after a window in which a stream answered nothing
}

// lead publishes until ctx ends (nil) or the connection is lost (error).
func (r *Relay) lead(ctx context.Context, conn *pgx.Conn) error {
	pub, err := newPublisher(r.cfg, r.metrics)
	if err != nil {
		return err
	}
	defer pub.js.CleanupPublisher()
	if nc := r.cfg.JS.Conn(); r.cfg.NudgeSubject != "" {
		sub, err := nc.Subscribe(r.cfg.NudgeSubject, func(*nats.Msg) { r.Nudge() })
		if err == nil {
			defer func() { _ = sub.Unsubscribe() }()
		}
	}
	side, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer func() {
		stop()
		wg.Wait()
		r.metrics.forget()
	}()
	wg.Go(func() { r.housekeep(side) })
	wg.Go(func() { r.measure(side) })
	l := &leader{Relay: r, conn: conn, pub: pub}
	for ctx.Err() == nil {
		if err := l.round(ctx); err != nil {
			return err
		}
	}
	return l.finish(ctx)
}

// round settles what was published and publishes what is pending; with nothing to do it waits.
func (l *leader) round(ctx context.Context) error {
	limit := l.cfg.Batch
	if !l.cfg.JS.Conn().IsConnected() {
		limit = 0 // nothing could be sent; the statement still shows that the connection is alive
	}
	rows, err := l.settle(ctx, limit)
	if err != nil {
		return fmt.Errorf("lost the connection: %w", err)
	}
	return l.attended(ctx, func(ctx context.Context) {
		if len(rows) == 0 {
			l.wait(ctx, limit > 0)
			return
		}
		l.pub.publish(ctx, rows)
		switch {
		case l.pub.acked > 0:
			l.coolDown = 0
			if len(rows) > 1 && len(rows) < limit {
				pause(ctx, l.cfg.Gather*time.Duration(min(1+len(rows)/8, 4)))
			}
		case l.pub.unanswered > 0 || len(l.pub.inFlight) > 0:
			l.coolDown = min(max(firstCoolDown, 2*l.coolDown), maxCoolDown)
			pause(ctx, l.coolDown)
		}
	})
}

// settle is settle with a time limit. When ctx ends it may still finish: a statement broken off would cost the
// connection, and with it what it was to mark.
func (l *leader) settle(ctx context.Context, limit int) ([]*row, error) {
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), roundTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		pause(work, stopTimeout)
		cancel()
	})()
	return settle(work, l.conn, l.cfg.Now(), l.pub.take(), l.pub.busy(), limit)
}

// attended runs f while it watches the connection. When that is lost f's context ends, and with it the leadership.
func (l *leader) attended(ctx context.Context, f func(context.Context)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	lost := make(chan error, 1)
	go func() {
		// Nobody notifies: it returns when it is stopped or when the connection is lost.
		_, err := l.conn.WaitForNotification(watch)
		if watch.Err() == nil && err != nil {
			cancel()
			lost <- fmt.Errorf("lost the connection: %w", err)
			return
		}
		lost <- nil
	}()
	f(ctx)
	stop()
	return <-lost
}

// wait returns when there may be something to do: a nudge, the poll, or a late answer.
func (l *leader) wait(ctx context.Context, connected bool) {
	poll := l.cfg.Poll
	if !connected {
		poll = min(poll, firstCoolDown)
	}
	timer := time.NewTimer(poll)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-l.nudge:
	case a := <-l.pub.answers:
		l.pub.settle(ctx, a)
	}
}

// finish publishes what was committed until now, as long as stopTimeout allows, and marks what was answered. One look
// is not enough: what follows a message in flight in its aggregate can only be read once that one is answered.
func (l *leader) finish(ctx context.Context) error {
	due, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	for {
		limit := l.cfg.Batch
		if !l.cfg.JS.Conn().IsConnected() || due.Err() != nil {
			limit = 0
		}
		l.pub.drain(ctx)
		rows, err := l.settle(ctx, limit)
		if err != nil {
			return err
		}
		if due.Err() != nil || len(rows) == 0 && len(l.pub.inFlight) == 0 {
			return nil
		}
		l.pub.publish(due, rows)
	}
}
