package main

import (
	"cmp"
	"context"
	"errors"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"
	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus/rabbitbus"
)

// openRabbitMQ is RabbitMQ. leat binds queues of its own, {topic}.{group}, to the
// service's fanout exchange. The queue that a stock handler leaves has another
// name, {topic}_{group}, and what is in it; so the takeover is a leat bus on the
// stock subscriber: same queue, nothing lost.
func openRabbitMQ(ctx context.Context, url, topic string) (*broker, error) {
	url = cmp.Or(url, rabbitbus.DefaultURL)
	publishing, err := rabbitbus.Connect(ctx, rabbitbus.ClientConfig{URL: url})
	if err != nil {
		return nil, err
	}
	consuming, err := rabbitbus.Connect(ctx, rabbitbus.ClientConfig{URL: url})
	if err != nil {
		return nil, errors.Join(err, publishing.Close())
	}
	config := func(group string) amqp.Config {
		c := amqp.NewDurablePubSubConfig(url, amqp.GenerateQueueNameTopicNameWithSuffix(group))
		c.Publish.ConfirmDelivery = true
		return c
	}
	fanout := rabbitbus.TopologyConfig{ExchangeType: rabbitbus.ExchangeFanout}
	stockPub, err1 := amqp.NewPublisher(config(""), watermill.NopLogger{})
	pub, err2 := rabbitbus.NewPublisher(rabbitbus.PublisherConfig{Client: publishing, Topology: fanout})
	if err := errors.Join(err1, err2); err != nil {
		return nil, errors.Join(err, publishing.Close(), consuming.Close())
	}
	stockSubscriber := func(group string) (message.Subscriber, error) {
		return amqp.NewSubscriber(config(group), watermill.NopLogger{})
	}
	groups := map[string]bool{}
	return &broker{
		name: rabbitbus.System, topic: topic, // a queue gets what is published after it was bound
		stockPublisher: stockPub, stockSubscriber: stockSubscriber, takeover: stockSubscriber,
		publisher: pub,
		subscriber: func(group string) (message.Subscriber, error) {
			return rabbitbus.NewSubscriber(rabbitbus.SubscriberConfig{
				Client: consuming, ConsumerGroup: group, Topology: fanout, Concurrency: concurrency, Key: orderOf,
			})
		},
		letters: func(group string) (dlq.Store, error) {
			groups[group] = true
			return rabbitbus.NewStore(rabbitbus.StoreConfig{
				Client: consuming, Publisher: pub, Exchange: topic, ConsumerGroup: group, Topology: fanout,
			})
		},
		remove: func(context.Context) error { return removeRabbitMQ(url, topic, groups) },
		close:  func() error { return errors.Join(stockPub.Close(), pub.Close(), publishing.Close(), consuming.Close()) },
	}, nil
}

// removeRabbitMQ deletes what the run has declared, stock and ours.
func removeRabbitMQ(url, topic string, groups map[string]bool) error {
	conn, err := amqp091.Dial(url)
	if err != nil {
		return err
	}
	ch, err := conn.Channel()
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	var errs []error
	queues := []string{topic + "_billing", topic + "_mail"}
	for group := range groups {
		queue := rabbitbus.QueueName(topic, group)
		queues = append(queues, queue, rabbitbus.DeadQueueName(queue))
	}
	for _, queue := range queues {
		_, err := ch.QueueDelete(queue, false, false, false)
		errs = append(errs, err)
	}
	errs = append(errs, ch.ExchangeDelete(topic, false, false), ch.ExchangeDelete(rabbitbus.DeadExchangeName(topic), false, false))
	return errors.Join(append(errs, conn.Close())...)
}
