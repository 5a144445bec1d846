package api

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/services/users/internal/postgres"
)

func FuzzCursor(f *testing.F) {
	key := postgres.DoctorKey{Term: "w:ana", NameKey: "ana souza", ID: uuid.New()}
	f.Add(*encodeDoctorCursor(key))
	f.Add(*encodeCursor(auditPosition{At: time.Unix(0, 0), ID: uuid.New()}))
	f.Add(*encodeCursor(map[string]any{"t": "\x00", "n": "\ufffd", "i": 1}))
	f.Add("e30")
	f.Add("bnVsbA")
	f.Add("%00")
	f.Fuzz(func(t *testing.T, cursor string) {
		// Whatever is taken can be stored in a query, and comes back as it went.
		if key, err := doctorCursor(&cursor); err == nil {
			if !storable(key.Term) || !storable(key.NameKey) {
				t.Fatalf("%q became %+v", cursor, key)
			}
			if again, err := doctorCursor(encodeDoctorCursor(key)); err != nil || again != key {
				t.Fatalf("%+v became %+v, %v", key, again, err)
			}
		}
		if p, err := decodeCursor[auditPosition](cursor); err == nil {
			again, err := decodeCursor[auditPosition](*encodeCursor(p))
			if err != nil || !again.At.Equal(p.At) || again.ID != p.ID {
				t.Fatalf("%+v became %+v, %v", p, again, err)
			}
		}
		if id, err := decodeCursor[uuid.UUID](cursor); err == nil {
			if again, err := decodeCursor[uuid.UUID](*encodeCursor(id)); err != nil || again != id {
				t.Fatalf("%v became %v, %v", id, again, err)
			}
		}
	})
}
