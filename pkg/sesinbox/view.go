package sesinbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/mail"
	"strconv"
	"strings"
	"unicode"

	"github.com/emersion/go-message"
	"github.com/emersion/go-message/charset"
	"golang.org/x/text/runes"
	"golang.org/x/text/transform"
	"golang.org/x/text/unicode/norm"
)

// Limits on what is parsed for showing; beyond them the source still shows everything.
const (
	maxParts     = 100
	maxDepth     = 8
	previewRunes = 160
	searchBytes  = 4 << 10
)

var errTooManyParts = errors.New("too many or too deeply nested parts")

// view is a message taken apart for its reader. Parsing never fails: what can't be understood is told in Warnings,
// and the rest is there.
type view struct {
	From        string       `json:"-"` // these two are the message's
	HeaderTo    string       `json:"header_to"`
	Cc          string       `json:"cc,omitempty"`
	ReplyTo     string       `json:"reply_to,omitempty"`
	Subject     string       `json:"-"`
	Headers     []headerLine `json:"headers"`
	Text        string       `json:"text"`
	HTML        string       `json:"html"`
	Invitation  *invitation  `json:"invitation"`
	Parts       []part       `json:"parts"`
	Warnings    []string     `json:"warnings"`
	calendarRaw []byte
}

type headerLine struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// part is a leaf of the MIME tree.
type part struct {
	Index       int    `json:"index"`
	Path        string `json:"path"` // as IMAP numbers it: 1.2
	ContentType string `json:"content_type"`
	Filename    string `json:"filename,omitempty"`
	Attachment  bool   `json:"attachment"`
	ContentID   string `json:"content_id,omitempty"`
	Size        int    `json:"size"` // bytes, decoded
	content     []byte
}

// parse takes a source apart.
func parse(source []byte) *view {
	v := &view{Headers: []headerLine{}, Parts: []part{}, Warnings: []string{}}
	entity, err := message.Read(bytes.NewReader(source))
	if entity == nil {
		v.warn("The header could not be read: %v.", err)
		return v
	}
	v.readHeader(entity.Header)
	first := err // Walk doesn't hand on the root's own error
	walkErr := entity.Walk(func(path []int, e *message.Entity, err error) error {
		if err == nil && len(path) == 0 {
			err = first
		}
		return v.readPart(path, e, err)
	})
	if walkErr != nil {
		v.warn("The MIME structure is broken: %v. What follows is only in the source.", walkErr)
	}
	if v.calendarRaw != nil {
		var warnings []string
		v.Invitation, warnings = parseInvitation(v.calendarRaw)
		v.Warnings = append(v.Warnings, warnings...)
	}
	return v
}

func (v *view) warn(format string, args ...any) {
	v.Warnings = append(v.Warnings, fmt.Sprintf(format, args...))
}

func (v *view) readHeader(h message.Header) {
	for fields := h.Fields(); fields.Next(); {
		value, err := fields.Text()
		if err != nil {
			value = fields.Value()
		}
		v.Headers = append(v.Headers, headerLine{fields.Key(), clean(value)})
	}
	v.Subject = v.headerText(h, "Subject")
	v.From, v.HeaderTo, v.Cc, v.ReplyTo = addresses(h, "From"), addresses(h, "To"), addresses(h, "Cc"), addresses(h, "Reply-To")
}

func (v *view) headerText(h message.Header, name string) string {
	value, err := h.Text(name)
	if err != nil {
		v.warn("Header %s is in an unknown encoding.", name)
		value = h.Get(name)
	}
	return clean(value)
}

// addresses shows a list as a person writes it; a malformed one as it is.
func addresses(h message.Header, name string) string {
	raw := h.Get(name)
	if raw == "" {
		return ""
	}
	parser := mail.AddressParser{WordDecoder: &mime.WordDecoder{CharsetReader: charset.Reader}}
	list, err := parser.ParseList(raw)
	if err != nil {
		return clean(raw)
	}
	shown := make([]string, len(list))
	for i, addr := range list {
		shown[i] = addr.Address
		if addr.Name != "" {
			shown[i] = fmt.Sprintf("%s <%s>", addr.Name, addr.Address)
		}
	}
	return clean(strings.Join(shown, ", "))
}

func (v *view) readPart(path []int, e *message.Entity, err error) error {
	mediaType, params, typeErr := e.Header.ContentType()
	if typeErr != nil {
		v.warn("Part %s has a malformed Content-Type.", showPath(path))
		mediaType = "application/octet-stream"
	}
	if strings.HasPrefix(mediaType, "multipart/") {
		if len(path) >= maxDepth {
			return errTooManyParts
		}
		return nil
	}
	if len(v.Parts) >= maxParts {
		return errTooManyParts
	}
	if err != nil {
		v.warn("Part %s can't be decoded and is shown as it is: %v.", showPath(path), err)
	}
	content, readErr := io.ReadAll(io.LimitReader(e.Body, maxSourceBytes))
	disposition, dispositionParams, _ := e.Header.ContentDisposition()
	p := part{
		Index: len(v.Parts), Path: showPath(path), ContentType: clean(mediaType),
		Filename: clean(filename(dispositionParams, params)), Attachment: disposition == "attachment",
		ContentID: strings.Trim(e.Header.Get("Content-Id"), "<> "), Size: len(content), content: content,
	}
	v.Parts = append(v.Parts, p)
	switch {
	case mediaType == "text/calendar" || mediaType == "application/ics":
		v.readCalendar(p, params["method"])
	case p.Attachment:
	case mediaType == "text/plain" && v.Text == "":
		v.Text = clean(string(content))
	case mediaType == "text/html" && v.HTML == "":
		v.HTML = clean(string(content))
	}
	if readErr != nil {
		return fmt.Errorf("part %s: %w", showPath(path), readErr)
	}
	return nil
}

// readCalendar prefers the invitation inside the alternative, which is what mail programs act on, to the attachment.
func (v *view) readCalendar(p part, method string) {
	if v.calendarRaw == nil || !p.Attachment {
		v.calendarRaw = p.content
	}
	if p.Attachment {
		return
	}
	if inside := calendarMethod(p.content); !strings.EqualFold(inside, method) {
		v.warn("The calendar part says method=%q in its Content-Type and METHOD:%s inside; mail programs want them equal.", method, inside)
	}
}

func filename(disposition, contentType map[string]string) string {
	name := disposition["filename"]
	if name == "" {
		name = contentType["name"]
	}
	decoder := mime.WordDecoder{CharsetReader: charset.Reader}
	if decoded, err := decoder.DecodeHeader(name); err == nil {
		return decoded
	}
	return name
}

// showPath numbers from 1, as IMAP does.
func showPath(path []int) string {
	if len(path) == 0 {
		return "1"
	}
	numbers := make([]string, len(path))
	for i, n := range path {
		numbers[i] = strconv.Itoa(n + 1)
	}
	return strings.Join(numbers, ".")
}

// clean makes text safe to put into JSON: valid UTF-8 without NUL.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// record is what the index keeps of a message.
func (o *outgoing) record() *record {
	rec := &record{Message: Message{ID: o.id, To: o.recipients, SentAt: o.sentAt, Tags: o.tags}, Size: len(o.source), source: o.source}
	var v view
	if entity, _ := message.Read(bytes.NewReader(o.source)); entity != nil {
		rec.From, rec.Subject = addresses(entity.Header, "From"), v.headerText(entity.Header, "Subject")
	}
	return rec
}

// summarize takes a message apart for the list and its search.
func summarize(m Message, source []byte) summary {
	v := parse(source)
	s := summary{Preview: preview(v.Text)}
	if v.Invitation != nil {
		s.Invitation = v.Invitation.Method
	}
	words := []string{m.Subject, m.From, v.HeaderTo, v.Cc, strings.Join(m.To, " ")}
	for name, value := range m.Tags {
		words = append(words, name+"="+value)
	}
	words = append(words, v.Text)
	s.Search = fold(strings.Join(words, "\n"))
	if len(s.Search) > searchBytes {
		s.Search = strings.ToValidUTF8(s.Search[:searchBytes], "")
	}
	return s
}

func preview(text string) string {
	var out []rune
	for _, word := range strings.Fields(text) {
		if len(out) > 0 {
			out = append(out, ' ')
		}
		out = append(out, []rune(word)...)
		if len(out) >= previewRunes {
			return string(out[:previewRunes-1]) + "…"
		}
	}
	return string(out)
}

// fold makes search blind to case and accents: João is found by joao.
func fold(s string) string {
	stripped, _, err := transform.String(transform.Chain(norm.NFD, runes.Remove(runes.In(unicode.Mn)), norm.NFC), s)
	if err != nil {
		stripped = s
	}
	return strings.ToLower(stripped)
}
