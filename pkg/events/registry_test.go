package events_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/healthmed/healthmed/pkg/events"
)

func TestAll_KnowsEveryEventOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range events.All() {
		if seen[d.Name] {
			t.Errorf("%s occurs twice", d.Name)
		}
		seen[d.Name] = true
		ev := d.New()
		if ev.Type() != d.Type() || reflect.TypeOf(ev).Elem().Name() != d.GoType {
			t.Errorf("%s: New gives %T of type %s", d.Name, ev, ev.Type())
		}
		if ev.Source() != "/healthmed/"+d.Context() {
			t.Errorf("%s: source %s", d.Name, ev.Source())
		}
		if found, ok := events.Lookup(d.Type()); !ok || found.Name != d.Name {
			t.Errorf("%s is not found by its type", d.Name)
		}
		// The subject that an event gives is the documented one with the ids filled in.
		const blank = "00000000-0000-0000-0000-000000000000"
		want := d.SubjectPattern()
		for _, id := range d.SubjectIDs() {
			want = strings.ReplaceAll(want, "<"+id+">", blank)
		}
		if ev.Subject() != want {
			t.Errorf("%s: subject %s, want %s", d.Name, ev.Subject(), want)
		}
		if stream := map[string]string{"users": "USERS", "scheduling": "SCHEDULING", "notifier": "NOTIFICATIONS"}[d.Context()]; d.Stream != stream {
			t.Errorf("%s: stream %s", d.Name, d.Stream)
		}
	}
	if len(seen) != 15 {
		t.Errorf("%d events, want the 15 of the contract", len(seen))
	}
}

func TestSubject_NamesTheDoctorBeforeTheAppointment(t *testing.T) {
	want := "healthmed.scheduling.appointment.booked.v1." + doctorID.String() + "." + appointmentID.String()
	if got := booked().Subject(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestLookup_KnowsNoOtherVersion(t *testing.T) {
	for _, name := range []string{"", "br.com.healthmed.", "br.com.healthmed.scheduling.appointment.booked.v2", "scheduling.appointment.booked.v1"} {
		if d, ok := events.Lookup(name); ok {
			t.Errorf("%q gives %s", name, d.Name)
		}
	}
}
