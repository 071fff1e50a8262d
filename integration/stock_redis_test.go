package integration_test

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/eventbustest"
	"github.com/leat-go/leat/integration/brokers"
)

// idleBeforeClaim is how long a consumer with FastRecovery may be idle before
// the stock adapter gives its messages to others.
const idleBeforeClaim = 500 * time.Millisecond

// stockRedis is a harness on the stock watermill-redisstream adapter and a real
// Redis, with letters on a second stream. The facade needs nothing but
// Watermill's two interfaces for it.
func stockRedis(t *testing.T) eventbustest.Harness {
	t.Helper()
	// The user with a password, so that there is a secret to keep.
	address := brokers.RedisACL(t)
	opts, err := redis.ParseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	opts.PoolSize = 300 // each subscription blocks a connection
	client := redis.NewClient(opts)
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Errorf("close the client that was lent: %v", err)
		}
	})
	escaped := parsed.User.String()
	return eventbustest.Harness{
		Name: "a bus on the stock watermill-redisstream",
		Open: func(t testing.TB, o eventbustest.Options) (eventbustest.Instance, error) {
			t.Helper()
			return openStockRedis(t, client, o)
		},
		OpenUnreachable: func(t testing.TB, o eventbustest.Options) (eventbustest.Instance, error) {
			t.Helper()
			away := *opts
			away.Addr, away.MaxRetries, away.DialTimeout = "127.0.0.1:1", -1, 100*time.Millisecond
			nowhere := redis.NewClient(&away)
			t.Cleanup(func() { _ = nowhere.Close() })
			return openStockRedis(t, nowhere, o)
		},
		Inject: func(t testing.TB, topic string, msg *message.Message) {
			t.Helper()
			pub, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
			if err == nil {
				err = pub.Publish(topic, msg)
			}
			if err != nil {
				t.Fatal(err)
			}
		},
		InjectForeign: func(t testing.TB, topic string) {
			t.Helper()
			entry := &redis.XAddArgs{Stream: topic, Values: []any{"hello", "from redis-cli"}}
			if err := client.XAdd(context.Background(), entry).Err(); err != nil {
				t.Fatal(err)
			}
		},
		RecoveryTime: idleBeforeClaim,
		Secrets:      []string{opts.Password, escaped},
		Small:        true,
		Lacks: eventbustest.Lacks{
			eventbustest.Synchronous:    "a broker stands between publisher and handlers",
			eventbustest.ParallelKeys:   "the adapter keeps one message in flight for each subscription",
			eventbustest.Concurrency:    "the adapter keeps one message in flight for each subscription",
			eventbustest.ForeignEntries: "an entry that is not in its form ends the adapter's subscription for good",
			eventbustest.DeliveryLimit:  "the adapter does not look at how often Redis has delivered an entry",
			eventbustest.SlowHandlers:   "the adapter claims by idle time, also what a live handler is working on, its own included",
		},
	}
}

func openStockRedis(t testing.TB, client redis.UniversalClient, o eventbustest.Options) (eventbustest.Instance, error) {
	t.Helper()
	config := redisstream.SubscriberConfig{
		Client: client, ConsumerGroup: o.Group, Consumer: o.Consumer, BlockTime: 50 * time.Millisecond,
		DisableIndefiniteInitialBlock: true, // else the reader of an idle stream outlives its subscription
	}
	if o.FastRecovery {
		config.MaxIdleTime, config.ClaimInterval = idleBeforeClaim, idleBeforeClaim/10
	}
	stock, err := redisstream.NewSubscriber(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
	if err != nil {
		t.Fatal(err)
	}
	sub, pub := eventbustest.NewCrashSubscriber(stock), eventbustest.NewStallPublisher(publisher)
	cfg := eventbustest.Config(o)
	cfg.Publisher, cfg.Subscriber = pub, sub
	letters := o.Topic + ".dlq"
	if !o.DisableDLQ {
		cfg.DeadLetters, err = dlq.NewTopic(dlq.TopicConfig{
			Publisher: publisher, Topic: letters,
			Subscribe: func(context.Context) (message.Subscriber, error) {
				return redisstream.NewSubscriber(redisstream.SubscriberConfig{
					Client: client, FanOutOldestId: "0", BlockTime: 50 * time.Millisecond, DisableIndefiniteInitialBlock: true,
				}, nil)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	bus, err := eventbus.New(cfg)
	if err != nil {
		return eventbustest.Instance{}, err
	}
	t.Cleanup(func() {
		if err := client.Del(context.Background(), o.Topic, letters).Err(); err != nil && client.Ping(context.Background()).Err() == nil {
			t.Errorf("remove the streams of the test: %v", err)
		}
	})
	return eventbustest.Instance{
		Bus: bus, Crash: sub.Crash, Stall: pub.Stall,
		StillOpen: func() error {
			return errors.Join(client.Ping(context.Background()).Err(), publisher.Publish(letters, message.NewMessage("still-open", nil)))
		},
	}, nil
}

func TestStockRedis_Conformance(t *testing.T) { eventbustest.Run(t, stockRedis(t)) }

// Each lack of the adapter is real. When one of these fails, the adapter was
// mended: take the entry out of the harness's Lacks.
func TestStockRedis_LacksWhatItSays(t *testing.T) {
	eventbustest.ShowLacks(t, stockRedis(t), 3*time.Second)
}
