package access_test

import (
	"errors"
	"net"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/healthmed/healthmed/pkg/natstest"
)

// A program that is just starting on a busy machine may need more than the server's own 2 seconds to sign in.
func TestServer_WaitsForASlowClient(t *testing.T) {
	t.Parallel()
	address, err := url.Parse(natstest.NewGuarded(t).Access.URL)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", address.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(4 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var heard []byte
	for buf := make([]byte, 4096); err == nil; {
		var n int
		n, err = conn.Read(buf)
		heard = append(heard, buf[:n]...)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("it was sent away within 4 seconds: %v\n%s", err, heard)
	}
}
