package configdoc

import (
	"fmt"
	"strings"
)

const head = `# Configuration

Every program takes its settings from environment variables, checks all of them at start and reports every fault at
once. Durations are written as 500ms, 15m or 24h. A value marked secret never appears in logs or errors.

This page is generated from the programs' Config structs: ` + "`make generate`" + `.
`

// Page writes docs/configuration.md.
func Page(groups []Group) string {
	var out strings.Builder
	out.WriteString(head)
	for _, g := range groups {
		title := g.Title
		if len(g.Programs) > 1 {
			title += ": " + strings.Join(g.Programs, ", ")
		}
		fmt.Fprintf(&out, "\n## %s\n\n| variable | type | default | secret | meaning |\n| --- | --- | --- | --- | --- |\n", title)
		var said Setting
		for _, s := range g.Settings {
			if s.Meaning == "" {
				s.Meaning = "See `" + said.Name + "`"
			} else {
				said = s
			}
			s.Meaning = strings.TrimPrefix(s.Meaning, "`"+s.Name+"` is ")
			fmt.Fprintf(&out, "| `%s` | %s | %s | %s | %s |\n", s.Name, s.Type, defaultOf(s), secretOf(s), sentence(s.Meaning))
		}
	}
	return out.String()
}

func defaultOf(s Setting) string {
	switch {
	case s.Required:
		return "**required**"
	case s.Default == "":
		return ""
	}
	return "`" + s.Default + "`"
}

func secretOf(s Setting) string {
	if s.Secret {
		return "secret"
	}
	return ""
}

// sentence is a comment as a table cell: it begins with a capital and cannot end the cell.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	text = strings.ReplaceAll(text, "|", `\|`)
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".") + "."
}
