package rabbitbus_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
)

func TestTopology_ArgumentByArgument(t *testing.T) {
	t.Parallel()
	for file, cfg := range map[string]rabbitbus.Config{
		"quorum.golden":  {ExchangeName: "wire", ConsumerGroup: "g"},
		"classic.golden": {ExchangeName: "wire", ConsumerGroup: "g", QueueType: rabbitbus.QueueClassic},
		"bare.golden": {
			ExchangeName: "wire", ConsumerGroup: "g", ExchangeType: rabbitbus.ExchangeHeaders, Transient: true, AutoDelete: true, DisableDLQ: true,
			SingleActiveConsumer: true, Bindings: []rabbitbus.Binding{{Arguments: amqp.Table{"x-match": "any", "tenant_id": "t1"}}},
		},
		"publisher.golden": {ExchangeName: "wire", PublishOnly: true, ExchangeType: rabbitbus.ExchangeFanout},
	} {
		golden(t, file, []byte(cfg.Plan().String()))
	}
	exported, err := rabbitbus.Config{}.Plan().Definitions("/")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "definitions.golden", append(exported, '\n'))
	if !json.Valid(exported) {
		t.Error("the definitions are not JSON")
	}
}

// What is exported, and imported by the broker, is what a bus declares.
func testDefinitions(t *testing.T, broker *brokers.Instance) {
	t.Helper()
	for _, kind := range kinds {
		cfg := rabbitbus.Config{URL: broker.URL(), ExchangeName: name(t, broker.URL(), "import"), ConsumerGroup: "g", QueueType: kind}
		exported, err := cfg.Plan().Definitions("/")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "definitions.json")
		if err := os.WriteFile(file, exported, 0o600); err != nil {
			t.Fatal(err)
		}
		control(t, broker, "import_definitions", file)
		for _, mode := range []rabbitbus.TopologyMode{rabbitbus.TopologyPassive, rabbitbus.TopologyDeclare, rabbitbus.TopologyNone} {
			t.Run(string(kind)+" "+mode.String(), func(t *testing.T) {
				cfg.Topology = mode
				bus, recorder := open(t, cfg)
				if err := bus.Publish(t.Context(), events()...); err != nil {
					t.Fatal(err)
				}
				recorder.Wait(t, 3)
			})
		}
	}
}

func TestTopology_WhatDiffersIsNamed(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	exchange := name(t, url, "differs")
	queueOn(t, raw(t, url), exchange, "#", nil)
	open := func(cfg rabbitbus.Config) error {
		cfg.URL, cfg.ExchangeName, cfg.ConsumerGroup, cfg.Registry = url, exchange, "g", eventbus.NewRegistry()
		bus, err := rabbitbus.Open(t.Context(), cfg)
		if err == nil {
			_, err = bus.Shutdown(t.Context())
		}
		return err
	}
	for want, cfg := range map[string]rabbitbus.Config{
		"x-queue-type":           {DisableDLQ: true},
		"x-dead-letter-exchange": {QueueType: rabbitbus.QueueClassic},
		"type":                   {ExchangeType: rabbitbus.ExchangeDirect},
	} {
		var differs *rabbitbus.TopologyError
		err := open(cfg)
		if !errors.As(err, &differs) || differs.Argument != want || differs.Have == "" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	for what, cfg := range map[string]rabbitbus.Config{
		"as it is": {QueueType: rabbitbus.QueueClassic, DisableDLQ: true},
		"none":     {Topology: rabbitbus.TopologyNone},
	} {
		if err := open(cfg); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	var missing *rabbitbus.TopologyError
	if err := open(rabbitbus.Config{Topology: rabbitbus.TopologyPassive}); !errors.As(err, &missing) || missing.Name != exchange+".g.dlq" {
		t.Errorf("passive: %v, want that the queue of the letters is missing", err)
	}
	if err := open(rabbitbus.Config{Topology: rabbitbus.TopologyPassive, DisableDLQ: true}); err != nil {
		t.Errorf("passive without letters: %v", err)
	}
}
