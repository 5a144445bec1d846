package access_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/healthmed/healthmed/pkg/access"
	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/events"
)

// exampleDoctor is the doctor of the example of a booking.
func exampleDoctor(t *testing.T) string {
	t.Helper()
	d, _ := events.Lookup("br.com.healthmed.scheduling.appointment.booked.v1")
	env, err := events.Decode(d.Example())
	if err != nil {
		t.Fatal(err)
	}
	return env.Data.(*events.AppointmentBooked).DoctorID.String()
}

func TestPartner_ReadsWhatTheyWereGrantedAndNothingElse(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	doctor, stranger := exampleDoctor(t), "0193b5a0-0000-7000-8000-00000000dead"
	for _, other := range []string{
		"appointment.booked.v1." + stranger + ".0193b5a0-0000-7000-8000-00000000beef", "availability.changed.v1." + stranger,
		"appointment.booked.v2." + doctor + ".0193b5a0-0000-7000-8000-00000000beef",
	} {
		if _, err := h.scheduling.JS.Publish(t.Context(), "healthmed.scheduling."+other, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	h.publishExamples(t)
	for name, c := range map[string]struct {
		args   []string
		stream string
		want   []string // the events' names
	}{
		"diary": {[]string{"--events", "scheduling.*.*", "--doctor", doctor}, bus.Scheduling, []string{
			"appointment.booked", "appointment.cancelled", "appointment.completed", "appointment.declined", "appointment.no_show",
			"appointment.requested", "appointment.rescheduled", "availability.changed", "waitlist.offered",
		}},
		"bi":     {[]string{"--events", "scheduling.appointment.booked,scheduling.appointment.cancelled", "--doctor", doctor}, bus.Scheduling, []string{"appointment.booked", "appointment.cancelled"}},
		"mailer": {[]string{"--events", "notifier.delivery.*"}, bus.Notifications, []string{"delivery.bounced", "delivery.failed", "delivery.sent"}},
		"ehr":    {[]string{"--events", "users.user.*", "--users"}, bus.Users, []string{"user.erased", "user.registered", "user.updated"}},
		"late":   {[]string{"--events", "scheduling.appointment.*", "--from", "now"}, bus.Scheduling, nil},
	} {
		p := h.intrude(t, name, h.add(t, name, c.args...))
		var got []string
		for _, subject := range p.fetch(c.stream, name) {
			words := strings.Split(subject, ".")
			got = append(got, words[2]+"."+words[3])
		}
		slices.Sort(got)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	out, err := h.command(t, "partner", "list")
	if err != nil || strings.Count(out, "\n") != 6 || !strings.Contains(out, doctor) {
		t.Errorf("list: %v\n%s", err, out)
	}
}

func TestAdd_RefusesWhatMakesNoSenseAndLeavesNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.add(t, "billing", "--events", "scheduling.appointment.*")
	for want, args := range map[string]string{
		"lower-case letters":   "Billing --events scheduling.appointment.*",
		"one name":             "--events scheduling.appointment.*",
		"system's own":         "notifier-scheduling --events scheduling.appointment.*",
		"is a partner billing": "billing --events scheduling.appointment.*",
		"events are missing":   "crm",
		"no event has such":    "crm --events scheduling.room.*",
		"want <context>":       "crm --events healthmed.>",
		"can't be *":           "crm --events *.*.*",
		"--users":              "crm --events users.user.*",
		"known by doctor":      "crm --users --events users.user.* --doctor 0193b5a0-0000-7000-8000-00000000dead",
		"not an id":            "crm --events scheduling.appointment.* --doctor x",
		"--from":               "crm --events scheduling.appointment.* --from yesterday",
	} {
		out, err := h.command(t, strings.Fields("partner add "+args+" --out -")...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\n%s", args, err, out)
		}
	}
	// A server that refuses the new configuration keeps the old one, and so does the list.
	keys := filepath.Join(h.Access.Auth, "keys.conf")
	body, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keys, []byte("nonsense {"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := h.command(t, "partner", "add", "crm", "--events", "scheduling.appointment.*", "--out", "-"); err == nil || strings.Contains(out, "SU") {
		t.Errorf("added to a broken configuration: %s", out)
	}
	if err := os.WriteFile(keys, body, 0o600); err != nil {
		t.Fatal(err)
	}
	partners, err := h.Access.Partners()
	if err != nil || len(partners) != 1 || partners[0].Name != "billing" {
		t.Errorf("left: %+v %v", partners, err)
	}
	h.add(t, "crm", "--events", "scheduling.appointment.*") // no consumer of the failed try is in the way
}

func TestMakeKeys_KeepsThoseThatAreThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	auth, seeds := filepath.Join(dir, "auth"), filepath.Join(dir, "seeds")
	if made, err := access.MakeKeys(auth, seeds); err != nil || len(made) != len(access.Holders()) {
		t.Fatalf("made %v: %v", made, err)
	}
	before, _ := os.ReadFile(filepath.Join(auth, "keys.conf"))
	if err := os.RemoveAll(filepath.Join(seeds, "users")); err != nil {
		t.Fatal(err)
	}
	made, err := access.MakeKeys(auth, seeds)
	if err != nil || !slices.Equal(made, []string{"users"}) {
		t.Errorf("made %v: %v", made, err)
	}
	after, _ := os.ReadFile(filepath.Join(auth, "keys.conf"))
	if was, is := strings.Split(string(before), "\n"), strings.Split(string(after), "\n"); was[1] == is[1] || !slices.Equal(was[2:], is[2:]) {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// The files that docker-compose.yml gives to its server are read by it.
func TestConfiguration_IsReadByTheServer(t *testing.T) {
	dir := t.TempDir()
	if _, err := access.MakeKeys(filepath.Join(dir, "auth"), filepath.Join(dir, "seeds")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nats.conf", "accounts.conf", "tls.conf"} {
		body, err := os.ReadFile(filepath.Join("../../deploy/nats", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var plain, secure server.Options
	if err := plain.ProcessConfigFile(filepath.Join(dir, "nats.conf")); err != nil {
		t.Error(err)
	}
	if !plain.SyncAlways || len(plain.Accounts) != 2 || len(plain.Nkeys) != len(access.Holders()) || plain.TLSConfig != nil {
		t.Errorf("nats.conf: %d accounts, %d keys", len(plain.Accounts), len(plain.Nkeys))
	}
	certificate, key := certify(t)
	t.Setenv("NATS_TLS_CERT", certificate)
	t.Setenv("NATS_TLS_KEY", key)
	if err := secure.ProcessConfigFile(filepath.Join(dir, "tls.conf")); err != nil {
		t.Error(err)
	}
	if secure.TLSConfig == nil || len(secure.Nkeys) != len(access.Holders()) {
		t.Error("tls.conf: no TLS, or not the accounts")
	}
}

// With TLS: services and partners trust the configured CA alone, and a connection without TLS is refused.
func TestTLS_IsRequiredAndVerified(t *testing.T) {
	t.Parallel()
	certificate, key := certify(t)
	h := &house{Guarded: newTLS(t, certificate, key)}
	h.Access.CAFile = certificate
	cfg := h.As("scheduling")
	cfg.CAFile = certificate
	conn, err := bus.Connect(t.Context(), cfg, "scheduling", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if err := conn.EnsureStreams(t.Context(), bus.Scheduling); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.NATS.TLSConnectionState(); err != nil {
		t.Errorf("not over TLS: %v", err)
	}
	seed := h.add(t, "billing", "--events", "scheduling.appointment.*") // connects over TLS too
	identity, err := nats.NkeyOptionFromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := nats.Connect(h.Access.URL, identity); err == nil {
		c.Close()
		t.Error("trusted a certificate of an authority that nobody named")
	}
	raw, err := net.Dial("tcp", strings.TrimPrefix(h.Access.URL, "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := fmt.Fprint(raw, "CONNECT {\"verbose\":true,\"tls_required\":false}\r\nPING\r\n"); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4096)
	for text := ""; ; {
		_ = raw.SetReadDeadline(time.Now().Add(patience))
		n, err := raw.Read(answer)
		if text += string(answer[:n]); strings.Contains(text, "PONG") {
			t.Fatalf("plain text was served: %s", text)
		}
		if err != nil {
			break // closed by the server
		}
	}
}

// certify makes PEM files of a certificate for 127.0.0.1 that is its own authority, and of its key.
func certify(t *testing.T) (certificate, key string) {
	t.Helper()
	pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pair.Public(), pair)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(pair)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key")
	for path, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}

// In its container the program may write to its own data alone.
func TestAdd_NeedsNoPlaceForTemporaryFiles(t *testing.T) {
	h := newHouse(t)
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "nowhere"))
	out, err := h.command(t, "partner", "add", "billing", "--events", "scheduling.appointment.*", "--out", "-")
	if err != nil || !strings.Contains(out, "SU") {
		t.Errorf("%v\n%s", err, out)
	}
}
