package bus

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

func TestLosses_NamesWhatASingleServerCannotShow(t *testing.T) {
	t.Parallel()
	want, err := Config{Replicas: 1}.StreamConfig(Users)
	if err != nil {
		t.Fatal(err)
	}
	for message, change := range map[string]func(*jetstream.StreamInfo){
		"3 copies are kept, Replicas would be 1": func(i *jetstream.StreamInfo) { i.Config.Replicas = 3 },
		"is a mirror or sealed":                  func(i *jetstream.StreamInfo) { i.Config.Sealed = true },
	} {
		have := &jetstream.StreamInfo{Config: want}
		if err := losses(have, want); err != nil {
			t.Fatalf("refused without a change: %v", err)
		}
		change(have)
		if err := losses(have, want); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("got %v, want %q", err, message)
		}
	}
}

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		wide, narrow string
		want         bool
	}{
		{"a.>", "a.b", true}, {"a.>", "a.b.c", true}, {"a.>", "a.>", true}, {"a.>", "a.*", true}, {"a.>", "a", false},
		{"a.*", "a.b", true}, {"a.*", "a.*", true}, {"a.*", "a.>", false}, {"a.*", "a.b.c", false},
		{"a.b", "a.b", true}, {"a.b", "a.*", false}, {"a.b", "a.b.c", false}, {"a.b.c", "a.b", false}, {"a.b", "x.b", false},
		{">", "a.b", true}, {"a.*.c", "a.b.c", true}, {"a.*.c", "a.>", false},
	} {
		if got := covers(c.wide, c.narrow); got != c.want {
			t.Errorf("%s covers %s: %t, want %t", c.wide, c.narrow, got, c.want)
		}
	}
}
