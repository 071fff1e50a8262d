package telemetry_test

import (
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	sdk "go.opentelemetry.io/otel/sdk/metric"

	"github.com/leat-go/leat/integration/proxy"
	"github.com/leat-go/leat/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const (
	rules     = "../../docs/telemetry/alerts.yml"
	ruleTests = "../../docs/telemetry/alerts_test.yml"
	dashboard = "../../docs/telemetry/dashboard.json"
)

func TestAlerts_AreWellFormedAndEachFires(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", rules}, {"test", "rules", ruleTests}} {
		if out, err := exec.CommandContext(t.Context(), tool(t, "promtool"), args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// same says the value on each of the systems.
func same(v float64, systems ...string) map[string]float64 {
	if len(systems) == 0 {
		systems = []string{"redis", "rabbitmq", "kafka"}
	}
	values := map[string]float64{}
	for _, s := range systems {
		values[s] = v
	}
	return values
}

// sum adds up over everything but the system.
func sum(metric string) string { return fmt.Sprintf("sum by (messaging_system) (%s)", metric) }

// Buses on real brokers do what is known, a real Prometheus scrapes them, and
// each metric has its value; then it is asked all that alerts and dashboard ask.
func TestPrometheus_EachMetricHasItsValueAfterAKnownRun(t *testing.T) {
	meters, target := serveMetrics(t)
	prom := startPrometheus(t, rules, map[string][]string{"service": {target}})
	all, cut := openAll(t, meters)
	each := func(do func(*known)) {
		for _, k := range all {
			do(k)
		}
	}

	each(func(k *known) { k.publish(t, order("")) })
	prom.wants(t, "one event", map[string]map[string]float64{
		sum("messaging_client_consumed_messages_total"): same(1), sum("leat_in_flight"): same(0), sum("leat_consumers"): same(1),
		sum("leat_lag"): same(0), sum("leat_reconnections_total"): same(0),
	})

	// Ten in all: one fails once, one for good, and one does not come to an end.
	each(func(k *known) {
		k.publish(t, append(orders(6), order(thenFailOnce), order(thenFail), order(thenWait))...)
	})
	const failed, ok = `leat_handler="invoice", error_type!=""`, `leat_handler="invoice", error_type=""`
	prom.wants(t, "ten events, one of them in hand", map[string]map[string]float64{
		sum("messaging_client_sent_messages_total"):                                                            same(10),
		sum("messaging_client_operation_duration_seconds_count"):                                               same(2),
		sum("messaging_client_consumed_messages_total"):                                                        same(10),
		sum("messaging_process_duration_seconds_count"):                                                        same(9),
		sum("leat_queue_duration_seconds_count"):                                                               same(10),
		sum(`leat_queue_duration_seconds_bucket{le="3600"}`):                                                   same(10),
		sum("leat_handler_duration_seconds_count{" + failed + "}"):                                             same(4),
		sum("leat_handler_duration_seconds_count{" + ok + "}"):                                                 same(8),
		sum(`leat_handler_duration_seconds_count{leat_handler="audit"}`):                                       same(10),
		sum(`leat_retries_total{leat_handler="invoice"}`):                                                      same(3),
		sum(`leat_dead_letters_total{leat_handler="invoice", leat_dead_letter_reason="max_retries_exceeded"}`): same(1),
		sum("leat_dead_letters_waiting"):                                                                       same(1),
		sum("leat_in_flight"):                                                                                  same(1),
		sum("leat_lanes_busy"):                                                                                 same(1),
		sum("leat_consumers"):                                                                                  same(1),
	})

	each(func(k *known) { k.release() })
	prom.wants(t, "nothing in hand", map[string]map[string]float64{
		sum("messaging_process_duration_seconds_count"): same(10), sum("leat_in_flight"): same(0), sum("leat_lanes_busy"): same(0), sum("leat_lag"): same(0),
	})

	reconnected := cutRedis(t, prom, cut)
	each(func(k *known) {
		if _, err := k.bus.Drain(t.Context()); err != nil {
			t.Errorf("%s: %v", k.system, err)
		}
		k.publish(t, orders(150)...)
	})
	rebalances := map[string]float64{}
	each(func(k *known) {
		if k.system == "kafka" {
			rebalances[k.system] = float64(k.bus.Stats().Rebalances)
		}
	})
	prom.wants(t, "drained, 150 events wait", map[string]map[string]float64{
		sum("messaging_client_sent_messages_total"):              same(160),
		sum("messaging_client_operation_duration_seconds_count"): same(3),
		sum("messaging_client_consumed_messages_total"):          same(10),
		sum("leat_lag"):                 same(150),
		sum("leat_consumers"):           same(0),
		sum("leat_reconnections_total"): {"redis": reconnected, "rabbitmq": 0, "kafka": 0},
		sum("leat_rebalances_total"):    rebalances,
	})
	checkLabels(t, prom)
	askAll(t, prom)
}

// serveMetrics is what a service does: an exporter, and an address to scrape.
func serveMetrics(t *testing.T) (meters *sdk.MeterProvider, target string) {
	t.Helper()
	registry := client.NewRegistry()
	exporter, err := otelprom.New(otelprom.WithRegisterer(registry), otelprom.WithoutScopeInfo())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	t.Cleanup(server.Close)
	return sdk.NewMeterProvider(sdk.WithReader(exporter)), strings.TrimPrefix(server.URL, "http://")
}

// cutRedis cuts the connections until the alert must fire, and returns how
// many reconnections were scraped.
func cutRedis(t *testing.T, prom *prometheus, cut *proxy.Proxy) (reconnections float64) {
	t.Helper()
	for range 8 {
		cut.Cut()
		before := reconnections
		await(t, "one more reconnection is scraped", func() (bool, string) {
			reconnections = prom.by(t, "messaging_system", sum("leat_reconnections_total"))["redis"]
			return reconnections > before, fmt.Sprint(reconnections)
		})
	}
	return reconnections
}

// checkLabels: nothing that grows with the traffic is a label.
func checkLabels(t *testing.T, prom *prometheus) {
	t.Helper()
	want := []string{
		"__name__", "error_type", "instance", "job", "le", "leat_dead_letter_reason", "leat_handler",
		"messaging_consumer_group_name", "messaging_destination_name", "messaging_operation_name", "messaging_operation_type", "messaging_system",
	}
	if got := prom.labels(t); !slices.Equal(got, want) {
		t.Errorf("labels = %v, want %v", got, want)
	}
}

// askAll asks what the rules and the dashboard ask.
func askAll(t *testing.T, prom *prometheus) {
	t.Helper()
	alerts := prom.expressions(t)
	if len(alerts) != 5 {
		t.Errorf("prometheus has loaded the alerts %v, want 5", alerts)
	}
	for name, expr := range alerts {
		if len(prom.query(t, expr)) == 0 {
			t.Errorf("alert %s: no data for\n%s", name, expr)
		}
	}
	text, err := os.ReadFile(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	panels := panelsOf(t, text)
	if len(panels) != 15 {
		t.Errorf("the dashboard has %d panels and variables with queries, want 15", len(panels))
	}
	for title, exprs := range panels {
		for _, expr := range exprs {
			if got := prom.query(t, expr); len(got) == 0 || nothing(got) {
				t.Errorf("panel %q: no data for\n%s", title, expr)
			}
		}
	}
}

// nothing reports whether no value is a number.
func nothing(all []series) bool {
	return !slices.ContainsFunc(all, func(s series) bool { v := s.value(); return v == v })
}
