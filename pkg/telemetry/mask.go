package telemetry

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
)

const masked = "[masked]"

// privateWords mark an attribute whose value never leaves, by any of the words in its key: user_email, AccessToken.
// Keys that only tell about such a thing (token_id, password_changed) are excepted by aboutWords.
var (
	privateWords = []string{"password", "senha", "passwd", "secret", "token", "cpf", "email", "e-mail", "authorization",
		"cookie", "apikey", "api_key", "private_key", "phone", "telefone"}
	aboutWords = []string{"_id", "_ids", "_count", "_ms", "_kind", "_changed", "_verified", "_at"}
)

// looksPrivate finds, inside longer texts such as errors of a driver or of SES, e-mail addresses (and user:password@host
// of URLs), JWTs, bearer credentials and formatted CPFs.
var looksPrivate = regexp.MustCompile(
	`[^\s"'<>(),;=\[\]]+@[^\s"'<>(),;=\[\]]+` +
		`|eyJ[\w-]+\.[\w-]+(\.[\w-]*)?` +
		`|(?i:bearer)\s+[\w.~+/-]+=*` +
		`|\b\d{3}\.\d{3}\.\d{3}-\d{2}\b`)

// elevenDigits are a CPF when the check digits agree.
var elevenDigits = regexp.MustCompile(`\b\d{11}\b`)

// masker is the ReplaceAttr of one logger.
type masker struct {
	keys sync.Map // key of an attribute (they are few, written in code) to whether it is private
}

// replace implements slog.HandlerOptions.ReplaceAttr.
func (m *masker) replace(groups []string, a slog.Attr) slog.Attr {
	if m.private(a.Key) || slices.ContainsFunc(groups, m.private) {
		return slog.String(a.Key, masked)
	}
	switch a.Value.Kind() {
	case slog.KindString:
		if text := a.Value.String(); suspicious(text) {
			a.Value = slog.StringValue(scrub(text))
		}
	case slog.KindAny:
		a.Value = maskAny(a.Value.Any())
	}
	return a
}

func (m *masker) private(key string) bool {
	known, ok := m.keys.Load(key)
	if !ok {
		known, _ = m.keys.LoadOrStore(key, isPrivate(key))
	}
	return known.(bool) // only bools are stored
}

func isPrivate(key string) bool {
	key = strings.ToLower(key)
	for _, about := range aboutWords {
		if strings.HasSuffix(key, about) {
			return false
		}
	}
	for _, word := range privateWords {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}

// scrub masks the parts of a text that look private.
func scrub(s string) string {
	if !suspicious(s) {
		return s
	}
	s = looksPrivate.ReplaceAllString(s, masked)
	return elevenDigits.ReplaceAllStringFunc(s, func(digits string) string {
		if isCPF(digits) {
			return masked
		}
		return digits
	})
}

// suspicious is a cheap test that most log texts fail, so that they skip the expressions.
func suspicious(s string) bool {
	digits := 0 // in a row, up to here
	for i := range len(s) {
		c := s[i]
		if c >= '0' && c <= '9' {
			if digits++; digits == 11 {
				return true
			}
			continue
		}
		if c == '@' || c == '-' && digits >= 3 && i >= 11 && s[i-4] == '.' && s[i-8] == '.' {
			return true
		}
		digits = 0
	}
	return strings.Contains(s, "eyJ") || strings.Contains(s, "earer") || strings.Contains(s, "EARER")
}

func isCPF(digits string) bool {
	return checkDigit(digits[:9]) == digits[9] && checkDigit(digits[:10]) == digits[10]
}

func checkDigit(digits string) byte {
	sum := 0
	for i := range len(digits) {
		sum += int(digits[i]-'0') * (len(digits) + 1 - i)
	}
	return byte('0' + sum*10%11%10)
}

// maskAny looks inside errors, structs, maps and slices by way of their JSON.
func maskAny(v any) slog.Value {
	switch v := v.(type) {
	case nil, *slog.Source:
		return slog.AnyValue(v)
	case error:
		return slog.StringValue(scrub(v.Error()))
	case fmt.Stringer:
		return slog.StringValue(scrub(v.String()))
	case []byte:
		return slog.StringValue(fmt.Sprintf("[%d bytes]", len(v)))
	}
	text, err := json.Marshal(v)
	if err != nil {
		return slog.StringValue(fmt.Sprintf("[%T]", v))
	}
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		return slog.StringValue(fmt.Sprintf("[%T]", v))
	}
	return slog.AnyValue(maskTree(tree))
}

func maskTree(v any) any {
	switch v := v.(type) {
	case string:
		return scrub(v)
	case []any:
		for i := range v {
			v[i] = maskTree(v[i])
		}
	case map[string]any:
		for key, value := range v {
			if isPrivate(key) {
				v[key] = masked
			} else {
				v[key] = maskTree(value)
			}
		}
	}
	return v
}
