package mail

import (
	htmltemplate "html/template"
	"regexp"
	"strings"
)

// styleCall is {{css "class"}} in a template. It is put in before the template is parsed.
var styleCall = regexp.MustCompile(`{{css "([a-z]+)"}}`)

// css gives an element its class and, inline, the style that goes with it: many mail clients drop the style sheet of
// the head, and only the sheet can follow the reader's dark mode.
func css(class string) string {
	return `class="` + class + `" style="` + styleOf(class) + `"`
}

func styleOf(class string) string {
	const sans = "font-family:-apple-system,BlinkMacSystemFont,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;"
	// A name or an address may be one long word. Only these let it shrink a table's column: word-break for clients that
	// do not know the other.
	const wraps = "overflow-wrap:anywhere;word-break:break-word;"
	switch class {
	case "page":
		return "margin:0;padding:0;background-color:#edf2f3;"
	case "outer":
		return "background-color:#edf2f3;padding:28px 12px 36px;"
	case "brand":
		return sans + "font-size:19px;line-height:24px;font-weight:700;letter-spacing:-.2px;color:#0b5f5b;padding:0 4px 16px;"
	case "card":
		return "background-color:#ffffff;border-radius:16px;border:1px solid #dbe5e7;"
	case "inner":
		return "padding:32px 32px 30px;"
	case "tag new", "tag moved", "tag off", "tag info":
		return sans + "display:inline-block;font-size:13px;line-height:18px;font-weight:600;padding:5px 12px;border-radius:99px;" + tones(class[4:])
	case "title":
		return sans + "font-size:25px;line-height:32px;font-weight:700;letter-spacing:-.3px;color:#15262a;margin:16px 0 0;"
	case "p":
		return sans + wraps + "font-size:16px;line-height:25px;color:#2b3f45;margin:14px 0 0;"
	case "note":
		return sans + "font-size:14px;line-height:22px;color:#51666d;margin:20px 0 0;"
	case "when":
		return "background-color:#f3f7f8;border-radius:12px;margin:24px 0 0;width:100%;"
	case "tile":
		return sans + "width:92px;padding:20px 0 20px 4px;text-align:center;vertical-align:middle;border-right:1px solid #d8e3e5;color:#15262a;"
	case "tileweek":
		return sans + "font-size:12px;line-height:16px;font-weight:600;color:#51666d;"
	case "tileday":
		return sans + "font-size:34px;line-height:40px;font-weight:700;letter-spacing:-1px;color:#15262a;"
	case "tilemonth":
		return sans + "font-size:12px;line-height:16px;color:#51666d;"
	case "facts":
		return "padding:18px 20px;vertical-align:middle;"
	case "time":
		return sans + "font-size:21px;line-height:28px;font-weight:700;color:#15262a;"
	case "zone":
		return sans + "font-size:13px;line-height:19px;color:#51666d;"
	case "who":
		return sans + wraps + "font-size:16px;line-height:23px;color:#2b3f45;padding-top:8px;"
	case "label":
		return sans + "font-size:13px;line-height:19px;color:#51666d;"
	case "was":
		return sans + "font-size:14px;line-height:21px;color:#51666d;padding-top:8px;"
	case "button":
		return "border-radius:10px;background-color:#0b6e69;"
	case "buttona":
		return sans + "display:inline-block;padding:13px 22px;font-size:16px;line-height:20px;font-weight:600;color:#ffffff;text-decoration:none;border-radius:10px;"
	case "ghost":
		return "border-radius:10px;border:1px solid #9fb4b9;"
	case "ghosta":
		return sans + "display:inline-block;padding:12px 22px;font-size:16px;line-height:20px;font-weight:600;color:#2b3f45;text-decoration:none;border-radius:10px;"
	case "rowtime":
		return sans + "width:124px;padding:12px 0 12px 20px;font-size:15px;line-height:22px;font-weight:600;color:#15262a;border-bottom:1px solid #e2eaec;vertical-align:top;white-space:nowrap;"
	case "rowname":
		return sans + wraps + "padding:12px 20px 12px 12px;font-size:15px;line-height:22px;color:#2b3f45;border-bottom:1px solid #e2eaec;text-align:left;font-weight:400;"
	case "plainlink":
		return wraps + "color:#0b5f5b;"
	case "foot":
		return sans + "font-size:13px;line-height:20px;color:#51666d;padding:18px 8px 0;"
	case "hidden":
		return "display:none;max-height:0;max-width:0;overflow:hidden;opacity:0;font-size:1px;line-height:1px;color:#edf2f3;"
	}
	return ""
}

func tones(tone string) string {
	switch tone {
	case "new":
		return "background-color:#ddf1ee;color:#0a5a56;"
	case "moved":
		return "background-color:#fbecd0;color:#7a4800;"
	case "off":
		return "background-color:#fbe1df;color:#97231c;"
	}
	return "background-color:#e0ebf8;color:#1f4f8c;"
}

// button is a link that looks like one to press.
type button struct{ URL, Label string }

// pad keeps the footer out of the inbox's preview line: spaces that mail programs don't fold.
var pad = htmltemplate.HTML(strings.Repeat("&#8199;&#847;", 60)) //nolint:gosec // a constant

// funcs are the templates' functions, the same in text and HTML.
func funcs() map[string]any {
	return map[string]any{
		"tag":  func(tone string) htmltemplate.HTMLAttr { return htmltemplate.HTMLAttr(css("tag " + tone)) }, //nolint:gosec // tones are ours
		"btn":  func(url, label string) button { return button{url, label} },
		"list": func(b ...button) []button { return b },
		"cap":  func(s string) string { return strings.ToUpper(s[:1]) + s[1:] }, // days of the week begin with ASCII letters
		"pad":  func() htmltemplate.HTML { return pad },
	}
}
