package sesinbox

import (
	"net/mail"
	"strings"
	"unicode"
)

// checkRecipients validates every address of a destination and returns them bare, in order.
func checkRecipients(lists ...[]string) ([]string, error) {
	var bare []string
	for _, list := range lists {
		for _, text := range list {
			addr, err := checkAddress(text)
			if err != nil {
				return nil, err
			}
			bare = append(bare, addr)
		}
	}
	if len(bare) == 0 {
		return nil, badRequest("The message has no recipient.")
	}
	if len(bare) > maxRecipients {
		return nil, badRequest("Recipient count exceeds %d.", maxRecipients)
	}
	return bare, nil
}

// checkAddress accepts `local@domain` and `Name <local@domain>` and returns the bare address. SES takes neither
// non-ASCII local parts nor non-ASCII domains (punycode is the caller's work). The messages are those of SES.
func checkAddress(text string) (string, error) {
	addr := strings.TrimSpace(text)
	if open := strings.LastIndexByte(addr, '<'); open >= 0 && strings.HasSuffix(addr, ">") {
		addr = addr[open+1 : len(addr)-1]
	}
	at := strings.LastIndexByte(addr, '@')
	if at < 0 {
		return "", badRequest("Missing final '@domain'")
	}
	local, domain := addr[:at], addr[at+1:]
	switch {
	case local == "":
		return "", badRequest("Missing local name")
	case domain == "":
		return "", badRequest("Missing domain")
	case strings.ContainsFunc(local, controlSpaceOrForeign):
		return "", badRequest("Local address contains control or whitespace")
	case strings.ContainsFunc(domain, controlSpaceOrForeign):
		return "", badRequest("Domain contains control or whitespace")
	case strings.HasPrefix(local, "."):
		return "", badRequest("Local address starts with dot")
	case strings.HasSuffix(local, "."):
		return "", badRequest("Local address ends with dot")
	case strings.Contains(local, ".."):
		return "", badRequest("Local address contains dot-dot")
	case strings.HasPrefix(domain, "."):
		return "", badRequest("Domain starts with dot")
	case strings.HasSuffix(domain, "."):
		return "", badRequest("Domain ends with dot")
	case strings.Contains(domain, ".."):
		return "", badRequest("Domain contains dot-dot")
	case strings.ContainsFunc(domain, notInDomain):
		return "", badRequest("Domain contains illegal character")
	case len(local) > 64 || len(domain) > 255: // RFC 5321, section 4.5.3.1
		return "", badRequest("Illegal address")
	}
	if _, err := mail.ParseAddress("<" + addr + ">"); err != nil {
		return "", badRequest("Illegal address")
	}
	return addr, nil
}

func controlSpaceOrForeign(r rune) bool {
	return r > unicode.MaxASCII || unicode.IsControl(r) || unicode.IsSpace(r)
}

func notInDomain(r rune) bool {
	return r != '-' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}
