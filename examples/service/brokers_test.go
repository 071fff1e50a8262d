package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	amqp091 "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
)

// wantOrder runs the service on a broker for one order.
func wantOrder(t *testing.T, bus, url, topic string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, told := io.Pipe()
	b := newBook()
	ended, read := make(chan int, 1), make(chan struct{})
	go func() { b.read(out, bus); close(read) }()
	var errs bytes.Buffer
	go func() {
		code := run(ctx, []string{"SERVICE_ADDR=127.0.0.1:0", "SERVICE_BUS=" + bus, "SERVICE_URL=" + url, "SERVICE_TOPIC=" + topic}, told, &errs)
		_ = told.Close() // a pipe: no error
		ended <- code
	}()
	address := "http://" + b.address(t, bus)
	if status, text := ask(t, http.MethodPost, address+"/orders", "k1", order); status != http.StatusAccepted {
		t.Errorf("%d %s", status, text)
	}
	await(t, "the order is handled", func() bool { return b.handledAll(map[string]bool{"k1": true}) })
	stop()
	if code := <-ended; code != 0 || errs.Len() > 0 {
		t.Errorf("code %d, %s", code, errs.String())
	}
	<-read
	if l := b.last[bus]; l.Published != 2 || l.Handled != 2 || len(b.other) > 0 {
		t.Errorf("%+v, want 2 published and 2 handled; %q", l, b.other)
	}
}

func TestService_OnRabbitMQ(t *testing.T) {
	t.Parallel()
	address, topic := brokers.RabbitMQ(t), "service-test-"+eventbus.NewID()
	t.Cleanup(func() {
		conn, err := amqp091.Dial(address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		ch, err := conn.Channel()
		if err != nil {
			t.Fatal(err)
		}
		queue := rabbitbus.QueueName(topic, "billing")
		_, err1 := ch.QueueDelete(queue, false, false, false)
		_, err2 := ch.QueueDelete(rabbitbus.DeadQueueName(queue), false, false, false)
		if err := errors.Join(err1, err2, ch.ExchangeDelete(topic, false, false), ch.ExchangeDelete(rabbitbus.DeadExchangeName(topic), false, false)); err != nil {
			t.Error(err)
		}
	})
	wantOrder(t, "rabbitmq", address, topic)
}

func TestService_OnKafka(t *testing.T) {
	t.Parallel()
	address, topic := brokers.KafkaBrokers(t), "service-test-"+eventbus.NewID()
	t.Cleanup(func() {
		client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(address, ",")...))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if _, err := kadm.NewClient(client).DeleteTopics(context.Background(), topic+".stream", topic+".stream.dlq"); err != nil {
			t.Error(err)
		}
	})
	wantOrder(t, "kafka", address, topic)
}
