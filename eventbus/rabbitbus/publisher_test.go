package rabbitbus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/proxy"
)

// queueOn declares a classic queue that takes what the pattern matches.
func queueOn(t testing.TB, ch *amqp.Channel, exchange, pattern string, args amqp.Table) string {
	t.Helper()
	queue := exchange + ".g"
	if err := ch.ExchangeDeclare(exchange, "topic", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare(queue, true, false, false, false, args); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(queue, pattern, exchange, false, nil); err != nil {
		t.Fatal(err)
	}
	return queue
}

func TestPublisher_ABatchIsConfirmedAndInOrder(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	ch := raw(t, url)
	exchange := name(t, url, "order")
	queue := queueOn(t, ch, exchange, "#", nil)
	pub := newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, url)})

	publish(t, pub, exchange, batch(3000, "k")...)

	if n := ready(t, ch, queue); n != 3000 {
		t.Fatalf("%d messages in the queue, want 3000", n)
	}
	for i := range 3000 {
		d, ok, err := ch.Get(queue, true)
		if err != nil || !ok || d.MessageId != fmt.Sprint(i) {
			t.Fatalf("message %d is %q (%v, %v), want the order of the call", i, d.MessageId, ok, err)
		}
	}
}

func TestPublisher_UnroutableNamesTheKeyAndLeavesTheOthers(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	ch := raw(t, url)
	exchange := name(t, url, "unroutable")
	queue := queueOn(t, ch, exchange, "Test.*", nil)
	pub := newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, url)})
	msgs := batch(2500, "k")
	for i, m := range msgs {
		if i%2 == 1 {
			m.Metadata["aggregate_type"] = "Nobody"
		}
	}

	errs := pub.PublishBatch(t.Context(), exchange, msgs)

	for i, err := range errs {
		var unroutable *rabbitbus.UnroutableError
		if i%2 == 0 && err != nil {
			t.Fatalf("message %d: %v, want it confirmed", i, err)
		}
		if i%2 == 1 && (!errors.As(err, &unroutable) || unroutable.RoutingKey != "Nobody.Tested" || errors.Is(err, rabbitbus.ErrUnknown)) {
			t.Fatalf("message %d: %v, want an UnroutableError with its key", i, err)
		}
	}
	if len(errs) != len(msgs) || ready(t, ch, queue) != 1250 {
		t.Errorf("%d outcomes, %d messages in the queue, want 2500 and 1250", len(errs), ready(t, ch, queue))
	}
	lenient := newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, url), AllowUnroutable: true})
	publish(t, lenient, exchange, msgs[1])
}

func TestPublisher_NackedIsRefused(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	ch := raw(t, url)
	exchange := name(t, url, "full")
	queueOn(t, ch, exchange, "#", amqp.Table{"x-max-length": 2, "x-overflow": "reject-publish"})
	pub := newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, url)})
	publish(t, pub, exchange, batch(2, "k")...)

	errs := pub.PublishBatch(t.Context(), exchange, batch(3, "k"))

	for i, err := range errs {
		var refused *rabbitbus.RefusedError
		if !errors.As(err, &refused) || errors.Is(err, rabbitbus.ErrUnknown) {
			t.Errorf("message %d to a full queue: %v, want a RefusedError", i, err)
		}
	}
	if len(errs) != 3 {
		t.Errorf("%d outcomes, want 3", len(errs))
	}
}

func TestPublisher_BadInputIsRefusedAloneAndTheConnectionLives(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	ch := raw(t, url)
	exchange := name(t, url, "input")
	queue := queueOn(t, ch, exchange, "#", nil)
	client := connect(t, url)
	pub := newPublisher(t, rabbitbus.PublisherConfig{Client: client, MaxMessageBytes: 1000})
	long := strings.Repeat("x", 300)
	bad := map[string]func(*message.Message){
		"payload":     func(m *message.Message) { m.Payload = make([]byte, 1001) },
		"key":         func(m *message.Message) { m.Metadata["event_type"] = long },
		"header name": func(m *message.Message) { m.Metadata[long] = "v" },
		"headers":     func(m *message.Message) { m.Metadata["big"] = strings.Repeat("x", 200_000) },
		"uuid":        func(m *message.Message) { m.UUID = long },
		"reserved":    func(m *message.Message) { m.Metadata["_watermill_message_uuid"] = "other" },
	}
	for what, spoil := range bad {
		msgs := batch(3, "k")
		spoil(msgs[1])
		errs := pub.PublishBatch(t.Context(), exchange, msgs)
		if len(errs) != 3 || errs[0] != nil || errs[1] == nil || errs[2] != nil || errors.Is(errs[1], rabbitbus.ErrUnknown) {
			t.Errorf("%s: %v, want only the second refused", what, errs)
		}
	}
	if n := ready(t, ch, queue); n != 2*len(bad) {
		t.Errorf("%d messages in the queue, want %d", n, 2*len(bad))
	}
	m := msg("hostile", "k")
	m.Metadata["a\r\nb\x00"] = "\r\n\x00\xff"
	m.Metadata["traceparent"] = "junk"
	publish(t, pub, exchange, m)
	if client.Stats().Reconnections != 0 {
		t.Error("the connection was lost")
	}
}

func TestPublisher_MissingExchangeIsTyped(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	client := connect(t, url)
	passive := newPublisher(t, rabbitbus.PublisherConfig{Client: client, Topology: rabbitbus.TopologyConfig{Mode: rabbitbus.TopologyPassive}})
	var missing *rabbitbus.TopologyError
	if err := passive.Publish(name(t, url, "missing"), msg("1", "k")); !errors.As(err, &missing) || missing.Kind != "exchange" || errors.Is(err, rabbitbus.ErrUnknown) {
		t.Errorf("passive: %v, want a TopologyError", err)
	}
	unchecked := newPublisher(t, rabbitbus.PublisherConfig{Client: client, Topology: rabbitbus.TopologyConfig{Mode: rabbitbus.TopologyNone}})
	var refused *rabbitbus.RefusedError
	if err := unchecked.Publish(name(t, url, "missing"), msg("1", "k")); !errors.As(err, &refused) || refused.Code != 404 || errors.Is(err, rabbitbus.ErrUnknown) {
		t.Errorf("unchecked: %v, want a RefusedError with 404", err)
	}
	// And then it works, unaided.
	exchange := name(t, url, "there")
	queueOn(t, raw(t, url), exchange, "#", nil)
	publish(t, passive, exchange, msg("1", "k"))
	publish(t, unchecked, exchange, msg("2", "k"))
}

func TestPublisher_LargeCallsDoNotHoldUpSmallOnes(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	ch := raw(t, url)
	exchange := name(t, url, "fair")
	queue := queueOn(t, ch, exchange, "#", nil)
	pub := newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, url)})
	publish(t, pub, exchange, msg("warm", "k"))
	large := make(chan error, 1)
	go func() { large <- pub.Publish(exchange, batch(20_000, "k")...) }()
	eventually(t, "the large call is under way", func() bool { return ready(t, ch, queue) > 1 })
	publish(t, pub, exchange, msg("small", "k"))
	select {
	case err := <-large:
		t.Errorf("the small call waited for all of the large one (%v)", err)
	default:
	}
	if err := <-large; err != nil {
		t.Error(err)
	}
}

func TestPublisher_ConcurrentCallsAndClose(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	ch := raw(t, url)
	exchange := name(t, url, "many")
	queue := queueOn(t, ch, exchange, "#", nil)
	pub := newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, url)})
	var wg sync.WaitGroup
	for p := range 32 {
		wg.Go(func() {
			for i := range 20 {
				if err := pub.Publish(exchange, msg(fmt.Sprintf("%d-%d", p, i), "k")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := ready(t, ch, queue); n != 640 {
		t.Errorf("%d messages, want 640", n)
	}
	if err := errors.Join(pub.Close(), pub.Close()); err != nil {
		t.Error(err)
	}
	if err := pub.Publish(exchange, msg("late", "k")); !errors.Is(err, rabbitbus.ErrClosed) {
		t.Errorf("after close: %v, want ErrClosed", err)
	}
}

func TestPublisher_CloseWhileTheBrokerReadsNothing(t *testing.T) {
	t.Parallel()
	address := brokers.RabbitMQ(t)
	exchange := name(t, address, "deaf")
	queueOn(t, raw(t, address), exchange, "#", nil)
	proxied, p := throughProxy(t, address)
	client := connect(t, proxied)
	pub := newPublisher(t, rabbitbus.PublisherConfig{Client: client})
	publish(t, pub, exchange, msg("before", "k"))
	p.Stall(proxy.Both)
	large := batch(200, "k")
	for _, m := range large {
		m.Payload = make([]byte, 200_000) // more than all buffers between hold
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	errs := pub.PublishBatch(ctx, exchange, large)
	if len(errs) != len(large) || !errors.Is(errs[0], rabbitbus.ErrUnknown) || errors.Is(errs[199], rabbitbus.ErrUnknown) || !errors.Is(errs[199], context.DeadlineExceeded) {
		t.Errorf("%v, want the first unknown and the last not sent", errs)
	}
	closed := make(chan error, 1)
	go func() { closed <- pub.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("Close hangs")
	}
	p.Flow(proxy.Both)
	publish(t, newPublisher(t, rabbitbus.PublisherConfig{Client: client}), exchange, msg("after", "k"))
}

func TestPublisher_DeadContextSendsNothing(t *testing.T) {
	t.Parallel()
	url := brokers.RabbitMQ(t)
	pub := newPublisher(t, rabbitbus.PublisherConfig{Client: connect(t, url)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	errs := pub.PublishBatch(ctx, name(t, url, "dead"), batch(2, "k"))
	if len(errs) != 2 || !errors.Is(errs[0], context.Canceled) || errors.Is(errs[0], rabbitbus.ErrUnknown) {
		t.Errorf("%v, want that nothing was sent", errs)
	}
	if err := pub.Publish(""); err != nil {
		t.Errorf("publishing nothing: %v", err)
	}
	if err := pub.Publish("", msg("1", "k")); err == nil {
		t.Error("an empty topic was taken")
	}
	<-time.After(time.Millisecond)
}
