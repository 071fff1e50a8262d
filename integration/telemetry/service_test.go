package telemetry_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/proxy"
	"github.com/leat-go/leat/router"
)

// shops are processes of examples/service, two on each bus: one that works, and
// one whose handlers do not come to an end.
type shops struct {
	work, stuck map[string]*process // by system
	cut         []*proxy.Proxy      // in front of Redis and RabbitMQ
}

func openShops(t *testing.T) *shops {
	t.Helper()
	file, run := binary(t), "telemetry-"+strings.ToLower(rand.Text()[:8])
	s := &shops{work: map[string]*process{}, stuck: map[string]*process{}}
	through := func(address string) string {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		p, err := proxy.Start(u.Host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		s.cut = append(s.cut, p)
		u.Host = p.Addr()
		return u.String()
	}
	for bus, address := range map[string]string{
		"memory": "", "redis": through(brokers.Redis(t)), "rabbitmq": through(brokers.RabbitMQ(t)), "kafka": brokers.KafkaBrokers(t),
	} {
		s.work[bus] = startService(t, file, bus, "SERVICE_URL="+address, "SERVICE_FAIL=Bob",
			"SERVICE_TOPIC="+run, "SERVICE_GROUP="+run, "SERVICE_LINGER=5m", "SERVICE_STOP=10m")
		s.stuck[bus] = startService(t, file, bus, "SERVICE_URL="+address, "SERVICE_WORK=1h", "SERVICE_CONCURRENCY=4",
			"SERVICE_TOPIC="+run+"-stuck", "SERVICE_GROUP="+run+"-stuck")
	}
	return s
}

func addresses(of map[string]*process) (all []string) {
	for _, p := range of {
		all = append(all, p.addr)
	}
	return all
}

// everywhere is a value on each bus, in memory too.
func everywhere(v float64) map[string]float64 { return same(v, "memory", "redis", "rabbitmq", "kafka") }

// The example service runs as what it is, a program, and gets a known number of
// orders. A real Prometheus scrapes it, and each metric has its value.
func TestService_EachMetricHasItsValueAfterAKnownRun(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no SIGTERM to send on Windows")
	}
	tool(t, "prometheus")
	var crowd sync.WaitGroup
	t.Cleanup(crowd.Wait) // the last cleanup: nobody answers any more
	s := openShops(t)
	prom := startPrometheus(t, rules, map[string][]string{"work": addresses(s.work), "stuck": addresses(s.stuck)})
	await(t, "all are scraped", func() (bool, string) {
		up := prom.query(t, "up == 1")
		return len(up) == len(s.work)+len(s.stuck), fmt.Sprint(up)
	})

	// Twenty orders, each with its invoice, and one that cannot be invoiced.
	for _, p := range s.work {
		p.orders(t, 20)
		crowd.Go(func() { p.order(t, "Bob") }) // in memory it is answered when its handlers are done
	}
	// Six that begin, or wait for one of four workers.
	for _, p := range s.stuck {
		for range 6 {
			crowd.Go(func() { p.order(t, "Eve") })
		}
	}
	invoice, work := `leat_handler="send-invoice"`, `job="work"`
	prom.wants(t, "21 orders and 20 invoices", map[string]map[string]float64{
		sum("messaging_client_sent_messages_total{" + work + "}"):                                       everywhere(41),
		sum("messaging_client_operation_duration_seconds_count{" + work + "}"):                          everywhere(41),
		sum("messaging_client_consumed_messages_total{" + work + "}"):                                   everywhere(41),
		sum("messaging_process_duration_seconds_count{" + work + "}"):                                   everywhere(41),
		sum("leat_queue_duration_seconds_count{" + work + "}"):                                          everywhere(41),
		sum(`leat_queue_duration_seconds_bucket{le="3600", ` + work + "}"):                              everywhere(41),
		sum("leat_handler_duration_seconds_count{" + invoice + `, error_type="", ` + work + "}"):        everywhere(20),
		sum("leat_handler_duration_seconds_count{" + invoice + `, error_type!="", ` + work + "}"):       everywhere(4),
		sum(`leat_handler_duration_seconds_count{leat_handler="reserve-stock", ` + work + "}"):          everywhere(21),
		sum(`leat_handler_duration_seconds_count{leat_handler="thank", ` + work + "}"):                  everywhere(20),
		sum("leat_retries_total{" + work + "}"):                                                         everywhere(3),
		sum("leat_retries_total{" + invoice + ", " + work + "}"):                                        everywhere(3),
		sum("leat_dead_letters_total{" + work + "}"):                                                    everywhere(1),
		sum("leat_dead_letters_total{" + invoice + `, leat_dead_letter_reason="max_retries_exceeded"}`): everywhere(1),
		sum("leat_dead_letters_waiting{" + work + "}"):                                                  everywhere(1),
		sum("leat_in_flight{" + work + "}"):                                                             everywhere(0),
		sum("leat_lanes_busy{" + work + "}"):                                                            same(0),
		sum("leat_lag{" + work + "}"):                                                                   same(0),
		sum("leat_consumers{" + work + "}"):                                                             everywhere(1),
		sum("leat_reconnections_total{" + work + "}"):                                                   same(0),
		sum("leat_rebalances_total{" + work + "}"):                                                      same(0, "kafka"),
	})
	// In memory a publisher gives up waiting; then its handlers end too.
	prom.wants(t, "six orders that are stuck", map[string]map[string]float64{
		sum(`messaging_client_consumed_messages_total{job="stuck"}`): {"memory": 6, "redis": 4, "rabbitmq": 4, "kafka": 4},
		sum(`max_over_time(leat_in_flight{job="stuck"}[10m])`):       {"memory": 6, "redis": 4, "rabbitmq": 4, "kafka": 4},
		sum(`leat_lanes_busy{job="stuck"}`):                          same(4),
		sum(`leat_lag{job="stuck"}`):                                 {"redis": 0, "rabbitmq": 0, "kafka": 6}, // read, read, not committed
		sum(`leat_dead_letters_waiting{job="stuck"}`):                everywhere(0),
	})
	s.wantNames(t, prom)
	s.lose(t, prom)
	s.stop(t, prom)
}

// wantNames checks that there is no metric that the run above does not know.
func (s *shops) wantNames(t *testing.T, prom *prometheus) {
	t.Helper()
	got := map[string][]string{}
	for _, one := range prom.query(t, `count by (__name__, messaging_system) ({job="work", __name__=~"leat_.+|messaging_.+"})`) {
		name := strings.NewReplacer("_seconds_bucket", "", "_seconds_count", "", "_seconds_sum", "").Replace(one.Metric["__name__"])
		if system := one.Metric["messaging_system"]; !slices.Contains(got[system], name) {
			got[system] = append(got[system], name)
		}
	}
	memory := []string{
		"leat_consumers", "leat_dead_letters_total", "leat_dead_letters_waiting", "leat_handler_duration", "leat_in_flight", "leat_queue_duration", "leat_retries_total",
		"messaging_client_consumed_messages_total", "messaging_client_operation_duration", "messaging_client_sent_messages_total", "messaging_process_duration",
	}
	broker := append([]string{"leat_lag", "leat_lanes_busy", "leat_reconnections_total"}, memory...)
	want := map[string][]string{"memory": memory, "redis": broker, "rabbitmq": broker, "kafka": append([]string{"leat_rebalances_total"}, broker...)}
	for _, system := range slices.Sorted(maps.Keys(s.work)) {
		slices.Sort(got[system])
		if slices.Sort(want[system]); !slices.Equal(got[system], want[system]) {
			t.Errorf("%s tells %q, want %q", system, got[system], want[system])
		}
	}
}

// lose cuts the connections once: one of Redis reads, and of RabbitMQ's one
// consumes and one publishes.
func (s *shops) lose(t *testing.T, prom *prometheus) {
	t.Helper()
	for _, p := range s.cut {
		p.Cut()
	}
	for _, p := range s.work {
		await(t, "orders are accepted again", func() (bool, string) {
			status := p.order(t, "Ada")
			return status == http.StatusAccepted, http.StatusText(status)
		})
	}
	prom.wants(t, "connected again", map[string]map[string]float64{
		sum(`leat_reconnections_total{job="work"}`): {"redis": 1, "rabbitmq": 2, "kafka": 0},
		sum(`leat_in_flight{job="work"}`):           everywhere(0),
		sum(`leat_lag{job="work"}`):                 same(0),
	})
}

// stop sends SIGTERM. The service is not ready from then on, and says why; it
// does not consume, and takes orders while others may not have noticed.
func (s *shops) stop(t *testing.T, prom *prometheus) {
	t.Helper()
	delete(s.work, "memory")
	for system, p := range s.work {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		await(t, system+" is not ready", func() (bool, string) {
			_, err := get(t, "http://"+p.addr+"/ready")
			if err == nil {
				return false, "it is ready"
			}
			var health router.Health
			status, body, _ := strings.Cut(err.Error(), ": ")
			if json.Unmarshal([]byte(body), &health) != nil || status != "503 Service Unavailable" || health != (router.Health{Live: true, Reason: "draining"}) {
				t.Fatalf("%s: %v, want 503 and the reason", system, err)
			}
			return true, ""
		})
	}
	prom.wants(t, "nobody consumes", map[string]map[string]float64{sum(`leat_consumers{job="work", messaging_system!="memory"}`): same(0)})
	for _, p := range s.work {
		p.orders(t, 30)
	}
	prom.wants(t, "30 orders wait", map[string]map[string]float64{
		sum(`leat_lag{job="work", messaging_system!="memory"}`):       same(30),
		sum(`leat_in_flight{job="work", messaging_system!="memory"}`): same(0),
		sum(`leat_consumers{job="work"}`):                             {"memory": 1, "redis": 0, "rabbitmq": 0, "kafka": 0},
		sum(`leat_dead_letters_waiting{job="work"}`):                  everywhere(1),
	})
}
