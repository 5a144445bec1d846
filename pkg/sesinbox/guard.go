package sesinbox

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// guard keeps web pages of other origins out. Two ways in are closed: a name on the web that is pointed at this
// address (DNS rebinding, which defeats the same-origin rule) by looking at the Host header, and forged requests by
// looking at Sec-Fetch-Site and Origin. Programs send neither and pass.
func (s *Server) guard(next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		if !s.hostAllowed(r.Host) {
			writeProblem(w, http.StatusMisdirectedRequest, "This name isn't allowed here: use localhost, an IP address, or configure it.")
			return
		}
		if err := origin.Check(r); err != nil {
			writeProblem(w, http.StatusForbidden, "Requests from other sites are refused.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostAllowed accepts what no stranger can point at this address through public DNS.
func (s *Server) hostAllowed(hostport string) bool {
	host := hostport
	if name, _, err := net.SplitHostPort(hostport); err == nil {
		host = name
	}
	host = foldHost(strings.Trim(host, "[]"))
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host != "" && !strings.Contains(host, ".") ||
		strings.HasSuffix(host, ".localhost") ||
		strings.HasSuffix(host, ".internal") || // reserved for private use by ICANN
		s.hosts[host]
}

func foldHost(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }
