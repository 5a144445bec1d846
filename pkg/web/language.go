package web

import (
	"strconv"
	"strings"
)

// language of a reader.
type language uint8

const (
	portuguese language = iota // the default
	english
)

// tag is the BCP 47 tag, for Content-Language and the lang attribute.
func (l language) tag() string {
	if l == english {
		return "en"
	}
	return "pt-BR"
}

// in returns the sentence in the language, or in the other one where it is missing.
func (t Text) in(l language) string {
	if l == english && t.EN != "" || t.PT == "" {
		return t.EN
	}
	return t.PT
}

// chooseLanguage reads Accept-Language (RFC 9110, section 12.5.4): the heavier of pt and en wins, the earlier on a tie;
// anything else, and anything malformed, is Portuguese.
func chooseLanguage(header string) language {
	best, weight := portuguese, 0.0
	for header != "" && len(header) <= 512 {
		var part string
		part, header, _ = strings.Cut(header, ",")
		tag, params, _ := strings.Cut(part, ";")
		q := 1.0
		if value, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			parsed, err := strconv.ParseFloat(value, 64)
			if err != nil || !(parsed >= 0 && parsed <= 1) {
				continue
			}
			q = parsed
		}
		primary, _, _ := strings.Cut(strings.TrimSpace(tag), "-")
		switch {
		case q <= weight:
		case strings.EqualFold(primary, "pt"), primary == "*":
			best, weight = portuguese, q
		case strings.EqualFold(primary, "en"):
			best, weight = english, q
		}
	}
	return best
}
