package kafkabus_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/middleware"
)

// A handler that heeds no context costs its member no lane once its partition
// is somebody else's: the partition that stays goes on.
func TestRebalance_AHandlerThatNeverEndsIsLeftBehind(t *testing.T) {
	t.Parallel()
	client, prefix, group := shared(t), name("behind"), name("g")
	release := make(chan struct{})
	stuck, later := make(chan int32, 2), make(chan int32, 100)
	var mu sync.Mutex
	held := map[int32]bool{}
	open := func(handle func(ctx context.Context, e Placed) error) *kafkabus.Bus {
		bus := openBus(t, kafkabus.Config{
			Client: client, TopicPrefix: prefix, ConsumerGroup: group, Concurrency: 2, RevokeTimeout: 100 * time.Millisecond,
			DrainTimeout: time.Second, Topics: kafkabus.TopicConfig{Partitions: 2},
		})
		if _, err := eventbus.Subscribe(bus, "h", handle); err != nil {
			t.Fatal(err)
		}
		run(t, bus)
		return bus
	}
	one := open(func(ctx context.Context, e Placed) error {
		partition := middleware.DeliveryFrom(ctx).Partition
		mu.Lock()
		first := !held[partition]
		held[partition] = true
		mu.Unlock()
		if first {
			stuck <- partition
			<-release
		} else if strings.HasPrefix(e.Note, "later") {
			later <- partition
		}
		return nil
	})
	t.Cleanup(func() { close(release) }) // before the buses shut down
	publishSome := func(kind string) {
		var events []eventbus.Event
		for i := range 20 {
			events = append(events, placed(fmt.Sprint(kind, i)))
		}
		if err := one.Publish(t.Context(), events...); err != nil {
			t.Fatal(err)
		}
	}
	publishSome("early")
	<-stuck
	<-stuck // both workers, in one partition each
	moved := make(chan int32, 100)
	open(func(ctx context.Context, e Placed) error {
		moved <- middleware.DeliveryFrom(ctx).Partition
		return nil
	})
	publishSome("later")
	gone, stayed := <-moved, <-later
	if gone == stayed {
		t.Errorf("partition %d is handled by both members", gone)
	}
}
