package kafkabus_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/middleware"
)

// deleteTopic returns when the brokers know the topic no more: they answer
// before it is gone, and take records for it until then.
func deleteTopic(t testing.TB, client *kgo.Client, topic string) {
	t.Helper()
	admin := kadm.NewClient(client)
	id := func() kadm.TopicID {
		topics, err := admin.ListTopics(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		return topics[topic].ID // none when it is missing
	}
	old := id()
	if _, err := admin.DeleteTopics(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the topic is gone", func() bool { return id() != old })
}

// seen is what a consumer that acks everything was given, and from which
// partition.
type seen struct {
	mu  sync.Mutex
	ids map[string]int32
}

func ackAll(out <-chan *message.Message) *seen {
	s := &seen{ids: map[string]int32{}}
	go func() {
		for m := range out {
			s.mu.Lock()
			s.ids[m.UUID] = middleware.DeliveryFrom(m.Context()).Partition
			s.mu.Unlock()
			m.Ack()
		}
	}()
	return s
}

func (s *seen) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.ids[id]
	return ok
}

func (s *seen) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ids)
}

// from returns one that came from a partition that is wanted.
func (s *seen) from(wanted func(int32) bool) (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, partition := range s.ids {
		if wanted(partition) {
			return id
		}
	}
	return ""
}

// publishAgain publishes until it is confirmed.
func publishAgain(t testing.TB, pub *kafkabus.Publisher, topic, key string) {
	t.Helper()
	eventually(t, "it can be published to again", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		return pub.PublishBatch(ctx, topic, []*message.Message{msg("after "+key, key)}) == nil
	})
}

// nothingLeft waits until the group has committed the end of the topic.
func nothingLeft(t testing.TB, client *kgo.Client, topic, group string) {
	t.Helper()
	inspect, err := kafkabus.NewInspector(kafkabus.InspectorConfig{Client: client, Topic: topic, Group: group})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is committed", func() bool { n, err := inspect.Lag(t.Context()); return n == 0 && err == nil })
}

func TestFaults_TopicDeletedWhileConsuming(t *testing.T) {
	t.Parallel()
	client, topic, group := shared(t), name("deleted"), name("g")
	two := kafkabus.TopicConfig{Partitions: 2}
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: two})
	publish(t, pub, topic, msg("before", "k"))
	log := &lines{}
	sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client, ConsumerGroup: group, Topics: two, Logger: slog.New(log)})
	seen := ackAll(subscribe(t, sub, topic))
	eventually(t, "it works", func() bool { return seen.has("before") })
	deleteTopic(t, client, topic)
	// A publisher that knows the topic learns of its end by errors, then works
	// again unaided; so does the subscriber, with both partitions.
	for _, key := range []string{"a", "abc", "k"} {
		publishAgain(t, pub, topic, key)
	}
	for _, key := range []string{"a", "abc", "k"} {
		eventually(t, "what was published to the new topic comes", func() bool { return seen.has("after " + key) })
	}
	nothingLeft(t, client, topic, group)
	if text := strings.Join(log.All(), "\n"); !strings.Contains(text, "ERROR the topic was deleted") {
		t.Errorf("no word of it in the log:\n%s", text)
	}
}

// A consumer that may not create topics says that its topic is gone, and goes on
// when somebody has made it anew.
func TestFaults_TopicDeletedUnderAConsumerThatMayNotCreateIt(t *testing.T) {
	t.Parallel()
	client, group := shared(t), name("g")
	topic := newTopic(t, "deleted", 2, nil)
	none := kafkabus.TopicConfig{DisableCreation: true}
	publish(t, newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: none}), topic, msg("before", "k"))
	log := &lines{}
	sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client, ConsumerGroup: group, Topics: none, Logger: slog.New(log)})
	seen := ackAll(subscribe(t, sub, topic))
	eventually(t, "it works", func() bool { return seen.has("before") })
	deleteTopic(t, client, topic)
	eventually(t, "it says so", func() bool {
		return strings.Contains(strings.Join(log.All(), "\n"), "WARN reading failed, trying again error=refused: UNKNOWN_TOPIC")
	})
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 2, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	anew := newPublisher(t, kafkabus.PublisherConfig{Client: shared(t), Topics: none})
	for _, key := range []string{"a", "abc"} {
		publishAgain(t, anew, topic, key)
		eventually(t, "it comes", func() bool { return seen.has("after " + key) })
	}
	nothingLeft(t, client, topic, group)
}
