package rabbitbus_test

import (
	"testing"

	"github.com/leat-go/leat/integration/brokers"
)

// What needs rabbitmqctl, signals, or a certificate as a password, runs on one
// broker of its own: a start takes ten seconds, on a busy machine a minute.
func TestPrivateBroker(t *testing.T) { //nolint:tparallel // they restart the one broker
	t.Parallel()
	broker := brokers.StartRabbitMQ(t, brokers.RabbitMQOptions{External: true})
	t.Run("Refusals", func(t *testing.T) { testRefusals(t, broker) })
	t.Run("External", func(t *testing.T) { testExternal(t, broker) })
	t.Run("Definitions", func(t *testing.T) { testDefinitions(t, broker) })
	t.Run("Alarms", func(t *testing.T) { testAlarms(t, broker) })
	t.Run("Faults", func(t *testing.T) { testFaults(t, broker) })
}
