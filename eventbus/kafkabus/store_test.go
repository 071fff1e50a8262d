package kafkabus_test

import (
	"errors"
	"testing"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/dlq/dlqtest"
	"github.com/leat-go/leat/eventbus/kafkabus"
)

func newStore(t testing.TB, partitions int) *kafkabus.Store {
	t.Helper()
	s, err := kafkabus.NewStore(kafkabus.StoreConfig{
		Client: shared(t), Topic: name("letters"), Topics: kafkabus.TopicConfig{Partitions: partitions},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore_KeepsThePromisesOfAStore(t *testing.T) {
	dlqtest.Run(t, func(t *testing.T) dlq.Store {
		t.Helper()
		return newStore(t, 3)
	})
}

// A listing ends where the topic did when it began, also while letters come in,
// and at once when there is nothing.
func TestStore_ListingsEnd(t *testing.T) {
	t.Parallel()
	store := newStore(t, 3)
	list := func(newest bool) (ids []string) {
		t.Helper()
		for l, err := range store.List(t.Context(), dlq.Query{NewestFirst: newest}) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, l.MessageID)
			if _, err := store.Bury(t.Context(), dlqtest.Letter(100+len(ids))); err != nil { // the topic grows while it is read
				t.Fatal(err)
			}
		}
		return ids
	}
	for _, newest := range []bool{false, true} {
		if ids := list(newest); len(ids) != 0 {
			t.Errorf("of nothing: %v", ids)
		}
	}
	for i := range 5 {
		if _, err := store.Bury(t.Context(), dlqtest.Letter(i)); err != nil {
			t.Fatal(err)
		}
	}
	if ids := list(false); len(ids) != 5 {
		t.Errorf("of five, growing: %v", ids)
	}
	if ids := list(true); len(ids) != 10 {
		t.Errorf("of ten, growing: %v", ids)
	}
}

// What was removed is remembered in Kafka: another store knows it.
func TestStore_RemovalsAreInTheTopic(t *testing.T) {
	t.Parallel()
	client, topic := shared(t), name("letters")
	open := func() *kafkabus.Store {
		s, err := kafkabus.NewStore(kafkabus.StoreConfig{Client: client, Topic: topic, Topics: kafkabus.TopicConfig{Partitions: 2}})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	one, two := open(), open()
	var ids []string
	for i := range 4 {
		id, err := one.Bury(t.Context(), dlqtest.Letter(i))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if n, err := one.Delete(t.Context(), ids[1], "1:4711", "nonsense"); n != 1 || err != nil {
		t.Errorf("deleted %d, %v; want 1", n, err)
	}
	if _, err := two.Get(t.Context(), ids[1]); !errors.Is(err, dlq.ErrNotFound) {
		t.Errorf("another store gets the deleted letter: %v", err)
	}
	if n, err := two.Count(t.Context()); n != 3 || err != nil {
		t.Errorf("another store counts %d, %v; want 3", n, err)
	}
	if n, err := two.Delete(t.Context(), ids[1]); n != 0 || err != nil {
		t.Errorf("deleted again: %d, %v; want 0", n, err)
	}
}
