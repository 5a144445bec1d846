package account

import (
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Name is a person's full name: NFC, single spaces, no control or formatting characters, so that it is safe in an
// e-mail header, a page and a calendar.
type Name string

// ErrName says that a text is not a name.
var ErrName = errors.New("account: not a name")

// ParseName accepts 2 to 120 letters (of any script), digits, combining marks, spaces and ' ’ . , -
// with at least two letters among them.
func ParseName(s string) (Name, error) {
	if len(s) > 1000 || !utf8.ValidString(s) {
		return "", ErrName
	}
	s = norm.NFC.String(strings.Trim(s, " "))
	letters := 0
	for _, r := range s {
		switch {
		case unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r):
			return "", ErrName // letters and marks that nobody sees, such as the Hangul filler
		case unicode.IsLetter(r):
			letters++
		case unicode.IsMark(r), unicode.IsDigit(r), strings.ContainsRune(" '’.,-", r):
		default:
			return "", ErrName
		}
	}
	name := strings.Join(strings.Fields(s), " ")
	if n := utf8.RuneCountInString(name); letters < 2 || n > 120 {
		return "", ErrName
	}
	return Name(name), nil
}

// Fold makes a text comparable as people search: lower case, without accents (NFKD, marks removed), words joined by single spaces.
func Fold(s string) string { return strings.Join(foldedWords(s), " ") }

// Words are the distinct folded words of a text, sorted. Each is a term by which a doctor is found.
func Words(s string) []string {
	return slices.Compact(slices.Sorted(slices.Values(foldedWords(s))))
}

func foldedWords(s string) []string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(s) {
		switch {
		case unicode.IsMark(r), r == '\'', r == '’': // d'Ávila and dAvila are found alike
		case unicode.IsLetter(r), unicode.IsDigit(r):
			b.WriteRune(unicode.ToLower(r))
		default:
			b.WriteByte(' ')
		}
	}
	return strings.Fields(b.String())
}
