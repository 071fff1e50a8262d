package tracing_test

import (
	"context"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/internal/wire"
	"github.com/leat-go/leat/middleware"
	"github.com/leat-go/leat/middleware/tracing"
)

func TestDelivery_FactsComeBeforeTheConfiguration(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		delivery middleware.Delivery
		span     string
		want     map[string]string
	}{
		"kafka": {
			delivery: middleware.Delivery{System: "kafka", Topic: "t", Group: "g", Partition: 0, Offset: 42, Count: 2},
			span:     "kafka.consume OrderPlaced",
			want: map[string]string{
				"messaging.system": "kafka", "messaging.destination.name": "t", "messaging.consumer.group.name": "g",
				"messaging.destination.partition.id": "0", "messaging.kafka.offset": "42", "leat.delivery.count": "2",
			},
		},
		"redis": {
			delivery: middleware.Delivery{
				System: "redis", Topic: "t", Group: "g", ID: "1-0", Count: 1,
				Partition: dlq.NoPosition, Offset: dlq.NoPosition,
			},
			span: "redis.consume OrderPlaced",
			want: map[string]string{
				"messaging.system": "redis", "messaging.destination.name": "t", "messaging.consumer.group.name": "g",
				"leat.delivery.id": "1-0", "leat.delivery.count": "1",
			},
		},
		"redis with the zero position": {
			delivery: middleware.Delivery{System: "redis", ID: "1-0"},
			span:     "redis.consume OrderPlaced",
			want: map[string]string{
				"messaging.system": "redis", "messaging.destination.name": "orders", "messaging.consumer.group.name": "billing",
				"leat.delivery.id": "1-0",
			},
		},
		"kafka without a position": {
			delivery: middleware.Delivery{System: "kafka", Partition: dlq.NoPosition, Offset: dlq.NoPosition},
			span:     "kafka.consume OrderPlaced",
			want: map[string]string{
				"messaging.system": "kafka", "messaging.destination.name": "orders", "messaging.consumer.group.name": "billing",
			},
		},
		"nothing known": {
			delivery: middleware.Delivery{Partition: dlq.NoPosition, Offset: dlq.NoPosition},
			span:     "configured.consume OrderPlaced",
			want: map[string]string{
				"messaging.system": "configured", "messaging.destination.name": "orders", "messaging.consumer.group.name": "billing",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			tracer := r.tracer(tracing.Config{System: "configured", Topic: "orders", Group: "billing"})
			msg := event()
			msg.Metadata = message.Metadata{wire.EventType: "OrderPlaced"}
			msg.SetContext(middleware.WithDelivery(context.Background(), &tt.delivery))
			if _, err := tracer.Consume(done)(msg); err != nil {
				t.Fatal(err)
			}
			sameAttrs(t, "consume", r.one(t, tt.span).Attributes, merge(tt.want, map[string]string{
				"messaging.operation.name": "consume", "messaging.operation.type": "process", "leat.event.type": "OrderPlaced",
				"messaging.message.id": msg.UUID, "messaging.message.body.size": "11",
			}))
		})
	}
}

func TestHandle_OneChainServesSeveralTopicsAndHandlers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	handle := r.tracer(tracing.Config{}).Handle(done)
	for _, handler := range []string{"x", "y"} {
		for _, topic := range []string{"a", "b", "a"} {
			msg := event()
			ctx := middleware.WithDelivery(context.Background(), &middleware.Delivery{Topic: topic})
			msg.SetContext(middleware.WithHandlerName(ctx, handler))
			if _, err := handle(msg); err != nil {
				t.Fatal(err)
			}
		}
	}
	sameCounts(t, "leat.handler.duration", r.times(t, "leat.handler.duration"), map[string]uint64{
		"leat.handler=x,messaging.destination.name=a,messaging.system=watermill": 2,
		"leat.handler=x,messaging.destination.name=b,messaging.system=watermill": 1,
		"leat.handler=y,messaging.destination.name=a,messaging.system=watermill": 2,
		"leat.handler=y,messaging.destination.name=b,messaging.system=watermill": 1,
	})
}

func TestHandle_NumbersTheAttemptsOfRetryWithoutConsume(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	retry := middleware.Retry{MaxRetries: 1, BaseDelay: 1}
	_, err := retry.Middleware(r.tracer(tracing.Config{}).Handle(failing(&refusal{"no"})))(event())
	if err == nil {
		t.Fatal("the handler's error is gone")
	}
	for i, s := range r.all("handle send-invoice") {
		if got, want := attrs(s.Attributes)["leat.attempt"], []string{"1", "2"}[i]; got != want {
			t.Errorf("attempt %s says it is attempt %s", want, got)
		}
	}
}

func TestTracer_ConcurrentUse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tracer := r.tracer(tracing.Config{System: "redis"})
	chain := tracer.Consume(tracer.Handle(failing(&refusal{"no"})))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				msg := event()
				msg.SetContext(middleware.WithHandlerName(context.Background(), string(rune('a'+i))))
				_ = tracer.Publisher(&recorder{}).Publish(string(rune('a'+i)), msg)
				_, _ = chain(msg)
			}
		})
	}
	wg.Wait()
	if got := len(r.all("redis.consume OrderPlaced")); got != 400 {
		t.Errorf("%d consumer spans, want 400", got)
	}
	if got := r.points(t, "leat.handler.duration"); got != 8 {
		t.Errorf("leat.handler.duration has %d series, want one for each of 8 handlers", got)
	}
	if got := r.count(t, "leat.in_flight"); got["messaging.system=redis"] != 0 || len(got) != 1 {
		t.Errorf("leat.in_flight = %v, want 0", got)
	}
}

// TestTracer_FindsAnSDKThatIsInstalledLate runs in a process of its own,
// because the global providers can be installed once only.
func TestTracer_FindsAnSDKThatIsInstalledLate(t *testing.T) {
	const child = "LEAT_TRACING_CHILD"
	if os.Getenv(child) == "" {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), exe, "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	given := otel.GetTracerProvider() // the placeholder, as a program may pass it on
	tracers := []*tracing.Tracer{
		tracing.New(tracing.Config{System: "redis"}),
		tracing.New(tracing.Config{System: "redis", TracerProvider: given, MeterProvider: otel.GetMeterProvider()}),
	}
	disabled := tracing.New(tracing.Config{System: "redis", Disabled: true})
	chains := []message.HandlerFunc{
		tracers[0].Consume(done), tracers[1].Consume(done), disabled.Consume(done),
	}
	for _, chain := range chains {
		_, _ = chain(event())
	}
	if tracers[0].Enabled() || tracers[1].Enabled() {
		t.Error("Enabled before there is an SDK")
	}
	r := newRig(t)
	otel.SetTracerProvider(r.provider)
	otel.SetMeterProvider(r.meters)
	for _, chain := range chains {
		_, _ = chain(event())
	}
	if !tracers[0].Enabled() || !tracers[1].Enabled() || disabled.Enabled() {
		t.Error("Enabled does not follow the SDK and Disabled")
	}
	if got := len(r.all("redis.consume OrderPlaced")); got != 2 {
		t.Errorf("%d spans after the SDK was installed, want 2", got)
	}
	got := r.count(t, "messaging.client.consumed.messages")
	if n := got["messaging.operation.name=consume,messaging.system=redis"]; n != 2 {
		t.Errorf("consumed = %v, want 2", got)
	}
}
