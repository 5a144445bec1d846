package sesinbox

import (
	"encoding/json"
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Addresses of the SES mailbox simulator; labels (bounce+x@...) are allowed.
// https://docs.aws.amazon.com/ses/latest/dg/send-an-email-from-console.html
const (
	simulatorDomain    = "@simulator.amazonses.com"
	simulatorBounce    = "bounce"
	simulatorComplaint = "complaint"
)

// simulate publishes what SES would for a message: Send, then a bounce for bounce@simulator.amazonses.com, a complaint
// after delivery for complaint@simulator.amazonses.com, and a delivery for anybody else.
func (s *Server) simulate(m Message) {
	if s.queue == nil {
		return
	}
	now := s.now().UTC()
	s.queue.SendFunc(func() string { return SendEvent(m, now) })
	if sentTo(m, simulatorBounce) {
		s.queue.SendFunc(func() string { return BounceEvent(m, now, true) })
		return
	}
	s.queue.SendFunc(func() string { return DeliveryEvent(m, now) })
	if sentTo(m, simulatorComplaint) {
		s.queue.SendFunc(func() string { return ComplaintEvent(m, now) })
	}
}

// tellAgain publishes what became of the messages of the last day once more. The queue is in memory: if everything
// ended at once, a message was kept whose events nobody got, and its sender, not knowing, would send it again. SES
// publishes at least once as well, so repeats do no harm.
func (s *Server) tellAgain() {
	since := s.now().Add(-24 * time.Hour)
	for _, m := range s.Messages() {
		if m.SentAt.After(since) {
			s.simulate(m)
		}
	}
}

func sentTo(m Message, mailbox string) bool {
	return slices.ContainsFunc(m.To, func(addr string) bool {
		local, ok := strings.CutSuffix(strings.ToLower(addr), simulatorDomain)
		local, _, _ = strings.Cut(local, "+")
		return ok && local == mailbox
	})
}

// SendEvent is the SES event that a message was accepted, as SNS puts it into a queue. It settles a call whose answer
// was lost. Like all events here it carries the message's tags.
func SendEvent(m Message, at time.Time) string {
	return notification(m, at, "Send", "send", struct{}{})
}

// DeliveryEvent says that the recipients' mail server took the message.
func DeliveryEvent(m Message, at time.Time) string {
	return notification(m, at, "Delivery", "delivery", map[string]any{
		"timestamp": timestamp(at), "recipients": m.To, "processingTimeMillis": at.Sub(m.SentAt).Milliseconds(),
		"smtpResponse": "250 2.0.0 OK", "reportingMTA": "a1-2.smtp-out.amazonses.com",
	})
}

// BounceEvent says that the message came back, for good (no such address) or for now (mailbox full).
func BounceEvent(m Message, at time.Time, permanent bool) string {
	kind, subKind, status, text := "Transient", "MailboxFull", "4.2.2", "smtp; 452 4.2.2 mailbox full"
	if permanent {
		kind, subKind, status, text = "Permanent", "General", "5.1.1", "smtp; 550 5.1.1 user unknown"
	}
	recipients := make([]map[string]string, len(m.To))
	for i, addr := range m.To {
		recipients[i] = map[string]string{"emailAddress": addr, "action": "failed", "status": status, "diagnosticCode": text}
	}
	return notification(m, at, "Bounce", "bounce", map[string]any{
		"bounceType": kind, "bounceSubType": subKind, "bouncedRecipients": recipients, "timestamp": timestamp(at),
		"feedbackId": newMessageID(at), "reportingMTA": "dsn; a1-2.smtp-out.amazonses.com",
	})
}

// ComplaintEvent says that the recipient called the message spam.
func ComplaintEvent(m Message, at time.Time) string {
	recipients := make([]map[string]string, len(m.To))
	for i, addr := range m.To {
		recipients[i] = map[string]string{"emailAddress": addr}
	}
	return notification(m, at, "Complaint", "complaint", map[string]any{
		"complainedRecipients": recipients, "timestamp": timestamp(at), "arrivalDate": timestamp(at),
		"feedbackId": newMessageID(at), "userAgent": "Amazon SES Mailbox Simulator", "complaintFeedbackType": "abuse",
	})
}

// RejectEvent says that SES took the message but won't send it, since it carries a virus.
func RejectEvent(m Message, at time.Time) string {
	return notification(m, at, "Reject", "reject", map[string]string{"reason": "Bad content"})
}

// notification wraps an event as SNS delivers it to a queue without raw delivery.
// https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
func notification(m Message, at time.Time, kind, key string, content any) string {
	event := encode(map[string]any{"eventType": kind, "mail": mailObject(m), key: content})
	return encode(map[string]string{
		"Type": "Notification", "MessageId": uuid.NewString(), "TopicArn": "arn:aws:sns:sa-east-1:000000000000:ses-feedback",
		"Subject": "Amazon SES Email Event Notification", "Message": event, "Timestamp": timestamp(at), "SignatureVersion": "1",
		"Signature":      "bm90IHNpZ25lZA==",
		"SigningCertURL": "https://sns.sa-east-1.amazonaws.com/SimpleNotificationService.pem",
		"UnsubscribeURL": "https://sns.sa-east-1.amazonaws.com/?Action=Unsubscribe",
	})
}

// mailObject is the message as every event tells it. Each tag has a list of values.
func mailObject(m Message) map[string]any {
	tags := map[string][]string{"ses:operation": {"SendEmail"}}
	source := m.From
	if addr, err := mail.ParseAddress(m.From); err == nil {
		source = addr.Address
		_, domain, _ := strings.Cut(addr.Address, "@")
		tags["ses:from-domain"] = []string{domain}
	}
	for name, value := range m.Tags {
		tags[name] = []string{value}
	}
	return map[string]any{
		"timestamp": timestamp(m.SentAt), "messageId": m.ID, "source": source, "sendingAccountId": "000000000000",
		"destination": m.To, "headersTruncated": false, "tags": tags,
		"headers":       []map[string]string{{"name": "From", "value": m.From}, {"name": "Subject", "value": m.Subject}},
		"commonHeaders": map[string]any{"from": []string{m.From}, "to": m.To, "messageId": m.ID, "subject": m.Subject},
	}
}

func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// encode is JSON; maps of strings and lists can't fail to encode.
func encode(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}
