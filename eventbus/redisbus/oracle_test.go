package redisbus_test

import (
	"log/slog"
	"maps"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/eventbus/internal/bustest"
	"github.com/leat-go/leat/eventbus/redisbus"
)

// oracle publishes and consumes during a fault, and judges afterwards.
type oracle struct {
	*bustest.Oracle
	pub *redisbus.Publisher
	sub *redisbus.Subscriber
	log *lines
}

// observe starts publishers and a consumer on the server at the address.
func observe(t testing.TB, client redis.UniversalClient, cfg redisbus.SubscriberConfig) *oracle {
	t.Helper()
	o := &oracle{log: &lines{}}
	cfg.Client, cfg.Logger = client, slog.New(o.log)
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 8
	}
	o.pub = newPublisher(t, redisbus.PublisherConfig{Client: client})
	o.Oracle = &bustest.Oracle{
		T: t, Patience: bustest.Patience(patience), Topic: "oracle",
		Publisher: o.pub, Message: msg, Pause: 2 * time.Millisecond, Late: true,
	}
	o.sub = newSubscriber(t, cfg)
	o.Consume(subscribe(t, o.sub, o.Topic))
	o.Start()
	return o
}

// forgive lets what was published since then be lost: a server that died had
// confirmed it alone, though its publisher may hear of that later than now.
func (o *oracle) forgive(since map[string]bool) {
	atRisk := o.Tried()
	maps.DeleteFunc(atRisk, func(id string, _ bool) bool { return since[id] })
	o.Excuse(atRisk)
}

// judge ends publishing, waits for the rest, and checks. It returns how many
// events were handled more than once.
func (o *oracle) judge() (repeated int) {
	o.T.Helper()
	o.Stop()
	// As long as it goes on, it may take its time.
	left, deadline := len(o.Lost()), time.Now().Add(patience)
	for left > 0 && time.Now().Before(deadline) {
		<-time.After(10 * time.Millisecond)
		if n := len(o.Lost()); n < left {
			left, deadline = n, time.Now().Add(patience)
		}
	}
	if err := o.sub.Close(); err != nil {
		o.T.Errorf("close: %v", err)
	}
	o.T.Logf("%+v; log: %q", o.sub.Stats(), o.log.Above(slog.LevelInfo))
	return o.Judge()
}
