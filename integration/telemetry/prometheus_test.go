package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leat-go/leat/integration/brokers"
)

// tool returns the path of a program of Debian's package prometheus.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	const how = "%s is not installed: get it with `.ci/debian prometheus`"
	for kind := range strings.SplitSeq(os.Getenv(brokers.EnvRequire), ",") {
		if strings.EqualFold(strings.TrimSpace(kind), brokers.Prometheus) {
			t.Fatalf(brokers.EnvRequire+" names prometheus, and "+how, name)
		}
	}
	t.Skipf(how, name)
	return ""
}

// prometheus is a server of the test's own.
type prometheus struct{ url string }

// startPrometheus scrapes the targets of each job twice a second and evaluates
// the rules.
func startPrometheus(t *testing.T, rules string, jobs map[string][]string) *prometheus {
	t.Helper()
	binary, dir := tool(t, "prometheus"), t.TempDir()
	rules, err := filepath.Abs(rules)
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`
global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
`, rules)
	for job, targets := range jobs {
		config += fmt.Sprintf("  - {job_name: %s, static_configs: [{targets: [%s]}]}\n", job, strings.Join(targets, ", "))
	}
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // not the test's, which ends before the cleanups
	cmd := exec.CommandContext(ctx, binary, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addr, "--log.level=warn")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it says that it was signalled
		if t.Failed() {
			t.Logf("prometheus: %s", log.String())
		}
		http.DefaultClient.CloseIdleConnections()
	})
	p := &prometheus{url: "http://" + addr}
	await(t, "prometheus is ready", func() (bool, string) {
		_, err := p.get(t, "/-/ready")
		return err == nil, fmt.Sprint(err)
	})
	return p
}

func (p *prometheus) get(t *testing.T, path string) ([]byte, error) {
	t.Helper()
	return get(t, p.url+path)
}

func get(t *testing.T, url string) ([]byte, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(res.Body); err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", res.Status, body.String())
	}
	return body.Bytes(), nil
}

// api asks for data of Prometheus's HTTP API.
func (p *prometheus) api(t *testing.T, path string, params url.Values, data any) {
	t.Helper()
	body, err := p.get(t, "/api/v1/"+path+"?"+params.Encode())
	if err != nil {
		t.Fatalf("ask prometheus for %s %v: %v", path, params, err)
	}
	answer := struct{ Data any }{data}
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatalf("ask prometheus for %s: %v in %s", path, err, body)
	}
}

// series is one of the answers to a query.
type series struct {
	Metric map[string]string
	Value  [2]any // time, value
}

func (s series) value() float64 {
	text, _ := s.Value[1].(string)
	v, _ := strconv.ParseFloat(text, 64)
	return v
}

func (p *prometheus) query(t *testing.T, expr string) []series {
	t.Helper()
	var data struct{ Result []series }
	p.api(t, "query", url.Values{"query": {expr}}, &data)
	return data.Result
}

// by returns the values of a query by one label.
func (p *prometheus) by(t *testing.T, label, expr string) map[string]float64 {
	t.Helper()
	values := map[string]float64{}
	for _, s := range p.query(t, expr) {
		values[s.Metric[label]] = s.value()
	}
	return values
}

// expressions are those of the rules that it has loaded, by alert.
func (p *prometheus) expressions(t *testing.T) map[string]string {
	t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Query string }
		}
	}
	p.api(t, "rules", nil, &data)
	exprs := map[string]string{}
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			exprs[r.Name] = r.Query
		}
	}
	return exprs
}

// labels are the names of all labels of leat's metrics.
func (p *prometheus) labels(t *testing.T) []string {
	t.Helper()
	var names []string
	p.api(t, "labels", url.Values{"match[]": {`{__name__=~"leat_.+|messaging_.+"}`}}, &names)
	return names
}

// wants asks until every query has its values, by system, and fails with the
// difference when that takes too long.
func (p *prometheus) wants(t *testing.T, when string, want map[string]map[string]float64) {
	t.Helper()
	await(t, when, func() (bool, string) {
		var wrong []string
		for _, expr := range slices.Sorted(maps.Keys(want)) {
			if got := p.by(t, "messaging_system", expr); !maps.Equal(got, want[expr]) {
				wrong = append(wrong, fmt.Sprintf("%s = %v, want %v", expr, got, want[expr]))
			}
		}
		return len(wrong) == 0, strings.Join(wrong, "\n")
	})
}

func await(t *testing.T, what string, holds func() (ok bool, state string)) {
	t.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for end := time.After(time.Minute); ; {
		ok, state := holds()
		if ok {
			return
		}
		select {
		case <-ticker.C:
		case <-end:
			t.Fatalf("%s: not within a minute:\n%s", what, state)
		}
	}
}
