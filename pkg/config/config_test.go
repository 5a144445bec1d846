package config_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/healthmed/healthmed/pkg/config"
)

const value = "s3cr3t-value"

type database struct {
	URL     config.Secret `env:"URL,required"`
	Timeout time.Duration `env:"TIMEOUT" envDefault:"2s"`
}

type sample struct {
	Database database `envPrefix:"DB_"`
	Port     int      `env:"PORT,required"`
	Name     string   `env:"NAME" envDefault:"users"`
}

// Validate implements what LoadFrom looks for.
func (s sample) Validate() error {
	var faults []error
	if s.Port < 1024 {
		faults = append(faults, errors.New("PORT must be 1024 or more"))
	}
	if s.Name == "" || s.Name == "root" {
		faults = append(faults, errors.New("NAME must not be root"))
	}
	return errors.Join(faults...)
}

func TestLoadFrom_ReadsTheEnvironment(t *testing.T) {
	got, err := config.LoadFrom[sample](map[string]string{"DB_URL": value, "PORT": "8080"})
	if err != nil {
		t.Fatal(err)
	}
	want := sample{Database: database{URL: value, Timeout: 2 * time.Second}, Port: 8080, Name: "users"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

func TestLoad_ReadsTheProcessEnvironment(t *testing.T) {
	t.Setenv("DB_URL", value)
	t.Setenv("PORT", "9090")
	got, err := config.Load[sample]()
	if err != nil || got.Port != 9090 || got.Database.URL.Reveal() != value {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestLoadFrom_TellsAllFaultsTogether(t *testing.T) {
	cases := map[string]struct {
		environ map[string]string
		want    []string
	}{
		"unreadable and missing": {map[string]string{"DB_TIMEOUT": "soon"}, []string{"DB_URL", "PORT", "Timeout"}},
		"readable but wrong":     {map[string]string{"DB_URL": value, "PORT": "80", "NAME": "root"}, []string{"PORT must be", "NAME must not"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := config.LoadFrom[sample](c.environ)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q is missing from: %v", part, err)
				}
			}
			if strings.Contains(err.Error(), value) {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
}

func TestSecret_NeverPrints(t *testing.T) {
	secret := config.Secret(value)
	type holder struct {
		Secret  config.Secret
		Pointer *config.Secret
		List    []config.Secret
		Map     map[string]config.Secret
		Any     any
	}
	held := holder{secret, &secret, []config.Secret{secret}, map[string]config.Secret{"k": secret}, secret}
	texts := map[string]string{
		"error":        fmt.Errorf("dial %s: %w", secret, errors.New("refused")).Error(),
		"print":        fmt.Sprint(secret, held),
		"concatenated": "x" + secret.String(),
	}
	for _, verb := range "vsqxXdboOcUeEfFgGt" {
		for _, flag := range []string{"", "+", "#", "-20", "020", ".3", " "} {
			format := "%" + flag + string(verb)
			texts[format+" alone"] = fmt.Sprintf(format, secret)
			texts[format+" by pointer"] = fmt.Sprintf(format, &secret)
			texts[format+" inside"] = fmt.Sprintf(format, held)
		}
	}
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"slog text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"slog JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		slog.New(handler(&b)).With("a", secret).Info("m", "b", secret, "c", held, "d", &secret, slog.Group("g", "e", secret))
		texts[name] = b.String()
	}
	asJSON, err := json.Marshal(held)
	if err != nil {
		t.Fatal(err)
	}
	texts["JSON"] = string(asJSON)
	asXML, err := xml.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	texts["XML"] = string(asXML)

	hexValue := fmt.Sprintf("%x", value)
	for name, text := range texts {
		for _, raw := range []string{value, value[:3] + "r", hexValue, strings.ToUpper(hexValue)} {
			if strings.Contains(text, raw) {
				t.Errorf("%s: %s", name, text)
			}
		}
		if text == "" {
			t.Errorf("%s: nothing", name)
		}
	}
	if secret.Reveal() != value {
		t.Errorf("Reveal: %q", secret.Reveal())
	}
}

func TestRefuseKnown(t *testing.T) {
	public := base64.StdEncoding.EncodeToString([]byte("development key of somebody....."))
	own := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	for name, c := range map[string]struct {
		secret config.Secret
		known  bool
	}{
		"a public key":              {config.Secret(public), true},
		"a public key in a ring":    {config.Secret("k2:" + own + ",dev:" + public), true},
		"a public password":         {"postgres://users:development@postgres:5432/users", true},
		"an own key":                {config.Secret(own), false},
		"an own ring":               {config.Secret("k1:" + own), false},
		"a server of that name":     {"postgres://users:Xy9@development:5432/development", false},
		"nothing where it is local": {"", false},
	} {
		t.Run(name, func(t *testing.T) {
			secrets := map[string]config.Secret{"A_SECRET": c.secret}
			err := config.RefuseKnown("production", secrets)
			if (err != nil) != c.known {
				t.Errorf("in production: %v, want an error: %v", err, c.known)
			}
			if err != nil && (!strings.Contains(err.Error(), "A_SECRET") || strings.Contains(err.Error(), c.secret.Reveal())) {
				t.Errorf("want the variable's name and not its value: %v", err)
			}
			if err := config.RefuseKnown(config.Development, secrets); err != nil {
				t.Errorf("in development: %v", err)
			}
		})
	}
}
