package containers

import (
	"bytes"
	"compress/gzip"
	"context"
	"debug/buildinfo"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"github.com/healthmed/healthmed/deploy/check/running"
)

const (
	// storedLimit is for an image as it is stored and pulled (compressed), unpackedLimit for what it takes where it runs: the
	// program and what distroless static-debian12 brings (certificates, time zones, /etc/passwd), about 2 MiB. That size is
	// an assumption; nothing here can pull an image.
	storedLimit, unpackedLimit, baseSize = 40_000_000, 45_000_000, 2 << 20

	release = "1.2.3-test"
)

// dockerfile reads deploy/Dockerfile with BuildKit's own parser and linter.
func dockerfile(t *testing.T) []instructions.Stage {
	t.Helper()
	body, err := os.ReadFile(root + "/deploy/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range parsed.Warnings {
		t.Errorf("%v: %s", w.Location, w.Short)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, text string, at []parser.Range) {
		t.Errorf("%v: %s: %s", at, rule, text)
	}})
	stages, _, err := instructions.Parse(parsed.AST, lint)
	if err != nil {
		t.Fatal(err)
	}
	if len(stages) != 2 {
		t.Fatalf("%d stages, want 2", len(stages))
	}
	return stages
}

func TestImage_Runtime(t *testing.T) {
	stages := dockerfile(t)
	image := stages[1]
	if image.BaseName != "gcr.io/distroless/static-debian12:nonroot" {
		t.Errorf("built on %s", image.BaseName)
	}
	said := map[string]bool{}
	for _, command := range image.Commands {
		switch c := command.(type) {
		case *instructions.UserCommand:
			said["user"] = c.User == "65532:65532"
		case *instructions.HealthCheckCommand:
			said["health check"] = slices.Equal(c.Health.Test, []string{"CMD", "/app", "healthcheck"})
		case *instructions.EntrypointCommand:
			said["entry point"] = slices.Equal(c.CmdLine, []string{"/app"})
		case *instructions.CopyCommand:
			if c.From != stages[0].Name {
				t.Errorf("copies %v from %q", c.SourcePaths, c.From)
			}
		}
	}
	for _, what := range []string{"user", "health check", "entry point"} {
		if !said[what] {
			t.Errorf("the %s isn't as expected", what)
		}
	}
}

// Each program is built as the Dockerfile builds it: from what it copies, less what .dockerignore leaves out, by its own
// script. It is small enough, and its release stamped.
func TestImage_Builds(t *testing.T) {
	build := dockerfile(t)[0]
	source := t.TempDir()
	var script string
	environ := append(os.Environ(), "TARGETOS="+runtime.GOOS, "TARGETARCH="+runtime.GOARCH, "VERSION="+release, "GOFLAGS=-mod=readonly")
	for _, command := range build.Commands {
		switch c := command.(type) {
		case *instructions.EnvCommand:
			for _, kv := range c.Env {
				environ = append(environ, kv.Key+"="+kv.Value)
			}
		case *instructions.CopyCommand:
			for _, from := range c.SourcePaths {
				copyContext(t, from, filepath.Join(source, c.DestPath))
			}
		case *instructions.RunCommand:
			script = c.Files[0].Data
		}
	}
	var services []string
	for name, s := range shapes["both"].load(t).Services {
		if s.Build != nil && !strings.HasSuffix(name, "-migrate") {
			services = append(services, *s.Build.Args["SERVICE"])
		}
	}
	slices.Sort(services)
	if want := []string{"healthmed-admin", "notifier", "scheduling", "sesinbox", "users"}; !slices.Equal(services, want) {
		t.Fatalf("docker-compose.yml builds %v, want %v", services, want)
	}
	programs := map[string]string{}
	for _, service := range services {
		out := t.TempDir()
		cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(script, "/out/", out+"/"))
		cmd.Dir, cmd.Env = source, append(slices.Clone(environ), "SERVICE="+service)
		if printed, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", service, err, printed)
		}
		programs[service] = filepath.Join(out, "app")
		checkProgram(t, service, programs[service])
	}
	t.Run("another service is refused", func(t *testing.T) {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
		cmd.Dir, cmd.Env = source, append(slices.Clone(environ), "SERVICE=other")
		if printed, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(printed), "SERVICE must be") {
			t.Errorf("%v\n%s", err, printed)
		}
	})
	t.Run("the release is stamped", func(t *testing.T) { stamped(t, programs) })
	t.Run("what everybody knows is accepted in development alone", func(t *testing.T) { refuses(t, programs) })
}

func checkProgram(t *testing.T, service, program string) {
	t.Helper()
	body, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	zipped, err := gzip.NewWriterLevel(&layer, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := zipped.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %.1f MB, compressed %.1f MB", service, float64(len(body))/1e6, float64(layer.Len())/1e6)
	if layer.Len()+baseSize > storedLimit || len(body)+baseSize > unpackedLimit {
		t.Errorf("%s with the base is over %d bytes stored or %d unpacked", service, storedLimit, unpackedLimit)
	}
	built, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range built.Settings {
		if s.Key == "CGO_ENABLED" && s.Value != "0" || strings.HasPrefix(s.Key, "vcs") {
			t.Errorf("%s is built with %s=%s", service, s.Key, s.Value)
		}
	}
	if bytes.Contains(body, []byte(running.Root())) {
		t.Errorf("%s tells where it was built", service)
	}
}

// stamped asks the services themselves which release they are: a stamp that misses its variable leaves no other trace.
func stamped(t *testing.T, programs map[string]string) {
	for _, service := range []string{"users", "scheduling", "notifier"} {
		body, err := os.ReadFile(programs[service])
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(body, []byte(release)) {
			t.Errorf("%s doesn't know its release", service)
		}
	}
}

// refuses starts each service as docker-compose.yml does for whoever sets nothing: in development it gets as far as its
// database, anywhere else it says which secrets are public.
func refuses(t *testing.T, programs map[string]string) {
	public := map[string][]string{
		"users":      {"DATABASE_URL", "KEYS_CPF", "KEYS_TOKEN", "KEY_CPF_INDEX", "ADMIN_PASSWORD"},
		"scheduling": {"DATABASE_URL"}, "notifier": {"DATABASE_URL"},
	}
	for _, environment := range []string{"development", "production"} {
		p := shapes["alone"].load(t, "ENVIRONMENT="+environment)
		for service, secrets := range public {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			cmd := exec.CommandContext(ctx, programs[service], "migrate")
			for name, value := range p.Services[service+"-migrate"].Environment {
				cmd.Env = append(cmd.Env, name+"="+strings.ReplaceAll(*value, "@postgres:5432", "@127.0.0.1:1")) // nobody listens
			}
			printed, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("%s has migrated a database that isn't there", service)
			}
			for _, name := range secrets {
				refused := regexp.MustCompile(name + `[^\n]*public`).Match(printed)
				if refused != (environment == "production") {
					t.Errorf("%s in %s: %s refused: %v\n%s", service, environment, name, refused, printed)
				}
			}
			if bytes.Contains(printed, []byte("ZGV2ZWxvcG1lbn")) {
				t.Errorf("%s prints a key:\n%s", service, printed)
			}
		}
	}
}

// copyContext copies a folder of the build's context as the engine would send it.
func copyContext(t *testing.T, from, to string) {
	t.Helper()
	file, err := os.Open(root + "/.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	patterns, err := ignorefile.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	copied := 0
	err = fs.WalkDir(os.DirFS(root), from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if skip, err := ignored.MatchesOrParentMatches(path); err != nil || skip {
			return err
		}
		copied++
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		body, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return err
		}
		return os.WriteFile(target, body, 0o600)
	})
	if err == nil && copied == 0 {
		err = fmt.Errorf("%s is empty", from)
	}
	if err != nil {
		t.Fatal(err)
	}
}
