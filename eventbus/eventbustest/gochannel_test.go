package eventbustest_test

import (
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/eventbustest"
)

// goChannel is a harness on Watermill's own in-memory Pub/Sub. What it promises
// depends on whether Publish waits for the ack: only then is there an order,
// and only without it can a handler publish.
func goChannel(blocking bool) eventbustest.Harness {
	// One for each topic: a Publish that waits for its ack holds up every
	// Subscribe on the same gochannel.
	var topics, graves sync.Map
	channel := func(topic string) *gochannel.GoChannel {
		events, _ := topics.LoadOrStore(topic, gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: blocking}, nil))
		return events.(*gochannel.GoChannel)
	}
	h := eventbustest.Harness{
		Name: "a bus on Watermill's gochannel",
		Open: func(_ testing.TB, o eventbustest.Options) (eventbustest.Instance, error) {
			events := channel(o.Topic)
			sub, pub := eventbustest.NewCrashSubscriber(events), eventbustest.NewStallPublisher(events)
			cfg := eventbustest.Config(o)
			cfg.Publisher, cfg.Subscriber = pub, sub
			if !o.DisableDLQ {
				// Letters on a persistent gochannel, which has no order, would be
				// complete only after a pause of a guessed length.
				store, _ := graves.LoadOrStore(o.Topic, dlq.NewMemStore(dlq.MemConfig{}))
				cfg.DeadLetters = store.(dlq.Store)
			}
			bus, err := eventbus.New(cfg)
			if err != nil {
				return eventbustest.Instance{}, err
			}
			return eventbustest.Instance{
				Bus: bus, Crash: sub.Crash, Stall: pub.Stall,
				StillOpen: func() error { return events.Publish("unused", message.NewMessage("1", nil)) },
			}, nil
		},
		Inject: func(t testing.TB, topic string, msg *message.Message) {
			t.Helper()
			if err := channel(topic).Publish(topic, msg); err != nil {
				t.Fatal(err)
			}
		},
		RecoveryTime: 20 * time.Millisecond, // there is none, and so nobody is robbed
		Small:        true,
		Lacks: eventbustest.Lacks{
			eventbustest.Synchronous:        "Publish does not wait for retries and letters of a bus behind it, or does not wait at all",
			eventbustest.CompetingConsumers: "a gochannel has no consumer groups: every subscriber gets everything",
			eventbustest.History:            "what is published before the subscription is gone",
			eventbustest.Resumes:            "what is published between two subscriptions is gone",
			eventbustest.Redelivers:         "what a subscriber did not ack when it ended is gone",
			eventbustest.CrashRecovery:      "what a subscriber did not ack when it ended is gone",
			eventbustest.DeliveryLimit:      "nobody counts deliveries",
			eventbustest.ForeignEntries:     "everything in it is a Watermill message",
			eventbustest.Secrets:            "it has no address and no password",
		},
	}
	if blocking {
		h.Name += ", publishing until the ack"
		h.Lacks[eventbustest.NestedPublish] = "Publish holds the topic until the ack: a handler that publishes waits for itself"
		h.Lacks[eventbustest.SlowHandlers] = "nobody can subscribe while a Publish waits for its ack"
		h.Lacks[eventbustest.ParallelKeys] = "Publish holds the topic until the ack: one message is in flight"
		h.Lacks[eventbustest.Concurrency] = h.Lacks[eventbustest.ParallelKeys]
	} else {
		h.Lacks[eventbustest.Order] = "a goroutine for each message, and they race"
	}
	return h
}

func TestGoChannel(t *testing.T)         { eventbustest.Run(t, goChannel(false)) }
func TestGoChannelBlocking(t *testing.T) { eventbustest.Run(t, goChannel(true)) }

// Each lack is real: a case that needs the feature fails.
func TestGoChannel_LacksWhatItSays(t *testing.T) {
	t.Parallel()
	for name, blocking := range map[string]bool{"free": false, "blocking": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eventbustest.ShowLacks(t, goChannel(blocking), 500*time.Millisecond)
		})
	}
}
