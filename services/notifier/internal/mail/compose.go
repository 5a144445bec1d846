package mail

import (
	"embed"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"net/mail"
	"net/url"
	"strings"
	texttemplate "text/template"

	ics "github.com/arran4/golang-ical"

	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

//go:embed templates
var files embed.FS

// Config of a Composer.
type Config struct {
	From    string // mailbox that messages come from, and the organizer of invitations
	ReplyTo string // may be empty
	AppURL  string // where readers sign in; empty leaves links out
}

// Composer turns notices into messages. It is safe for concurrent use.
type Composer struct {
	from    *mail.Address
	replyTo string
	app     *url.URL
	text    map[key]*texttemplate.Template
	html    map[key]*htmltemplate.Template
}

type key struct {
	locale   notice.Locale
	template notice.Template
}

// NewComposer parses every template: a broken one is found at start, not at night.
func NewComposer(cfg Config) (*Composer, error) {
	from, err := mail.ParseAddress(cfg.From)
	if err != nil {
		return nil, fmt.Errorf("sender: %w", err)
	}
	c := &Composer{from: from, replyTo: cfg.ReplyTo, text: map[key]*texttemplate.Template{}, html: map[key]*htmltemplate.Template{}}
	if cfg.AppURL != "" {
		if c.app, err = url.Parse(cfg.AppURL); err != nil || c.app.Host == "" || c.app.Scheme != "https" && c.app.Scheme != "http" {
			return nil, errors.New("app URL must be an absolute http(s) URL")
		}
	}
	layout, err := sources("layout.tmpl")
	if err != nil {
		return nil, err
	}
	for _, l := range []notice.Locale{notice.Portuguese, notice.English} {
		for _, t := range notice.Templates() {
			own, err := sources(string(l)+"/common.tmpl", string(l)+"/"+string(t)+".tmpl")
			if err != nil {
				return nil, err
			}
			k := key{l, t}
			if c.text[k], err = texttemplate.New("").Funcs(funcs()).Parse(own); err != nil {
				return nil, fmt.Errorf("%s of %s: %w", t, l, err)
			}
			if c.html[k], err = htmltemplate.New("").Funcs(funcs()).Parse(layout + own); err != nil {
				return nil, fmt.Errorf("%s of %s: %w", t, l, err)
			}
		}
	}
	return c, nil
}

// sources reads templates and puts the styles in: they never change, and a message has thirty of them.
func sources(names ...string) (string, error) {
	var all strings.Builder
	for _, name := range names {
		text, err := files.ReadFile("templates/" + name)
		if err != nil {
			return "", err
		}
		all.WriteString(styleCall.ReplaceAllStringFunc(string(text), func(call string) string {
			return css(styleCall.FindStringSubmatch(call)[1])
		}))
	}
	return all.String(), nil
}

// Compose writes the message for a notice, in its reader's language.
func (c *Composer) Compose(n notice.Notice) (Message, error) {
	k := key{n.To.Locale, n.Template}
	if c.text[k] == nil {
		k.locale = notice.Portuguese
		n.To.Locale = k.locale
	}
	text, html := c.text[k], c.html[k]
	if text == nil {
		return Message{}, fmt.Errorf("no template %q", n.Template)
	}
	v := viewOf(n, c.app)
	m := Message{Locale: k.locale}
	var err error
	if m.Subject, err = run(text, "subject", v); err != nil {
		return m, err
	}
	if m.Text, err = run(text, "plain", v); err != nil {
		return m, err
	}
	m.Text = strings.ReplaceAll(m.Text, "\n", "\r\n") + "\r\n"
	if m.HTML, err = run(html, "layout", v); err != nil {
		return m, err
	}
	var method ics.Method
	switch {
	case n.Template.Invites():
		method = ics.MethodRequest
	case n.Template.Cancels() && n.Invited:
		method = ics.MethodCancel
	default:
		return m, nil
	}
	summary, err := run(text, "summary", v)
	if err != nil {
		return m, err
	}
	description, err := run(text, "description", v)
	if err != nil {
		return m, err
	}
	m.Method = string(method)
	m.Calendar = invitation(n, method, summary, description, v.Open, c.from)
	return m, nil
}

// Seal composes the message and wraps it for sending. ErrAddress if the recipient can't be written to.
func (c *Composer) Seal(n notice.Notice) (Envelope, error) {
	to, err := address(n.To.Email)
	if err != nil {
		return Envelope{}, err
	}
	m, err := c.Compose(n)
	if err != nil {
		return Envelope{}, err
	}
	raw, err := mimeOf(m, c.from, c.replyTo, &mail.Address{Name: notice.CleanName(n.To.Name), Address: to}, n)
	if err != nil {
		return Envelope{}, err
	}
	return Envelope{
		DeliveryID: n.DeliveryID, EventID: n.EventID, Template: n.Template, From: c.from.String(), To: to, Raw: raw,
	}, nil
}

// htmlBytes is what most messages need: the room is asked for once.
const htmlBytes = 16 << 10

// run executes a template of either kind: both have this method, with an io.Writer.
func run(t interface {
	ExecuteTemplate(w io.Writer, name string, data any) error
}, name string, v View) (string, error) {
	var b strings.Builder
	if name == "layout" {
		b.Grow(htmlBytes)
	}
	if err := t.ExecuteTemplate(&b, name, v); err != nil {
		return "", fmt.Errorf("template %s: %w", name, err)
	}
	return strings.TrimSpace(b.String()), nil
}
