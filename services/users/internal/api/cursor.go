package api

import (
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/web"
	"github.com/healthmed/healthmed/services/users/internal/postgres"
)

// A cursor is the key of the last item of a page, as JSON in base64url. It holds nothing that the page didn't show, and
// a made-up one only chooses where a list begins.

type doctorPosition struct {
	Term    string    `json:"t"`
	NameKey string    `json:"n"`
	ID      uuid.UUID `json:"i"`
}

func encodeDoctorCursor(k postgres.DoctorKey) *string {
	return encodeCursor(doctorPosition(k))
}

func doctorCursor(cursor *string) (postgres.DoctorKey, error) {
	if cursor == nil {
		return postgres.DoctorKey{}, nil
	}
	p, err := decodeCursor[doctorPosition](*cursor)
	if err != nil || !storable(p.Term) || !storable(p.NameKey) {
		return postgres.DoctorKey{}, badCursor()
	}
	return postgres.DoctorKey(p), nil
}

func encodeCursor(position any) *string {
	data, err := json.Marshal(position)
	if err != nil {
		return nil // positions are texts, times and ids: they always marshal
	}
	cursor := base64.RawURLEncoding.EncodeToString(data)
	return &cursor
}

func decodeCursor[T any](cursor string) (T, error) {
	var position T
	data, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return position, err
	}
	return position, json.Unmarshal(data, &position)
}

// storable says whether PostgreSQL takes the text: it refuses NUL.
func storable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for i := range len(s) {
		if s[i] == 0 {
			return false
		}
	}
	return true
}

func badCursor() error {
	return web.Validation(web.Fault{Parameter: "cursor", Detail: web.Text{
		PT: "Cursor inválido: use o next_cursor da página anterior.", EN: "Not a cursor: use the next_cursor of the previous page.",
	}})
}
