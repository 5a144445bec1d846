package fault

import (
	"testing"
	"time"
)

var (
	noon = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	d1   = "doctor-1"
	p1   = "patient-1"
)

// sound is evidence of a small system in which all is as it should be: a request that was confirmed, a booking that
// was cancelled, and the e-mails about them.
func sound() Evidence {
	person := func(id, role string) Person {
		return Person{ID: id, Role: role, Status: "active", Name: id, Email: id + "@mail.example", Version: 1}
	}
	e := Evidence{Snapshot: Snapshot{
		Taken:  noon,
		People: []Person{person(d1, "doctor"), person(p1, "patient")},
		Known: map[string][]Known{
			"scheduling": {{ID: d1, Name: d1, Version: 1}, {ID: p1, Name: p1, Version: 1}},
			"notifier":   {{ID: d1, Name: d1, Email: d1 + "@mail.example", Version: 1}, {ID: p1, Name: p1, Email: p1 + "@mail.example", Version: 1}},
		},
		Appointments: []Appointment{
			{ID: "a", Doctor: d1, Patient: p1, Status: "booked", Reason: "book 1", Starts: noon, Ends: noon.Add(15 * time.Minute), BlockedUntil: noon.Add(20 * time.Minute), Version: 2},
			{ID: "b", Doctor: d1, Patient: p1, Status: "cancelled", Reason: "book 2", Starts: noon, Ends: noon.Add(15 * time.Minute), BlockedUntil: noon.Add(20 * time.Minute), Version: 2},
		},
		History: []Transition{
			{ID: "a", Action: "requested", Version: 1}, {ID: "a", Action: "confirmed", Version: 2},
			{ID: "b", Action: "booked", Version: 1}, {ID: "b", Action: "cancelled", Version: 2},
		},
		Copies: map[string][]Copy{
			"users": {{ID: "a", Stands: true, Version: 2}, {ID: "b", Version: 2}},
			"notifier": {
				{ID: "a", Status: "booked", Stands: true, Version: 2, Starts: noon},
				{ID: "b", Status: "cancelled", Version: 2, Starts: noon},
			},
		},
		Deliveries: []Delivery{
			{ID: "m1", EventID: "e2", Template: "doctor_booked", Recipient: d1, AppointmentID: "a", Status: "sent", Told: 2},
			{ID: "m2", EventID: "e3", Template: "doctor_booked", Recipient: d1, AppointmentID: "b", Status: "skipped", LastError: "superseded"},
			{ID: "m4", EventID: "e2", Template: "patient_reminder", Recipient: p1, AppointmentID: "a", Status: "failed", LastError: "in_doubt", Attempts: 1},
		},
		Mails: []Mail{{ID: "x1", DeliveryID: "m1", At: noon}},
		Inbox: map[string]bool{"e1": true, "e2": true, "e3": true, "e4": true},
		Events: map[string][]Event{
			"SCHEDULING": {
				event(1, "e1", "scheduling.appointment.requested", "a", 1), event(2, "e3", "scheduling.appointment.booked", "b", 1),
				event(3, "e2", "scheduling.appointment.booked", "a", 2), event(4, "e4", "scheduling.appointment.cancelled", "b", 2),
			},
			"USERS": {event(1, "u1", "users.user.registered", d1, 1), event(2, "u2", "users.user.registered", p1, 1)},
		},
		Observed: map[string]int{"e1": 1, "e2": 2, "e3": 1, "e4": 1, "u1": 1, "u2": 1},
		Durables: []Durable{{Stream: "SCHEDULING", Name: "notifier-scheduling"}},
		Waits:    []Wait{{ID: "w", Status: "fulfilled", HoldID: "a"}},
	}}
	e.Journal = []Entry{
		{Op: Book, Caller: p1, Key: "book 1", Outcome: Unknown, Service: "scheduling", Began: noon, Ended: noon.Add(time.Second)},
		{Op: Book, Caller: p1, Key: "book 1", Outcome: Acknowledged, Status: 201, Body: "a", ID: "a", Version: 1},
		{Op: Confirm, Caller: d1, Key: "confirm 1", Outcome: Acknowledged, Status: 200, Body: "a2", ID: "a", Version: 2},
		{Op: Book, Caller: p1, Key: "book 1", Outcome: Acknowledged, Status: 201, Body: "a", ID: "a", Version: 1, Replayed: true, Replay: true},
		{Op: Register, Outcome: Acknowledged, ID: p1},
		{Op: Update, Caller: p1, Key: p1, Outcome: Unknown, Service: "scheduling", Began: noon, Ended: noon.Add(time.Second)}, // carried out after the next, by a service that was frozen
		{Op: Update, Caller: p1, Key: "patient", Outcome: Acknowledged},
	}
	e.Windows = []Window{{Parts: []string{"scheduling-1>postgres"}, From: noon, To: noon}}
	return e
}

func event(seq uint64, id, kind, aggregate string, version int64) Event {
	return Event{Seq: seq, ID: id, Type: "br.com.healthmed." + kind + ".v1", Aggregate: aggregate, Version: version}
}

func TestCheck_FindsNothingInASoundSystem(t *testing.T) {
	for _, v := range Check(sound()) {
		t.Error(v)
	}
}

// Each invariant is shown evidence in which it alone, or it first of all, is broken.
func TestCheck_FindsWhatIsBroken(t *testing.T) {
	cases := map[string][]func(*Evidence){
		"nobody is booked twice": {
			func(e *Evidence) { // the patient, at the same time with another doctor
				e.Appointments = append(e.Appointments, Appointment{ID: "c", Doctor: "d2", Patient: p1, Status: "held", Starts: noon.Add(14 * time.Minute), Ends: noon.Add(30 * time.Minute), BlockedUntil: noon.Add(30 * time.Minute)})
			},
			func(e *Evidence) { // the doctor, in the buffer
				e.Appointments = append(e.Appointments, Appointment{ID: "c", Doctor: d1, Patient: "p2", Status: "held", Starts: noon.Add(19 * time.Minute), Ends: noon.Add(30 * time.Minute), BlockedUntil: noon.Add(30 * time.Minute)})
			},
			func(e *Evidence) { // one long appointment over a later one, with a short one between
				e.Appointments[0].BlockedUntil = noon.Add(3 * time.Hour)
				e.Appointments = append(e.Appointments,
					Appointment{ID: "c", Doctor: "d2", Patient: "p2", Status: "held", Starts: noon.Add(time.Hour), Ends: noon.Add(61 * time.Minute), BlockedUntil: noon.Add(61 * time.Minute)},
					Appointment{ID: "f", Doctor: d1, Patient: "p3", Status: "held", Starts: noon.Add(2 * time.Hour), Ends: noon.Add(130 * time.Minute), BlockedUntil: noon.Add(130 * time.Minute)})
			},
		},
		"what was acknowledged exists": {
			func(e *Evidence) { e.Journal[1].ID = "gone" },
			func(e *Evidence) { e.Journal[2].Version = 3 },
			func(e *Evidence) { e.Journal[4].ID = "gone" },
			func(e *Evidence) { e.Journal[5].Key = "another name" },
		},
		"one event for each transition": {
			func(e *Evidence) { e.Events["SCHEDULING"] = e.Events["SCHEDULING"][:3] },
			func(e *Evidence) {
				e.Events["SCHEDULING"] = append(e.Events["SCHEDULING"], event(5, "e5", "scheduling.appointment.booked", "a", 2))
			},
			func(e *Evidence) {
				e.Events["SCHEDULING"] = append(e.Events["SCHEDULING"], event(5, "e5", "scheduling.appointment.booked", "a", 3))
			},
			func(e *Evidence) {
				e.Events["SCHEDULING"][0].Type = "br.com.healthmed.scheduling.appointment.booked.v1"
			},
			func(e *Evidence) { e.People[0].Version = 2 },
		},
		"events of an aggregate are in order": {
			func(e *Evidence) {
				l := e.Events["SCHEDULING"]
				l[0], l[2] = l[2], l[0]
			},
			func(e *Evidence) { e.Events["USERS"][1].ID = "u1" },
			func(e *Evidence) { e.Events["USERS"][1].Version = 2 },
		},
		"every subscriber saw each event": {
			func(e *Evidence) { delete(e.Observed, "e3") },
			func(e *Evidence) { delete(e.Inbox, "e4") },
			func(e *Evidence) { e.Durables[0].Pending = 1 },
			func(e *Evidence) { e.Durables[0].Unacked = 1 },
			func(e *Evidence) { e.DeadLetters = []string{"users-scheduling of SCHEDULING"} },
		},
		"one doctor e-mail for each booking": {
			func(e *Evidence) { e.Mails = nil },
			func(e *Evidence) { e.Deliveries = e.Deliveries[1:] },
			func(e *Evidence) { e.Deliveries[0].Status, e.Mails = "skipped", nil },
			func(e *Evidence) { e.Deliveries[0].Status = "failed" },
			func(e *Evidence) { // told by a late move as well
				e.Deliveries = append(e.Deliveries, Delivery{ID: "m3", Template: "doctor_rescheduled", Recipient: d1, AppointmentID: "a", Status: "sent", Told: 2})
				e.Mails = append(e.Mails, Mail{ID: "x3", DeliveryID: "m3"})
			},
		},
		"an e-mail is sent once, but for sends in doubt": {
			func(e *Evidence) { e.Mails = append(e.Mails, Mail{ID: "x2", DeliveryID: "m1", At: noon}) },
			func(e *Evidence) { // resent, with no fault that could explain it
				e.Deliveries[0].Resends = 1
				e.Mails = append(e.Mails, Mail{ID: "x2", DeliveryID: "m1", At: noon})
			},
		},
		"projections equal their source": {
			func(e *Evidence) { e.Known["notifier"][0].Version = 0 },
			func(e *Evidence) { e.Known["scheduling"] = e.Known["scheduling"][:1] },
			func(e *Evidence) { e.Known["notifier"][1].Email = "old@mail.example" },
			func(e *Evidence) { e.Copies["users"][0].Stands = false },
			func(e *Evidence) { e.Copies["notifier"][0].Starts = noon.Add(time.Hour) },
			func(e *Evidence) { e.Copies["notifier"] = e.Copies["notifier"][:1] },
		},
		"no row is stuck": {
			func(e *Evidence) { e.Stuck = []string{"scheduling outbox row"} },
			func(e *Evidence) { e.Quarantined = []string{"healthmed.scheduling…"} },
			func(e *Evidence) { e.Waits[0].Status = "offered" },
		},
		"a replay gives the first answer, and makes no other": {
			func(e *Evidence) { e.Journal[3].Body = "other" },
			func(e *Evidence) { e.Journal[3].Replayed = false },
			func(e *Evidence) { e.Journal[3].Outcome = Refused },
			func(e *Evidence) { e.Appointments[1].Reason = "book 1" },
		},
		"requests fail only during a fault of their own": {
			func(e *Evidence) { e.Windows = nil },
			func(e *Evidence) { e.Windows[0].Parts = []string{"scheduling-1>nats-1"} },
			func(e *Evidence) { e.Windows[0].Parts = []string{"notifier-1"} },
			func(e *Evidence) { e.Windows[0].To, e.Windows[0].From = noon.Add(-time.Hour), noon.Add(-time.Hour) },
		},
	}
	for name := range Invariants() {
		if len(cases[name]) == 0 {
			t.Errorf("%s: no evidence breaks it", name)
		}
		for i, spoil := range cases[name] {
			e := sound()
			spoil(&e)
			caught := false
			for _, v := range Check(e) {
				caught = caught || v.Invariant == name
			}
			if !caught {
				t.Errorf("%s: case %d was not found; found %v", name, i, Check(e))
			}
		}
	}
}

func TestInDoubt_CountsWhatACrashMayCost(t *testing.T) {
	e := sound()
	e.Deliveries[0].Resends = 1
	e.Mails = append(e.Mails, Mail{ID: "x2", DeliveryID: "m1", At: noon})
	fault := Window{Parts: []string{"notifier-2"}, From: noon.Add(time.Second), To: noon.Add(time.Minute)} // before the answer was recorded
	e.Windows = append(e.Windows, fault)
	if found := Check(e); len(found) != 0 {
		t.Error(found)
	}
	later := e
	later.Windows = []Window{{Parts: fault.Parts, From: noon.Add(10 * time.Second), To: fault.To}}
	if found := Check(later); len(found) == 0 {
		t.Error("a fault that came after the e-mail was recorded excuses its being sent twice")
	}
	if list := InDoubt(e); len(list) != 1 {
		t.Errorf("counted %v, want one", list)
	}
}

// What fails because everything had to wait for the machine is no fault of the system; what fails later is.
func TestCheck_KnowsWhenTheMachineStoodStill(t *testing.T) {
	for late, want := range map[time.Duration]int{0: 0, 900 * time.Millisecond: 0, 2 * time.Second: 1} {
		e := sound()
		from := noon.Add(late) // the requests of sound take the second after noon
		e.Windows = []Window{{Parts: []string{machine}, From: from, To: from.Add(time.Second)}}
		if late > time.Second {
			e.Windows = append(e.Windows, Window{Parts: []string{machine}, From: noon.Add(-2 * time.Second), To: noon.Add(-time.Second)})
		}
		kinds := map[string]bool{}
		for _, v := range Check(e) {
			kinds[v.Invariant] = true
		}
		if len(kinds) != want {
			t.Errorf("standing still %s after noon: %v", late, kinds)
		}
		if excused := Excused(e); (len(excused) > 0) != (want == 0) {
			t.Errorf("standing still %s after noon excuses %q", late, excused)
		}
	}
}

func TestPlan_IsTheSameForASeed(t *testing.T) {
	shape := Shape{Length: 25 * time.Second, Faults: 8, Replicas: 2, Nodes: 3}
	first := Plan(7, shape)
	for i, f := range Plan(7, shape) {
		if f != first[i] {
			t.Errorf("fault %d: %v, then %v", i, first[i], f)
		}
	}
	kinds := map[Kind]bool{}
	for seed := range uint64(50) {
		for _, f := range Plan(seed, shape) {
			kinds[f.Kind] = true
			if f.At < 0 || f.For < 0 || f.At > shape.Length || f.Target == "" {
				t.Errorf("seed %d: %+v", seed, f)
			}
		}
	}
	if len(kinds) != 11 {
		t.Errorf("fifty rounds have kinds %v, want all but the full disk", kinds)
	}
}
