package postgres_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/healthmed/healthmed/pkg/config"
	"github.com/healthmed/healthmed/pkg/postgres"
)

// The server of a cloud is signed by a CA of its own, which no system knows.
func TestOpen_BelievesTheGivenAuthorityAlone(t *testing.T) {
	t.Parallel()
	certificate, ca := authority(t)
	_, other := authority(t)
	for name, c := range map[string]struct {
		ca       string
		believed bool
	}{"its own": {ca, true}, "another's": {other, false}, "the system's": {"", false}} {
		handshakes := make(chan error, 8)
		address := encrypted(t, certificate, handshakes)
		pool := open(t, postgres.Config{URL: config.Secret("postgres://u:p@" + address + "/d?sslmode=verify-full"), CA: c.ca})
		if err := pool.Ping(t.Context()); err == nil {
			t.Errorf("%s: a server that is none answered", name)
		}
		if err := <-handshakes; (err == nil) != c.believed {
			t.Errorf("%s: handshake: %v", name, err)
		}
	}
}

func TestOpen_RefusesAnAuthorityThatWouldDoNothing(t *testing.T) {
	t.Parallel()
	_, ca := authority(t)
	for url, c := range map[string]struct{ ca, want string }{
		"postgres://u:p@h/d?sslmode=verify-full": {"garbage", "no PEM"},
		"postgres://u:p@h/d?sslmode=require":     {ca, "verify-full"},
		"postgres://u:p@h/d?sslmode=disable":     {ca, "verify-full"},
	} {
		if _, err := postgres.Open(t.Context(), postgres.Config{URL: config.Secret(url), CA: c.ca}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// encrypted speaks PostgreSQL up to the end of the TLS handshake, of which it tells the outcome, then hangs up.
func encrypted(t *testing.T, certificate tls.Certificate, handshakes chan<- error) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed at the test's end
			}
			if _, err := io.ReadFull(conn, make([]byte, 8)); err == nil { // SSLRequest
				_, _ = conn.Write([]byte("S"))
			}
			session := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}, MaxVersion: tls.VersionTLS12})
			select {
			case handshakes <- session.HandshakeContext(t.Context()):
			default: // the first one counts
			}
			_ = conn.Close()
		}
	}()
	return l.Addr().String()
}

// authority makes a CA, as PEM, and a certificate of 127.0.0.1 that it signed.
func authority(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
