package sesinbox_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"

	"github.com/healthmed/healthmed/pkg/sesinbox"
)

// noon is the clock of every test.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// endpoint is a server over HTTP, with the real client.
type endpoint struct {
	*sesinbox.Server
	url    string
	client *sesv2.Client
}

func start(t *testing.T, cfg sesinbox.Config) endpoint {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return noon }
	}
	inbox, err := sesinbox.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(inbox)
	t.Cleanup(func() {
		inbox.Close()
		server.Close()
	})
	return endpoint{inbox, server.URL, newClient(server.URL)}
}

func newClient(url string) *sesv2.Client {
	return sesv2.New(sesv2.Options{
		Region: "sa-east-1", BaseEndpoint: &url, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
	})
}

// rawInput is a request with a finished message.
func rawInput(source string, to ...string) *sesv2.SendEmailInput {
	in := &sesv2.SendEmailInput{Content: &types.EmailContent{Raw: &types.RawMessage{Data: []byte(source)}}}
	if len(to) > 0 {
		in.Destination = &types.Destination{ToAddresses: to}
	}
	return in
}

// send must succeed, and gives the id.
func (e endpoint) send(t *testing.T, in *sesv2.SendEmailInput) string {
	t.Helper()
	out, err := e.client.SendEmail(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return *out.MessageId
}

// request asks with a plain client, as curl or a browser would.
func (e endpoint) request(t *testing.T, method, path string, header http.Header, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, e.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		if name == "Host" {
			req.Host = values[0]
			continue
		}
		req.Header[name] = values
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(content)
}

// getJSON decodes what a path answers.
func getJSON[T any](t *testing.T, e endpoint, path string) T {
	t.Helper()
	answer, body := e.request(t, http.MethodGet, path, nil, "")
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s: %s", path, answer.Status, body)
	}
	var into T
	if err := json.Unmarshal([]byte(body), &into); err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	return into
}

// crlf writes a message readably in a test.
func crlf(source string) string {
	return string(bytes.ReplaceAll([]byte(strings.TrimPrefix(source, "\n")), []byte("\n"), []byte("\r\n")))
}

var plainMail = crlf(`
From: =?utf-8?q?Health=26Med?= <agenda@healthmed.example>
To: Ana <ana@example.com>
Subject: =?utf-8?q?Ol=C3=A1?=

Corpo
`)
