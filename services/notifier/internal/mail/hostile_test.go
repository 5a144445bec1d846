package mail_test

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/healthmed/healthmed/services/notifier/internal/notice"
	"github.com/healthmed/healthmed/services/notifier/internal/preview"
)

func hostileNames() map[string]string {
	return map[string]string{
		"line breaks":     "Maria\r\nBcc: eve@example.com\r\n\r\n<b>Eve</b>\nEND:VEVENT\nBEGIN:VALARM",
		"other breaks":    "Maria\u2028Souza\u2029Lima\u0085Dias\x0b\x0c\x00",
		"HTML":            `<script>alert(1)</script><img src=x onerror=alert(1)><a href="https://evil.example">Maria</a>`,
		"closing":         `</bdi></td></tr></table></div></title></style><h1>Maria</h1>" onmouseover="x`,
		"template syntax": `{{.Link}} {{template "layout"}} ${Name} %s %d {{"{{"}}`,
		"right to left":   "\u202eairaM\u202c \u2066Souza\u2069 \u200fLima\u200e \u061c",
		"Arabic":          "محمد بن عبد الله",
		"emoji":           "👩🏽‍⚕️ Maria 🏳️‍🌈 Souza 👨‍👩‍👧‍👦",
		"200 characters":  strings.Repeat("Nascimento ", 18) + "ab",
		"fillers between": "Maria\u3164\u2800Souza\uffa0",
		"one long word":   strings.Repeat("ã", 200),
		"a link":          "Maria https://evil.example/login www.evil.example maria@evil.example",
		"calendar syntax": `Maria;ROLE=CHAIR:mailto:x,y\nATTENDEE:mailto:eve@example.com\;"`,
		"encoded word":    "=?utf-8?q?Eve?= <eve@example.com>, \"Maria\"",
		"not UTF-8":       "Mar\xffia\xc3",
	}
}

// blankNames show nothing.
func blankNames() map[string]string {
	return map[string]string{
		"spaces":           " \t\r\n\u200b \u3000",
		"zero width":       "\u200b\ufeff\u2060",
		"joiners":          "\u200d\u200c\u200d",
		"selectors, marks": "\ufe0f\u034f\u0301",
		"Hangul fillers":   "\u3164\u3164 \u115f\u1160 \uffa0",
		"Braille blanks":   "\u2800\u2800",
		"only of a link":   " @/ ",
	}
}

// Whatever a person's name is, the message has the same headers, lines, elements, links and calendar fields as for an
// ordinary one, and shows no trace of what the name tried.
func TestSeal_HostileNamesStayNames(t *testing.T) {
	c := composer(t)
	for _, l := range locales() {
		for _, template := range notice.Templates() {
			plain := preview.Sample(template, l)
			want := outlineOf(t, seal(t, c, plain))
			for what, name := range blankNames() {
				t.Run(string(l)+"/"+string(template)+"/"+what, func(t *testing.T) {
					n, nobody := plain, plain
					nobody.To.Name = ""
					n.To.Name, n.DoctorName, n.PatientName = name, name, name
					n.Agenda = slices.Clone(plain.Agenda)
					for i := range n.Agenda {
						n.Agenda[i].PatientName = name
					}
					r := seal(t, c, n)
					if diff := cmp.Diff(outlineOf(t, seal(t, c, nobody)), outlineOf(t, r)); diff != "" {
						t.Errorf("for no name (-) and this (+):\n%s", diff)
					}
					hello := map[notice.Locale]string{notice.Portuguese: "Olá!", notice.English: "Hello!"}[l]
					if text := r.body["text/plain"]; !strings.HasPrefix(text, hello+"\r\n") {
						t.Errorf("the greeting isn't %q:\n%s", hello, text)
					}
					for kind, body := range r.body {
						if strings.Contains(body, "excluíd") || strings.Contains(body, "deleted") {
							t.Errorf("%s calls somebody deleted who isn't:\n%s", kind, body)
						}
						if i := strings.IndexFunc(body, mischievous); i >= 0 {
							t.Errorf("%s has an invisible character: %.60q", kind, body[i:])
						}
					}
				})
			}
			for what, name := range hostileNames() {
				t.Run(string(l)+"/"+string(template)+"/"+what, func(t *testing.T) {
					n := plain
					n.To.Name, n.DoctorName, n.PatientName = name, name, name
					n.Agenda = slices.Clone(plain.Agenda)
					for i := range n.Agenda {
						n.Agenda[i].PatientName = name
					}
					r := seal(t, c, n)
					if diff := cmp.Diff(want, outlineOf(t, r)); diff != "" {
						t.Errorf("for an ordinary name (-) and this (+):\n%s", diff)
					}
					for kind, body := range r.body {
						if i := strings.IndexFunc(body, mischievous); i >= 0 {
							t.Errorf("%s has an invisible character: %.60q", kind, body[i:])
						}
						if strings.Contains(body, "://evil") || strings.Contains(body, "www.evil") || strings.Contains(body, "@evil") {
							t.Errorf("%s has what a mail program makes a link of", kind)
						}
					}
				})
			}
		}
	}
}

// mischievous characters turn text around or hide it.
func mischievous(r rune) bool {
	switch r {
	case '\n', '\r', '\t', '\u200d', '\u200c', '\u2007', '\u034f': // the last two pad the preview line
		return false
	}
	switch r {
	case '\u3164', '\u115f', '\u1160', '\uffa0', '\u2800':
		return true
	}
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' || r == '\ufffd'
}

// outline is a message without its words.
type outline struct {
	Shape      string
	Headers    []string
	Subject    string
	TextLines  int
	Elements   []string // with the attributes' names, and links whole
	Properties []string // of the calendar
}

func outlineOf(t testing.TB, r received) outline {
	t.Helper()
	o := outline{Shape: r.shape, Subject: r.subject(t), TextLines: strings.Count(r.body["text/plain"], "\r\n")}
	for name := range r.header.Map() {
		o.Headers = append(o.Headers, name)
		if n := len(r.header.Values(name)); n != 1 {
			t.Errorf("header %s is there %d times", name, n)
		}
	}
	slices.Sort(o.Headers)
	z := html.NewTokenizer(strings.NewReader(r.body["text/html"]))
	for z.Next() != html.ErrorToken {
		token := z.Token()
		if token.Type == html.TextToken {
			continue
		}
		element := token.Type.String() + " " + token.Data
		for _, a := range token.Attr {
			element += " " + a.Key
			if a.Key == "href" || a.Key == "class" {
				element += "=" + a.Val
			}
		}
		o.Elements = append(o.Elements, element)
	}
	if r.calendar != nil {
		for _, part := range append(r.calendar.Children, r.calendar.Component) {
			for name, values := range part.Props {
				o.Properties = append(o.Properties, part.Name+" "+name+strings.Repeat("+", len(values)))
			}
		}
		slices.Sort(o.Properties)
	}
	return o
}

// A name of one long word makes no message wider than a phone: whatever holds a name lets it break.
func TestCompose_NamesMayBreakAnywhere(t *testing.T) {
	c := composer(t)
	for _, l := range locales() {
		for _, sample := range preview.Samples(l) {
			t.Run(string(l)+"/"+sample.Name, func(t *testing.T) {
				n := sample.Notice
				n.To.Name, n.DoctorName, n.PatientName = "Reader", "Doctor", "Patient"
				m, err := c.Compose(n)
				if err != nil {
					t.Fatal(err)
				}
				names, block := 0, ""
				z := html.NewTokenizer(strings.NewReader(m.HTML))
				for z.Next() != html.ErrorToken {
					token := z.Token()
					if token.Type != html.StartTagToken {
						continue
					}
					switch token.Data {
					case "p", "td", "th", "div":
						block = token.String()
					case "bdi":
						names++
						if !strings.Contains(block, "overflow-wrap:anywhere") {
							t.Errorf("a name is in %s", block)
						}
					}
				}
				if names == 0 {
					t.Error("no name is there")
				}
			})
		}
	}
}

func TestCleanName_KeepsWhatNamesAreMadeOf(t *testing.T) {
	for _, name := range []string{"Helena Prado", "João d'Ávila-Lima", "Ñandú Müller", "محمد", "李小龙", "👩🏽‍⚕️ Maria"} {
		if got := notice.CleanName(name); got != name {
			t.Errorf("%q became %q", name, got)
		}
	}
}
