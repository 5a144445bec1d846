package e2e

import (
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/tests/system"
)

// TestTrace follows requests by their trace, from the HTTP request through outbox, stream and consumer to the call that
// sends the e-mail, and by their request id through the events, also where work was left for later in between.
func TestTrace(t *testing.T) {
	collector := newCollector(t)
	sys := system.Start(t, system.DataDir(t), "DEMO=false",
		"OTEL_EXPORTER_OTLP_ENDPOINT="+collector.server.URL, "OTEL_BSP_SCHEDULE_DELAY=200")
	anyone := system.Client{Origin: sys.Origin}
	cast := newCast(t, sys.Origin)
	doctorID, patientID, doctor, patient, other := cast.doctorID, cast.patientID, cast.doctor, cast.patient, cast.other

	hours := everyDay()
	hours["slot_minutes"] = 180 // one a day
	doctor.Do(t, http.MethodPut, "/v1/doctors/"+doctorID+"/availability", hours).Want(t, http.StatusOK)
	offered := func() string {
		return metric(t, sys.Ops+"/scheduling/metrics", `scheduling_worker_done_total{task="offer-freed"}`)
	}
	system.Eventually(t, 30*time.Second, "the hours are offered", changed(offered, "0"))
	js := streams(t, sys)

	slots := freeSlots(t, anyone, doctorID)
	var booked appointment
	booking := request{trace: traceID(1), id: "trace-booking"}
	booking.as(patient).Do(t, http.MethodPost, "/v1/appointments", map[string]any{"doctor_id": doctorID, "starts_at": slots[0]}).
		Want(t, http.StatusCreated).JSON(t, &booked)
	t.Run("booking, to the doctor's e-mail", func(t *testing.T) {
		booking.leadsTo(t, collector, "scheduling POST /v1/appointments", "scheduling publish SCHEDULING",
			"notifier process SCHEDULING", "notifier send e-mail doctor_booked", "notifier publish NOTIFICATIONS")
		booking.isCauseOf(t, js, "SCHEDULING", "appointment.booked", booked.ID)
		booking.isCauseOf(t, js, "NOTIFICATIONS", "delivery.sent", "doctor_booked")
	})

	var second appointment
	earlier := request{trace: traceID(4), id: "trace-second"}
	earlier.as(patient).Do(t, http.MethodPost, "/v1/appointments", map[string]any{"doctor_id": doctorID, "starts_at": slots[1]}).
		Want(t, http.StatusCreated).JSON(t, &second)
	zone, err := time.LoadLocation(booked.TimeZone)
	if err != nil {
		t.Fatal(err)
	}
	day := booked.StartsAt.In(zone).Format(time.DateOnly)
	before := offered()
	other.With("Idempotency-Key", "wait").Do(t, http.MethodPost, "/v1/waitlist", map[string]any{"doctor_id": doctorID, "from": day, "to": day}).Want(t, http.StatusCreated)
	system.Eventually(t, 30*time.Second, "nothing is free on that day", changed(offered, before))
	cancel := request{trace: traceID(2), id: "trace-cancel"}
	cancel.as(patient).Do(t, http.MethodPost, "/v1/appointments/"+booked.ID+"/cancel", map[string]string{"reason": "Viagem"}).Want(t, http.StatusOK)
	t.Run("cancellation, to the offer that it makes possible", func(t *testing.T) {
		cancel.leadsTo(t, collector, "scheduling POST /v1/appointments/{id}/cancel", "scheduling publish SCHEDULING",
			"notifier process SCHEDULING", "notifier send e-mail doctor_cancelled", "notifier send e-mail patient_waitlist_offer")
		cancel.isCauseOf(t, js, "SCHEDULING", "waitlist.offered", doctorID)
	})

	earlier.isCauseOf(t, js, "NOTIFICATIONS", "delivery.sent", "doctor_booked") // or its cancellation would be nobody's news
	erase := request{trace: traceID(3), id: "trace-erase"}
	erase.as(patient).Do(t, http.MethodDelete, "/v1/me", nil).Want(t, http.StatusNoContent)
	t.Run("erasure, to the doctor's e-mail of the cancellation", func(t *testing.T) {
		erase.leadsTo(t, collector, "users DELETE /v1/me", "users publish USERS", "scheduling process USERS",
			"scheduling publish SCHEDULING", "notifier process SCHEDULING", "notifier send e-mail doctor_cancelled")
		erase.isCauseOf(t, js, "USERS", "user.erased", patientID)
		erase.isCauseOf(t, js, "SCHEDULING", "appointment.cancelled", second.ID)
	})
}

// caller is the span of the caller's that requests are made in.
const caller = "00f067aa0ba902b7"

// request is a request with a trace and an id of the caller's.
type request struct{ trace, id string }

func traceID(n int) string { return fmt.Sprintf("4bf92f3577b34da6a3ce929d0e0e%04x", n) }

func (r request) as(c system.Client) system.Client {
	return c.With("traceparent", "00-"+r.trace+"-"+caller+"-01").With("X-Request-Id", r.id).With("Idempotency-Key", r.id)
}

// leadsTo waits until the trace has all spans, each connected through its parents to the caller's.
func (r request) leadsTo(t *testing.T, c *collector, want ...string) {
	t.Helper()
	system.Eventually(t, 30*time.Second, "the whole trace", func() error {
		spans := c.trace(r.trace)
		for _, name := range want {
			if !slices.Contains(spans.names, name) {
				return fmt.Errorf("no span %q among %q", name, spans.names)
			}
		}
		return nil
	})
	system.Eventually(t, 30*time.Second, "all spans hang together", func() error { return c.trace(r.trace).connected(caller) })
}

// isCauseOf waits for an event that tells of something and says that the request caused it.
func (r request) isCauseOf(t *testing.T, js jetstream.JetStream, stream, event, about string) {
	t.Helper()
	system.Eventually(t, 30*time.Second, event+" about "+about, func() error {
		for _, m := range messagesOf(t, js, stream) {
			e, err := events.Decode(m.Data)
			if err != nil {
				return err
			}
			if e.CorrelationID != r.id || !strings.Contains(m.Subject, "."+event+".v1.") || !strings.Contains(string(m.Data), about) {
				continue
			}
			if !strings.HasPrefix(e.TraceParent, "00-"+r.trace+"-") {
				t.Errorf("%s has trace %s, want %s", event, e.TraceParent, r.trace)
			}
			return nil
		}
		return fmt.Errorf("no %s with correlation id %s", event, r.id)
	})
}

// changed says whether a reading is another than it was.
func changed(read func() string, was string) func() error {
	return func() error {
		if read() == was {
			return fmt.Errorf("still %s", was)
		}
		return nil
	}
}

// metric reads one sample of a Prometheus page, "0" where there is none yet.
func metric(t *testing.T, page, sample string) string {
	t.Helper()
	answer := system.Client{Origin: page}.Do(t, http.MethodGet, "", nil).Want(t, http.StatusOK)
	for line := range strings.Lines(string(answer.Body)) {
		if value, ok := strings.CutPrefix(line, sample+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return "0"
}

func freeSlots(t *testing.T, c system.Client, doctorID string) (starts []time.Time) {
	t.Helper()
	from := time.Now().AddDate(0, 0, 2)
	var list struct {
		Slots []struct {
			StartsAt time.Time `json:"starts_at"`
		} `json:"slots"`
	}
	query := "?from=" + from.Format(time.DateOnly) + "&to=" + from.AddDate(0, 0, 3).Format(time.DateOnly)
	c.Do(t, http.MethodGet, "/v1/doctors/"+doctorID+"/slots"+query, nil).Want(t, http.StatusOK).JSON(t, &list)
	for _, s := range list.Slots {
		starts = append(starts, s.StartsAt)
	}
	return starts
}

// messagesOf reads a stream from its beginning.
func messagesOf(t *testing.T, js jetstream.JetStream, name string) (all []*jetstream.RawStreamMsg) {
	t.Helper()
	stream, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	state := stream.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		if m, err := stream.GetMsg(t.Context(), seq); err == nil { // or it was purged
			all = append(all, m)
		}
	}
	return all
}

// collector is an OpenTelemetry collector that keeps traces in memory.
type collector struct {
	server *httptest.Server
	mu     sync.Mutex
	traces map[string]*spans
}

// spans of one trace.
type spans struct {
	names   []string          // "service name", for an e-mail with its template
	parents map[string]string // by span id
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{traces: map[string]*spans{}}
	c.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var data tracepb.TracesData // on the wire the same as a request to export traces
		if err == nil {
			err = proto.Unmarshal(body, &data)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c.keep(&data)
	}))
	t.Cleanup(c.server.Close)
	return c
}

func (c *collector) keep(data *tracepb.TracesData) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range data.GetResourceSpans() {
		service := attribute(resource.GetResource().GetAttributes(), "service.name")
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				id := hex.EncodeToString(span.GetTraceId())
				if c.traces[id] == nil {
					c.traces[id] = &spans{parents: map[string]string{}}
				}
				name := service + " " + span.GetName()
				if template := attribute(span.GetAttributes(), "healthmed.template"); template != "" {
					name += " " + template
				}
				c.traces[id].names = append(c.traces[id].names, name)
				c.traces[id].parents[hex.EncodeToString(span.GetSpanId())] = hex.EncodeToString(span.GetParentSpanId())
			}
		}
	}
}

func attribute(of []*commonpb.KeyValue, key string) string {
	for _, a := range of {
		if a.GetKey() == key {
			return a.GetValue().GetStringValue()
		}
	}
	return ""
}

// trace is what is known of a trace so far.
func (c *collector) trace(id string) spans {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.traces[id]
	if known == nil {
		return spans{}
	}
	return spans{names: slices.Clone(known.names), parents: maps.Clone(known.parents)}
}

// connected tells whether every span's parent is known, or the root.
func (s spans) connected(root string) error {
	for id, parent := range s.parents {
		if _, known := s.parents[parent]; !known && parent != root {
			return fmt.Errorf("span %s hangs on %q, which is not known", id, parent)
		}
	}
	return nil
}
