package tracing_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
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

// Views of the SDK choose other buckets: here handlers that take minutes get
// buckets of their own, and all other durations exponential ones, which need no
// choice.
func Example_views() {
	scope := instrumentation.Scope{Name: tracing.ScopeName}
	reader := metric.NewManualReader() // yours exports
	provider := metric.NewMeterProvider(metric.WithReader(reader), metric.WithView(
		metric.NewView(
			metric.Instrument{Name: "leat.handler.duration", Scope: scope},
			metric.Stream{Aggregation: metric.AggregationExplicitBucketHistogram{Boundaries: []float64{1, 10, 60, 600}}},
		),
		metric.NewView(
			metric.Instrument{Name: "messaging.*.duration", Scope: scope},
			metric.Stream{Aggregation: metric.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 20}},
		),
	))
	t := tracing.New(tracing.Config{MeterProvider: provider, System: "redis"})
	handler := func(*message.Message) ([]*message.Message, error) { return nil, nil }
	if _, err := t.Consume(t.Handle(handler))(message.NewMessage("1", nil)); err != nil {
		fmt.Println(err)
	}

	var collected metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &collected); err != nil {
		fmt.Println(err)
	}
	for _, m := range collected.ScopeMetrics[0].Metrics {
		switch data := m.Data.(type) {
		case metricdata.Histogram[float64]:
			fmt.Println(m.Name, data.DataPoints[0].Bounds)
		case metricdata.ExponentialHistogram[float64]:
			fmt.Println(m.Name, "exponential")
		}
	}

	// Output:
	// messaging.process.duration exponential
	// leat.handler.duration [1 10 60 600]
}
