package tracing

import (
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// ScopeName is the instrumentation scope of every span and metric of this
// package: what a view or a sampler selects them by.
const ScopeName = "github.com/leat-go/leat/middleware/tracing"

// schemaURL says which version of the conventions the keys below follow. It
// and the import above change together.
const schemaURL = semconv.SchemaURL

// Attribute keys of the OpenTelemetry messaging conventions. They are still in
// development there (a coming version renames messaging.system), so no other
// file of leat names one.
const (
	keySystem         = semconv.MessagingSystemKey
	keyOperationName  = semconv.MessagingOperationNameKey
	keyOperationType  = semconv.MessagingOperationTypeKey
	keyDestination    = semconv.MessagingDestinationNameKey
	keyPartition      = semconv.MessagingDestinationPartitionIDKey
	keyGroup          = semconv.MessagingConsumerGroupNameKey
	keyMessageID      = semconv.MessagingMessageIDKey
	keyConversationID = semconv.MessagingMessageConversationIDKey
	keyBodySize       = semconv.MessagingMessageBodySizeKey
	keyKafkaOffset    = semconv.MessagingKafkaOffsetKey
	keyErrorType      = semconv.ErrorTypeKey
	keyExceptionType  = semconv.ExceptionTypeKey
	keyExceptionText  = semconv.ExceptionMessageKey
)

// Attribute keys of leat's own, for what the conventions have no word for.
const (
	keyEventType     = attribute.Key("leat.event.type")
	keyAggregateID   = attribute.Key("leat.aggregate.id")
	keyHandler       = attribute.Key("leat.handler")
	keyAttempt       = attribute.Key("leat.attempt")
	keyDeliveryID    = attribute.Key("leat.delivery.id")
	keyDeliveryCount = attribute.Key("leat.delivery.count")
	keyReplays       = attribute.Key("leat.replays")
	keyReason        = attribute.Key("leat.dead_letter.reason")
	keyLetter        = attribute.Key("leat.dead_letter.id")
	keyHandlers      = attribute.Key("leat.dead_letter.handlers")
	keyDelay         = attribute.Key("leat.retry.delay")
)

// systemKafka is the one system whose deliveries have a partition and an offset.
const systemKafka = "kafka"

// Names of the two operations, in spans and in metrics, and their types in
// the words of the conventions.
const (
	operationPublish = "publish"
	operationConsume = "consume"
	typeSend         = "send"
	typeProcess      = "process"
)

// Names of span events.
const (
	eventException  = semconv.ExceptionEventName
	eventRetry      = "leat.retry"
	eventBuried     = "leat.dead_letter"
	eventHandedBack = "leat.handed_back"
)

// Values of error.type where there is no Go type to name.
const (
	errorPanic = "panic"
	errorOther = "_OTHER"
)

// Bounds of what is copied from a message or an error into telemetry. A
// message may come from anybody, so nothing in it is copied without one.
const (
	maxName  = 128  // event type or handler name inside a span name
	maxValue = 256  // an attribute's value
	maxText  = 1000 // an error's text
)
