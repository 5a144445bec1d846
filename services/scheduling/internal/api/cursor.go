package api

import (
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/web"
)

// position is the last item of a page. It holds nothing that the page didn't show, and a made-up one only chooses where
// a list begins.
type position struct {
	At time.Time `json:"t"`
	ID uuid.UUID `json:"i"`
}

func encodeCursor(p position) *string {
	data, err := json.Marshal(position{At: p.At.UTC(), ID: p.ID})
	if err != nil {
		return nil // times of stored appointments and ids always marshal
	}
	return new(base64.RawURLEncoding.EncodeToString(data))
}

func decodeCursor(cursor string) (p position, err error) {
	data, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err != nil || p.ID == uuid.Nil || p.At.Year() < 1 || p.At.Year() > 9999 {
		return position{}, web.Validation(web.Fault{Parameter: "cursor", Detail: web.Text{
			PT: "Use o next_cursor da página anterior.", EN: "Use the next_cursor of the previous page."}})
	}
	return p, nil
}
