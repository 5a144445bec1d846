package system

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"
)

// Client calls the REST API as one caller.
type Client struct {
	Origin string
	Token  string // empty for an anonymous caller
	Header http.Header
	HTTP   *http.Client // nil makes one for each call
}

// Answer is a response, read to its end.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// JSON decodes the body into out and fails the test if it can't.
func (a Answer) JSON(t testing.TB, out any) {
	t.Helper()
	if err := json.Unmarshal(a.Body, out); err != nil {
		t.Fatalf("answer %d is not the JSON expected: %v\n%s", a.Status, err, a.Body)
	}
}

// Want fails the test unless the answer has the status.
func (a Answer) Want(t testing.TB, status int) Answer {
	t.Helper()
	if a.Status != status {
		t.Fatalf("status %d, want %d; body: %s", a.Status, status, a.Body)
	}
	return a
}

// Do sends body (nil, []byte as it is, anything else as JSON) and reads the answer.
func (c Client) Do(t testing.TB, method, path string, body any) Answer {
	t.Helper()
	answer, err := c.Try(t.Context(), method, path, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer
}

// Try is Do where a failure is to be expected. An error says that there was no answer, or not all of it.
func (c Client) Try(ctx context.Context, method, path string, body any) (Answer, error) {
	var payload io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		payload = bytes.NewReader(b)
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			return Answer{}, err
		}
		payload = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.Origin+path, payload)
	if err != nil {
		return Answer{}, err
	}
	for name, values := range c.Header {
		req.Header[name] = values
	}
	if body != nil && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	client := c.HTTP
	if client == nil {
		client = &http.Client{Timeout: 15 * time.Second}
	}
	res, err := client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return Answer{}, err
	}
	return Answer{Status: res.StatusCode, Header: res.Header, Body: answer}, nil
}

// With returns the client with one more header.
func (c Client) With(name, value string) Client {
	h := c.Header.Clone()
	if h == nil {
		h = http.Header{}
	}
	h.Set(name, value)
	c.Header = h
	return c
}

// SignIn returns a client that carries the person's access token, and their id.
func SignIn(t testing.TB, origin, email, password string) (Client, string) {
	t.Helper()
	var session struct {
		AccessToken string `json:"access_token"`
		User        struct {
			ID string `json:"id"`
		} `json:"user"`
	}
	Client{Origin: origin}.Do(t, http.MethodPost, "/v1/auth/login", map[string]string{"email": email, "password": password}).
		Want(t, http.StatusOK).JSON(t, &session)
	return Client{Origin: origin, Token: session.AccessToken}, session.User.ID
}
