package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/tests/load/bench"
)

const journeyRate, journeyConnections = 200, 64

// journey follows bookings at a steady rate all the way.
func journey() bench.Scenario {
	return bench.Scenario{
		Name: "journey",
		What: "200 bookings a second, followed from when each was due: the answer, the event in the stream, a subscriber, the doctor's e-mail. Commit times are PostgreSQL's own, arrival times those of the stream, of the subscriber, and of the SES endpoint; all on one clock.",
		Run: func(ctx context.Context, w *bench.World) ([]bench.Row, error) {
			j, err := travel(ctx, w, "journey", 15*time.Second)
			if err != nil {
				return nil, err
			}
			mails, err := j.mails(ctx, w)
			return append(j.rows, mails...), err
		},
	}
}

// journeyEvents is the first part alone: what outbox, relay and stream cost, with nobody sending e-mails beside them.
func journeyEvents() bench.Scenario {
	return bench.Scenario{
		Name: "journey-events", Without: []string{"notifier"},
		What: "The same 200 bookings a second up to the subscriber, with the notifier off: with it, on two processors, 400 e-mails a second are sent beside.",
		Run: func(ctx context.Context, w *bench.World) ([]bench.Row, error) {
			j, err := travel(ctx, w, "journey-events", 8*time.Second)
			if err != nil {
				return nil, err
			}
			return j.rows, skipMail(ctx, w)
		},
	}
}

// journeySynced is that with a broker that fsyncs each message.
func journeySynced() bench.Scenario {
	return bench.Scenario{
		Name: "journey-synced", Without: []string{"notifier"},
		What: "The same with sync_interval: always, where JetStream fsyncs each message before it acknowledges it; notifier off.",
		Run: func(ctx context.Context, w *bench.World) ([]bench.Row, error) {
			if err := w.SyncAlways(ctx, true); err != nil {
				return nil, err
			}
			j, err := travel(ctx, w, "journey-synced", 8*time.Second)
			if err != nil {
				return nil, err
			}
			if err := skipMail(ctx, w); err != nil {
				return nil, err
			}
			return j.rows, w.SyncAlways(ctx, false)
		},
	}
}

// travelled is what was seen of the bookings of a journey.
type travelled struct {
	name string
	rows []bench.Row

	mu      sync.Mutex
	due     map[uuid.UUID]time.Time // by appointment: when its booking was due
	stored  map[uuid.UUID]time.Time // in the stream
	arrived map[uuid.UUID]time.Time // at the subscriber
	usage   []bench.Usage
}

func travel(ctx context.Context, w *bench.World, name string, during time.Duration) (*travelled, error) {
	j := &travelled{name: name, due: map[uuid.UUID]time.Time{}, stored: map[uuid.UUID]time.Time{}, arrived: map[uuid.UUID]time.Time{}}
	consumer, err := w.JS.OrderedConsumer(ctx, "SCHEDULING", jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{"healthmed.scheduling.appointment.booked.v1.>"}, DeliverPolicy: jetstream.DeliverNewPolicy,
	})
	if err != nil {
		return nil, err
	}
	sub, err := consumer.Consume(j.arrive)
	if err != nil {
		return nil, err
	}
	defer sub.Stop()

	during = w.Seconds(during)
	var began time.Time
	var first sync.Once
	do := book(w, func(n int, a appointment) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.due[a.id] = began.Add(time.Duration(n) * time.Second / journeyRate)
	})
	var m bench.Measured
	load := bench.Load{Workers: journeyConnections, Rate: journeyRate, For: during, Do: func(n int) error {
		first.Do(func() { began = time.Now() })
		return do(n)
	}}
	j.usage = w.Watch(ctx, func() { m = load.Run(ctx) })
	booking := bench.RowOf(name+"/booking answered", open(journeyRate, journeyConnections), m)
	booking.Usage = j.usage
	j.rows = append(j.rows, booking)
	err = w.Eventually(ctx, time.Minute, "the subscriber has every booking", func(context.Context) (bool, error) {
		j.mu.Lock()
		defer j.mu.Unlock()
		for id := range j.due {
			if _, ok := j.arrived[id]; !ok {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return j, j.events(ctx, w)
}

func (j *travelled) arrive(msg jetstream.Msg) {
	now := time.Now()
	tokens := strings.Split(msg.Subject(), ".")
	id, err := uuid.Parse(tokens[len(tokens)-1])
	meta, metaErr := msg.Metadata()
	if err != nil || metaErr != nil {
		return // it will be missed
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stored[id], j.arrived[id] = meta.Timestamp, now
}

// events makes the rows of commit, stream and subscriber.
func (j *travelled) events(ctx context.Context, w *bench.World) error {
	ids := make([]uuid.UUID, 0, len(j.due))
	for id := range j.due {
		ids = append(ids, id)
	}
	if err := w.Quiet(ctx, time.Minute); err != nil { // the relay marks what was acknowledged
		return err
	}
	rows, err := w.Scheduling.Query(ctx, `SELECT a.id, pg_xact_commit_timestamp(a.xmin), o.published_at
FROM appointments a JOIN outbox o ON o.aggregate_id = a.id AND o.aggregate_version = 1
WHERE a.id = ANY ($1) AND o.created_at > now() - interval '1 hour'`, ids)
	if err != nil {
		return err
	}
	toStream, toMark, toSubscriber := bench.NewHistogram(), bench.NewHistogram(), bench.NewHistogram()
	var id uuid.UUID
	var committed, marked time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &committed, &marked}, func() error {
		bench.Record(toStream, j.stored[id].Sub(committed))
		bench.Record(toMark, marked.Sub(committed))
		bench.Record(toSubscriber, j.arrived[id].Sub(j.due[id]))
		return nil
	})
	if err != nil {
		return err
	}
	lost := float64(int64(len(ids)) - toStream.TotalCount())
	stream := j.row("commit to stream", toStream).With("lost", lost)
	stream.Note = "until the stream had stored it, by the stream's clock"
	mark := j.row("commit to PubAck", toMark)
	mark.Note = "until the relay, with the acknowledgement in hand, began to mark the row: never less than the acknowledgement's own time"
	j.rows = append(j.rows, stream, mark, j.row("booking to subscriber", toSubscriber))
	return nil
}

func (j *travelled) row(name string, h *hdrhistogram.Histogram) bench.Row {
	return bench.Row{Name: j.name + "/" + name, Load: fmt.Sprintf("open, %d bookings/s", journeyRate), Done: h.TotalCount(), PerSecond: journeyRate, Latency: bench.LatencyOf(h)}
}

// mails makes the rows of the doctors' e-mails.
func (j *travelled) mails(ctx context.Context, w *bench.World) ([]bench.Row, error) {
	accepted, err := acceptedMails(ctx, w)
	if err != nil {
		return nil, err
	}
	rows, err := w.Notifier.Query(ctx, `SELECT id, appointment_id FROM deliveries
WHERE recipient_id = doctor_id AND planned_at < now() AND created_at > now() - interval '10 minutes'`)
	if err != nil {
		return nil, err
	}
	fromDue, fromEvent := bench.NewHistogram(), bench.NewHistogram()
	var delivery, id uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&delivery, &id}, func() error {
		due, ours := j.due[id]
		at, sent := accepted[delivery.String()]
		if ours && sent {
			bench.Record(fromDue, at.Sub(due))
			bench.Record(fromEvent, at.Sub(j.stored[id]))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	missing := float64(int64(len(j.due)) - fromDue.TotalCount())
	return []bench.Row{
		j.row("booking to e-mail accepted", fromDue).With("missing", missing),
		j.row("event to e-mail accepted", fromEvent).With("missing", missing),
	}, nil
}

// acceptedMails asks the SES endpoint when it took each delivery.
func acceptedMails(ctx context.Context, w *bench.World) (map[string]time.Time, error) {
	at := map[string]time.Time{}
	for path := w.Cluster.Inbox + "/messages?limit=1000"; path != ""; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
		if err != nil {
			return nil, err
		}
		var page struct {
			Items []struct {
				SentAt time.Time         `json:"sent_at"`
				Tags   map[string]string `json:"tags"`
			} `json:"items"`
			Next *string `json:"next_cursor"`
		}
		if err := getJSON(req, &page); err != nil {
			return nil, err
		}
		for _, m := range page.Items {
			at[m.Tags["delivery_id"]] = m.SentAt
		}
		if path = ""; page.Next != nil && *page.Next != "" {
			path = w.Cluster.Inbox + "/messages?limit=1000&cursor=" + url.QueryEscape(*page.Next)
		}
	}
	return at, nil
}

func getJSON(req *http.Request, out any) error {
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: status %d", req.URL.Path, res.StatusCode)
	}
	return json.NewDecoder(res.Body).Decode(out)
}
