package tracing_test

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel"

	"github.com/leat-go/leat/middleware/tracing"
)

// Whoever can write to the topic must not be able to fill the program's error
// output: OpenTelemetry prints what its handler is told.
func TestConsume_BrokenBaggageIsIgnoredInSilence(t *testing.T) {
	told := 0
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) { told++ }))
	t.Cleanup(func() { otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {})) })
	ran := 0
	h := tracing.New(tracing.Config{}).Consume(func(*message.Message) ([]*message.Message, error) { ran++; return nil, nil })
	for _, bag := range []string{"a=\x00", "=;=;", "a=b,,,=", "%%%"} {
		msg := message.NewMessage("1", nil)
		msg.Metadata["traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		msg.Metadata["baggage"] = bag
		if _, err := h(msg); err != nil {
			t.Errorf("baggage %q: %v", bag, err)
		}
	}
	if ran != 4 || told != 0 {
		t.Errorf("ran %d times, OpenTelemetry's handler was told %d times; want 4 and 0", ran, told)
	}
}
