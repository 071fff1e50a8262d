package kafkabus_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/eventbus/kafkabus"
)

// stress: recycled batches, cancellations at random moments, passing faults; every record is whole.
func TestZZ_Recycled(t *testing.T) {
	t.Parallel()
	cluster, client := fake(t)
	topic := name("recycled")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 3}})
	publish(t, pub, topic, msg("first", "k"))
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.NotLeaderForPartition, Count: 10})
	var mu sync.Mutex
	confirmed, unsent := map[string]bool{}, map[string]bool{}
	var crowd sync.WaitGroup
	for p := range 32 {
		crowd.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(p), 1))
			for i := range 60 {
				ctx, cancel := context.Background(), context.CancelFunc(func() {})
				if rnd.IntN(3) == 0 {
					ctx, cancel = context.WithTimeout(t.Context(), time.Duration(rnd.IntN(12000))*time.Microsecond)
				}
				id := fmt.Sprintf("%d/%d", p, i)
				m := msg(id, fmt.Sprint("k", p))
				m.Metadata["same"] = id
				errs := pub.PublishBatch(ctx, topic, []*message.Message{m})
				if errs == nil {
					m.Payload = append(m.Payload[:0], "overwritten after the call, as one may"...)
				}
				mu.Lock()
				switch {
				case errs == nil:
					confirmed[id] = true
				case !errors.Is(errs[0], kafkabus.ErrUnknown):
					unsent[id] = true
				}
				mu.Unlock()
				cancel()
			}
		})
	}
	crowd.Wait()
	for p := range 3 {
		_ = p
	}
	publish(t, pub, topic, msg("end", "k"))
	sub := newSubscriber(t, kafkabus.SubscriberConfig{Client: client})
	out := subscribe(t, sub, topic)
	seen := map[string]int{}
	left := len(confirmed)
	for left > 0 {
		m := next(t, out)
		if m.UUID != "first" && m.UUID != "end" {
			if m.Metadata["same"] != m.UUID || string(m.Payload) != `{"n":"`+m.UUID+`"}` || len(m.Metadata) != 3 {
				t.Errorf("mixed: %s %v %s", m.UUID, m.Metadata, m.Payload)
			}
			var p, i int
			fmt.Sscanf(m.UUID, "%d/%d", &p, &i)
			if m.Metadata["aggregate_id"] != fmt.Sprint("k", p) {
				t.Errorf("mixed key: %s %v", m.UUID, m.Metadata)
			}
		}
		if seen[m.UUID]++; seen[m.UUID] > 1 {
			t.Errorf("%s twice", m.UUID)
		} else if confirmed[m.UUID] {
			left--
		}
		if unsent[m.UUID] {
			t.Errorf("%s was unsent", m.UUID)
		}
		m.Ack()
	}
	t.Log(len(confirmed), len(unsent))
}
