package rabbitbus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
)

func TestConfig_ValidateReportsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	err := rabbitbus.Config{
		URL: "http://user:canary@host/", MoreURLs: []string{"amqp://user:canary@elsewhere/", "amqp://:canary%zz@x"}, Heartbeat: time.Millisecond,
		ExchangeName: "amq.x", ExchangeType: "odd", QueueType: "odd", Topology: 9, PrefetchCount: -1, Concurrency: -2, MaxDeliveries: -2,
		ConfirmTimeout: -1, RoutingKeyPattern: strings.Repeat("x", 256), MaxReplays: -5,
	}.Validate()
	for _, field := range []string{
		"Config.URL", "Config.MoreURLs[0]", "Config.MoreURLs[1]", "Config.Heartbeat", "Config.ExchangeName", "Config.ExchangeType", "Config.QueueType",
		"Config.Topology", "Config.PrefetchCount", "Config.Concurrency", "Config.MaxDeliveries", "Config.ConfirmTimeout", "Config.RoutingKeyPattern",
		"Config.MaxReplays", "Config.Registry",
	} {
		if err == nil || !strings.Contains(err.Error(), "rabbitbus: "+field+": ") {
			t.Errorf("%s is not reported in\n%v", field, err)
		}
	}
	if strings.Contains(fmt.Sprint(err), "canary") {
		t.Errorf("the password shows in\n%v", err)
	}
	for _, line := range strings.Split(fmt.Sprint(err), "\n") {
		if !strings.HasPrefix(line, "rabbitbus: Config.") {
			t.Errorf("a line that names another config: %s", line)
		}
	}
	if err := (rabbitbus.Config{Registry: eventbus.NewRegistry()}).Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	for _, good := range []string{"amqps://u:p@far:5671/v%2Fhost?heartbeat=5&connection_timeout=100", "amqp://[::1]:5672", "amqps://far?auth_mechanism=external&certfile=a&keyfile=b"} {
		if err := (rabbitbus.ClientConfig{URL: good}).Validate(); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

func TestConfig_SecretsShowNowhere(t *testing.T) {
	t.Parallel()
	const secret = "canary"
	url := "amqp://user:" + secret + "@localhost:1/v?certfile=" + secret
	client := rabbitbus.ClientConfig{URL: url, MoreURLs: []string{url}}
	bus := rabbitbus.Config{URL: url, MoreURLs: []string{url}, Registry: eventbus.NewRegistry()}
	_, openErr := rabbitbus.Open(t.Context(), bus)
	values := []any{client, &client, bus, &bus, openErr}
	for _, misplaced := range []string{"user:" + secret + "@localhost:1", "amqp:user:" + secret + "@localhost:1", "amqp:/user:" + secret + "@localhost:1"} {
		client := rabbitbus.ClientConfig{URL: misplaced} // without a scheme: to net/url "user" is one
		values = append(values, client, client.Validate())
	}
	for _, v := range values {
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		packed, _ := json.Marshal(v)
		shown := fmt.Sprintf("%v %+v %#v %s %q %x %d", v, v, v, v, v, v, v) + log.String() + string(packed)
		if strings.Contains(shown, secret) || strings.Contains(shown, fmt.Sprintf("%x", secret)) {
			t.Errorf("%T shows the password: %s", v, shown)
		}
	}
	if openErr == nil {
		t.Error("opened a bus on a port that nobody listens on")
	}
}

func TestConnect_TLSAndCredentials(t *testing.T) {
	t.Parallel()
	address := brokers.Shared(t, brokers.EnvRabbitTLSURL)
	set := brokers.Certs(t)
	trust, err := set.Client("")
	if err != nil {
		t.Fatal(err)
	}
	trust.ServerName = ""
	c, err := rabbitbus.Connect(t.Context(), rabbitbus.ClientConfig{
		URL: "amqps://nobody:wrong@" + hostOf(address), TLS: trust,
		Credentials: func(context.Context) (string, string, error) {
			return brokers.RabbitUser, brokers.RabbitPassword, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	byQuery, err := rabbitbus.Connect(t.Context(), rabbitbus.ClientConfig{URL: address + "?cacertfile=" + set.CAFile()})
	if err != nil {
		t.Fatal(err)
	}
	_ = byQuery.Close()

	var failed *rabbitbus.ConnectError
	began := time.Now()
	for what, cfg := range map[string]rabbitbus.ClientConfig{
		"unknown authority": {URL: address},
		"missing file":      {URL: address + "?cacertfile=/does/not/exist"},
		"plain port":        {URL: strings.Replace(brokers.RabbitMQ(t), "amqp:", "amqps:", 1), TLS: trust},
		"wrong password":    {URL: "amqp://" + brokers.RabbitUser + ":canary@" + hostOf(brokers.RabbitMQ(t))},
	} {
		if _, err := rabbitbus.Connect(t.Context(), cfg); !errors.As(err, &failed) || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), brokers.RabbitPassword) {
			t.Errorf("%s: %v, want a ConnectError", what, err)
		} else {
			t.Logf("%s: %v", what, err)
		}
	}
	var refused *rabbitbus.RefusedError
	_, err = rabbitbus.Connect(t.Context(), rabbitbus.ClientConfig{URL: "amqp://" + brokers.RabbitUser + ":canary@" + hostOf(brokers.RabbitMQ(t))})
	if !errors.As(err, &refused) || refused.Code != 403 {
		t.Errorf("wrong password: %v, want code 403", err)
	}
	if time.Since(began) > time.Minute {
		t.Errorf("the refusals took %v", time.Since(began))
	}
	// The second node of a cluster answers.
	c, err = rabbitbus.Connect(t.Context(), rabbitbus.ClientConfig{URL: "amqp://127.0.0.1:1", MoreURLs: []string{brokers.RabbitMQ(t)}})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

func hostOf(address string) string {
	_, host, _ := strings.Cut(address, "@")
	return strings.TrimSuffix(host, "/")
}
