package feedback

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/healthmed/healthmed/services/notifier/internal/notice"
	"github.com/healthmed/healthmed/services/notifier/internal/postgres"
)

// Config of a Reader.
type Config struct {
	AWS      aws.Config
	Endpoint string // replaces the region's; may be empty
	QueueURL string
	Store    *postgres.Store
	Log      *slog.Logger
	Metrics  prometheus.Registerer
	Now      func() time.Time
	// Published is called after delivery events were committed.
	Published func()
	// Failed is called with deliveries that feedback made fail.
	Failed func([]postgres.Failed)
}

// Reader takes feedback in.
type Reader struct {
	cfg      Config
	client   *sqs.Client
	signals  *prometheus.CounterVec
	failures prometheus.Counter
}

const (
	readers   = 4                // polls at once
	batch     = 10               // SQS's maximum
	longPoll  = 20               // seconds, SQS's maximum
	timeout   = 10 * time.Second // of applying and deleting a batch
	firstWait = time.Second
	lastWait  = 30 * time.Second
)

// New makes a reader; Run starts it.
func New(cfg Config) (*Reader, error) {
	r := &Reader{
		cfg: cfg,
		client: sqs.NewFromConfig(cfg.AWS, func(o *sqs.Options) {
			if cfg.Endpoint != "" {
				o.BaseEndpoint = aws.String(cfg.Endpoint)
			}
		}),
		signals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "notifier_feedback_total", Help: "Feedback of the mail service, by kind; other is not for us, malformed is left in the queue."}, []string{"kind"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "notifier_feedback_failures_total", Help: "Times that the feedback queue could not be read or its messages not applied."}),
	}
	for _, c := range []prometheus.Collector{r.signals, r.failures} {
		if err := cfg.Metrics.Register(c); err != nil {
			return nil, fmt.Errorf("feedback: metrics: %w", err)
		}
	}
	return r, nil
}

// Run reads until ctx ends; a batch in hand is finished.
func (r *Reader) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for range readers {
		group.Go(func() error { return r.read(ctx) })
	}
	return group.Wait()
}

func (r *Reader) read(ctx context.Context) error {
	wait := firstWait
	for ctx.Err() == nil {
		err := r.once(ctx)
		if err == nil {
			wait = firstWait
			continue
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // stopping
		}
		r.failures.Inc()
		r.cfg.Log.WarnContext(ctx, "feedback could not be read", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, lastWait)
	}
	return nil
}

// once reads and applies a batch. What was applied is deleted; what was not comes again, and after the queue's own
// limit lands in its dead-letter queue.
func (r *Reader) once(ctx context.Context) error {
	out, err := r.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: aws.String(r.cfg.QueueURL), MaxNumberOfMessages: batch, WaitTimeSeconds: longPoll,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	var faults []error
	var signals []notice.Signal
	var entries []types.DeleteMessageBatchRequestEntry // of signals, in the same order
	var done []types.DeleteMessageBatchRequestEntry
	for i, m := range out.Messages {
		entry := types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle}
		switch signal, err := Parse([]byte(aws.ToString(m.Body))); {
		case errors.Is(err, ErrOthers):
			r.signals.WithLabelValues("other").Inc()
			done = append(done, entry)
		case err != nil:
			r.signals.WithLabelValues("malformed").Inc()
			faults = append(faults, err)
		default:
			signals, entries = append(signals, signal), append(entries, entry)
		}
	}
	for i, err := range r.apply(ctx, signals) {
		if err != nil {
			faults = append(faults, err)
			continue
		}
		r.signals.WithLabelValues(string(signals[i].Kind)).Inc()
		done = append(done, entries[i])
	}
	if len(done) > 0 {
		_, err := r.client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: aws.String(r.cfg.QueueURL), Entries: done})
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// apply says what became of each signal.
func (r *Reader) apply(ctx context.Context, signals []notice.Signal) []error {
	results := make([]error, len(signals))
	if len(signals) == 0 {
		return results
	}
	news, err := r.cfg.Store.Hear(ctx, signals, r.cfg.Now())
	if err != nil {
		for i := range results {
			results[i] = err
		}
		return results
	}
	for _, i := range news {
		results[i] = r.tell(ctx, signals[i])
	}
	return results
}

func (r *Reader) tell(ctx context.Context, signal notice.Signal) error {
	changed, failed, err := r.cfg.Store.Feedback(ctx, signal, r.cfg.Now())
	if err != nil {
		return err
	}
	if changed {
		r.cfg.Published()
	}
	r.cfg.Failed(failed)
	if signal.Kind != notice.SignalSend && signal.Kind != notice.SignalDelivery {
		r.cfg.Log.WarnContext(ctx, "bad news of a delivery", "delivery_id", signal.DeliveryID, "kind", string(signal.Kind), "reason", signal.Reason)
	}
	return nil
}
