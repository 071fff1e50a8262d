package kafkabus_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/kafkabus"
)

// tap is a hook and a dialer of a user's own: it counts connections, and keeps
// what is written to them.
type tap struct {
	mu    sync.Mutex
	dials int
	wrote bytes.Buffer
}

func (p *tap) OnBrokerConnect(kgo.BrokerMetadata, time.Duration, net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dials++
}

func (p *tap) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	return tapped{conn, p}, err
}

type tapped struct {
	net.Conn

	tap *tap
}

func (c tapped) Write(b []byte) (int, error) {
	c.tap.mu.Lock()
	c.tap.wrote.Write(b)
	c.tap.mu.Unlock()
	return c.Conn.Write(b)
}

// named reports whether a client of this name has asked the brokers anything:
// each request begins with it.
func (p *tap) named(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Contains(p.wrote.Bytes(), append([]byte{0, byte(len(id))}, id...))
}

// A user's options reach the client, and win over what this package sets. The
// consuming client has them, too, under its own name.
func TestConfig_OptionsArePassedThrough(t *testing.T) {
	t.Parallel()
	cluster, _ := fake(t)
	racks := make(chan string, 1)
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Count: -1, Observe: true, When: func(r kmsg.Request) bool {
		select {
		case racks <- r.(*kmsg.FetchRequest).Rack:
		default:
		}
		return true
	}})
	tap := &tap{}
	bus := openBus(t, kafkabus.Config{
		BootstrapServers: cluster.ListenAddrs()[0], ConsumerName: "consumer-1", Topics: kafkabus.TopicConfig{Partitions: 1},
		Options: []kgo.Opt{kgo.ClientID("of-the-user"), kgo.Rack("rack-7"), kgo.WithHooks(tap), kgo.Dialer(tap.dial)},
	})
	if !tap.named("of-the-user") || tap.named("leat") {
		t.Error("the brokers see another client id than the user's")
	}
	tap.mu.Lock()
	dials := tap.dials
	tap.mu.Unlock()
	if dials == 0 {
		t.Error("the user's hook was not called")
	}
	handled := make(chan struct{})
	if _, err := eventbus.Subscribe(bus, "h", func(context.Context, Placed) error { close(handled); return nil }); err != nil {
		t.Fatal(err)
	}
	run(t, bus)
	if err := bus.Publish(t.Context(), placed("a")); err != nil {
		t.Fatal(err)
	}
	<-handled
	if rack := <-racks; rack != "rack-7" {
		t.Errorf("fetched as rack %q, want rack-7", rack)
	}
	if !tap.named("consumer-1") {
		t.Error("the consuming client did not use the user's dialer, or not its own name")
	}
}

// A client that was given is used as it is, and stays open.
func TestConfig_AGivenClientStaysOpen(t *testing.T) {
	t.Parallel()
	client := shared(t, kgo.ClientID("mine"))
	bus := openBus(t, kafkabus.Config{Client: client, Topics: kafkabus.TopicConfig{Partitions: 1}})
	handled := make(chan struct{})
	if _, err := eventbus.Subscribe(bus, "h", func(context.Context, Placed) error { close(handled); return nil }); err != nil {
		t.Fatal(err)
	}
	run(t, bus)
	if err := bus.Publish(t.Context(), placed("a")); err != nil {
		t.Fatal(err)
	}
	<-handled
	if _, err := bus.Shutdown(t.Context()); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if err := bus.Publish(t.Context(), placed("b")); !errors.Is(err, kafkabus.ErrClosed) {
		t.Errorf("publish after shutdown: %v, want ErrClosed", err)
	}
	topic := newTopic(t, "open", 1, nil)
	produce(t, client, &kgo.Record{Topic: topic, Value: []byte("still")})
	if group, _ := client.OptValue(kgo.ConsumerGroup).(string); group != "" {
		t.Errorf("the client is in the group %q", group)
	}
}

// A disk that is full, or that fails, makes Publish end at its deadline with an
// error that says unknown: the client goes on trying. Nothing is lost or doubled,
// other partitions go on, and all do when the disk is back.
func TestFake_StorageError(t *testing.T) {
	t.Parallel()
	cluster, client := fake(t)
	topic, group := name("disk"), name("g")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 4}})
	publish(t, pub, topic, msg("before", "a"))
	out := subscribe(t, newSubscriber(t, kafkabus.SubscriberConfig{Client: client, ConsumerGroup: group}), topic)
	next(t, out).Ack()
	full := cluster.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Partitions: []int32{3}, Err: kerr.KafkaStorageError, Count: -1,
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	errs := pub.PublishBatch(ctx, topic, []*message.Message{msg("1", "a"), msg("2", "abc"), msg("3", "ab")})
	if len(errs) != 3 || errs[0] != nil || errs[2] != nil {
		t.Fatalf("outcomes: %v; want the second one's error alone", errs)
	}
	if !errors.Is(errs[1], kafkabus.ErrUnknown) || !errors.Is(errs[1], context.DeadlineExceeded) {
		t.Errorf("%v, want unknown, deadline exceeded", errs[1])
	}
	for range 2 { // consuming goes on
		next(t, out).Ack()
	}
	full.Remove()
	publish(t, pub, topic, msg("4", "abc"))
	times := map[string]int{}
	for times["4"] == 0 {
		m := next(t, out)
		times[m.UUID]++
		m.Ack()
	}
	if times["2"] > 1 || times["4"] != 1 {
		t.Errorf("%v came, want 4 once, and 2 once at most", times)
	}
}
