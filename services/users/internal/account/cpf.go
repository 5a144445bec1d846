package account

import (
	"errors"
	"log/slog"
)

// CPF is a Brazilian taxpayer number (Cadastro de Pessoas Físicas), eleven digits, known to be well formed. It
// prints masked, so that a careless log line or error text does not reveal it.
type CPF struct{ digits string }

// ErrCPF says that a text is not a CPF. It never carries the text.
var ErrCPF = errors.New("account: not a CPF")

// ParseCPF reads "52998224725" or "529.982.247-25". Both check digits must be right (Receita Federal, modulo 11), and
// the ten numbers of one repeated digit, which pass that check, are refused.
func ParseCPF(s string) (CPF, error) {
	digits, ok := cpfDigits(s)
	if !ok {
		return CPF{}, ErrCPF
	}
	repeated := true
	for i := range digits {
		repeated = repeated && digits[i] == digits[0]
	}
	if repeated || digits[9] != cpfCheckDigit(digits[:9]) || digits[10] != cpfCheckDigit(digits[:10]) {
		return CPF{}, ErrCPF
	}
	return CPF{digits: digits}, nil
}

// cpfDigits takes the eleven digits out of either written form.
func cpfDigits(s string) (string, bool) {
	if len(s) == 14 && s[3] == '.' && s[7] == '.' && s[11] == '-' {
		s = s[0:3] + s[4:7] + s[8:11] + s[12:14]
	}
	if len(s) != 11 {
		return "", false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return "", false
		}
	}
	return s, true
}

// cpfCheckDigit is the modulo 11 digit over weights that fall to 2.
func cpfCheckDigit(digits string) byte {
	sum := 0
	for i := range len(digits) {
		sum += int(digits[i]-'0') * (len(digits) + 1 - i)
	}
	if rest := sum % 11; rest >= 2 {
		return byte('0' + 11 - rest)
	}
	return '0'
}

// Digits reveals the eleven digits: for encryption, the blind index, and the owner's export.
func (c CPF) Digits() string { return c.digits }

// IsZero says that there is no CPF.
func (c CPF) IsZero() bool { return c.digits == "" }

// Masked shows the six middle digits: ***.456.789-**.
func (c CPF) Masked() string {
	if c.IsZero() {
		return ""
	}
	return "***." + c.digits[3:6] + "." + c.digits[6:9] + "-**"
}

// String is Masked.
func (c CPF) String() string { return c.Masked() }

// GoString is Masked.
func (c CPF) GoString() string { return c.Masked() }

// LogValue keeps even the masked digits out of logs.
func (c CPF) LogValue() slog.Value { return slog.StringValue("[cpf]") }
