package tracing_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/internal/wire"
	"github.com/leat-go/leat/middleware"
	"github.com/leat-go/leat/middleware/tracing"
)

func TestMetrics_TheConventionsFour(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := r.tracer(tracing.Config{System: "kafka", Topic: "orders", Group: "billing"})
	ctx := context.Background()
	p := tracer.StartPublish(ctx, event(), event(), event())
	p.EndEach([]error{nil, &refusal{"a"}, &refusal{"b"}})
	p = tracer.StartPublish(ctx, event())
	p.End(nil)
	p.End(&refusal{"too late"})
	p.EndEach(nil)
	inFlight := map[string]int64{}
	handle := tracer.Consume(tracer.Handle(func(*message.Message) ([]*message.Message, error) {
		inFlight = r.count(t, "leat.in_flight")
		return nil, nil
	}))
	for range 2 {
		if _, err := handle(event()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tracer.Consume(tracer.Handle(failing(&refusal{"c"})))(event()); err == nil {
		t.Fatal("the handler's error is gone")
	}

	const (
		where   = "messaging.destination.name=orders"
		grouped = "messaging.consumer.group.name=billing," + where
		kafka   = "messaging.system=kafka"
		wrong   = "error.type=*tracing_test.refusal"
	)
	sameCounts(t, "messaging.client.sent.messages", r.count(t, "messaging.client.sent.messages"), map[string]int64{
		where + ",messaging.operation.name=publish," + kafka:               2,
		wrong + "," + where + ",messaging.operation.name=publish," + kafka: 2,
	})
	sameCounts(t, "messaging.client.operation.duration", r.times(t, "messaging.client.operation.duration"), map[string]uint64{
		where + ",messaging.operation.name=publish,messaging.operation.type=send," + kafka:               1,
		wrong + "," + where + ",messaging.operation.name=publish,messaging.operation.type=send," + kafka: 1,
	})
	sameCounts(t, "messaging.client.consumed.messages", r.count(t, "messaging.client.consumed.messages"), map[string]int64{
		grouped + ",messaging.operation.name=consume," + kafka: 3,
	})
	sameCounts(t, "messaging.process.duration", r.times(t, "messaging.process.duration"), map[string]uint64{
		grouped + ",messaging.operation.name=consume," + kafka:               2,
		wrong + "," + grouped + ",messaging.operation.name=consume," + kafka: 1,
	})
	sameCounts(t, "leat.handler.duration", r.times(t, "leat.handler.duration"), map[string]uint64{
		"leat.handler=send-invoice," + grouped + "," + kafka:          2,
		wrong + ",leat.handler=send-invoice," + grouped + "," + kafka: 1,
	})
	sameCounts(t, "leat.queue.duration", r.times(t, "leat.queue.duration"), map[string]uint64{grouped + "," + kafka: 3})
	sameCounts(t, "leat.in_flight during", inFlight, map[string]int64{grouped + "," + kafka: 1})
	sameCounts(t, "leat.in_flight after", r.count(t, "leat.in_flight"), map[string]int64{grouped + "," + kafka: 0})
}

func sameCounts[N int64 | uint64](t *testing.T, name string, got, want map[string]N) {
	t.Helper()
	for k, n := range want {
		if have, ok := got[k]; have != n || !ok {
			t.Errorf("%s{%s} = %d, want %d; there is %v", name, k, have, n, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s has %d points, want %d: %v", name, len(got), len(want), got)
	}
}

func TestMetrics_BucketsAreSeconds(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := r.tracer(tracing.Config{System: "redis"})
	p := tracer.StartPublish(context.Background(), event())
	p.End(nil)
	if _, err := tracer.Consume(tracer.Handle(done))(event()); err != nil {
		t.Fatal(err)
	}
	conventions := []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
	for name, want := range map[string][]float64{
		"messaging.client.operation.duration": conventions,
		"messaging.process.duration":          conventions,
		"leat.handler.duration":               conventions,
		"leat.queue.duration":                 append(slices.Clone(conventions), 30, 60, 300, 900, 3600),
	} {
		h, ok := r.metric(t, name).(metricdata.Histogram[float64])
		if !ok || len(h.DataPoints) != 1 {
			t.Fatalf("%s is %+v, want a histogram of one point", name, h)
		}
		if got := h.DataPoints[0].Bounds; !slices.Equal(got, want) {
			t.Errorf("%s has bounds %v, want %v", name, got, want)
		}
	}
}

func TestMetrics_QueueTimeIsFromOccurrenceToArrival(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		occurred string
		replay   bool
		points   int
		sum      float64
	}{
		"an hour":          {occurred: time.Now().Add(-time.Hour).UTC().Format(wire.OccurredAtLayout), points: 1, sum: 3600},
		"Z for zone":       {occurred: time.Now().Add(-time.Hour).UTC().Format(time.RFC3339Nano), points: 1, sum: 3600},
		"clock goes wrong": {occurred: time.Now().Add(time.Hour).UTC().Format(wire.OccurredAtLayout), points: 1},
		"replay":           {occurred: time.Now().UTC().Format(wire.OccurredAtLayout), replay: true},
		"absent":           {},
		"garbage":          {occurred: "yesterday"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			msg := event()
			msg.Metadata[wire.OccurredAt] = tt.occurred
			if tt.replay {
				msg.Metadata[wire.ReplayCount] = "1"
			}
			if _, err := r.tracer(tracing.Config{}).Consume(done)(msg); err != nil {
				t.Fatal(err)
			}
			h, _ := r.metric(t, "leat.queue.duration").(metricdata.Histogram[float64])
			if len(h.DataPoints) != tt.points {
				t.Fatalf("%d points, want %d", len(h.DataPoints), tt.points)
			}
			if tt.points == 1 {
				if got := h.DataPoints[0].Sum; got < tt.sum || got > tt.sum+60 {
					t.Errorf("queue time = %v s, want about %v s", got, tt.sum)
				}
			}
		})
	}
}

func TestMetrics_WithoutSpans(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := tracing.New(tracing.Config{TracerProvider: tracenoop.NewTracerProvider(), MeterProvider: r.meters})
	msg := event()
	msg.Metadata[wire.TraceParent] = remote
	p := tracer.StartPublish(context.Background(), msg)
	p.End(nil)
	if msg.Metadata[wire.TraceParent] != remote {
		t.Errorf("traceparent = %q, want it as it was", msg.Metadata[wire.TraceParent])
	}
	_, err := tracer.Consume(tracer.Handle(func(msg *message.Message) ([]*message.Message, error) {
		if got := carriedBy(t, msg).SpanID().String(); got != "b7ad6b7169203331" {
			t.Errorf("span in the handler's context = %s, want the carried one", got)
		}
		return nil, nil
	}))(msg)
	if err != nil {
		t.Fatal(err)
	}
	const where = "messaging.operation.name=consume,messaging.system=watermill"
	if got := r.count(t, "messaging.client.consumed.messages"); got[where] != 1 {
		t.Errorf("consumed = %v, want 1", got)
	}
	if got := r.spans.GetSpans(); len(got) != 0 {
		t.Errorf("%d spans, want none", len(got))
	}
}

// TestMetrics_AreBounded feeds what could make a metric grow without end.
func TestMetrics_AreBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := r.tracer(tracing.Config{System: "redis"})
	ctx := context.Background()
	for i := range 1500 {
		msg := event()
		id := fmt.Sprint(i)
		msg.UUID, msg.Metadata[wire.EventID], msg.Metadata[wire.EventType] = id, id, "Type"+id
		msg.Metadata[wire.AggregateID], msg.Metadata[wire.TenantID] = id, id
		msg.SetContext(middleware.WithHandlerName(ctx, "handler-"+id))
		_, _ = tracer.Consume(tracer.Handle(failing(errors.New(id))))(msg)
		_, _ = tracer.Consume(failing(named(id)))(event())
		tracer.OnBuried(ctx, dlq.Letter{Reason: dlq.Reason("reason-" + id), Handlers: []string{"handler-" + id}})
		_ = tracer.Publisher(&recorder{}).Publish("topic-"+id, msg)
	}
	for name, most := range map[string]int{
		"messaging.process.duration":         1 + 200 + 1,
		"leat.handler.duration":              200 + 1,
		"leat.dead_letters":                  200 + 1,
		"messaging.client.sent.messages":     1000 + 1,
		"messaging.client.consumed.messages": 1,
	} {
		n := r.points(t, name)
		if n == 0 || n > most {
			t.Errorf("%s has %d points, want 1 to %d", name, n, most)
		}
	}
}

// named is an error that chooses its own type.
type named string

func (n named) Error() string     { return "named" }
func (n named) ErrorType() string { return "type-" + string(n) }

func TestObserve_AsksAtEachCollectionUntilStopped(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := r.tracer(tracing.Config{System: "kafka", Topic: "orders", Group: "billing"})
	lag := int64(7)
	stop, err := tracer.Observe(tracing.Observed{
		Lag:           func(context.Context) (int64, error) { return lag, nil },
		DeadLetters:   func(context.Context) (int64, error) { return 3, nil },
		LanesBusy:     func() int64 { return 2 },
		Consumers:     func() int64 { return 1 },
		Reconnections: func() int64 { return 4 },
		Rebalances:    func() int64 { return 5 },
	})
	if err != nil {
		t.Fatal(err)
	}
	other, err := tracer.Observe(tracing.Observed{
		Topic: "invoices", Lag: func(context.Context) (int64, error) { return 1, nil },
		DeadLetters: func(context.Context) (int64, error) { return -1, nil }, // not known
	})
	if err != nil {
		t.Fatal(err)
	}
	const (
		orders   = "messaging.consumer.group.name=billing,messaging.destination.name=orders,messaging.system=kafka"
		invoices = "messaging.consumer.group.name=billing,messaging.destination.name=invoices,messaging.system=kafka"
	)
	sameCounts(t, "leat.lag", r.count(t, "leat.lag"), map[string]int64{orders: 7, invoices: 1})
	lag = 8
	sameCounts(t, "leat.lag", r.count(t, "leat.lag"), map[string]int64{orders: 8, invoices: 1})
	for name, want := range map[string]int64{
		"leat.dead_letters.waiting": 3, "leat.lanes.busy": 2, "leat.consumers": 1, "leat.reconnections": 4, "leat.rebalances": 5,
	} {
		sameCounts(t, name, r.count(t, name), map[string]int64{orders: want})
	}
	for range 2 {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
	sameCounts(t, "leat.lag after stop", r.count(t, "leat.lag"), map[string]int64{invoices: 1})
	if err := other(); err != nil {
		t.Error(err)
	}
}

func TestObserve_AddsUpTwoConsumersOfOneGroup(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for range 2 { // two buses in one process
		tracer := r.tracer(tracing.Config{System: "kafka", Topic: "orders", Group: "billing"})
		_, err := tracer.Observe(tracing.Observed{
			Lag:       func(context.Context) (int64, error) { return 7, nil },
			LanesBusy: func() int64 { return 2 }, Consumers: func() int64 { return 1 },
			Reconnections: func() int64 { return 3 },
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	const orders = "messaging.consumer.group.name=billing,messaging.destination.name=orders,messaging.system=kafka"
	for name, want := range map[string]int64{"leat.lag": 7, "leat.lanes.busy": 4, "leat.consumers": 2, "leat.reconnections": 6} {
		sameCounts(t, name, r.count(t, name), map[string]int64{orders: want})
	}
}

func TestObserve_NothingIsFine(t *testing.T) {
	t.Parallel()
	for name, tracer := range silent() {
		stop, err := tracer.Observe(tracing.Observed{LanesBusy: func() int64 { t.Error("asked"); return 0 }})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := stop(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
