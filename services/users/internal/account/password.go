package account

import (
	"errors"
	"unicode"
	"unicode/utf8"
)

// ErrPassword says that a password does not meet the operator's policy.
var ErrPassword = errors.New("account: weak password")

// MaxPassword is the longest password taken, in bytes: enough for any phrase, too short to burden the hash.
const MaxPassword = 256

// CheckPassword is the operator's policy: 8 or more characters with a lower-case letter, an upper-case letter, a digit and a symbol.
func CheckPassword(s string) error {
	if utf8.RuneCountInString(s) < 8 || len(s) > MaxPassword || !utf8.ValidString(s) {
		return ErrPassword
	}
	var lower, upper, digit, symbol bool
	for _, r := range s {
		switch {
		case unicode.IsLower(r):
			lower = true
		case unicode.IsUpper(r):
			upper = true
		case unicode.IsDigit(r):
			digit = true
		case unicode.IsPunct(r), unicode.IsSymbol(r), r == ' ':
			symbol = true
		case unicode.IsControl(r):
			return ErrPassword
		}
	}
	if !lower || !upper || !digit || !symbol {
		return ErrPassword
	}
	return nil
}
