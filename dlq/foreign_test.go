package dlq_test

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/dlq/dlqtest"
)

// The metadata is that of letters captured from eventsource-py 0.5.0 (see
// wire-python.md), as a Watermill subscriber presents it, and of letters that
// RabbitMQ made by itself.
func TestFromMessage_LettersOfOthers(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	none := dlq.Source{Partition: dlq.NoPosition, Offset: dlq.NoPosition}
	const order = "22222222-2222-4222-8222-222222222222"
	for name, tc := range map[string]struct {
		metadata message.Metadata
		want     dlq.Letter
	}{
		"Python on Kafka": {
			message.Metadata{
				"event_type": "OrderCreated", "aggregate_id": order,
				"dlq_reason": "max_retries_exceeded", "dlq_error_type": "ValueError", "dlq_error_message": "no ink",
				"dlq_retry_count": "3", "dlq_timestamp": "2026-01-02T03:04:05.678901+00:00",
				"dlq_original_topic": "wire.stream", "dlq_original_partition": "1", "dlq_original_offset": "42",
				"dlq_consumer_group": "g", "dlq_replay_count": "1",
			},
			dlq.Letter{
				Key: order, Metadata: map[string]string{"event_type": "OrderCreated", "aggregate_id": order},
				Reason: dlq.ReasonMaxRetries, ErrorType: "ValueError", ErrorMessage: "no ink", Attempts: 4, BuriedAt: at,
				Source: dlq.Source{Topic: "wire.stream", Partition: 1, Offset: 42}, Group: "g", Replays: 1,
			},
		},
		"Python on RabbitMQ": {
			message.Metadata{
				"event_type": "OrderCreated", "aggregate_id": order, "aggregate_version": "3", "x-retry-count": "3",
				"x-dlq-reason": "no ink", "x-dlq-error-type": "ValueError", "x-dlq-retry-count": "3",
				"x-dlq-timestamp": "2026-01-02T03:04:05.678901+00:00", "x-original-routing-key": "Order.OrderCreated",
			},
			dlq.Letter{
				Key: order,
				Metadata: map[string]string{
					"event_type": "OrderCreated", "aggregate_id": order, "aggregate_version": "3", "x-retry-count": "3",
					"x-original-routing-key": "Order.OrderCreated",
				},
				Reason: dlq.ReasonHandlerError, ErrorType: "ValueError", ErrorMessage: "no ink", Attempts: 4, BuriedAt: at, Source: none,
			},
		},
		"Python on RabbitMQ, a reason that is one": {
			message.Metadata{"x-dlq-reason": "deserialization_error"},
			dlq.Letter{Reason: dlq.ReasonUndecodable, Metadata: map[string]string{}, Source: none},
		},
		"Python on Redis": {
			message.Metadata{
				"event_type": "OrderCreated", "aggregate_id": order, "original_message_id": "1526919030474-55",
				"retry_count": "3", "dlq_timestamp": "2026-01-02T03:04:05.678901+00:00",
			},
			dlq.Letter{
				Key: order, Metadata: map[string]string{"event_type": "OrderCreated", "aggregate_id": order},
				Reason: dlq.ReasonMaxRetries, Attempts: 4, BuriedAt: at,
				Source: dlq.Source{ID: "1526919030474-55", Partition: dlq.NoPosition, Offset: dlq.NoPosition},
			},
		},
		"our own letter of a message with such words in its metadata": {
			message.Metadata{
				"original_message_id": "theirs", "retry_count": "7", "dlq_reason": "permanent_error",
				"dlq_timestamp": "2026-01-02T03:04:05.678901+00:00",
			},
			dlq.Letter{
				Reason: dlq.ReasonPermanent, BuriedAt: at, Source: none,
				Metadata: map[string]string{"original_message_id": "theirs", "retry_count": "7"},
			},
		},
		"RabbitMQ itself": {
			message.Metadata{"x-first-death-reason": "expired", "x-first-death-queue": "wire.g", "x-first-death-exchange": "wire"},
			dlq.Letter{
				Reason: "expired", Source: dlq.Source{Topic: "wire.g", Partition: dlq.NoPosition, Offset: dlq.NoPosition},
				Metadata: map[string]string{"x-first-death-reason": "expired", "x-first-death-queue": "wire.g", "x-first-death-exchange": "wire"},
			},
		},
	} {
		m := message.NewMessage("11111111-1111-4111-8111-111111111111", []byte(`{}`))
		m.Metadata = tc.metadata
		tc.want.MessageID, tc.want.Payload = m.UUID, m.Payload
		got, err := dlq.FromMessage(m)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := dlqtest.Diff(got, tc.want); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}
