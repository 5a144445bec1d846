package check

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"github.com/zclconf/go-cty/cty"
)

// render fills a template as Terraform's templatefile does.
func render(t *testing.T, file string, values map[string]cty.Value) string {
	t.Helper()
	path := terraform + "/modules/nats/templates/" + file
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	template, faults := hclsyntax.ParseTemplate(body, path, hcl.InitialPos)
	if faults.HasErrors() {
		t.Fatal(faults)
	}
	text, faults := template.Value(&hcl.EvalContext{Variables: values})
	if faults.HasErrors() {
		t.Fatal(faults)
	}
	return text.AsString()
}

// configuration is a server's, with its paths below a folder.
func configuration(t *testing.T, folder string) string {
	t.Helper()
	text := render(t, "nats.conf.tftpl", map[string]cty.Value{
		"node": cty.StringVal("a"), "cluster": cty.StringVal("test"), "store_gb": cty.NumberIntVal(18),
		"hosts": cty.ListVal([]cty.Value{cty.StringVal("a.nats.test"), cty.StringVal("b.nats.test"), cty.StringVal("c.nats.test")}),
	})
	return strings.ReplaceAll(text, "/etc/nats/", folder+"/")
}

// nats-server reads what Terraform writes, and takes it for what it should be.
func TestTerraform_NATSReadsItsConfiguration(t *testing.T) {
	folder := t.TempDir()
	accounts, err := os.ReadFile(root + "/deploy/nats/accounts.conf")
	if err != nil {
		t.Fatal(err)
	}
	var keys strings.Builder
	for _, holder := range []string{"USERS", "SCHEDULING", "NOTIFIER", "ADMIN", "OPERATOR"} {
		pair, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		public, err := pair.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		keys.WriteString(holder + "_KEY: " + public + "\n")
	}
	cert, key := certificate(t)
	for name, content := range map[string]string{
		"nats.conf": configuration(t, folder), "accounts.conf": string(accounts), "auth/keys.conf": keys.String(), "auth/partners.conf": "",
		"tls/ca.pem": cert, "tls/cert.pem": cert, "tls/key.pem": key,
	} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	options, err := server.ProcessConfigFile(filepath.Join(folder, "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if !options.SyncAlways {
		t.Error("an acknowledged event may be in memory alone")
	}
	if options.TLSConfig == nil || options.Cluster.TLSConfig == nil || options.Cluster.TLSConfig.ClientAuth != tls.RequireAndVerifyClientCert {
		t.Error("clients without TLS, or servers without certificates, are let in")
	}
	if len(options.Routes) != 3 || options.Cluster.Port != 6222 || options.Port != 4222 || options.HTTPPort != 8222 {
		t.Errorf("%d routes on %d, clients on %d, monitoring on %d", len(options.Routes), options.Cluster.Port, options.Port, options.HTTPPort)
	}
	if want := int64(18 << 30); options.JetStreamMaxStore != want {
		t.Errorf("streams may take %d bytes, want %d", options.JetStreamMaxStore, want)
	}
}

// certificate makes one that signs itself, as PEM.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"a.nats.test"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
}

// Shell reads the scripts, and the one that makes a server is given all that it names.
func TestTerraform_ScriptsParse(t *testing.T) {
	values := map[string]cty.Value{}
	for _, name := range []string{"region", "volume", "image", "admin_image", "bucket", "tls_secret", "admin_secret", "log_group", "node", "host"} {
		values[name] = cty.StringVal(name)
	}
	values["configuration"] = cty.StringVal(configuration(t, "/etc/nats"))
	start := render(t, "start.sh.tftpl", values)
	rendered := []string{start}
	for _, m := range regexp.MustCompile(`(?s)<<'SCRIPT'\n(.+?)\nSCRIPT\n`).FindAllStringSubmatch(start, -1) {
		rendered = append(rendered, m[1]) // a script within it is text to the shell
	}
	scripts := terraformFiles(t, ".sh")
	for i, text := range rendered {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("rendered-%d.sh", i))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		scripts = append(scripts, path)
	}
	if len(scripts) < 9 {
		t.Fatalf("only %d scripts: have they moved?", len(scripts))
	}
	for _, script := range scripts {
		if printed, err := exec.Command("bash", "-n", script).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", script, err, printed)
		}
	}
}
