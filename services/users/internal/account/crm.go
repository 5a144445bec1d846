package account

import (
	"errors"
	"regexp"
	"slices"
	"strings"
)

// CRM is a doctor's registration: a number in the regional council of medicine of a state.
type CRM struct {
	Number string // 1 to 10 digits, without leading zeros
	State  string // UF, one of the 27
}

// ErrCRM says that a text is not a CRM number, or not a state.
var ErrCRM = errors.New("account: not a CRM")

// NewCRM checks number and state. Leading zeros fall, since councils write the same registration with and without.
func NewCRM(number, state string) (CRM, error) {
	digits := strings.TrimLeft(number, "0")
	if len(number) > 10 || digits == "" || strings.Trim(digits, "0123456789") != "" {
		return CRM{}, ErrCRM
	}
	state = strings.ToUpper(state)
	if !slices.Contains(States(), state) {
		return CRM{}, ErrCRM
	}
	return CRM{Number: digits, State: state}, nil
}

var writtenCRM = regexp.MustCompile(`^(?i:CRM[ /-]?)?(?:([A-Za-z]{2})[ /-]?)?([0-9]{1,10})(?:[ /-]?([A-Za-z]{2}))?$`)

// ParseCRM reads a CRM as people write it in a search: "123456", "123456-SP", "CRM/SP 123456". State is empty when
// the text has none.
func ParseCRM(s string) (CRM, error) {
	m := writtenCRM.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil || (m[1] != "" && m[3] != "") {
		return CRM{}, ErrCRM
	}
	if m[1]+m[3] == "" {
		crm, err := NewCRM(m[2], "SP")
		return CRM{Number: crm.Number}, err
	}
	return NewCRM(m[2], m[1]+m[3])
}

// States are the 27 units of the federation.
func States() []string {
	return []string{
		"AC", "AL", "AM", "AP", "BA", "CE", "DF", "ES", "GO", "MA", "MG", "MS", "MT", "PA",
		"PB", "PE", "PI", "PR", "RJ", "RN", "RO", "RR", "RS", "SC", "SE", "SP", "TO",
	}
}
