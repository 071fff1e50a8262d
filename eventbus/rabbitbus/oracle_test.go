package rabbitbus_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leat-go/leat/eventbus/internal/bustest"
	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/integration/proxy"
)

// oracle publishes and consumes during a fault, and judges afterwards.
type oracle struct {
	*bustest.Oracle
	pub        *rabbitbus.Publisher
	sub        *rabbitbus.Subscriber
	log        *lines
	publishing *rabbitbus.Client
	proxy      *proxy.Proxy // between all of it and the broker

	holding atomic.Pointer[func() bool] // what the next handler waits for
}

// observe starts publishers and a consumer on the server at the address.
func observe(t testing.TB, url string, broker *brokers.Instance, cfg rabbitbus.SubscriberConfig) *oracle {
	t.Helper()
	o, topic := &oracle{log: &lines{}}, name(t, url, "oracle")
	url, o.proxy = throughProxy(t, url)
	url += "?heartbeat=2"
	cfg.Client, cfg.Logger = connect(t, url), slog.New(o.log)
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 8
	}
	o.publishing = connect(t, url)
	o.pub = newPublisher(t, rabbitbus.PublisherConfig{Client: o.publishing, Topology: cfg.Topology, Logger: cfg.Logger})
	o.Oracle = &bustest.Oracle{
		T: t, Patience: bustest.Patience(patience), Topic: topic,
		Publisher: o.pub, Message: msg, Pause: 2 * time.Millisecond, Late: true, Before: o.wait,
	}
	o.sub = newSubscriber(t, cfg)
	o.Consume(subscribe(t, o.sub, o.Topic))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%+v, %+v; log: %q", o.sub.Stats(), o.publishing.Stats(), o.log.All())
			for _, what := range [][]string{{"list_queues", "name", "consumers", "messages_ready", "messages_unacknowledged", "state"}, {"list_consumers"}} {
				said, err := broker.Rabbitmqctl(context.Background(), what...)
				t.Logf("%s: %s%v", what[0], said, err)
			}
		}
	})
	o.Start()
	return o
}

// hold makes one handler wait until the condition holds.
func (o *oracle) hold(until func() bool) {
	o.T.Helper()
	o.holding.Store(&until)
	eventually(o.T, "what the handler waits for", until)
}

func (o *oracle) wait() {
	for until := o.holding.Swap(nil); until != nil && !(*until)(); {
		<-time.After(10 * time.Millisecond)
	}
}

// judge ends publishing, waits for the rest, and checks. It returns how many
// events were handled more than once.
func (o *oracle) judge() (repeated int) {
	o.T.Helper()
	o.Stop()
	for deadline := time.Now().Add(patience); len(o.Lost()) > 0 && time.Now().Before(deadline); {
		<-time.After(10 * time.Millisecond)
	}
	if err := o.sub.Close(); err != nil {
		o.T.Errorf("close: %v", err)
	}
	o.T.Logf("%+v; log: %q", o.sub.Stats(), o.log.All())
	return o.Judge()
}
