package notice

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName bounds a displayed name, in runes.
const maxName = 120

// CleanName makes a name safe to show in a text, an HTML page or a calendar: one line, no control or invisible
// direction marks, nothing that a mail client would turn into a link, bounded length. It is empty for a name that shows
// nothing. Names come from strangers.
func CleanName(s string) string {
	var b strings.Builder
	space, n := false, 0
	for _, r := range s {
		switch {
		case unicode.IsSpace(r), unicode.IsControl(r), r == '\u2028', r == '\u2029':
			space = true
			continue
		case r == utf8.RuneError, invisible(r):
			continue
		}
		if n >= maxName {
			b.WriteRune('…')
			break
		}
		if space && n > 0 {
			b.WriteByte(' ')
			n++
		}
		space = false
		b.WriteRune(r)
		n++
	}
	name := unlink(b.String())
	if !strings.ContainsFunc(name, shows) {
		return ""
	}
	return name
}

// invisible tells what nobody sees from text: format characters (Cf: bidi overrides and isolates, zero-width spaces,
// soft hyphens, tags), letters and marks that fill a place (the Hangul fillers), and the blank Braille pattern. The
// joiners that emoji and some scripts need are kept.
func invisible(r rune) bool {
	return unicode.Is(unicode.Cf, r) && r != '\u200d' && r != '\u200c' ||
		unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) || r == '\u2800'
}

// shows tells what can be seen alone from joiners, variation selectors and marks, which need a letter or a symbol.
func shows(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsPunct(r) || unicode.IsSymbol(r)
}

// unlink breaks what looks like an address, so that no client makes a link of a name.
func unlink(s string) string {
	if !strings.ContainsAny(s, ".@/") {
		return s
	}
	s = strings.NewReplacer("://", " ", "@", " ", "/", " ").Replace(s)
	rs := []rune(s)
	var b strings.Builder
	for i, r := range rs {
		b.WriteRune(r)
		if r == '.' && i+1 < len(rs) && !unicode.IsSpace(rs[i+1]) {
			b.WriteByte(' ')
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// DoctorName is a doctor's name with a title: the doctor's own (Dr., Dra., Prof.) where the name begins with one,
// else "Dr.".
func DoctorName(name string) string {
	name = CleanName(name)
	if name == "" {
		return ""
	}
	first, _, _ := strings.Cut(name, " ")
	switch strings.ToLower(strings.TrimSuffix(first, ".")) {
	case "dr", "dra", "prof", "profa":
		return name
	}
	return "Dr. " + name
}
