package bench

import (
	"fmt"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// API calls one service over keep-alive connections: as many as there are callers at once.
type API struct {
	Origin string
	client *fasthttp.HostClient
}

const callTimeout = 10 * time.Second

// NewAPI makes a client of an origin (http://host:port).
func NewAPI(origin string) *API {
	return &API{Origin: origin, client: &fasthttp.HostClient{
		Addr: strings.TrimPrefix(origin, "http://"), MaxConns: 1024, MaxIdleConnDuration: 20 * time.Second,
		NoDefaultUserAgentHeader: true, MaxIdemponentCallAttempts: 1,
	}}
}

// Call is one request.
type Call struct {
	Method string // default GET
	Path   string
	Token  string // empty for an anonymous caller
	Key    string // Idempotency-Key
	Body   string // JSON
	Want   int    // status, default 200
	// Also is another status that is an answer as good, e.g. 409 where many want the same.
	Also int
	// Read gets the answer's body, which is only valid during the call.
	Read func(status int, body []byte) error
}

// Do sends the call. Any status but the wanted one is an error.
func (a *API) Do(c Call) error {
	req, res := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(res)
	req.SetRequestURI(a.Origin + c.Path)
	if c.Method != "" {
		req.Header.SetMethod(c.Method)
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if c.Key != "" {
		req.Header.Set("Idempotency-Key", c.Key)
	}
	if c.Body != "" {
		req.Header.SetContentType("application/json")
		req.SetBodyString(c.Body)
	}
	if err := a.client.DoTimeout(req, res, callTimeout); err != nil {
		return err
	}
	if c.Want == 0 {
		c.Want = fasthttp.StatusOK
	}
	status := res.StatusCode()
	if status != c.Want && (c.Also == 0 || status != c.Also) {
		return fmt.Errorf("status %d", status)
	}
	if c.Read != nil {
		return c.Read(status, res.Body())
	}
	return nil
}
