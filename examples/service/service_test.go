package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/internal/leaktest"
	"github.com/leat-go/leat/router"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// client keeps no connection: none is left behind.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}

// ask sends a request; a status of 0 means that there was no answer.
func ask(t *testing.T, method, url, key, body string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(read)
}

const order = `{"customer":"Ada","total_cents":1250}`

// wantHealth asks a probe.
func wantHealth(t *testing.T, url string, status int, want router.Health) {
	t.Helper()
	code, text := ask(t, http.MethodGet, url, "", "")
	var got router.Health
	if err := json.Unmarshal([]byte(text), &got); err != nil || code != status || got != want {
		t.Errorf("%s: %d %s, want %d %+v", url, code, text, status, want)
	}
}

func TestService_InMemory(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, told := io.Pipe()
	b := newBook()
	ended := make(chan int, 1)
	read := make(chan struct{})
	go func() { b.read(out, "the service"); close(read) }()
	var errs bytes.Buffer
	go func() {
		code := run(ctx, []string{"SERVICE_ADDR=127.0.0.1:0", "HOME=/"}, told, &errs)
		_ = told.Close() // a pipe: no error
		ended <- code
	}()
	url := "http://" + b.address(t, "the service")

	wantHealth(t, url+"/live", http.StatusOK, router.Health{Live: true, Ready: true})
	wantHealth(t, url+"/ready", http.StatusOK, router.Health{Live: true, Ready: true})
	for _, bad := range []string{"", "{", `{"customer":"Ada"}`, `{"customer":"Ada","total_cents":1,"more":1}`} {
		if status, text := ask(t, http.MethodPost, url+"/orders", "", bad); status != http.StatusBadRequest {
			t.Errorf("%q: %d %s", bad, status, text)
		}
	}
	if status, text := ask(t, http.MethodPost, url+"/orders", strings.Repeat("k", 250), order); status != http.StatusBadRequest {
		t.Errorf("%d %s", status, text)
	}
	for range 2 { // the second time, handlers know the event
		status, text := ask(t, http.MethodPost, url+"/orders", "k1", order)
		if want := `{"event_id":"k1","order_id":"order-k1"}` + "\n"; status != http.StatusAccepted || text != want {
			t.Errorf("%d %s, want 202 %s", status, text, want)
		}
	}
	_, metrics := ask(t, http.MethodGet, url+"/metrics", "", "")
	for _, want := range []string{
		`messaging_client_sent_messages_total{messaging_destination_name="shop",messaging_operation_name="publish",messaging_system="memory"} 3`,
		`leat_handler_duration_seconds_count{leat_handler="send-invoice",messaging_consumer_group_name="billing",messaging_destination_name="shop",messaging_system="memory"} 2`,
		`go_goroutines `,
	} {
		if !strings.Contains(metrics, "\n"+want) {
			t.Errorf("no %s in\n%s", want, metrics)
		}
	}
	stop()
	if code := <-ended; code != 0 || errs.Len() > 0 {
		t.Errorf("code %d, %s", code, errs.String())
	}
	<-read
	for _, handler := range []string{"send-invoice", "reserve-stock"} {
		if n := b.handled[handler]["k1"]; n != 1 {
			t.Errorf("%s handled it %d times", handler, n)
		}
	}
	if n := b.handled["thank"]["k1-invoice"]; n != 1 {
		t.Errorf("thank handled it %d times", n)
	}
}

func TestSettings_AllMistakesAtOnce(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{
		"SERVICE_BUS=redis", "SERVICE_URL=redis://me:hush@h:port", "SERVICE_ADR=:80", "SERVICE_ADDR=80", "SERVICE_STOP=5s", "SERVICE_LINGER=10s",
		"SERVICE_WORK=long", "SERVICE_CONCURRENCY=0", "SERVICE_LOG=loud",
	}, &out, &errs)
	said := errs.String()
	for _, want := range []string{
		`SERVICE_ADDR: "80" must be host:port, or :port`,
		`SERVICE_ADR: there is no such setting`,
		`SERVICE_WORK: "long" must be a time like 10s`,
		`SERVICE_LINGER: "10s" must be shorter than SERVICE_STOP, 5s`,
		`SERVICE_CONCURRENCY: "0" must be a number from 1`,
		`SERVICE_LOG: "loud" must be debug, info, warn or error`,
		`SERVICE_BUS=redis: redisbus: Config.URL: `,
		"SERVICE_GROUP ", // the list of what there is
	} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in\n%s", want, said)
		}
	}
	if code != 2 || out.Len() > 0 || strings.Contains(said, "hush") {
		t.Errorf("code %d, %s%s", code, out.String(), said)
	}
}

func TestSettings_EachBackend(t *testing.T) {
	t.Parallel()
	for name, urls := range map[string][2]string{
		"memory":   {"", ""},
		"redis":    {"redis://localhost", "http://localhost"},
		"rabbitmq": {"amqp://localhost", "http://localhost"},
		"kafka":    {"one:9092,two:9092", "kafka://one:9092"},
	} {
		if _, err := newSettings([]string{"SERVICE_BUS=" + name, "SERVICE_URL=" + urls[0]}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := newSettings([]string{"SERVICE_BUS=" + name, "SERVICE_URL=" + urls[1]}); err == nil && urls[1] != "" {
			t.Errorf("%s takes %s", name, urls[1])
		}
	}
	if _, err := newSettings([]string{"SERVICE_BUS=pigeons"}); err == nil || !strings.Contains(err.Error(), "must be memory, redis, rabbitmq or kafka") {
		t.Errorf("err = %v", err)
	}
}

func TestService_WithoutItsBroker(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"SERVICE_BUS=redis", "SERVICE_URL=redis://me:hush@127.0.0.1:1"}, &out, &errs)
	if code != 1 || !strings.Contains(out.String(), `"msg":"cannot start"`) || strings.Contains(out.String()+errs.String(), "hush") {
		t.Errorf("code %d, %s%s", code, out.String(), errs.String())
	}
}
