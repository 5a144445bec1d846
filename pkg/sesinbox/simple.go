package sesinbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"strings"

	"github.com/emersion/go-message"
	gomail "github.com/emersion/go-message/mail"
)

// simpleContent is a message of which SES makes the MIME itself. Text arrives as UTF-8 and leaves as UTF-8.
type simpleContent struct {
	Subject *struct{ Data string }
	Body    *struct {
		Text, HTML *struct{ Data string }
	}
	Headers     []struct{ Name, Value string }
	Attachments []attachment
}

type attachment struct {
	FileName           string
	RawContent         []byte
	ContentType        string
	ContentID          string
	ContentDescription string
	ContentDisposition string
}

// fromSimple composes multipart/mixed[ multipart/alternative[ text, html ], attachments ].
func (o *outgoing) fromSimple(req *sendRequest, content *simpleContent) error {
	switch {
	case content.Subject == nil:
		return badRequest("1 validation error detected: Value null at 'content.simple.subject' failed to satisfy constraint: Member must not be null")
	case content.Body == nil || content.Body.Text == nil && content.Body.HTML == nil:
		return badRequest("The body must have text or HTML.")
	case req.FromEmailAddress == "":
		return badRequest("FromEmailAddress is required.")
	case req.Destination == nil:
		return badRequest("The message has no recipient.")
	}
	to := req.Destination
	var err error
	if o.recipients, err = checkRecipients(to.ToAddresses, to.CcAddresses, to.BccAddresses); err != nil {
		return err
	}
	header, err := simpleHeader(req, content)
	if err != nil {
		return err
	}
	header.SetDate(o.sentAt)
	header.SetMessageID(o.id + "@email.amazonses.com")
	var out bytes.Buffer
	if err := writeSimple(&out, header, content); err != nil {
		return badRequest("The message could not be composed: %v.", err)
	}
	if out.Len() > maxSourceBytes {
		return tooLong()
	}
	o.source = out.Bytes()
	return nil
}

func simpleHeader(req *sendRequest, content *simpleContent) (gomail.Header, error) {
	var header gomail.Header
	for _, extra := range content.Headers {
		if !validHeader(extra.Name, extra.Value) {
			return header, badRequest("Header <%s> is malformed.", extra.Name)
		}
		header.Add(extra.Name, extra.Value)
	}
	lists := []struct {
		name string
		list []string
	}{
		{"From", []string{req.FromEmailAddress}},
		{"To", req.Destination.ToAddresses},
		{"Cc", req.Destination.CcAddresses},
		{"Reply-To", req.ReplyToAddresses},
	}
	for _, l := range lists {
		if len(l.list) == 0 {
			continue
		}
		var addrs []*gomail.Address
		for _, text := range l.list {
			if _, err := checkAddress(text); err != nil {
				return header, err
			}
			addr, err := mail.ParseAddress(text)
			if err != nil {
				return header, badRequest("Illegal address")
			}
			addrs = append(addrs, addr)
		}
		header.SetAddressList(l.name, addrs)
	}
	header.SetSubject(strings.NewReplacer("\r", " ", "\n", " ").Replace(content.Subject.Data))
	return header, nil
}

// validHeader holds to the limits that SES documents for MessageHeader.
func validHeader(name, value string) bool {
	inName := func(r rune) bool { return r < 33 || r > 126 || r == ':' }
	inValue := func(r rune) bool { return r < ' ' || r > '~' }
	return name != "" && len(name) <= 126 && len(name)+len(value) <= 996 &&
		!strings.ContainsFunc(name, inName) && !strings.ContainsFunc(value, inValue)
}

func writeSimple(out io.Writer, header gomail.Header, content *simpleContent) error {
	mixed, err := gomail.CreateWriter(out, header)
	if err != nil {
		return err
	}
	alternative, err := mixed.CreateInline()
	if err != nil {
		return err
	}
	parts := []struct {
		mediaType string
		data      *struct{ Data string }
	}{{"text/plain", content.Body.Text}, {"text/html", content.Body.HTML}}
	for _, part := range parts {
		if part.data == nil {
			continue
		}
		var h gomail.InlineHeader
		h.SetContentType(part.mediaType, map[string]string{"charset": "utf-8"})
		h.Set("Content-Transfer-Encoding", "quoted-printable")
		if err := writePart(alternative.CreatePart(h))([]byte(part.data.Data)); err != nil {
			return err
		}
	}
	if err := alternative.Close(); err != nil {
		return err
	}
	for _, file := range content.Attachments {
		h, err := file.header()
		if err != nil {
			return err
		}
		if err := writePart(mixed.CreateAttachment(h))(file.RawContent); err != nil {
			return err
		}
	}
	return mixed.Close()
}

// writePart takes what CreatePart returns and gives a function that fills and closes it.
func writePart(w io.WriteCloser, err error) func([]byte) error {
	return func(data []byte) error {
		if err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
		return w.Close()
	}
}

func (a attachment) header() (gomail.AttachmentHeader, error) {
	h := gomail.AttachmentHeader{Header: message.Header{}}
	mediaType, params := "application/octet-stream", map[string]string(nil)
	if a.ContentType != "" {
		var probe message.Header
		probe.Set("Content-Type", a.ContentType)
		var err error
		if mediaType, params, err = probe.ContentType(); err != nil || !validHeader("Content-Type", a.ContentType) {
			return h, fmt.Errorf("attachment %q has a malformed content type", a.FileName)
		}
	}
	if a.FileName == "" {
		return h, errors.New("an attachment has no file name")
	}
	h.SetContentType(mediaType, params)
	h.SetFilename(a.FileName)
	if strings.EqualFold(a.ContentDisposition, "INLINE") {
		h.SetContentDisposition("inline", map[string]string{"filename": a.FileName})
	}
	if a.ContentID != "" {
		if !validHeader("Content-Id", a.ContentID) {
			return h, fmt.Errorf("attachment %q has a malformed content id", a.FileName)
		}
		h.Set("Content-Id", "<"+strings.Trim(a.ContentID, "<>")+">")
	}
	if a.ContentDescription != "" {
		h.SetText("Content-Description", a.ContentDescription)
	}
	h.Set("Content-Transfer-Encoding", "base64")
	return h, nil
}
