package mail

import (
	"bytes"
	"errors"
	"fmt"
	"net/mail"
	"strings"

	"github.com/google/uuid"
	gomail "github.com/wneessen/go-mail"

	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

// Envelope is a message ready to be handed to the mail service.
type Envelope struct {
	DeliveryID, EventID uuid.UUID
	Template            notice.Template
	From, To            string // From is a mailbox with a name, To a bare address
	Raw                 []byte // MIME source
}

// ErrAddress says that a recipient's address can't be written to. The error doesn't contain it.
var ErrAddress = errors.New("mail: unusable address")

// Message is a composed message.
type Message struct {
	Locale              notice.Locale
	Subject, Text, HTML string
	Calendar            []byte // nil for none
	Method              string // of the calendar: REQUEST or CANCEL
}

// address checks a recipient's address: one bare ASCII mailbox without surprises.
func address(s string) (string, error) {
	if len(s) > 254 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`<>,;:"()[]\`, r) }) {
		return "", ErrAddress
	}
	a, err := mail.ParseAddress(s)
	if err != nil || a.Name != "" || a.Address != s {
		return "", ErrAddress
	}
	return a.Address, nil
}

// mimeOf builds the source: multipart/mixed[ alternative[ text, html, text/calendar; method ], invite.ics ], or
// multipart/alternative[ text, html ] without a calendar. Outlook looks for the invitation only in the first child of
// mixed; other clients want the attachment.
func mimeOf(m Message, from *mail.Address, replyTo string, to *mail.Address, n notice.Notice) ([]byte, error) {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(from)
	msg.ToMailAddress(to)
	if replyTo != "" {
		if err := msg.ReplyTo(replyTo); err != nil {
			return nil, fmt.Errorf("reply-to: %w", err)
		}
	}
	msg.Subject(m.Subject)
	msg.SetDateWithValue(n.At)
	msg.SetMessageIDWithValue(n.DeliveryID.String() + "@" + domainOf(from.Address))
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetGenHeader("Content-Language", string(m.Locale))
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	msg.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	if len(m.Calendar) > 0 {
		kind := gomail.ContentType("text/calendar; method=" + m.Method)
		msg.AddAlternativeString(kind, string(m.Calendar), gomail.WithPartEncoding(gomail.EncodingB64))
		err := msg.AttachReader("invite.ics", bytes.NewReader(m.Calendar),
			gomail.WithFileContentType(gomail.ContentType("application/ics")))
		if err != nil {
			return nil, fmt.Errorf("attach invitation: %w", err)
		}
	}
	var b bytes.Buffer
	b.Grow(2 * (len(m.HTML) + len(m.Text) + 2*len(m.Calendar)))
	if _, err := msg.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("write message: %w", err)
	}
	return b.Bytes(), nil
}

func domainOf(address string) string {
	_, domain, _ := strings.Cut(address, "@")
	return domain
}
