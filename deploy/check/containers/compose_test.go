package containers

import (
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-cmp/cmp"
)

// shape is a way in which docker-compose.yml is started.
type shape struct {
	envFiles []string // --env-file
	profiles []string // --profile
	services string   // that run in it, beyond the one-shots, sorted
}

// everyday is what runs in every shape.
const everyday = "gateway nats notifier postgres scheduling sesinbox users"

var shapes = map[string]shape{
	"alone":   {services: everyday},
	"cluster": {envFiles: []string{"deploy/cluster.env"}, services: "gateway nats nats-2 nats-3 notifier postgres scheduling sesinbox users"},
	"observed": {
		envFiles: []string{"deploy/observability.env"},
		services: "gateway grafana jaeger nats notifier otel-collector postgres prometheus scheduling sesinbox users",
	},
	"both": {
		envFiles: []string{"deploy/cluster.env", "deploy/observability.env"}, profiles: []string{"cluster", "observability"},
		services: "gateway grafana jaeger nats nats-2 nats-3 notifier otel-collector postgres prometheus scheduling sesinbox users",
	},
}

var oneShots = []string{"nats-admin", "notifier-migrate", "scheduling-migrate", "users-migrate"}

// load reads docker-compose.yml as docker compose does, schema and all. environ is on top of the shape's files.
func (s shape) load(t *testing.T, environ ...string) *types.Project {
	t.Helper()
	var files []string
	for _, f := range s.envFiles {
		files = append(files, root+"/"+f)
	}
	options := []cli.ProjectOptionsFn{cli.WithWorkingDirectory(root), cli.WithEnv(environ)}
	if len(files) > 0 { // a developer's .env is none of this test's business
		options = append(options, cli.WithEnvFiles(files...), cli.WithDotEnv)
	}
	options = append(options, cli.WithDefaultProfiles(s.profiles...))
	o, err := cli.NewProjectOptions([]string{root + "/docker-compose.yml"}, options...)
	if err != nil {
		t.Fatal(err)
	}
	project, err := o.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// loaded is docker-compose.yml in each shape, read once.
type loaded map[string]*types.Project

func (l loaded) each(t *testing.T, check func(t *testing.T, shape string, p *types.Project)) {
	t.Helper()
	for name, p := range l {
		t.Run(name, func(t *testing.T) { check(t, name, p) })
	}
}

func TestCompose(t *testing.T) {
	l := loaded{}
	for name, s := range shapes {
		l[name] = s.load(t)
	}
	t.Run("starts what the shape needs", l.services)
	t.Run("a cluster is one", l.cluster)
	t.Run("every path is in the repository", l.paths)
	t.Run("health checks everywhere", l.healthChecks)
	t.Run("published on this machine alone, where the standalone is", l.ports)
	t.Run("every address is there", l.addresses)
	t.Run("own programs and the gateway are confined", l.confined)
	t.Run("logs don't fill the disk", l.logs)
	t.Run("the gateway is the one that is tested", l.gateway)
	t.Run("every setting is documented", l.documented)
	t.Run("tells the services what the standalone does", l.asStandalone)
}

func (l loaded) services(t *testing.T) {
	l.each(t, func(t *testing.T, shape string, p *types.Project) {
		var running []string
		for _, service := range p.ServiceNames() {
			if !slices.Contains(oneShots, service) {
				running = append(running, service)
			}
		}
		slices.Sort(running)
		if diff := cmp.Diff(strings.Fields(shapes[shape].services), running); diff != "" {
			t.Errorf("want (-), starts (+):\n%s", diff)
		}
	})
}

// A cluster is three event servers, three copies of each stream and two replicas of each service, over data of its own.
func (l loaded) cluster(t *testing.T) {
	p := l["cluster"]
	if alone := l["alone"].Name; p.Name == alone {
		t.Errorf("both have the name %s, and so the same volumes", alone)
	}
	const all = "nats://nats:4222,nats://nats-2:4222,nats://nats-3:4222"
	if got := *p.Services["nats-admin"].Environment["NATS_URL"]; got != all {
		t.Errorf("nats-admin: NATS_URL=%s", got)
	}
	for _, name := range []string{"users", "scheduling", "notifier"} {
		s := p.Services[name]
		if s.GetScale() != 2 || *s.Environment["NATS_REPLICAS"] != "3" {
			t.Errorf("%s: %d replicas, NATS_REPLICAS=%s; want 2 and 3", name, s.GetScale(), *s.Environment["NATS_REPLICAS"])
		}
		if got := *s.Environment["NATS_URL"]; got != all {
			t.Errorf("%s: NATS_URL=%s", name, got)
		}
	}
	for _, name := range []string{"nats", "nats-2", "nats-3"} {
		s := p.Services[name]
		if got := *s.Environment["NATS_SERVER_NAME"]; got != name || !slices.Contains(s.Command, "/etc/nats/cluster.conf") {
			t.Errorf("%s is called %s and started with %v", name, got, s.Command)
		}
	}
}

// The engine's default keeps all that was ever said; local rotates.
func (l loaded) logs(t *testing.T) {
	l.each(t, func(t *testing.T, _ string, p *types.Project) {
		for name, s := range p.Services {
			if s.Logging == nil || s.Logging.Driver != "local" {
				t.Errorf("%s: logging is %+v", name, s.Logging)
			}
		}
	})
}

// Which replica a request goes to is Caddy's to decide, and has changed between its versions.
func (l loaded) gateway(t *testing.T) {
	modules, err := os.ReadFile(root + "/deploy/check/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`caddy/v2 v(\S+)`).FindSubmatch(modules)
	if version == nil {
		t.Fatal("Caddy isn't a module of these tests")
	}
	image := "caddy:" + string(version[1]) + "-alpine"
	if got := l["alone"].Services["gateway"].Image; got != image {
		t.Errorf("compose: %s, tested: %s", got, image)
	}
	dockerfile, err := os.ReadFile(root + "/deploy/gateway/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(dockerfile), "\nFROM "+image+"\n") {
		t.Errorf("deploy/gateway/Dockerfile isn't from %s", image)
	}
}

func (l loaded) paths(t *testing.T) {
	l.each(t, func(t *testing.T, _ string, p *types.Project) {
		found := 0
		for name, s := range p.Services {
			for _, v := range s.Volumes {
				if v.Type != types.VolumeTypeBind {
					continue
				}
				found++
				if _, err := os.Stat(v.Source); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if !v.ReadOnly {
					t.Errorf("%s may write to %s", name, v.Source)
				}
			}
			if s.Build != nil {
				found++
				if _, err := os.Stat(s.Build.Context + "/" + s.Build.Dockerfile); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		if found < 14 {
			t.Errorf("found only %d paths", found)
		}
	})
}

// Every service can be asked whether it is healthy, by its own check or its image's; what is waited for says for what.
func (l loaded) healthChecks(t *testing.T) {
	without := []string{"otel-collector", "jaeger"} // their images have nothing to ask with
	l.each(t, func(t *testing.T, _ string, p *types.Project) {
		for name, s := range p.Services {
			once := slices.Contains(oneShots, name)
			asked := s.HealthCheck != nil && !s.HealthCheck.Disable || s.Build != nil && s.HealthCheck == nil
			if asked != (!once && !slices.Contains(without, name)) {
				t.Errorf("%s: has a health check: %v", name, asked)
			}
			if want := map[bool]string{true: "no", false: "unless-stopped"}[once]; s.Restart != want {
				t.Errorf("%s: restart %q, want %q", name, s.Restart, want)
			}
			for other, on := range s.DependsOn {
				want := types.ServiceConditionHealthy
				if slices.Contains(oneShots, other) {
					want = types.ServiceConditionCompletedSuccessfully
				}
				if on.Condition != want {
					t.Errorf("%s waits for %s to be %s, want %s", name, other, on.Condition, want)
				}
			}
		}
	})
}

// Nothing is published beyond this machine, and everything at the standalone's addresses.
func (l loaded) ports(t *testing.T) {
	want := []string{"gateway 8080", "nats 4222", "sesinbox 8025"} // those of `make run`, in docs/configuration.md
	page := configuration(t)
	for _, addr := range []string{"`HTTP_ADDR` | text | `127.0.0.1:8080`", "`INBOX_ADDR` | text | `127.0.0.1:8025`", "`NATS_ADDR` | text | `127.0.0.1:4222`"} {
		if !strings.Contains(page["healthmed"], addr) {
			t.Errorf("the standalone's addresses have changed: no %s", addr)
		}
	}
	l.each(t, func(t *testing.T, _ string, p *types.Project) {
		var got []string
		for name, s := range p.Services {
			for _, port := range s.Ports {
				if port.HostIP != "127.0.0.1" {
					t.Errorf("%s publishes %s on %q", name, port.Published, port.HostIP)
				}
				if len(s.Profiles) == 0 {
					got = append(got, name+" "+port.Published)
				}
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the standalone's (-), published (+):\n%s", diff)
		}
	})
}

// listening are the ports on which services can be reached by name.
var listening = []string{
	"postgres:5432", "nats:4222", "nats-2:4222", "nats-3:4222", "sesinbox:8080", "users:8080", "scheduling:8080", "notifier:8080",
	"otel-collector:4318", "jaeger:4317", "jaeger:16686", "prometheus:9090", "otel-collector:8888",
	"localhost:8080", // the gateway, as browsers see it
}

// Every address in a setting is a service of the shape, and a port on which it listens.
func (l loaded) addresses(t *testing.T) {
	l.each(t, func(t *testing.T, _ string, p *types.Project) {
		found := 0
		for name, s := range p.Services {
			for variable, value := range s.Environment {
				for part := range strings.SplitSeq(*value, ",") {
					u, err := url.Parse(part)
					if err != nil || u.Host == "" {
						continue
					}
					found++
					host, _, err := net.SplitHostPort(u.Host)
					_, runs := p.Services[host]
					if err != nil || !slices.Contains(listening, u.Host) || !runs && host != "localhost" {
						t.Errorf("%s, %s: nothing listens on %s", name, variable, u.Host)
					}
				}
			}
		}
		if found < 20 {
			t.Errorf("found only %d addresses", found)
		}
	})
}

// Own programs run with nothing that they don't need; so does the gateway, as far as Caddy's image allows.
func (l loaded) confined(t *testing.T) {
	if gateway := l["both"].Services["gateway"]; !gateway.ReadOnly || !slices.Contains(gateway.SecurityOpt, "no-new-privileges:true") {
		t.Errorf("gateway: read-only %v, %v", gateway.ReadOnly, gateway.SecurityOpt)
	}
	for name, s := range l["both"].Services {
		if s.Build == nil {
			continue
		}
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.Privileged {
			t.Errorf("%s: read-only %v, drops %v, %v", name, s.ReadOnly, s.CapDrop, s.SecurityOpt)
		}
	}
}

// configuration is docs/configuration.md by program. What several share is in each of theirs.
func configuration(t *testing.T) map[string]string {
	t.Helper()
	body, err := os.ReadFile(root + "/docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	page := map[string]string{}
	for _, section := range strings.Split(string(body), "\n## ")[1:] {
		title, table, _ := strings.Cut(section, "\n")
		_, programs, shared := strings.Cut(title, ": ")
		if !shared {
			programs = title
		}
		for program := range strings.SplitSeq(programs, ", ") {
			page[program] += table
		}
	}
	return page
}

// Every setting of an own program is one that it knows.
func (l loaded) documented(t *testing.T) {
	page := configuration(t)
	for name, s := range l["both"].Services {
		if s.Build == nil {
			continue
		}
		program := *s.Build.Args["SERVICE"]
		for variable := range s.Environment {
			if !strings.Contains(page[program], "\n| `"+variable+"` |") {
				t.Errorf("%s: %s doesn't know %s", name, program, variable)
			}
		}
	}
}

// What the standalone tells each service, docker-compose.yml tells it as well: nothing works in the one alone.
func (l loaded) asStandalone(t *testing.T) {
	body, err := os.ReadFile(root + "/deploy/standalone/services.go")
	if err != nil {
		t.Fatal(err)
	}
	told := regexp.MustCompile(`"([A-Z][A-Z_0-9]+)":`).FindAllStringSubmatch(string(body), -1)
	if len(told) < 15 {
		t.Fatalf("the standalone tells only %d things: has the file's form changed?", len(told))
	}
	page := configuration(t)
	p := l["alone"]
	for _, name := range []string{"users", "scheduling", "notifier"} {
		for _, m := range told {
			known := strings.Contains(page[name], "\n| `"+m[1]+"` |")
			// The users service speaks to AWS only with an identity pool, which neither has.
			if _, there := p.Services[name].Environment[m[1]]; known && !there && (name != "users" || !strings.HasPrefix(m[1], "AWS_")) {
				t.Errorf("%s isn't told %s", name, m[1])
			}
		}
	}
}

// .env.example has the secrets that docker-compose.yml takes, the files of the shapes have the rest, and none has more.
func TestCompose_EnvironmentFilesHaveWhatItTakes(t *testing.T) {
	body, err := os.ReadFile(root + "/docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	takes := map[string]bool{"COMPOSE_PROFILES": true, "COMPOSE_PROJECT_NAME": true} // docker compose itself
	for _, m := range regexp.MustCompile(`\$\{([A-Z_]+)`).FindAllStringSubmatch(string(body), -1) {
		takes[m[1]] = true
	}
	got := map[string]bool{}
	for _, file := range []string{".env.example", "deploy/cluster.env", "deploy/observability.env"} {
		values, err := dotenv.Read(root + "/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for name := range values {
			got[name] = true
		}
	}
	if diff := cmp.Diff(takes, got); diff != "" {
		t.Errorf("docker-compose.yml (-) and the files (+) differ:\n%s", diff)
	}
}

// mounts are the places in a container where something of the repository is.
func mounts(volumes []types.ServiceVolumeConfig) (targets []string) {
	for _, v := range volumes {
		if v.Type == types.VolumeTypeBind {
			targets = append(targets, v.Target)
		}
	}
	return targets
}
