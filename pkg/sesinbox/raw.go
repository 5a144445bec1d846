package sesinbox

import (
	"bytes"
	"fmt"
	"mime"
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-message/charset"
)

// field is one header field with its raw bytes, folding and line end included.
type field struct {
	name string // lower case
	raw  []byte
}

func (f field) value() string {
	_, value, _ := bytes.Cut(f.raw, []byte(":"))
	unfolded := strings.NewReplacer("\r\n", "", "\n", "").Replace(string(value))
	return strings.TrimSpace(unfolded)
}

// fromRaw takes a finished MIME message. As SES does, it replaces Message-ID and Date, and removes Bcc and the
// X-SES headers that instruct it; every other byte stays.
func (o *outgoing) fromRaw(req *sendRequest, source []byte) error {
	if len(source) == 0 {
		return badRequest("1 validation error detected: Value null at 'content.raw.data' failed to satisfy constraint: Member must not be null")
	}
	if len(source) > maxSourceBytes {
		return tooLong()
	}
	fields, body, err := splitSource(source)
	if err != nil {
		return err
	}
	if err := checkFields(fields, req.FromEmailAddress); err != nil {
		return err
	}
	if err := o.headerTags(fields); err != nil {
		return err
	}
	if o.recipients, err = rawRecipients(req.Destination, fields); err != nil {
		return err
	}
	var out bytes.Buffer
	out.Grow(len(source) + 256)
	fmt.Fprintf(&out, "Date: %s\r\nMessage-ID: <%s@email.amazonses.com>\r\n", o.sentAt.Format(time.RFC1123Z), o.id)
	for _, f := range fields {
		switch {
		case f.name == "date", f.name == "message-id", f.name == "bcc", strings.HasPrefix(f.name, "x-ses-"):
		default:
			out.Write(f.raw)
		}
	}
	out.WriteString("\r\n")
	out.Write(body)
	o.source = out.Bytes()
	return nil
}

// splitSource cuts a message into header fields and body.
func splitSource(source []byte) ([]field, []byte, error) {
	var fields []field
	for rest := source; ; {
		_, after, _ := bytes.Cut(rest, []byte("\n"))
		line := rest[:len(rest)-len(after)]
		text := bytes.TrimRight(line, "\r\n")
		switch {
		case len(text) == 0 && len(rest) > 0:
			return fields, after, checkLines(source)
		case len(rest) == 0:
			return nil, nil, badRequest("The message must have a header and a body, with an empty line between them.")
		case text[0] == ' ' || text[0] == '\t':
			if len(fields) == 0 {
				return nil, nil, badRequest("The message starts with a continuation line.")
			}
			last := &fields[len(fields)-1]
			last.raw = append(slices.Clip(last.raw), line...)
		default:
			name, _, found := bytes.Cut(text, []byte(":"))
			name = bytes.TrimRight(name, " \t")
			if !found || len(name) == 0 || bytes.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
				return nil, nil, badRequest("Header line %d is malformed.", len(fields)+1)
			}
			fields = append(fields, field{strings.ToLower(string(name)), line})
		}
		rest = after
	}
}

// checkLines holds lines to the 998 characters of RFC 5322, section 2.1.1.
func checkLines(source []byte) error {
	for line := range bytes.Lines(source) {
		if len(bytes.TrimRight(line, "\r\n")) > 998 {
			return badRequest("A line of the message is longer than 998 characters.")
		}
	}
	return nil
}

func checkFields(fields []field, fromParameter string) error {
	seen := make(map[string]int)
	for _, f := range fields {
		seen[f.name]++
	}
	// RFC 5322, section 3.6: these occur once.
	for _, name := range []string{"From", "Sender", "Reply-To", "To", "Cc", "Subject", "MIME-Version", "Content-Type"} {
		if seen[strings.ToLower(name)] > 1 {
			return badRequest("Duplicate header '%s'.", name)
		}
	}
	if seen["from"] == 0 {
		return badRequest("Missing required header 'From'.")
	}
	from, err := addressList(fields, "from")
	if err != nil || len(from) == 0 {
		return badRequest("Header 'From' is malformed.")
	}
	for _, text := range append(from, fromParameter) {
		if text == "" {
			continue
		}
		if _, err := checkAddress(text); err != nil {
			return err
		}
	}
	return nil
}

// rawRecipients are those of the destination, or else of the header.
func rawRecipients(to *destination, fields []field) ([]string, error) {
	if to != nil && len(to.ToAddresses)+len(to.CcAddresses)+len(to.BccAddresses) > 0 {
		return checkRecipients(to.ToAddresses, to.CcAddresses, to.BccAddresses)
	}
	var lists [][]string
	for _, name := range []string{"to", "cc", "bcc"} {
		list, err := addressList(fields, name)
		if err != nil {
			return nil, badRequest("Header '%s' is malformed.", name)
		}
		lists = append(lists, list)
	}
	return checkRecipients(lists...)
}

func addressList(fields []field, name string) ([]string, error) {
	var bare []string
	for _, f := range fields {
		if f.name != name {
			continue
		}
		parser := mail.AddressParser{WordDecoder: &mime.WordDecoder{CharsetReader: charset.Reader}}
		list, err := parser.ParseList(f.value())
		if err != nil {
			return nil, err
		}
		for _, addr := range list {
			bare = append(bare, addr.Address)
		}
	}
	return bare, nil
}

// headerTags takes the tags of X-SES-MESSAGE-TAGS (`name=value, name=value`); those of the request win.
func (o *outgoing) headerTags(fields []field) error {
	for _, f := range fields {
		if f.name != "x-ses-message-tags" {
			continue
		}
		for pair := range strings.SplitSeq(f.value(), ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			checked, err := checkTags([]messageTag{{name, value}})
			if err != nil {
				return err
			}
			if _, given := o.tags[name]; !given {
				o.tags[name] = checked[name]
			}
		}
	}
	return nil
}
