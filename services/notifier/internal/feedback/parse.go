// Package feedback reads what SES tells of sent messages from an SQS queue, which an SNS topic fills from the
// configuration set's event destination, and hands it to the store.
package feedback

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/services/notifier/internal/mail"
	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

// Errors of Parse. Neither quotes the message: it holds addresses.
var (
	// ErrMalformed: not an event of SES.
	ErrMalformed = errors.New("feedback: not an SES event")
	// ErrOthers: of a message that isn't ours, or a kind of event that changes nothing here.
	ErrOthers = errors.New("feedback: not for us")
)

// event is the part of an SES event that matters:
// https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
type event struct {
	EventType string `json:"eventType"`
	Mail      struct {
		Timestamp time.Time `json:"timestamp"`
		MessageID string    `json:"messageId"`
		// Destination is whom the message was sent to. What bounced or complained may be another mailbox, which theirs
		// forwards to.
		Destination []string            `json:"destination"`
		Tags        map[string][]string `json:"tags"`
	} `json:"mail"`
	Bounce struct {
		Type    string `json:"bounceType"`
		SubType string `json:"bounceSubType"`
	} `json:"bounce"`
}

// Parse reads the body of a queue message: SNS's envelope around the event, or the event itself where the
// subscription delivers raw messages.
func Parse(body []byte) (notice.Signal, error) {
	var envelope struct {
		Type    string `json:"Type"`
		Message string `json:"Message"`
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return notice.Signal{}, ErrMalformed
	}
	if envelope.Type != "" {
		if envelope.Type != "Notification" {
			return notice.Signal{}, ErrOthers
		}
		body = []byte(envelope.Message)
	}
	var e event
	if err := json.Unmarshal(body, &e); err != nil || e.EventType == "" {
		return notice.Signal{}, ErrMalformed
	}
	s := notice.Signal{MessageID: e.Mail.MessageID, At: e.Mail.Timestamp, SentTo: e.Mail.Destination}
	tag := e.Mail.Tags[mail.TagDelivery]
	if len(tag) == 0 {
		return s, ErrOthers
	}
	id, err := uuid.Parse(tag[0])
	if err != nil {
		return s, ErrOthers
	}
	s.DeliveryID = id
	switch e.EventType {
	case "Send":
		s.Kind = notice.SignalSend
	case "Delivery":
		s.Kind = notice.SignalDelivery
	case "Reject":
		s.Kind, s.Reason = notice.SignalReject, notice.ReasonRejectedLater
	case "Bounce":
		s.Kind, s.Permanent = notice.SignalBounce, e.Bounce.Type == "Permanent"
		s.Reason = "bounce_" + code(e.Bounce.Type) + "_" + code(e.Bounce.SubType)
	case "Complaint":
		s.Kind, s.Reason = notice.SignalComplaint, "complaint"
	default:
		return s, ErrOthers
	}
	return s, nil
}

// code keeps letters alone, so that nothing but SES's own words can get into a reason.
func code(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r | 0x20
		}
		return -1
	}, s)
	return s[:min(len(s), 40)]
}
