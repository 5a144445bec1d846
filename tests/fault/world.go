package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/healthmed/healthmed/tests/system"
)

const password = "Cons#ulta2026"

// person is a caller with a token.
type person struct{ id, email, token string }

// world is whom the clients act for, and what they know to be there.
type world struct {
	cluster  *system.Cluster
	replicas int
	journal  *Journal
	http     *http.Client

	doctors  []*person // the last one approves bookings
	patients []*person

	mu      sync.Mutex
	open    []booked // appointments that can still change
	done    []call   // keyed and acknowledged: to be sent again now and then
	unknown []call   // keyed and unanswered: to be settled
	people  int      // registered so far
	serial  int      // of keys
}

// booked is an appointment as last acknowledged.
type booked struct {
	id, status      string
	patient, doctor *person
}

// call is one request.
type call struct {
	op                    Op
	who                   *person
	service, method, path string
	body                  any
	key                   string
	replay                bool
}

// newWorld registers everybody, while all is well.
func newWorld(ctx context.Context, cluster *system.Cluster, replicas, doctors, patients int) (*world, error) {
	w := &world{
		cluster: cluster, replicas: replicas, journal: &Journal{},
		http: &http.Client{Timeout: 12 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	rng := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // it only chooses replicas
	for range doctors {
		p, err := w.admit(ctx, rng, "doctors")
		if err != nil {
			return nil, err
		}
		w.doctors = append(w.doctors, p)
		mode := "instant"
		if len(w.doctors) == doctors {
			mode = "approval"
		}
		if entry := w.send(ctx, rng, call{op: Read, who: p, service: "scheduling", method: http.MethodPut,
			path: "/v1/doctors/" + p.id + "/availability", body: hours(mode)}); entry.Outcome != Acknowledged {
			return nil, fmt.Errorf("availability: %d %s%s", entry.Status, entry.Body, entry.Fault)
		}
	}
	for range patients {
		p, err := w.admit(ctx, rng, "patients")
		if err != nil {
			return nil, err
		}
		w.patients = append(w.patients, p)
	}
	return w, nil
}

func hours(mode string) map[string]any {
	var weekly []map[string]string
	for _, day := range []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"} {
		weekly = append(weekly, map[string]string{"weekday": day, "start": "06:00", "end": "22:00"})
	}
	return map[string]any{
		"time_zone": "America/Sao_Paulo", "slot_minutes": 15, "buffer_minutes": 5, "min_notice_minutes": 0,
		"horizon_days": 90, "booking_mode": mode, "weekly": weekly,
	}
}

// admit registers somebody and signs them in.
func (w *world) admit(ctx context.Context, rng *rand.Rand, role string) (*person, error) {
	email, entry := w.register(ctx, rng, role)
	if entry.Outcome != Acknowledged {
		return nil, fmt.Errorf("registration: %d %s%s", entry.Status, entry.Body, entry.Fault)
	}
	p, err := w.signIn(ctx, rng, email)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (w *world) register(ctx context.Context, rng *rand.Rand, role string) (email string, entry Entry) {
	w.mu.Lock()
	w.people++
	n := w.people
	w.mu.Unlock()
	email = fmt.Sprintf("%s%d@mail.example", role, n)
	body := map[string]any{"name": "Pessoa " + letters(n), "cpf": cpf(n), "email": email, "password": password}
	if role == "doctors" {
		body["crm"] = map[string]string{"number": strconv.Itoa(100000 + n), "state": "SP"}
		body["specialties"] = []string{"cardiology"}
	}
	return email, w.send(ctx, rng, call{op: Register, service: "users", method: http.MethodPost, path: "/v1/" + role, body: body})
}

func (w *world) signIn(ctx context.Context, rng *rand.Rand, email string) (*person, error) {
	entry := w.send(ctx, rng, call{op: Read, service: "users", method: http.MethodPost, path: "/v1/auth/login",
		body: map[string]string{"email": email, "password": password}})
	var session struct {
		AccessToken string `json:"access_token"`
		User        struct{ ID string }
	}
	if entry.Outcome != Acknowledged || json.Unmarshal([]byte(entry.Body), &session) != nil {
		return nil, fmt.Errorf("sign-in: %d %s%s", entry.Status, entry.Body, entry.Fault)
	}
	return &person{id: session.User.ID, email: email, token: session.AccessToken}, nil
}

// send makes the request at one of the service's replicas and writes the journal.
func (w *world) send(ctx context.Context, rng *rand.Rand, c call) Entry {
	origin := w.cluster.Origin(c.service, rng.IntN(w.replicas))
	entry := Entry{Op: c.op, Key: c.key, Service: c.service, Began: time.Now(), Replay: c.replay}
	client := system.Client{Origin: origin, HTTP: w.http}
	if c.who != nil {
		entry.Caller, client.Token = c.who.id, c.who.token
	}
	if c.key != "" && c.op != Update {
		client = client.With("Idempotency-Key", c.key)
	}
	answer, err := client.Try(ctx, c.method, c.path, c.body)
	entry.Ended = time.Now()
	switch {
	case err != nil:
		entry.Outcome, entry.Fault = Unknown, err.Error()
	case answer.Status >= 500 || strings.Contains(string(answer.Body), "/problems/idempotency-in-progress"):
		entry.Outcome = Unknown
	case answer.Status >= 400:
		entry.Outcome = Refused
	default:
		entry.Outcome = Acknowledged
	}
	if err == nil {
		entry.Status, entry.Body = answer.Status, string(answer.Body)
		entry.Replayed = answer.Header.Get("Idempotent-Replayed") == "true"
	}
	if entry.Outcome == Acknowledged && c.op != Read {
		var made struct {
			ID      string
			Version int64
		}
		if json.Unmarshal(answer.Body, &made) == nil {
			entry.ID, entry.Version = made.ID, made.Version
		}
	}
	if c.op == Read && entry.Outcome != Unknown {
		entry.Body = entry.Body[:min(len(entry.Body), 1<<20)]
		w.journal.Add(Entry{Op: Read, Service: c.service, Began: entry.Began, Ended: entry.Ended, Outcome: entry.Outcome, Status: entry.Status})
		return entry
	}
	w.journal.Add(entry)
	w.remember(c, entry)
	return entry
}

// remember keeps keyed requests for later.
func (w *world) remember(c call, entry Entry) {
	if c.key == "" || c.op == Update || c.op == Read {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case entry.Outcome == Unknown && !c.replay:
		w.unknown = append(w.unknown, c)
	case entry.Outcome == Acknowledged && !entry.Replayed:
		c.replay = true
		w.done = append(w.done, c)
	}
}

// key makes an Idempotency-Key; it is also the reason of a booking, so that it can be found again.
func (w *world) key(op Op) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.serial++
	return fmt.Sprintf("%s %06d", op, w.serial)
}

// letters writes a number in letters, for names.
func letters(n int) string {
	s := []byte("A")
	for ; n > 0; n /= 26 {
		s = append(s, byte('a'+n%26))
	}
	return string(s)
}

// cpf makes the n-th of a series of made-up CPFs with right check digits.
func cpf(n int) string {
	digits := fmt.Sprintf("%09d", 500_000_000+n)
	for weight := 10; weight <= 11; weight++ {
		sum := 0
		for i, d := range digits {
			sum += int(d-'0') * (weight - i)
		}
		digits += strconv.Itoa(sum * 10 % 11 % 10)
	}
	return digits
}
