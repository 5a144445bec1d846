package fault

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Kind of a fault.
type Kind string

// Kinds of faults.
const (
	Kill     Kind = "kill -9"       // of a process, which is started again
	Freeze   Kind = "SIGSTOP"       // of a process
	Cut      Kind = "cut"           // a link resets every connection
	Slow     Kind = "delay"         // a link passes everything on late
	Hush     Kind = "half-open"     // a link swallows everything
	MailDown Kind = "ses"           // the mail service misbehaves
	Clock    Kind = "clock"         // a service's clock is off
	HandOver Kind = "hand over"     // the outbox relay's leader loses its database session
	Roll     Kind = "roll"          // every replica of a service is replaced in turn
	DiskFull Kind = "disk full"     // the NATS store takes nothing more
	Lead     Kind = "kill leader"   // of the SCHEDULING stream in a NATS cluster
	StepDown Kind = "leader yields" // of the SCHEDULING stream in a NATS cluster
)

// Fault is one planned fault.
type Fault struct {
	At, For time.Duration // since the load began; how long
	Kind    Kind
	Target  string        // process, link, or service
	How     string        // of MailDown: which misbehaviour
	By      time.Duration // of Slow and Clock: how much
}

func (f Fault) String() string {
	detail := ""
	if f.How != "" {
		detail = " " + f.How
	}
	if f.By != 0 {
		detail += " by " + f.By.String()
	}
	return fmt.Sprintf("%5.1fs  %-13s %s%s for %s", f.At.Seconds(), f.Kind, f.Target, detail, f.For)
}

// Shape is what can be broken.
type Shape struct {
	Length   time.Duration // of the load
	Faults   int
	Replicas int // of each service
	Nodes    int // of NATS
	Full     bool
	Only     []Kind // empty is all
}

var services = [...]string{"users", "scheduling", "notifier"}

// Plan draws the faults of a round. The same seed and shape give the same plan.
func Plan(seed uint64, s Shape) []Fault {
	rng := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // a schedule that can be had again, not a secret
	kinds := []Kind{Kill, Kill, Kill, Freeze, Freeze, Cut, Slow, Hush, MailDown, MailDown, Clock, HandOver, Roll}
	if s.Nodes > 1 {
		kinds = append(kinds, Lead, StepDown)
	} else if s.Full {
		kinds = append(kinds, DiskFull)
	}
	if len(s.Only) > 0 {
		kinds = slices.Clone(s.Only)
	}
	rng.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	var plan []Fault
	for i := range s.Faults {
		f := Fault{Kind: kinds[i%len(kinds)], At: between(rng, time.Second, s.Length*2/3)}
		f.Target, f.How, f.By = target(rng, f.Kind, s)
		f.For = lasting(rng, f.Kind, s.Length-f.At)
		plan = append(plan, f)
	}
	slices.SortFunc(plan, func(a, b Fault) int { return int(a.At - b.At) })
	return plan
}

func between(rng *rand.Rand, from, to time.Duration) time.Duration {
	return (from + time.Duration(rng.Int64N(int64(max(to-from, 1))))).Round(100 * time.Millisecond)
}

func lasting(rng *rand.Rand, kind Kind, rest time.Duration) time.Duration {
	switch kind {
	case Freeze:
		return min(between(rng, 5*time.Second, 20*time.Second), max(rest, 5*time.Second))
	case HandOver, Roll, StepDown:
		return 0
	}
	return between(rng, 500*time.Millisecond, min(rest, 10*time.Second))
}

// Links are the paths from one replica of a service.
func (s Shape) Links(service string, replica int) []string {
	from := fmt.Sprintf("%s-%d", service, replica)
	links := []string{from + ">postgres"}
	for n := range s.Nodes {
		links = append(links, fmt.Sprintf("%s>nats-%d", from, n+1))
	}
	switch service {
	case "notifier":
		links = append(links, from+">ses", from+">keys")
	case "scheduling":
		links = append(links, from+">keys")
	}
	return links
}

func (s Shape) processes() []string {
	list := []string{"postgres"}
	for n := range s.Nodes {
		list = append(list, fmt.Sprintf("nats-%d", n+1))
	}
	for _, service := range services {
		for r := range s.Replicas {
			list = append(list, fmt.Sprintf("%s-%d", service, r+1))
		}
	}
	return list
}

// Misbehaviours of the mail service.
var misbehaviours = []string{"throttles", "answers 500", "hangs", "cuts", "accepts, then cuts"}

func target(rng *rand.Rand, kind Kind, s Shape) (target, how string, by time.Duration) {
	service := pick(rng, services[:])
	switch kind {
	case Kill, Freeze:
		return pick(rng, s.processes()), "", 0
	case Cut, Hush:
		return pick(rng, s.Links(service, 1+rng.IntN(s.Replicas))), "", 0
	case Slow:
		return pick(rng, s.Links(service, 1+rng.IntN(s.Replicas))), "", between(rng, 50*time.Millisecond, 1500*time.Millisecond)
	case MailDown:
		return "ses", pick(rng, misbehaviours), 0
	case Clock:
		by = between(rng, 10*time.Second, 2*time.Minute)
		if rng.IntN(2) == 0 {
			by = -by
		}
		return fmt.Sprintf("%s-%d", service, 1+rng.IntN(s.Replicas)), "", by
	case DiskFull:
		return "nats-1", "", 0
	case Lead, StepDown:
		return "nats", "", 0
	}
	return service, "", 0
}
