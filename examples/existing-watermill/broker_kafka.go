package main

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus/kafkabus"
)

// partitions is how many the service's topic has.
const partitions = 3

// openKafka is Apache Kafka. leat's records are those of the stock adapter's
// default marshaler. A group's members must agree on how they share partitions,
// and stock and leat do not: so the stock members stop first, and leat goes on
// from the offsets that they have committed.
func openKafka(ctx context.Context, url, topic string) (*broker, error) {
	url = cmp.Or(url, kafkabus.DefaultBootstrapServers)
	client, err := kafkabus.OpenClient(ctx, kafkabus.ClientConfig{BootstrapServers: url})
	if err != nil {
		return nil, err
	}
	admin, addresses := kadm.NewClient(client), strings.Split(url, ",")
	_, err1 := admin.CreateTopic(ctx, partitions, 1, nil, topic)
	stockPub, err2 := kafka.NewPublisher(kafka.PublisherConfig{Brokers: addresses}, watermill.NopLogger{})
	pub, err3 := kafkabus.NewPublisher(kafkabus.PublisherConfig{Client: client, Key: orderOf})
	if err := errors.Join(err1, err2, err3); err != nil {
		client.Close()
		return nil, err
	}
	subscriber := func(group string) (message.Subscriber, error) {
		return kafkabus.NewSubscriber(kafkabus.SubscriberConfig{
			Client: client, ConsumerGroup: topic + "." + group, Concurrency: concurrency, Key: orderOf,
		})
	}
	return &broker{
		name: kafkabus.System, topic: topic, history: true,
		stockPublisher: stockPub,
		stockSubscriber: func(group string) (message.Subscriber, error) {
			config := kafka.DefaultSaramaSubscriberConfig()
			config.Consumer.Offsets.Initial = -2 // a new group gets the history
			return kafka.NewSubscriber(kafka.SubscriberConfig{
				Brokers: addresses, ConsumerGroup: topic + "." + group, OverwriteSaramaConfig: config,
			}, watermill.NopLogger{})
		},
		publisher: pub, subscriber: subscriber, takeover: subscriber,
		letters: func(string) (dlq.Store, error) {
			return kafkabus.NewStore(kafkabus.StoreConfig{Client: client, Topic: topic + ".dlq"})
		},
		remove: func(ctx context.Context) error {
			_, err1 := admin.DeleteTopics(ctx, topic, topic+".dlq") // a topic without letters was never made
			_, err2 := admin.DeleteGroups(ctx, topic+".billing", topic+".mail", topic+".shipping")
			return errors.Join(err1, err2)
		},
		close: func() error {
			err := errors.Join(stockPub.Close(), pub.Close())
			client.Close()
			return err
		},
	}, nil
}
