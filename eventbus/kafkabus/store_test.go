package kafkabus_test

import (
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
