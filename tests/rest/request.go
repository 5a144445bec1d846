package rest

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"
)

// request is one that is to be made.
type request struct {
	op     operation
	label  string
	origin string
	who    *caller // nil is anonymous
	path   map[string]string
	query  url.Values
	header http.Header
	body   any
	// want says which statuses are right, beyond what the document allows; nil is any.
	want func(status int) bool
}

// allowed is somebody who may call the operation, for the resource that ready makes.
func (w *world) allowed(o operation) *caller {
	if o.open {
		return nil
	}
	switch o.OperationID {
	case "confirmAppointment", "declineAppointment":
		return w.approver
	case "completeAppointment", "markNoShow":
		return w.doctor
	case "getPatient":
		return w.admin
	}
	for _, role := range o.roles {
		switch role {
		case "patient":
			return w.patient
		case "doctor":
			return w.doctor
		}
	}
	if len(o.roles) > 0 {
		return w.admin
	}
	return w.patient
}

// ready makes a request that should succeed: with a body that the schema allows, made right where the schema can't say
// what is right, and about something that is there.
func (w *world) ready(ctx context.Context, o operation) (r request, err error) {
	r = request{op: o, label: "valid", origin: w.cluster.Origin(o.service, 0), who: w.allowed(o), path: map[string]string{}, query: url.Values{}, header: http.Header{}}
	if s := o.body(); s != nil {
		r.body = w.valid(s)
	}
	for _, p := range o.params {
		if p.Value.In == "path" {
			r.path[p.Value.Name] = w.text(p.Value.Schema.Value)
		}
	}
	body, _ := r.body.(map[string]any)
	return r, w.adjust(ctx, &r, body)
}

// adjust is what the schemas can't say.
func (w *world) adjust(ctx context.Context, r *request, body map[string]any) (err error) {
	switch r.op.service {
	case "users":
		return w.adjustUsers(ctx, r, body)
	case "notifier":
		return w.adjustNotifier(ctx, r)
	}
	return w.adjustScheduling(ctx, r, body)
}

func (w *world) adjustUsers(ctx context.Context, r *request, body map[string]any) (err error) {
	fresh := func(role string) (p *caller) {
		if err == nil {
			p, err = w.person(ctx, role)
		}
		if p == nil {
			p = &caller{}
		}
		return p
	}
	switch r.op.OperationID {
	case "login":
		body["email"], body["password"] = w.patient.email, password
	case "refresh", "logout":
		body["refresh_token"] = fresh("patient").refresh
	case "forgotPassword":
		body["email"] = w.stranger.email
	case "eraseMe":
		r.who = fresh("patient")
	case "changePassword":
		r.who = fresh("patient")
		body["current_password"] = password
	case "changeMe":
		r.who = fresh("patient")
		delete(body, "specialties") // a doctor's
		body["name"] = "Pessoa Renomeada"
	case "verifyEmail":
		p := fresh("patient")
		if err == nil {
			body["token"], err = w.mailedToken(ctx, p.email, 1)
		}
		delete(body, "email")
	case "resetPassword":
		p := fresh("patient")
		if err == nil {
			_, err = w.must(ctx, "users", nil, http.MethodPost, "/v1/auth/password/forgot", map[string]any{"email": p.email})
		}
		if err == nil {
			body["token"], err = w.mailedToken(ctx, p.email, 2)
		}
		delete(body, "email")
	case "getPatient":
		r.path["id"] = w.patient.id
	case "changePatient", "erasePatient":
		r.path["id"] = fresh("patient").id
	case "getDoctor":
		r.path["id"] = w.doctor.id
	case "changeDoctor", "eraseDoctor", "verifyDoctor":
		r.path["id"] = fresh("doctor").id
	}
	return err
}

func (w *world) adjustScheduling(ctx context.Context, r *request, body map[string]any) (err error) {
	if _, named := r.path["id"]; named {
		r.path["id"] = w.doctor.id // of what is about a doctor
	}
	book := func(doctor *caller) {
		if err == nil {
			r.path["id"], err = w.booking(ctx, doctor)
		}
	}
	slot := func() {
		if err == nil {
			body["doctor_id"] = w.doctor.id
			body["starts_at"], err = w.slot(ctx, w.doctor)
		}
	}
	switch r.op.OperationID {
	case "putAvailability":
		r.body = availability("instant")
	case "deleteException":
		r.path["date"] = time.Now().AddDate(0, 0, 40).Format(time.DateOnly)
		_, err = w.must(ctx, "scheduling", w.doctor, http.MethodPut, "/v1/doctors/"+w.doctor.id+"/exceptions/"+r.path["date"], map[string]any{"closed": true})
	case "deleteCalendar":
		_, err = w.must(ctx, "scheduling", r.who, http.MethodPost, "/v1/me/calendar", map[string]any{})
	case "putException":
		r.path["date"] = time.Now().AddDate(0, 0, 40+w.rng.IntN(300)).Format(time.DateOnly)
		delete(body, "closed")
		body["hours"] = []any{map[string]any{"start": "09:00", "end": "10:00"}}
	case "createHold":
		r.who = w.patientNew(ctx, &err) // nobody may keep more than a few
		slot()
	case "deleteHold":
		r.who = w.patientNew(ctx, &err)
		held := map[string]any{}
		body = held
		slot()
		if err == nil {
			held, err = w.must(ctx, "scheduling", r.who, http.MethodPost, "/v1/holds", held)
			r.path["id"], _ = held["id"].(string)
		}
	case "bookAppointment":
		slot()
		delete(body, "hold_id")
		delete(body, "patient_id")
	case "getAppointment", "getHistory", "cancelAppointment":
		book(w.doctor)
	case "rescheduleAppointment":
		book(w.doctor)
		slot()
		delete(body, "doctor_id")
	case "confirmAppointment", "declineAppointment":
		book(w.approver)
	case "completeAppointment", "markNoShow":
		book(w.doctor)
		r.origin = w.future
	case "joinWaitlist":
		r.who = w.patientNew(ctx, &err)
		delete(body, "specialty")
		body["doctor_id"], body["from"], body["to"] = w.doctor.id, time.Now().AddDate(0, 0, 2).Format(time.DateOnly), time.Now().AddDate(0, 0, 4).Format(time.DateOnly)
	case "leaveWaitlist":
		r.who = w.patientNew(ctx, &err)
		if err == nil {
			place, failed := w.must(ctx, "scheduling", r.who, http.MethodPost, "/v1/waitlist", map[string]any{
				"doctor_id": w.doctor.id, "from": time.Now().AddDate(0, 0, 2).Format(time.DateOnly), "to": time.Now().AddDate(0, 0, 4).Format(time.DateOnly)})
			r.path["id"], _ = place["id"].(string)
			err = failed
		}
	case "getCalendar":
		feed, failed := w.must(ctx, "scheduling", w.patient, http.MethodPost, "/v1/me/calendar", map[string]any{})
		if failed != nil {
			return failed
		}
		address, _ := feed["url"].(string)
		r.path["file"] = address[max(0, len(address)-47):]
	}
	return err
}

// patientNew is a new patient; err stays what it was if it was something.
func (w *world) patientNew(ctx context.Context, err *error) *caller {
	if *err != nil {
		return nil
	}
	var p *caller
	p, *err = w.person(ctx, "patient")
	return p
}

func (w *world) adjustNotifier(ctx context.Context, r *request) (err error) {
	switch r.op.OperationID {
	case "getDelivery":
		w.deliveries, err = w.listed(ctx, "notifier", "/v1/deliveries")
		if len(w.deliveries) > 0 {
			r.path["id"] = w.deliveries[0]
		}
	case "retryDelivery": // one that was not sent on purpose may be sent all the same
		skipped, failed := w.listed(ctx, "notifier", "/v1/deliveries?status=skipped")
		if len(skipped) > 0 {
			r.path["id"] = skipped[w.rng.IntN(len(skipped))]
		}
		err = failed
	case "redriveDeadLetter":
		if err = w.spoil(ctx); err == nil && len(w.letters) > 0 {
			r.path["id"] = w.letters[0]
		}
	}
	return err
}

// strange is an id that nobody has.
func strange() string { return uuid.NewString() }
