package web

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth of nested arrays and objects in a body.
const maxDepth = 32

// parseJSON reads one JSON value (RFC 8259) as encoding/json would read it into an any, but refuses what readers of the
// same text may disagree on: duplicate names, invalid UTF-8, deep nesting. Strings share the memory of s.
func parseJSON(s string) (any, error) {
	p := jsonParser{s: s}
	if !utf8.ValidString(s) {
		return nil, malformedJSON(Text{"O corpo não está em UTF-8.", "The body is not UTF-8."})
	}
	v := p.value(0)
	p.space()
	if p.err == nil && p.i < len(p.s) {
		p.fail()
	}
	if p.err != nil {
		return nil, p.err
	}
	return v, nil
}

// jsonParser keeps the first error; after it every step is idle.
type jsonParser struct {
	s   string
	i   int
	err error
}

func (p *jsonParser) fail() {
	if p.err == nil {
		at := strconv.Itoa(p.i)
		p.err = malformedJSON(Text{
			"O corpo não é JSON válido (byte " + at + ").",
			"The body is not valid JSON (byte " + at + ").",
		})
	}
}

func (p *jsonParser) space() {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return
		}
	}
}

// take consumes c after optional space.
func (p *jsonParser) take(c byte) bool {
	p.space()
	if p.err == nil && p.i < len(p.s) && p.s[p.i] == c {
		p.i++
		return true
	}
	return false
}

func (p *jsonParser) value(depth int) any {
	p.space()
	if p.err != nil || p.i >= len(p.s) {
		p.fail()
		return nil
	}
	if depth > maxDepth {
		p.err = malformedJSON(Text{"O corpo tem níveis demais.", "The body is nested too deeply."})
		return nil
	}
	switch c := p.s[p.i]; c {
	case '{':
		return p.object(depth)
	case '[':
		return p.array(depth)
	case '"':
		return p.string()
	case 't':
		return p.literal("true", true)
	case 'f':
		return p.literal("false", false)
	case 'n':
		return p.literal("null", nil)
	default:
		return p.number()
	}
}

func (p *jsonParser) literal(text string, v any) any {
	if !strings.HasPrefix(p.s[p.i:], text) {
		p.fail()
		return nil
	}
	p.i += len(text)
	return v
}

func (p *jsonParser) object(depth int) any {
	p.i++ // {
	m := make(map[string]any)
	if p.take('}') {
		return m
	}
	for p.err == nil {
		p.space()
		if p.i >= len(p.s) || p.s[p.i] != '"' {
			p.fail()
			break
		}
		name := p.string()
		if _, dup := m[name]; dup && p.err == nil {
			p.err = malformedJSON(Text{"O corpo repete um nome no mesmo objeto.", "The body repeats a name in one object."})
		}
		if !p.take(':') {
			p.fail()
			break
		}
		m[name] = p.value(depth + 1)
		if p.take(',') {
			continue
		}
		if !p.take('}') {
			p.fail()
		}
		break
	}
	return m
}

func (p *jsonParser) array(depth int) any {
	p.i++ // [
	list := []any{}
	if p.take(']') {
		return list
	}
	for p.err == nil {
		list = append(list, p.value(depth+1))
		if p.take(',') {
			continue
		}
		if !p.take(']') {
			p.fail()
		}
		break
	}
	return list
}

// string consumes a string that begins at p.i.
func (p *jsonParser) string() string {
	start := p.i
	p.i++
	escaped := false
	for p.i < len(p.s) {
		switch c := p.s[p.i]; {
		case c == '"':
			p.i++
			if !escaped {
				return p.s[start+1 : p.i-1]
			}
			var v string
			if err := json.Unmarshal([]byte(p.s[start:p.i]), &v); err != nil {
				p.fail()
			}
			return v
		case c == '\\':
			escaped = true
			p.i += 2
		case c < 0x20:
			p.fail()
			return ""
		default:
			p.i++
		}
	}
	p.i = len(p.s)
	p.fail()
	return ""
}

// number consumes a number (RFC 8259, section 6). One that no float64 can hold stays a json.Number, which no schema
// takes for a number.
func (p *jsonParser) number() any {
	start := p.i
	p.skip('-')
	if !p.skip('0') {
		p.digits()
	}
	if p.skip('.') {
		p.digits()
	}
	if p.skip('e') || p.skip('E') {
		if !p.skip('+') {
			p.skip('-')
		}
		p.digits()
	}
	if p.err != nil {
		return nil
	}
	f, err := strconv.ParseFloat(p.s[start:p.i], 64)
	if err != nil {
		return json.Number(p.s[start:p.i])
	}
	return f
}

func (p *jsonParser) skip(c byte) bool {
	if p.i < len(p.s) && p.s[p.i] == c {
		p.i++
		return true
	}
	return false
}

// digits consumes at least one digit.
func (p *jsonParser) digits() {
	start := p.i
	for p.i < len(p.s) && p.s[p.i] >= '0' && p.s[p.i] <= '9' {
		p.i++
	}
	if p.i == start {
		p.fail()
	}
}
