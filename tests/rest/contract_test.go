package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/healthmed/healthmed/tests/system"
)

// seed and size of the run: CONTRACT_SEED, CONTRACT_REQUESTS (10,000 for the record).
func setting(t *testing.T, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// run keeps what was exercised.
type run struct {
	*world
	t       *testing.T
	size    int
	made    int
	reached map[string]int // operation, status and media type
	done    map[string]bool
	kept    map[string]request // by operation: requests whose like may be refused again and again
}

// TestContract_HoldsInTheRunningSystem makes requests from the documents: each operation as it should be, by everyone
// who may not, about what belongs to others, and with each constraint broken in turn.
func TestContract_HoldsInTheRunningSystem(t *testing.T) {
	cluster, err := system.StartCluster(t.Context(), system.ClusterConfig{
		Dir: system.DataDir(t),
		Env: map[string][]string{
			"users": {"ATTEMPTS_PER_ADDRESS=1000000", "ATTEMPTS_PER_ACCOUNT=1000000", "ACCESS_TOKEN_TTL=720h"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	seed := setting(t, "CONTRACT_SEED", 1)
	world, err := settle(t.Context(), cluster, uint64(seed)) //nolint:gosec // a seed
	if err != nil {
		t.Fatal(err)
	}
	r := &run{world: world, t: t, size: setting(t, "CONTRACT_REQUESTS", 1000), reached: map[string]int{}, done: map[string]bool{}, kept: map[string]request{}}
	var all []operation
	for _, service := range services {
		operations, paths, err := load(t.Context(), service)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, operations...)
		r.wrongMethods(t.Context(), service, paths)
	}
	for _, o := range all { // everything once as it should be, and by those who may not
		r.rightly(t.Context(), o)
		r.strangers(t.Context(), o)
	}
	r.conflicts(t.Context(), all)
	for round := 0; r.made < r.size; round++ {
		before := r.made
		for _, o := range all {
			r.wrongly(t.Context(), o, round)
			if r.made >= r.size {
				break
			}
		}
		if r.made == before {
			t.Fatalf("no more requests to make after %d", r.made)
		}
	}
	r.report(all)
}

// send makes the request and judges the answer.
func (r *run) send(ctx context.Context, q request) system.Answer {
	r.made++
	target := fill(q.op.path, q.path)
	if len(q.query) > 0 {
		target += "?" + q.query.Encode()
	}
	answer, err := r.try(ctx, q.origin, q.who, q.op.method, target, q.body, q.header)
	if err != nil {
		r.t.Fatalf("%s %s (%s): %v", q.op.method, target, q.label, err)
	}
	fault := q.op.judge(answer)
	if fault == nil && q.want != nil && !q.want(answer.Status) {
		fault = fmt.Errorf("status %d: %s", answer.Status, answer.Body)
	}
	if fault != nil {
		role := "anonymous"
		if q.who != nil {
			role = q.who.role
		}
		body, ok := q.body.([]byte)
		if !ok {
			body, _ = json.Marshal(q.body)
		}
		r.t.Errorf("%s %s, %s, by %s, body %.300s: %.500v", q.op.method, target, q.label, role, body, fault.Error())
	}
	kind, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";")
	r.reached[fmt.Sprintf("%s %d %s", q.op.OperationID, answer.Status, kind)]++
	r.done[fmt.Sprintf("%s %d", q.op.OperationID, answer.Status)] = true
	return answer
}

func (r *run) prepared(ctx context.Context, o operation) request {
	q, err := r.ready(ctx, o)
	if err != nil {
		r.t.Fatalf("%s: %v", o.OperationID, err)
	}
	return q
}

func refused(status int) bool { return status >= 400 }

// rightly makes a request that should succeed, repeats it where it carries a key, and changes what it carries.
func (r *run) rightly(ctx context.Context, o operation) {
	q := r.prepared(ctx, o)
	q.want = func(status int) bool {
		return status != http.StatusBadRequest && status != http.StatusUnsupportedMediaType
	}
	r.stale(ctx, o)
	if !r.has(o, "Idempotency-Key") {
		r.send(ctx, q)
		return
	}
	r.n++
	q.header.Set("Idempotency-Key", fmt.Sprintf("key %d", r.n))
	first := r.send(ctx, q)
	again := r.send(ctx, q)
	if first.Status < 300 && (again.Status != first.Status || string(again.Body) != string(first.Body) || again.Header.Get("Idempotent-Replayed") != "true") {
		r.t.Errorf("%s: replayed as %d %s, first %d %s", o.OperationID, again.Status, again.Body, first.Status, first.Body)
	}
	if body, ok := q.body.(map[string]any); ok && first.Status < 300 {
		other := maps.Clone(body)
		other["reason"] = "Outra"
		if o.OperationID == "createHold" || o.OperationID == "rescheduleAppointment" {
			delete(other, "reason")
			other["starts_at"] = "2031-01-01T09:00:00Z"
		}
		q.label, q.body, q.want = "the same key for another body", other, func(status int) bool { return status == http.StatusUnprocessableEntity }
		r.send(ctx, q)
	}
}

// stale makes a change to what has changed since it was read.
func (r *run) stale(ctx context.Context, o operation) {
	if !r.has(o, "If-Match") {
		return
	}
	q := r.prepared(ctx, o)
	q.label, q.want = "stale", func(status int) bool { return status == http.StatusPreconditionFailed }
	q.header.Set("If-Match", `"987654"`)
	r.send(ctx, q)
}

func (r *run) has(o operation, header string) bool {
	return slices.ContainsFunc(o.params, func(p *openapi3.ParameterRef) bool { return p.Value.In == "header" && p.Value.Name == header })
}

// strangers call: without a token, with a bad one, in another role, and about what is another's or nobody's.
func (r *run) strangers(ctx context.Context, o operation) {
	q := r.prepared(ctx, o)
	r.kept[o.OperationID] = q
	if _, ok := q.path["id"]; ok {
		nobody := q
		nobody.label, nobody.path, nobody.want = "nobody's id", map[string]string{"id": strange(), "date": q.path["date"]}, nil
		if o.method == http.MethodGet && !strings.HasSuffix(o.path, "/exceptions") && !strings.HasSuffix(o.path, "/conflicts") {
			nobody.want = func(status int) bool { return status == http.StatusNotFound || status == http.StatusForbidden }
		}
		r.send(ctx, nobody)
	}
	if o.open {
		return
	}
	for _, token := range []string{"", "nonsense", r.patient.token[:len(r.patient.token)-4] + "AAAA"} {
		anonymous := q
		anonymous.label, anonymous.who, anonymous.want = "no good token", &caller{role: "anonymous", token: token}, func(status int) bool { return status == http.StatusUnauthorized }
		r.send(ctx, anonymous)
	}
	for _, who := range []*caller{r.stranger, r.other, r.admin} {
		switch {
		case len(o.roles) > 0 && !slices.Contains(o.roles, who.role):
			wrong := q
			wrong.label, wrong.who, wrong.want = "in the wrong role", who, func(status int) bool { return status == http.StatusForbidden || status == http.StatusNotFound }
			r.send(ctx, wrong)
		case who != r.admin && q.path["id"] != "" && strings.Contains(o.path, "{id}"):
			foreign := q
			foreign.label, foreign.who, foreign.want = "about another's", who, func(status int) bool { return status == http.StatusForbidden || status == http.StatusNotFound }
			r.send(ctx, foreign)
		}
	}
}

// wrongly breaks each constraint of body, query, path and headers. Rounds differ by what is drawn for the rest.
func (r *run) wrongly(ctx context.Context, o operation, round int) {
	q := r.kept[o.OperationID]
	q.want = refused
	if s := o.body(); s != nil && round > 0 && o.service == "users" {
		q.body = r.valid(s) // other optional properties
	}
	r.brokenParameters(ctx, q)
	unknown := q
	unknown.label, unknown.query = "unknown query name", url.Values{"surprise": {"1"}}
	r.send(ctx, unknown)
	if s := o.body(); s != nil {
		for _, v := range broken(s, q.body, "") {
			if v.value == nil && !o.RequestBody.Value.Required {
				continue
			}
			spoilt := q
			spoilt.label, spoilt.body = "body"+v.label, v.value
			r.send(ctx, spoilt)
		}
		for label, raw := range map[string]string{
			"cut short": `{"a":`, "a name twice": `{"name":"a","name":"b"}`, "trailing": `{} {}`, "not UTF-8": "{\"name\":\"\xff\"}", "deep": strings.Repeat("[", 2000),
			"too large": `{"reason":"` + strings.Repeat("a", 70<<10) + `"}`,
		} {
			spoilt := q
			spoilt.label, spoilt.body = label, []byte(raw)
			r.send(ctx, spoilt)
		}
		form := q
		form.label, form.body, form.header = "another media type", []byte("a=b"), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		r.send(ctx, form)
	}
	if round%5 == 4 { // the right ones again, with other draws
		r.rightly(ctx, o)
	}
}

func (r *run) brokenParameters(ctx context.Context, q request) {
	for _, p := range q.op.params {
		param := p.Value
		for _, v := range broken(param.Schema.Value, r.text(param.Schema.Value), param.Name) {
			text, ok := inQuery(v.value)
			if !ok || strings.HasSuffix(v.label, "not a text") {
				continue // a number is a text too
			}
			spoilt := q
			spoilt.label = param.In + " " + v.label
			switch {
			case param.In == "query" && text != "1":
				spoilt.query = url.Values{param.Name: {text}}
			case param.In == "path" && text != "":
				spoilt.path = maps.Clone(q.path)
				spoilt.path[param.Name] = text
			case param.In == "header" && len(text) > 1 && text[0] > ' ':
				spoilt.header = http.Header{param.Name: {text}}
			default:
				continue
			}
			r.send(ctx, spoilt)
		}
	}
}

// wrongMethods asks every path for what it doesn't do, and for paths that don't exist.
func (r *run) wrongMethods(ctx context.Context, service string, paths map[string][]string) {
	origin := r.cluster.Origin(service, 0)
	for path, methods := range paths {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			if slices.Contains(methods, method) {
				continue
			}
			target := fill(path, map[string]string{"id": strange(), "date": "2031-01-01", "file": strings.Repeat("A", 43) + ".ics"})
			answer, err := r.try(ctx, origin, r.admin, method, target, nil, nil)
			r.made++
			if err != nil {
				r.t.Fatal(err)
			}
			allow := answer.Header.Get("Allow")
			if answer.Status != http.StatusMethodNotAllowed || judgeProblem(answer) != nil || slices.ContainsFunc(methods, func(m string) bool { return !strings.Contains(allow, m) }) {
				r.t.Errorf("%s %s: %d, Allow %q, want 405 and %v: %s", method, target, answer.Status, allow, methods, answer.Body)
			}
		}
		answer, err := r.try(ctx, origin, r.admin, http.MethodGet, path+"/nowhere/at/all", nil, nil)
		r.made++
		if err != nil || answer.Status != http.StatusNotFound || judgeProblem(answer) != nil {
			r.t.Errorf("GET %s/nowhere/at/all: %d %v, want a problem 404", path, answer.Status, err)
		}
	}
}

// report tells what was reached, and fails for operations that never succeeded.
func (r *run) report(all []operation) {
	var missing []string
	documented := 0
	for _, o := range all {
		for status := range o.Responses.Map() {
			if status == "default" {
				continue
			}
			documented++
			if r.done[o.OperationID+" "+status] {
				continue
			}
			missing = append(missing, o.OperationID+" "+status)
			// Nothing in a healthy system may be retried: the notifier's own tests have a mail service that refuses.
			if status[0] == '2' && o.OperationID != "retryDelivery" {
				r.t.Errorf("%s never answered %s", o.OperationID, status)
			}
		}
	}
	slices.Sort(missing)
	r.t.Logf("%d requests, %d operations, %d kinds of answers; %d of %d documented statuses reached, not: %s",
		r.made, len(all), len(r.reached), documented-len(missing), documented, strings.Join(missing, ", "))
}
