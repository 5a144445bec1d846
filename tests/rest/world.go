package rest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/healthmed/healthmed/tests/system"
)

const password = "Cons#ulta2026"

// caller is somebody who calls; anonymous has no role.
type caller struct{ role, id, email, token, refresh string }

// world is the running system and who and what is in it.
type world struct {
	maker
	cluster *system.Cluster
	future  string // a replica of scheduling whose clock is a fortnight ahead
	http    *http.Client

	admin, patient, stranger, doctor, approver, other *caller
	bookings, deliveries, letters                     []string
	dead                                              bool // dead letters have been caused
}

// settle makes the people and what they have.
func settle(ctx context.Context, cluster *system.Cluster, seed uint64) (*world, error) {
	w := &world{
		cluster: cluster, http: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16}},
		maker: maker{rng: rand.New(rand.NewPCG(seed, 3))}, //nolint:gosec // requests that can be made again, not a secret
	}
	w.admin = &caller{role: "admin", email: system.AdminEmail}
	if err := w.signIn(ctx, w.admin, system.AdminPassword); err != nil {
		return nil, err
	}
	for _, p := range []struct {
		who  **caller
		role string
	}{{&w.patient, "patient"}, {&w.stranger, "patient"}, {&w.doctor, "doctor"}, {&w.approver, "doctor"}, {&w.other, "doctor"}} {
		made, err := w.person(ctx, p.role)
		if err != nil {
			return nil, err
		}
		*p.who = made
	}
	for d, mode := range map[*caller]string{w.doctor: "instant", w.approver: "approval"} {
		if _, err := w.must(ctx, "scheduling", d, http.MethodPut, "/v1/doctors/"+d.id+"/availability", availability(mode)); err != nil {
			return nil, err
		}
	}
	for range 3 {
		if _, err := w.booking(ctx, w.doctor); err != nil {
			return nil, err
		}
	}
	return w, w.startFuture(ctx)
}

func availability(mode string) map[string]any {
	var weekly []any
	for _, day := range []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"} {
		weekly = append(weekly, map[string]any{"weekday": day, "start": "00:00", "end": "23:55"})
	}
	return map[string]any{"time_zone": "America/Sao_Paulo", "slot_minutes": 5, "horizon_days": 60, "booking_mode": mode, "weekly": weekly}
}

// startFuture starts one more replica, so that what may happen only after an appointment can happen.
func (w *world) startFuture(ctx context.Context) error {
	addrs, err := system.FreeAddrs(ctx, 2)
	if err != nil {
		return err
	}
	model := w.cluster.Services["scheduling"][0]
	p := &system.Process{Name: "scheduling-future", Path: model.Path, Log: model.Log, Env: append(append([]string(nil), model.Env...),
		"HTTP_ADDR="+addrs[0], "OPS_ADDR="+addrs[1], "ENVIRONMENT=development", "DEV_CLOCK_OFFSET=336h")}
	w.cluster.Services["scheduling"] = append(w.cluster.Services["scheduling"], p)
	w.future = "http://" + addrs[0]
	if err := p.Start(); err != nil {
		return err
	}
	return system.WaitReady(ctx, w.future, 30*time.Second)
}

func (w *world) try(ctx context.Context, origin string, who *caller, method, path string, body any, header http.Header) (system.Answer, error) {
	c := system.Client{Origin: origin, HTTP: w.http, Header: header}
	if who != nil {
		c.Token = who.token
	}
	return c.Try(ctx, method, path, body)
}

// must makes a request that has to succeed, and reads the object that answers it.
func (w *world) must(ctx context.Context, service string, who *caller, method, path string, body any) (map[string]any, error) {
	a, err := w.try(ctx, w.cluster.Origin(service, 0), who, method, path, body, nil)
	if err != nil {
		return nil, err
	}
	if a.Status >= 300 {
		return nil, fmt.Errorf("%s %s: %d %s", method, path, a.Status, a.Body)
	}
	out := map[string]any{}
	if len(a.Body) > 0 {
		err = unmarshal(a.Body, &out)
	}
	return out, err
}

// person registers somebody new.
func (w *world) person(ctx context.Context, role string) (*caller, error) {
	w.n++
	p := &caller{role: role, email: fmt.Sprintf("%s%d@mail.example", role, w.n)}
	body := map[string]any{"name": "Pessoa de Teste", "cpf": cpf(w.n), "email": p.email, "password": password}
	if role == "doctor" {
		body["crm"] = map[string]any{"number": strconv.Itoa(100000 + w.n), "state": "SP"}
		body["specialties"] = []string{"cardiology"}
	}
	if _, err := w.must(ctx, "users", nil, http.MethodPost, "/v1/"+role+"s", body); err != nil {
		return nil, err
	}
	return p, w.signIn(ctx, p, password)
}

func (w *world) signIn(ctx context.Context, p *caller, secret string) error {
	session, err := w.must(ctx, "users", nil, http.MethodPost, "/v1/auth/login", map[string]any{"email": p.email, "password": secret})
	if err != nil {
		return err
	}
	p.token, _ = session["access_token"].(string)
	p.refresh, _ = session["refresh_token"].(string)
	user, _ := session["user"].(map[string]any)
	p.id, _ = user["id"].(string)
	return nil
}

// slot is some free slot, a week ahead.
func (w *world) slot(ctx context.Context, doctor *caller) (string, error) {
	day := time.Now().AddDate(0, 0, 3+w.rng.IntN(8)).Format(time.DateOnly)
	list, err := w.must(ctx, "scheduling", nil, http.MethodGet, "/v1/doctors/"+doctor.id+"/slots?from="+day+"&to="+day, nil)
	if err != nil {
		return "", err
	}
	slots, _ := list["slots"].([]any)
	if len(slots) == 0 {
		return "", fmt.Errorf("no free slot on %s", day)
	}
	slot, _ := slots[w.rng.IntN(len(slots))].(map[string]any)
	at, _ := slot["starts_at"].(string)
	return at, nil
}

// booking makes an appointment of the patient; a full diary is somebody's fault who made too many.
func (w *world) booking(ctx context.Context, doctor *caller) (string, error) {
	var last error
	for range 5 { // the patient may be busy then
		at, err := w.slot(ctx, doctor)
		if err != nil {
			return "", err
		}
		made, err := w.must(ctx, "scheduling", w.patient, http.MethodPost, "/v1/appointments", map[string]any{"doctor_id": doctor.id, "starts_at": at})
		if err == nil {
			id, _ := made["id"].(string)
			w.bookings = append(w.bookings, id)
			return id, nil
		}
		last = err
	}
	return "", last
}

// listed gives the ids of a list.
func (w *world) listed(ctx context.Context, service, path string) ([]string, error) {
	page, err := w.must(ctx, service, w.admin, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	var ids []string
	items, _ := page["items"].([]any)
	for _, item := range items {
		object, _ := item.(map[string]any)
		id, _ := object["id"].(string)
		ids = append(ids, id)
	}
	return ids, nil
}

// spoil publishes what nobody can read, so that there are dead letters.
func (w *world) spoil(ctx context.Context) error {
	if w.dead {
		return nil
	}
	w.dead = true
	nc, err := nats.Connect(w.cluster.NATSURL)
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := nc.Publish("healthmed.scheduling.appointment.booked.v1.x.y", []byte("not an event")); err != nil {
		return err
	}
	if err := nc.FlushTimeout(10 * time.Second); err != nil {
		return err
	}
	for range 100 {
		if w.letters, err = w.listed(ctx, "notifier", "/v1/dead-letters"); err != nil || len(w.letters) > 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil // the coverage will tell
}

// token as it stands in a link.
var token = regexp.MustCompile(`token=([A-Za-z0-9_-]+)`)

// mailedToken waits until somebody has so many e-mails, and reads the token in the latest.
func (w *world) mailedToken(ctx context.Context, email string, count int) (string, error) {
	for range 200 {
		page, err := w.mailbox(ctx, "/messages?to="+url.QueryEscape(email))
		if err != nil {
			return "", err
		}
		var list struct{ Items []struct{ ID string } }
		if err := unmarshal(page, &list); err != nil {
			return "", err
		}
		if len(list.Items) >= count {
			message, err := w.mailbox(ctx, "/messages/"+list.Items[0].ID)
			if found := token.FindSubmatch(message); err == nil && found != nil {
				return string(found[1]), nil
			}
			return "", fmt.Errorf("no token in %s: %w", message, err)
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return "", fmt.Errorf("%s did not get %d e-mails", email, count)
}

func (w *world) mailbox(ctx context.Context, path string) ([]byte, error) {
	a, err := w.try(ctx, w.cluster.Inbox, nil, http.MethodGet, path, nil, nil)
	return a.Body, err
}

// fill puts values into a path.
func fill(path string, values map[string]string) string {
	for name, v := range values {
		path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(v))
	}
	return path
}

// cpf makes the n-th of a series of made-up CPFs with right check digits.
func cpf(n int) string {
	digits := fmt.Sprintf("%09d", 300_000_000+n)
	for weight := 10; weight <= 11; weight++ {
		sum := 0
		for i, d := range digits {
			sum += int(d-'0') * (weight - i)
		}
		digits += strconv.Itoa(sum * 10 % 11 % 10)
	}
	return digits
}
