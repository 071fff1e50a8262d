package eventbustest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// plant is where a defect goes; the zero value plants none.
type plant struct {
	consumer   func(*consumer)
	publisher  func(message.Publisher) message.Publisher
	subscriber func(message.Subscriber) message.Subscriber
	store      func(dlq.Store) dlq.Store
	config     func(*eventbus.Config)
	bus        func(*eventbus.Bus, *broker) Bus
	leaks      bool // the secret in the errors of a broker that is away
}

const secret = "p4ssw0rd-of-the-reference"

// reference is a harness on the broker in memory, which lacks nothing that a
// broker can have.
func reference(defect plant) Harness {
	b := newBroker()
	return Harness{
		Name: "the reference",
		Open: func(t testing.TB, o Options) (Instance, error) {
			consumer := &consumer{broker: b, group: o.Group, prefetch: 64}
			if defect.consumer != nil {
				defect.consumer(consumer)
			}
			sub := NewCrashSubscriber(consumer)
			pub := NewStallPublisher(b)
			cfg := Config(o)
			cfg.Publisher, cfg.Subscriber = pub, sub
			if defect.publisher != nil {
				cfg.Publisher = defect.publisher(pub)
			}
			if defect.subscriber != nil {
				cfg.Subscriber = defect.subscriber(sub)
			}
			if !o.DisableDLQ {
				store, err := dlq.NewTopic(dlq.TopicConfig{
					Publisher: b, Topic: "dead." + o.Topic,
					Subscribe: func(context.Context) (message.Subscriber, error) { return &noClose{b}, nil },
				})
				if err != nil {
					return Instance{}, err
				}
				cfg.DeadLetters = store
				consumer.limit, consumer.bury = o.MaxDeliveries, func(m *message.Message) {
					l := dlq.NewLetter(m)
					l.Reason, l.Group = dlq.ReasonDeliveryLimit, o.Group
					if _, err := store.Bury(context.Background(), l); err != nil {
						t.Errorf("bury: %v", err)
					}
				}
				if defect.store != nil {
					cfg.DeadLetters = defect.store(store)
				}
			}
			if defect.config != nil {
				defect.config(&cfg)
			}
			bus, err := eventbus.New(cfg)
			if err != nil {
				return Instance{}, err
			}
			in := Instance{Bus: bus, Crash: sub.Crash, Stall: pub.Stall, StillOpen: b.usable}
			if defect.bus != nil {
				in.Bus = defect.bus(bus, b)
			}
			return in, nil
		},
		Inject: func(t testing.TB, topic string, msg *message.Message) {
			if err := b.Publish(topic, msg); err != nil {
				t.Fatal(err)
			}
		},
		InjectForeign: func(t testing.TB, topic string) {
			if err := b.Publish(topic, nil); err != nil {
				t.Fatal(err)
			}
		},
		Small:        true, // of full size on membus
		RecoveryTime: 20 * time.Millisecond,
		Secrets:      []string{secret},
		OpenUnreachable: func(_ testing.TB, o Options) (Instance, error) {
			away := &publisherFunc{newBroker(), func(string, *message.Message) error {
				if defect.leaks {
					return fmt.Errorf("dial redis://user:%s@localhost: %w", secret, errPlanned)
				}
				return errPlanned
			}}
			bus, err := eventbus.New(eventbus.Config{Publisher: away, Registry: o.Registry, Topic: o.Topic, Logger: o.Logger})
			return Instance{Bus: bus}, err
		},
		Lacks: Lacks{
			Synchronous: "a broker stands between publisher and handlers",
		},
	}
}

// noClose reads a topic from its start, for the letters.
type noClose struct{ broker *broker }

func (n *noClose) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	return (&consumer{broker: n.broker, prefetch: 1}).Subscribe(ctx, topic)
}

func (n *noClose) Close() error { return nil }

// The suite asks for nothing that cannot be had: a good broker passes all of it.
func TestRun_PassesOnAGoodBroker(t *testing.T) {
	Run(t, reference(plant{}))
}
