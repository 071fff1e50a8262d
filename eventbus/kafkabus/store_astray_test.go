package kafkabus_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/dlq/dlqtest"
	"github.com/leat-go/leat/eventbus/kafkabus"
)

// fakeStores returns two stores on one topic: the second one's client has the
// options.
func fakeStores(t testing.TB, partitions int, opts ...kgo.Opt) (first, second *kafkabus.Store, client *kgo.Client, topic string) {
	t.Helper()
	cluster, client := fake(t)
	topic = name("letters")
	cfg := kafkabus.StoreConfig{Client: client, Topic: topic, Topics: kafkabus.TopicConfig{Partitions: partitions}}
	first, err := kafkabus.NewStore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Client = fakeClient(t, cluster, opts...)
	if second, err = kafkabus.NewStore(cfg); err != nil {
		t.Fatal(err)
	}
	return first, second, client, topic
}

func buried(t testing.TB, s *kafkabus.Store, n int) (ids []string) {
	t.Helper()
	for i := range n {
		id, err := s.Bury(t.Context(), dlqtest.Letter(i))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

// What says that a letter is gone may come to another partition than the
// letter's; there it is about none. Here the client goes round the partitions.
func TestStore_AMarkThatWentAstrayRemovesNothing(t *testing.T) {
	t.Parallel()
	good, astray, _, _ := fakeStores(t, 3, kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	ids := buried(t, good, 30)
	gone, failed := 0, 0
	for range 3 {
		if astray.Remove(t.Context(), ids[0]) != nil {
			failed++
		}
	}
	for _, id := range ids {
		if _, err := good.Get(t.Context(), id); err != nil {
			gone++
		}
	}
	if failed != 2 || gone != 1 {
		t.Errorf("%d of 3 removals failed and %d letters are gone, want 2 and that one", failed, gone)
	}
}

// The client of a long-lived process has not noticed yet that the topic has more
// partitions now. It learns of it.
func TestStore_PartitionsThatWereAdded(t *testing.T) {
	t.Parallel()
	old, fresh, client, topic := fakeStores(t, 1)
	ids := buried(t, old, 1)
	if _, err := kadm.NewClient(client).CreatePartitions(t.Context(), 3, topic); err != nil {
		t.Fatal(err)
	}
	for _, id := range buried(t, fresh, 20) {
		if id[2:] == "0" && id[0] != '0' { // the same place in another partition
			ids = append(ids, id)
		}
	}
	if len(ids) < 2 {
		t.Fatal("no letter came into the new partitions")
	}
	eventually(t, "the letter is deleted", func() bool {
		n, err := old.Delete(t.Context(), ids[1])
		return n == 1 && err == nil
	})
	if _, err := old.Get(t.Context(), ids[0]); err != nil {
		t.Errorf("%s: %v, but %s was deleted", ids[0], err, ids[1])
	}
	if n, err := old.Count(t.Context()); n != 20 || err != nil {
		t.Errorf("%d letters, %v; want 20", n, err)
	}
}
