package events

import (
	"reflect"
	"slices"
	"strings"

	"github.com/google/uuid"
)

const (
	typePrefix       = "br.com.healthmed."
	subjectPrefix    = "healthmed."
	sourceUsers      = "/healthmed/users"
	sourceScheduling = "/healthmed/scheduling"
	sourceNotifier   = "/healthmed/notifier"
)

// Definition describes one event of the contract, for documentation, access rules and tests.
type Definition struct {
	Name    string // e.g. "scheduling.appointment.booked.v1"; files are named after it
	GoType  string // e.g. "AppointmentBooked"
	Stream  string // the JetStream stream that keeps it: USERS, SCHEDULING, NOTIFICATIONS
	Summary string // one sentence

	ids  []string
	make func() checked
}

// Type is the CloudEvents type.
func (d Definition) Type() string { return typePrefix + d.Name }

// Source is the CloudEvents source.
func (d Definition) Source() string { return d.New().Source() }

// Context is the service that publishes it: users, scheduling, notifier.
func (d Definition) Context() string {
	context, _, _ := strings.Cut(d.Name, ".")
	return context
}

// DataSchema is where the JSON Schema of the data is served, and the envelope's dataschema.
func (d Definition) DataSchema() string { return "/schemas/" + d.Name + ".json" }

// SubjectPattern is the NATS subject with the ids in angle brackets,
// e.g. "healthmed.scheduling.appointment.booked.v1.<doctor_id>.<appointment_id>".
func (d Definition) SubjectPattern() string {
	return subjectPrefix + d.Name + ".<" + strings.Join(d.ids, ">.<") + ">"
}

// SubjectIDs names the ids at the end of the subject, in order; each is a field of the data.
func (d Definition) SubjectIDs() []string { return slices.Clone(d.ids) }

// Filter is the NATS filter that takes every event of this type.
func (d Definition) Filter() string { return subjectPrefix + d.Name + ".>" }

// New is an empty event of this type.
func (d Definition) New() Event { return d.make() }

// definitions is never written to.
var definitions = [...]Definition{
	{userRegistered, "UserRegistered", "USERS", "An account was made.",
		[]string{"user_id"}, func() checked { return new(UserRegistered) }},
	{userUpdated, "UserUpdated", "USERS", "An account changed; the data is the state after the change.",
		[]string{"user_id"}, func() checked { return new(UserUpdated) }},
	{userErased, "UserErased", "USERS", "A person's data was erased; their earlier events have been purged.",
		[]string{"user_id"}, func() checked { return new(UserErased) }},
	{appointmentRequested, "AppointmentRequested", "SCHEDULING", "A patient asked for a time that the doctor has yet to confirm.",
		[]string{"doctor_id", "appointment_id"}, func() checked { return new(AppointmentRequested) }},
	{appointmentBooked, "AppointmentBooked", "SCHEDULING", "An appointment is firm: booked at once, or by the doctor's confirmation (actor tells).",
		[]string{"doctor_id", "appointment_id"}, func() checked { return new(AppointmentBooked) }},
	{appointmentDeclined, "AppointmentDeclined", "SCHEDULING", "A request was refused; one that lapsed is declined by the actor system.",
		[]string{"doctor_id", "appointment_id"}, func() checked { return new(AppointmentDeclined) }},
	{appointmentRescheduled, "AppointmentRescheduled", "SCHEDULING", "An appointment was moved and keeps its id; previous is the time it had.",
		[]string{"doctor_id", "appointment_id"}, func() checked { return new(AppointmentRescheduled) }},
	{appointmentCancelled, "AppointmentCancelled", "SCHEDULING", "An appointment will not take place; its time is free again.",
		[]string{"doctor_id", "appointment_id"}, func() checked { return new(AppointmentCancelled) }},
	{appointmentCompleted, "AppointmentCompleted", "SCHEDULING", "An appointment took place.",
		[]string{"doctor_id", "appointment_id"}, func() checked { return new(AppointmentCompleted) }},
	{appointmentNoShow, "AppointmentNoShow", "SCHEDULING", "The patient did not come.",
		[]string{"doctor_id", "appointment_id"}, func() checked { return new(AppointmentNoShow) }},
	{availabilityChanged, "AvailabilityChanged", "SCHEDULING", "A doctor's hours or booking rules changed: slots read earlier are stale.",
		[]string{"doctor_id"}, func() checked { return new(AvailabilityChanged) }},
	{waitlistOffered, "WaitlistOffered", "SCHEDULING", "Freed time is held for a patient who waited, until expires_at.",
		[]string{"doctor_id", "entry_id"}, func() checked { return new(WaitlistOffered) }},
	{deliverySent, "DeliverySent", "NOTIFICATIONS", "The mail provider accepted a message.",
		[]string{"delivery_id"}, func() checked { return new(DeliverySent) }},
	{deliveryFailed, "DeliveryFailed", "NOTIFICATIONS", "A message will not be sent; reason tells why.",
		[]string{"delivery_id"}, func() checked { return new(DeliveryFailed) }},
	{deliveryBounced, "DeliveryBounced", "NOTIFICATIONS", "The recipient's server refused a message that the provider had accepted.",
		[]string{"delivery_id"}, func() checked { return new(DeliveryBounced) }},
}

// All is every event of the contract, in the order of the documentation.
func All() []Definition { return slices.Clone(definitions[:]) }

// Lookup finds a definition by its CloudEvents type.
func Lookup(eventType string) (Definition, bool) {
	name, ok := strings.CutPrefix(eventType, typePrefix)
	if !ok {
		return Definition{}, false
	}
	for _, d := range definitions {
		if d.Name == name {
			return d, true
		}
	}
	return Definition{}, false
}

// known gives back an event that this package may publish: a non-nil pointer to one of its own structs.
func known(ev Event) (checked, Definition, error) {
	c, ok := ev.(checked)
	if !ok {
		return nil, Definition{}, foreign(ev)
	}
	d, ok := Lookup(c.Type())
	if !ok || reflect.TypeOf(d.make()) != reflect.TypeOf(c) || reflect.ValueOf(c).IsNil() {
		return nil, Definition{}, foreign(ev)
	}
	return c, d, nil
}

func foreign(ev Event) error { return invalid("%T is not an event of this contract", ev) }

func subject(name string, ids ...uuid.UUID) string {
	b := make([]byte, 0, len(subjectPrefix)+len(name)+37*len(ids))
	b = append(append(b, subjectPrefix...), name...)
	for _, id := range ids {
		b = append(append(b, '.'), id.String()...)
	}
	return string(b)
}
