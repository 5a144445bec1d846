package rest

import (
	"context"
	"maps"
	"net/http"
)

// conflicts makes the requests that are right in form and come too late, or twice, or about what isn't there.
func (r *run) conflicts(ctx context.Context, all []operation) {
	by := map[string]operation{}
	for _, o := range all {
		by[o.OperationID] = o
	}
	status := func(want int) func(int) bool { return func(got int) bool { return got == want } }
	changed := func(id string, change func(map[string]any)) request {
		q := r.prepared(ctx, by[id])
		body, _ := q.body.(map[string]any)
		q.body = maps.Clone(body)
		if q.body.(map[string]any) == nil {
			q.body = nil
			return q
		}
		change(q.body.(map[string]any))
		return q
	}
	once := func(want int, id string, change func(map[string]any)) {
		q := changed(id, change)
		q.label, q.want = "to be refused", status(want)
		r.send(ctx, q)
	}
	// The second of two is refused: others are quicker, and transitions happen once.
	twice := func(id string, second *caller) {
		q := changed(id, func(map[string]any) {})
		r.send(ctx, q)
		if second != nil {
			q.who = second
		}
		q.label, q.want = "the second time", status(http.StatusConflict)
		r.send(ctx, q)
	}
	for _, id := range []string{"cancelAppointment", "confirmAppointment", "declineAppointment", "completeAppointment", "markNoShow",
		"registerPatient", "registerDoctor", "registerAdmin"} {
		twice(id, nil)
	}
	twice("bookAppointment", r.stranger)
	twice("createHold", r.stranger)
	taken := changed("bookAppointment", func(map[string]any) {})
	r.send(ctx, taken)
	once(http.StatusConflict, "rescheduleAppointment", func(b map[string]any) { b["starts_at"] = taken.body.(map[string]any)["starts_at"] })
	once(http.StatusGone, "bookAppointment", func(b map[string]any) { b["hold_id"] = strange() })
	once(http.StatusUnauthorized, "login", func(b map[string]any) { b["password"] = "Another#2026" })
	once(http.StatusUnauthorized, "refresh", func(b map[string]any) { b["refresh_token"] = "nonsense" })
	for _, id := range []string{"bookAppointment", "createHold", "joinWaitlist"} {
		once(http.StatusNotFound, id, func(b map[string]any) { b["doctor_id"] = r.patient.id })
	}
	undecided := r.prepared(ctx, by["putException"])
	undecided.label, undecided.who, undecided.want = "before any availability", r.other, status(http.StatusNotFound)
	undecided.path["id"] = r.other.id
	r.send(ctx, undecided)
	line := changed("joinWaitlist", func(map[string]any) {})
	for range 21 {
		r.send(ctx, line)
	}
	forgotten := r.prepared(ctx, by["forgotPassword"])
	for range 5 {
		r.send(ctx, forgotten)
	}
	r.stale(ctx, by["putAvailability"])
}
