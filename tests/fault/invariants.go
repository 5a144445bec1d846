package fault

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Evidence is all that the checks look at.
type Evidence struct {
	Snapshot
	Journal []Entry
	Windows []Window
}

// Window is when a fault was in force, and on which parts.
type Window struct {
	Fault string
	Parts []string // scheduling-1, postgres, nats, ses, scheduling-1>postgres, machine, ...
	From  time.Time
	To    time.Time // when it was healed
}

// Invariants are the promises, each with its check.
func Invariants() map[string]func(Evidence) []string {
	return map[string]func(Evidence) []string{
		"nobody is booked twice":                              doubleBookings,
		"what was acknowledged exists":                        lostWrites,
		"one event for each transition":                       events,
		"events of an aggregate are in order":                 order,
		"every subscriber saw each event":                     unseen,
		"one doctor e-mail for each booking":                  doctorMails,
		"an e-mail is sent once, but for sends in doubt":      duplicateMails,
		"projections equal their source":                      projections,
		"no row is stuck":                                     stuck,
		"a replay gives the first answer, and makes no other": replays,
		"requests fail only during a fault of their own":      unexplained,
	}
}

// Check runs every invariant. The order of what it finds is stable.
func Check(e Evidence) []Violation {
	var found []Violation
	for name, check := range Invariants() {
		for _, detail := range check(e) {
			found = append(found, Violation{name, detail})
		}
	}
	slices.SortFunc(found, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Invariant, b.Invariant), cmp.Compare(a.Detail, b.Detail))
	})
	return found
}

// doubleBookings looks for occupying rows of one person that overlap.
func doubleBookings(e Evidence) (found []string) {
	sweep := func(whose string, person func(Appointment) string, end func(Appointment) time.Time) {
		by := map[string][]Appointment{}
		for _, a := range e.Appointments {
			if a.Occupies() {
				by[person(a)] = append(by[person(a)], a)
			}
		}
		for id, list := range by {
			slices.SortFunc(list, func(a, b Appointment) int { return a.Starts.Compare(b.Starts) })
			latest := list[0]
			for _, a := range list[1:] {
				if a.Starts.Before(end(latest)) {
					found = append(found, fmt.Sprintf("%s %s: %s and %s overlap at %s", whose, id, latest.ID, a.ID, a.Starts))
				}
				if end(a).After(end(latest)) {
					latest = a
				}
			}
		}
	}
	sweep("doctor", func(a Appointment) string { return a.Doctor }, func(a Appointment) time.Time { return a.BlockedUntil })
	sweep("patient", func(a Appointment) string { return a.Patient }, func(a Appointment) time.Time { return a.Ends })
	return found
}

type version struct {
	id string
	n  int64
}

// actions that an acknowledged operation may have left in history.
var actions = map[Op][]string{
	Book: {"booked", "requested"}, Cancel: {"cancelled"}, Reschedule: {"rescheduled"}, Confirm: {"confirmed"}, Decline: {"declined"},
}

// lostWrites looks for acknowledged writes that aren't there.
func lostWrites(e Evidence) (found []string) {
	history := map[version]string{}
	for _, h := range e.History {
		history[version{h.ID, h.Version}] = h.Action
	}
	people := map[string]Person{}
	for _, p := range e.People {
		people[p.ID] = p
	}
	// What a person may be called by now: as was acknowledged last, or as any request without an answer asked for, even an
	// earlier one. A frozen service may carry it out once it goes on, after another replica has acknowledged the next.
	last, open := map[string]string{}, map[string][]string{}
	for _, entry := range e.Journal {
		want, transition := actions[entry.Op]
		switch {
		case entry.Op == Update && entry.Outcome == Acknowledged:
			last[entry.Caller] = entry.Key
		case entry.Op == Update && entry.Outcome == Unknown:
			open[entry.Caller] = append(open[entry.Caller], entry.Key)
		case entry.Outcome != Acknowledged:
		case transition && !slices.Contains(want, history[version{entry.ID, entry.Version}]):
			found = append(found, fmt.Sprintf("%s of %s, version %d, acknowledged at %s: history has %q there",
				entry.Op, entry.ID, entry.Version, clock(entry.Ended), history[version{entry.ID, entry.Version}]))
		case entry.Op == Register && people[entry.ID].ID == "":
			found = append(found, fmt.Sprintf("registration of %s, acknowledged at %s, is gone", entry.ID, clock(entry.Ended)))
		}
	}
	for id, name := range last {
		if is := people[id].Name; is != name && !slices.Contains(open[id], is) {
			found = append(found, fmt.Sprintf("person %s is called %q, acknowledged was %q, without an answer %q", id, is, name, open[id]))
		}
	}
	return found
}

// eventOf is the event that tells an action.
var eventOf = map[string]string{
	"requested": "requested", "booked": "booked", "confirmed": "booked", "declined": "declined", "lapsed": "declined",
	"rescheduled": "rescheduled", "cancelled": "cancelled", "completed": "completed", "no_show": "no_show",
}

// events looks for transitions without an event, or with several, and for events of nothing.
func events(e Evidence) (found []string) {
	told := map[version][]Event{}
	for _, stream := range []string{"SCHEDULING", "USERS"} {
		for _, ev := range e.Events[stream] {
			if strings.Contains(ev.Type, ".appointment.") || strings.Contains(ev.Type, ".user.") {
				told[version{ev.Aggregate, ev.Version}] = append(told[version{ev.Aggregate, ev.Version}], ev)
			}
		}
	}
	expect := func(v version, what, kind string) {
		list := told[v]
		delete(told, v)
		switch {
		case len(list) != 1:
			found = append(found, fmt.Sprintf("%s, version %d: %d events", what, v.n, len(list)))
		case kind != "" && !strings.HasSuffix(list[0].Type, ".appointment."+kind+".v1"):
			found = append(found, fmt.Sprintf("%s, version %d: told as %s", what, v.n, list[0].Type))
		}
	}
	for _, h := range e.History {
		expect(version{h.ID, h.Version}, "appointment "+h.ID+" "+h.Action, eventOf[h.Action])
	}
	for _, p := range e.People {
		if p.Status == "erased" {
			continue // their events were purged
		}
		for n := range p.Version {
			expect(version{p.ID, n + 1}, p.Role+" "+p.ID, "")
		}
	}
	for v, list := range told {
		if !strings.Contains(list[0].Type, ".user.erased.") {
			found = append(found, fmt.Sprintf("event %s of %s, version %d, tells what never happened", list[0].Type, v.id, v.n))
		}
	}
	return found
}

// order looks for events that left out of turn, twice or not at all.
func order(e Evidence) (found []string) {
	for stream, list := range e.Events {
		last := map[string]int64{}
		ids := map[string]bool{}
		for _, ev := range list {
			if ev.Version != last[ev.Aggregate]+1 && !strings.Contains(ev.Type, ".erased.") {
				found = append(found, fmt.Sprintf("%s at %d: %s of %s has version %d after %d", stream, ev.Seq, ev.Type, ev.Aggregate, ev.Version, last[ev.Aggregate]))
			}
			if ids[ev.ID] {
				found = append(found, fmt.Sprintf("%s at %d: event %s is there twice", stream, ev.Seq, ev.ID))
			}
			ids[ev.ID], last[ev.Aggregate] = true, ev.Version
		}
	}
	return found
}

// unseen looks for events that a durable, the notifier or a subscriber of our own never got.
func unseen(e Evidence) (found []string) {
	for _, d := range e.Durables {
		if d.Pending > 0 || d.Unacked > 0 {
			found = append(found, fmt.Sprintf("durable %s of %s: %d to come, %d not acknowledged", d.Name, d.Stream, d.Pending, d.Unacked))
		}
	}
	for _, letter := range e.DeadLetters {
		found = append(found, "dead letter: "+letter)
	}
	for stream, list := range e.Events {
		for _, ev := range list {
			if e.Observed[ev.ID] == 0 {
				found = append(found, fmt.Sprintf("our subscriber never saw %s %s of %s", stream, ev.Type, ev.Aggregate))
			}
			if strings.Contains(ev.Type, ".appointment.") && !e.Inbox[ev.ID] {
				found = append(found, fmt.Sprintf("the notifier never took in %s of %s", ev.Type, ev.Aggregate))
			}
		}
	}
	return found
}

// doctorMails looks for bookings that their doctor never heard of, or heard of twice. Each transition to booked has a
// delivery. A booking that is an appointment's latest state has been told in exactly one e-mail: its own, or that of a
// move before it which went out late and told the latest state.
func doctorMails(e Evidence) (found []string) {
	accepted := mailsByDelivery(e)
	last := map[string]int64{}
	for _, h := range e.History {
		last[h.ID] = max(last[h.ID], h.Version)
	}
	doctor := map[string]string{}
	for _, a := range e.Appointments {
		doctor[a.ID] = a.Doctor
	}
	own := map[string]Delivery{} // by event
	told := map[version]int{}    // e-mails to the doctor, by what they told
	for _, d := range e.Deliveries {
		if d.Template == "doctor_booked" {
			own[d.EventID] = d
		}
		if d.AppointmentID != "" && d.Recipient == doctor[d.AppointmentID] && len(accepted[d.ID]) > 0 {
			told[version{d.AppointmentID, d.Told}]++ // twice the same delivery is another invariant's
		}
		if d.Status == "failed" && !givenUp(d) {
			found = append(found, fmt.Sprintf("delivery %s (%s) failed: %s", d.ID, d.Template, d.LastError))
		}
		if d.Status == "sent" && len(accepted[d.ID]) == 0 {
			found = append(found, fmt.Sprintf("delivery %s (%s) is sent, but no e-mail was accepted", d.ID, d.Template))
		}
	}
	events := map[version]Event{}
	for _, ev := range e.Events["SCHEDULING"] {
		if strings.HasSuffix(ev.Type, ".appointment.booked.v1") {
			events[version{ev.Aggregate, ev.Version}] = ev
		}
	}
	for _, h := range e.History {
		v := version{h.ID, h.Version}
		if eventOf[h.Action] != "booked" {
			continue
		}
		d, ok := own[events[v].ID]
		switch {
		case !ok:
			found = append(found, fmt.Sprintf("appointment %s, version %d: no delivery to the doctor", h.ID, h.Version))
		case last[h.ID] == h.Version && told[v] != 1:
			found = append(found, fmt.Sprintf("appointment %s, version %d: %d e-mails to the doctor; its delivery %s is %s (%s)", h.ID, h.Version, told[v], d.ID, d.Status, d.LastError))
		}
	}
	return found
}

// givenUp says that a message which is sent at most once was in doubt, and is not sent again for that.
func givenUp(d Delivery) bool {
	return d.LastError == "in_doubt" && (d.Template == "patient_reminder" || d.Template == "doctor_agenda")
}

func mailsByDelivery(e Evidence) map[string][]Mail {
	by := map[string][]Mail{}
	for _, m := range e.Mails {
		by[m.DeliveryID] = append(by[m.DeliveryID], m)
	}
	return by
}

// InDoubt lists the deliveries that were sent again because nobody could know whether they had been: what a crash
// between the mail service's acceptance and its record can cost. They are counted, not violations.
func InDoubt(e Evidence) (list []string) {
	accepted := mailsByDelivery(e)
	for _, d := range e.Deliveries {
		if n := len(accepted[d.ID]); n > 1 && d.Resends > 0 {
			list = append(list, fmt.Sprintf("delivery %s (%s): %d e-mails, %d resends", d.ID, d.Template, n, d.Resends))
		}
	}
	return list
}

// underWay is how long an accepted e-mail's send may still be under way: its answer must come back and be recorded, on a
// machine that has much else to do.
const underWay = 2 * time.Second

// duplicateMails looks for e-mails that were sent more often than the notifier knows, or without a fault near the
// first one.
func duplicateMails(e Evidence) (found []string) {
	accepted := mailsByDelivery(e)
	for _, d := range e.Deliveries {
		mails := accepted[d.ID]
		if len(mails) < 2 {
			continue
		}
		slices.SortFunc(mails, func(a, b Mail) int { return a.At.Compare(b.At) })
		if len(mails) > 1+d.Resends {
			found = append(found, fmt.Sprintf("delivery %s (%s): %d e-mails with %d resends", d.ID, d.Template, len(mails), d.Resends))
		} else if !near(e.Windows, mails[0].At, mails[0].At.Add(underWay), "notifier", "ses", "postgres") {
			found = append(found, fmt.Sprintf("delivery %s (%s): sent twice with no fault near %s", d.ID, d.Template, clock(mails[0].At)))
		}
	}
	return found
}

// projections holds what services keep of one another's data against the source.
func projections(e Evidence) (found []string) {
	for service, known := range e.Known {
		by := map[string]Known{}
		for _, k := range known {
			by[k.ID] = k
		}
		for _, p := range e.People {
			k, ok := by[p.ID]
			switch {
			case !ok:
				found = append(found, fmt.Sprintf("%s does not know %s %s", service, p.Role, p.ID))
			case k.Version != p.Version || k.Name != p.Name || k.Email != "" && k.Email != p.Email:
				found = append(found, fmt.Sprintf("%s knows %s %s at version %d as %q, it is %d, %q", service, p.Role, p.ID, k.Version, k.Name, p.Version, p.Name))
			}
		}
	}
	for service, copies := range e.Copies {
		by := map[string]Copy{}
		for _, c := range copies {
			by[c.ID] = c
		}
		for _, a := range e.Appointments {
			if a.Status == "held" {
				continue
			}
			c, ok := by[a.ID]
			stands := a.Status != "cancelled" && a.Status != "declined"
			if !ok || c.Version != a.Version || c.Stands != stands || c.Status != "" && (c.Status != a.Status || !c.Starts.Equal(a.Starts)) {
				found = append(found, fmt.Sprintf("%s has appointment %s as %+v, it is %s, version %d", service, a.ID, c, a.Status, a.Version))
			}
		}
	}
	return found
}

// stuck looks for rows that should have moved on by themselves.
func stuck(e Evidence) (found []string) {
	found = append(found, e.Stuck...)
	for _, q := range e.Quarantined {
		found = append(found, "outbox row given up: "+q)
	}
	held := map[string]bool{}
	for _, a := range e.Appointments {
		if a.Status == "held" {
			held[a.ID] = true
		}
	}
	for _, w := range e.Waits {
		if w.Status == "offered" && !held[w.HoldID] {
			found = append(found, fmt.Sprintf("waitlist entry %s is offered hold %s, which is gone", w.ID, w.HoldID))
		}
	}
	return found
}

// replays looks for keys that were answered in two ways, or that made two appointments.
func replays(e Evidence) (found []string) {
	first := map[[2]string]Entry{}
	for _, entry := range e.Journal {
		if entry.Key == "" || entry.Op == Update || entry.Outcome != Acknowledged {
			continue
		}
		id := [2]string{entry.Caller, entry.Key}
		before, again := first[id]
		switch {
		case !again:
			first[id] = entry
		case before.Body != entry.Body || before.Status != entry.Status:
			found = append(found, fmt.Sprintf("key %s (%s): answered %d %.200q, then %d %.200q", entry.Key, entry.Op, before.Status, before.Body, entry.Status, entry.Body))
		case !entry.Replayed:
			found = append(found, fmt.Sprintf("key %s (%s): the second answer doesn't say that it is a replay", entry.Key, entry.Op))
		}
	}
	for _, entry := range e.Journal {
		if entry.Replay && entry.Outcome == Refused {
			found = append(found, fmt.Sprintf("key %s (%s): acknowledged before, now refused with %d %.200q", entry.Key, entry.Op, entry.Status, entry.Body))
		}
	}
	made := map[string]string{}
	for _, a := range e.Appointments {
		if a.Reason == "" {
			continue
		}
		if other := made[a.Reason]; other != "" {
			found = append(found, fmt.Sprintf("key %s made two appointments, %s and %s", a.Reason, other, a.ID))
		}
		made[a.Reason] = a.ID
	}
	return found
}

// unexplained looks for requests that failed while nothing that they need was at fault: bookings never stop for
// NATS, the mail service or the notifier.
func unexplained(e Evidence) (found []string) {
	for _, entry := range e.Journal {
		if entry.Outcome == Unknown && !near(e.Windows, entry.Began, entry.Ended, entry.Service, "postgres") {
			found = append(found, fmt.Sprintf("%s (%s) at %s for %s: %d %s %.200s", entry.Op, entry.Service, clock(entry.Began),
				entry.Ended.Sub(entry.Began).Round(time.Millisecond), entry.Status, entry.Fault, entry.Body))
		}
	}
	return found
}

// aftermath is how long after its end a fault may still show: reconnecting, restarting, a call that hangs to its limit.
const aftermath = 15 * time.Second

// near tells whether a fault of one of the parts was in force in a stretch of time, or had been shortly before, or the
// machine itself stood still in it.
func near(windows []Window, from, to time.Time, parts ...string) bool {
	return slices.ContainsFunc(windows, func(w Window) bool {
		if slices.Contains(w.Parts, machine) {
			return !to.Before(w.From) && !from.After(w.To.Add(stall))
		}
		if to.Before(w.From) || from.After(w.To.Add(aftermath)) {
			return false
		}
		return slices.ContainsFunc(w.Parts, func(at string) bool {
			return slices.ContainsFunc(parts, func(p string) bool { return touches(at, p) })
		})
	})
}

// touches tells whether a fault at a place (scheduling-2, postgres, or the link scheduling-2>nats-1) concerns a
// service's requests. A link from a service to NATS or SES does not: that is a promise.
func touches(at, part string) bool {
	from, to, link := strings.Cut(at, ">")
	if !link {
		return at == part || strings.HasPrefix(at, part+"-")
	}
	if part == "postgres" {
		return false // a link belongs to its caller
	}
	switch {
	case part == "ses":
		return to == "ses"
	case part == "notifier" && strings.HasPrefix(from, part):
		return true
	}
	return strings.HasPrefix(from, part) && (to == "postgres" || to == "keys")
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }
