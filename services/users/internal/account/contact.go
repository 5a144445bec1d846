package account

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Email is an address as the service keeps it: lower case, the domain in ASCII (punycode), so that two spellings of
// one mailbox are one account.
type Email string

// ErrEmail says that a text is not an e-mail address that can be written to.
var ErrEmail = errors.New("account: not an e-mail address")

// ParseEmail reads a bare address. The local part is RFC 5321's dot-string in ASCII: quoted strings and
// internationalised local parts are refused, because mail systems on the way to a reader refuse them too, and because
// look-alike letters there would make two accounts that nobody can tell apart. An internationalised domain becomes punycode.
func ParseEmail(s string) (Email, error) {
	s = strings.Trim(s, " ")
	at := strings.LastIndexByte(s, '@')
	if at < 1 || at > 64 || !utf8.ValidString(s) { // idna makes punycode of broken text, which it doesn't read again
		return "", ErrEmail
	}
	local := s[:at]
	if strings.ContainsFunc(local, func(r rune) bool { return r > unicode.MaxASCII }) {
		return "", ErrEmail // before lowering, which makes a k of the Kelvin sign
	}
	local = strings.ToLower(local)
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || strings.Trim(atom, "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+/=?^_`{|}~-") != "" {
			return "", ErrEmail
		}
	}
	domain, err := idna.Lookup.ToASCII(s[at+1:])
	if err != nil || !validDomain(domain) || len(local)+1+len(domain) > 254 {
		return "", ErrEmail
	}
	return Email(local + "@" + domain), nil
}

// validDomain asks for at least two labels of letters, digits and hyphens, the last one not a number (an IP address).
func validDomain(domain string) bool {
	labels := strings.Split(domain, ".")
	if len(labels) < 2 || len(domain) > 253 {
		return false
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

// Phone is a telephone number in E.164: "+" and 8 to 15 digits.
type Phone string

// ErrPhone says that a text is not a telephone number.
var ErrPhone = errors.New("account: not a telephone number")

// ParsePhone reads an international number that begins with +, or a Brazilian one with its area code
// ("(11) 98765-4321", "011 3456-7890"). Spaces, hyphens, dots and brackets are left out.
func ParsePhone(s string) (Phone, error) {
	if len(s) > 32 {
		return "", ErrPhone
	}
	digits := strings.NewReplacer(" ", "", "-", "", ".", "", "(", "", ")", "").Replace(s)
	digits, international := strings.CutPrefix(digits, "+")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return "", ErrPhone
	}
	national := digits
	if international {
		var brazilian bool
		if national, brazilian = strings.CutPrefix(digits, "55"); !brazilian {
			if len(digits) < 8 || len(digits) > 15 || digits[0] == '0' {
				return "", ErrPhone
			}
			return Phone("+" + digits), nil
		}
	} else {
		national = strings.TrimPrefix(national, "0")
	}
	if !validBrazilian(national) {
		return "", ErrPhone
	}
	return Phone("+55" + national), nil
}

// validBrazilian: a two-digit area code without zeros, then nine digits of a mobile (from 9) or eight of a landline (2 to 5).
func validBrazilian(n string) bool {
	switch {
	case len(n) == 11:
		return n[0] != '0' && n[1] != '0' && n[2] == '9'
	case len(n) == 10:
		return n[0] != '0' && n[1] != '0' && n[2] >= '2' && n[2] <= '5'
	}
	return false
}
