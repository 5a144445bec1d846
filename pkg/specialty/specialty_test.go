package specialty_test

import (
	"strings"
	"testing"

	"github.com/healthmed/healthmed/pkg/specialty"
)

func TestAll_AreUnique(t *testing.T) {
	list := specialty.All()
	for i, s := range list {
		if s.PT == "" || s.EN == "" || strings.Trim(s.Code, "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("bad entry %+v", s)
		}
		for _, other := range list[i+1:] {
			if s.Code == other.Code {
				t.Errorf("%s is there twice", s.Code)
			}
		}
	}
	if len(list) != 55 {
		t.Errorf("got %d specialties, the council recognises 55", len(list))
	}
}
