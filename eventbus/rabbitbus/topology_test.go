package rabbitbus_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
)

func TestTopology_ArgumentByArgument(t *testing.T) {
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

func TestTopology_WhatDiffersIsNamed(t *testing.T) {
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
