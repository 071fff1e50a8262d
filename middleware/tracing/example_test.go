package tracing_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/leat-go/leat/middleware"
	"github.com/leat-go/leat/middleware/tracing"
)

// A stock Watermill router: two middlewares and a publisher decorator.
func Example() {
	ctx := context.Background()
	spans := tracetest.NewInMemoryExporter() // yours sends them somewhere
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	t := tracing.New(tracing.Config{TracerProvider: provider, System: "memory"})

	channel := gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: true}, watermill.NopLogger{})
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		fmt.Println(err)
		return
	}
	attempts := 0
	router.AddMiddleware(t.Consume, middleware.Retry{BaseDelay: 1, OnRetry: t.OnRetry}.Middleware, t.Handle)
	router.AddConsumerHandler("send-invoice", "orders", channel, func(*message.Message) error {
		if attempts++; attempts == 1 {
			return errors.New("printer on fire")
		}
		return nil
	})
	done := make(chan error)
	go func() { done <- router.Run(ctx) }()
	<-router.Running()

	msg := message.NewMessage("1", []byte(`{}`))
	msg.Metadata.Set("event_type", "OrderPlaced")
	if err := t.Publisher(channel).Publish("orders", msg); err != nil {
		fmt.Println(err)
	}
	if err := router.Close(); err != nil {
		fmt.Println(err)
	}
	<-done

	var show func(parent, indent string)
	show = func(parent, indent string) {
		for _, s := range spans.GetSpans() {
			if s.Parent.SpanID().String() == parent {
				fmt.Printf("%s%s (%s)\n", indent, s.Name, s.Status.Code)
				show(s.SpanContext.SpanID().String(), indent+"  ")
			}
		}
	}
	show("0000000000000000", "")

	// Output:
	// memory.publish OrderPlaced (Unset)
	//   memory.consume OrderPlaced (Unset)
	//     handle send-invoice (Error)
	//     handle send-invoice (Unset)
}

func ExampleTracer_StartPublish() {
	ctx := context.Background()
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	t := tracing.New(tracing.Config{TracerProvider: provider, System: "redis", Topic: "orders"})

	placed, shipped := message.NewMessage("1", nil), message.NewMessage("2", nil)
	placed.Metadata.Set("event_type", "OrderPlaced")
	shipped.Metadata.Set("event_type", "OrderShipped")
	p := t.StartPublish(ctx, placed, shipped)
	// ... publish, and learn what became of each:
	p.EndEach([]error{nil, errors.New("stream is full")})

	for _, s := range spans.GetSpans() {
		fmt.Printf("%s (%s)\n", s.Name, s.Status.Code)
	}
	fmt.Println(len(placed.Metadata.Get("traceparent")), "bytes of traceparent")

	// Output:
	// redis.publish OrderPlaced (Unset)
	// redis.publish OrderShipped (Error)
	// 55 bytes of traceparent
}

func ExampleTracer_Observe() {
	t := tracing.New(tracing.Config{System: "redis", Topic: "orders", Group: "billing"})
	stop, err := t.Observe(tracing.Observed{
		Lag:       func(ctx context.Context) (int64, error) { return 0, ctx.Err() }, // ask the broker
		LanesBusy: func() int64 { return 3 },
	})
	fmt.Println(err)
	fmt.Println(stop())

	// Output:
	// <nil>
	// <nil>
}
