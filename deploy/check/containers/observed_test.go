package containers

import (
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// What watches is told by files of its own where the others are; each must be in the profile, on a port that is listened on.

func read(t *testing.T, file string, into any) {
	t.Helper()
	body, err := os.ReadFile(root + "/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(body, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func TestCollector(t *testing.T) {
	var c struct {
		Receivers map[string]struct {
			Protocols map[string]struct{ Endpoint string }
		}
		Processors map[string]any
		Exporters  map[string]struct{ Endpoint string }
		Service    struct {
			Pipelines map[string]struct{ Receivers, Processors, Exporters []string }
		}
	}
	read(t, "deploy/otel/collector.yaml", &c)
	p := shapes["observed"].load(t)
	traces := c.Service.Pipelines["traces"]
	for _, name := range traces.Receivers {
		// The services speak OTLP over HTTP (pkg/telemetry).
		told, err := url.Parse(*p.Services["users"].Environment["OTEL_EXPORTER_OTLP_ENDPOINT"])
		if got := c.Receivers[name].Protocols["http"].Endpoint; err != nil || told.Hostname() != "otel-collector" || got != "0.0.0.0:"+told.Port() {
			t.Errorf("services send traces to %s (%v), %s listens on %s", told, err, name, got)
		}
	}
	for _, name := range traces.Processors {
		if c.Processors[name] == nil {
			t.Errorf("there is no processor %s", name)
		}
	}
	for _, name := range traces.Exporters {
		if at := c.Exporters[name].Endpoint; !slices.Contains(listening, at) {
			t.Errorf("%s sends to %q", name, at)
		}
	}
	if len(traces.Receivers)*len(traces.Processors)*len(traces.Exporters) == 0 {
		t.Errorf("the pipeline of traces isn't whole: %+v", traces)
	}
}

func TestPrometheus_ScrapesWhatRuns(t *testing.T) {
	var c struct {
		RuleFiles []string `yaml:"rule_files"`
		Scrapes   []struct {
			Job string `yaml:"job_name"`
			DNS []struct {
				Names []string
				Port  int
			} `yaml:"dns_sd_configs"`
			Static []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	read(t, "deploy/prometheus/prometheus.yml", &c)
	p := shapes["observed"].load(t)
	for _, s := range c.Scrapes {
		if _, runs := p.Services[s.Job]; !runs {
			t.Errorf("the job %s is no service", s.Job)
		}
		for _, d := range s.DNS {
			if at := *p.Services[s.Job].Environment["OPS_ADDR"]; !slices.Equal(d.Names, []string{s.Job}) || at != ":9090" || d.Port != 9090 {
				t.Errorf("%s: looks for %v on %d, it serves on %s", s.Job, d.Names, d.Port, at)
			}
		}
		for _, static := range s.Static {
			for _, target := range static.Targets {
				if !slices.Contains(listening, target) {
					t.Errorf("%s: nothing listens on %s", s.Job, target)
				}
			}
		}
	}
	for _, file := range c.RuleFiles {
		if !slices.ContainsFunc(mounts(p.Services["prometheus"].Volumes), func(m string) bool { return m == "/etc/prometheus/"+file }) {
			t.Errorf("%s isn't mounted beside prometheus.yml", file)
		}
	}
	if len(c.Scrapes) < 4 || len(c.RuleFiles) == 0 {
		t.Errorf("%d jobs, %d files of rules", len(c.Scrapes), len(c.RuleFiles))
	}
}

func TestGrafana_FindsSourcesAndDashboards(t *testing.T) {
	var sources struct {
		Datasources []struct {
			UID, URL string
			JSONData struct {
				Exemplars []struct {
					Datasource string `yaml:"datasourceUid"`
				} `yaml:"exemplarTraceIdDestinations"`
			} `yaml:"jsonData"`
		}
	}
	read(t, "deploy/grafana/provisioning/datasources/datasources.yml", &sources)
	var uids []string
	for _, d := range sources.Datasources {
		uids = append(uids, d.UID)
		if u, err := url.Parse(d.URL); err != nil || !slices.Contains(listening, u.Host) {
			t.Errorf("%s: nothing listens on %s", d.UID, d.URL)
		}
	}
	if !slices.Contains(uids, "prometheus") || !slices.Contains(uids, sources.Datasources[0].JSONData.Exemplars[0].Datasource) {
		t.Errorf("sources are %v, exemplars lead to %v", uids, sources.Datasources[0].JSONData.Exemplars)
	}
	var providers struct {
		Providers []struct{ Options struct{ Path string } }
	}
	read(t, "deploy/grafana/provisioning/dashboards/dashboards.yml", &providers)
	grafana := shapes["observed"].load(t).Services["grafana"]
	home := *grafana.Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	for _, provider := range providers.Providers {
		if !slices.Contains(mounts(grafana.Volumes), provider.Options.Path) {
			t.Errorf("dashboards are looked for in %s, mounted are %v", provider.Options.Path, mounts(grafana.Volumes))
		}
		if _, err := os.Stat(root + "/deploy/grafana/dashboards/" + strings.TrimPrefix(home, provider.Options.Path+"/")); err != nil {
			t.Errorf("the first dashboard: %v", err)
		}
	}
}

// A server reserves what its streams may hold: NATS_MAX_BYTES for each of three, a tenth of it for each of three more
// (pkg/bus). If the sum is more than it has, streams cannot be made.
func TestNATS_HasRoomForTheStreams(t *testing.T) {
	body, err := os.ReadFile(root + "/deploy/nats/nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	store := regexp.MustCompile(`max_file_store: (\d+)GB`).FindSubmatch(body)
	if store == nil {
		t.Fatal("nats.conf doesn't say how much it stores")
	}
	room, err := strconv.Atoi(string(store[1]))
	if err != nil {
		t.Fatal(err)
	}
	for _, service := range []string{"users", "scheduling", "notifier"} {
		most, err := strconv.Atoi(*shapes["cluster"].load(t).Services[service].Environment["NATS_MAX_BYTES"])
		if need := 3*most + 3*most/10; err != nil || need > room*1_000_000_000 {
			t.Errorf("%s: its streams' %d bytes don't fit in %d GB (%v)", service, need, room, err)
		}
	}
}

// What compose calls the event servers is where each looks for the others.
func TestNATS_Cluster(t *testing.T) {
	body, err := os.ReadFile(root + "/deploy/nats/cluster.conf")
	if err != nil {
		t.Fatal(err)
	}
	p := shapes["cluster"].load(t)
	var nodes []string
	for name, s := range p.Services {
		if s.Environment["NATS_SERVER_NAME"] != nil {
			nodes = append(nodes, "nats://"+name+":6222")
		}
	}
	routes := regexp.MustCompile(`nats://[^"]+:6222`).FindAllString(string(body), -1)
	slices.Sort(nodes)
	slices.Sort(routes)
	if !slices.Equal(nodes, routes) || len(nodes) != 3 {
		t.Errorf("nodes are %v, cluster.conf has %v", nodes, routes)
	}
}
