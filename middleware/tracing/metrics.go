package tracing

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"

	"github.com/leat-go/leat/internal/wire"
)

// Names of the metrics that the conventions do not have.
const (
	metricHandle        = "leat.handler.duration"
	metricQueueTime     = "leat.queue.duration"
	metricRetries       = "leat.retries"
	metricDeadLetters   = "leat.dead_letters"
	metricInFlight      = "leat.in_flight"
	metricLag           = "leat.lag"
	metricWaiting       = "leat.dead_letters.waiting"
	metricLanesBusy     = "leat.lanes.busy"
	metricConsumers     = "leat.consumers"
	metricReconnections = "leat.reconnections"
	metricRebalances    = "leat.rebalances"
)

// instruments are the synchronous ones; those that are asked are in Observe.
type instruments struct {
	meter metric.Meter

	publishDuration messagingconv.ClientOperationDuration
	sent            messagingconv.ClientSentMessages
	consumed        messagingconv.ClientConsumedMessages
	processDuration messagingconv.ProcessDuration

	handleDuration metric.Float64Histogram
	queueTime      metric.Float64Histogram
	retries        metric.Int64Counter
	deadLetters    metric.Int64Counter
	inFlight       metric.Int64UpDownCounter
}

// durationBuckets are the boundaries that the conventions ask for, in seconds;
// their generated package does not set them, and the SDK's own default is made
// for milliseconds.
func durationBuckets() metric.HistogramOption {
	return metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
}

// queueBuckets go on to an hour: an event waits as long as its consumer is away.
func queueBuckets() metric.HistogramOption {
	return metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 300, 900, 3600)
}

func newInstruments(m metric.Meter) instruments {
	i := instruments{meter: m}
	var err error
	i.publishDuration, err = messagingconv.NewClientOperationDuration(m, durationBuckets())
	report(err)
	i.sent, err = messagingconv.NewClientSentMessages(m)
	report(err)
	i.consumed, err = messagingconv.NewClientConsumedMessages(m)
	report(err)
	i.processDuration, err = messagingconv.NewProcessDuration(m, durationBuckets())
	report(err)

	if i.handleDuration, err = m.Float64Histogram(metricHandle, durationBuckets(), metric.WithUnit("s"),
		metric.WithDescription("Duration of one attempt of one handler.")); err != nil {
		report(err)
		i.handleDuration = metricnoop.Float64Histogram{}
	}
	if i.queueTime, err = m.Float64Histogram(metricQueueTime, queueBuckets(), metric.WithUnit("s"),
		metric.WithDescription("Time from when an event occurred to when it reached the consumer, replays left out.")); err != nil {
		report(err)
		i.queueTime = metricnoop.Float64Histogram{}
	}
	if i.retries, err = m.Int64Counter(metricRetries, metric.WithUnit("{retry}"),
		metric.WithDescription("Number of times a failed handler was set to run again.")); err != nil {
		report(err)
		i.retries = metricnoop.Int64Counter{}
	}
	if i.deadLetters, err = m.Int64Counter(metricDeadLetters, metric.WithUnit("{message}"),
		metric.WithDescription("Number of messages buried in the dead letter queue, once for each handler that failed.")); err != nil {
		report(err)
		i.deadLetters = metricnoop.Int64Counter{}
	}
	if i.inFlight, err = m.Int64UpDownCounter(metricInFlight, metric.WithUnit("{message}"),
		metric.WithDescription("Number of deliveries that are being handled.")); err != nil {
		report(err)
		i.inFlight = metricnoop.Int64UpDownCounter{}
	}
	return i
}

func report(err error) {
	if err != nil {
		otel.Handle(err)
	}
}

// with is a set of metric attributes with one or two more in it.
func with(attrs []attribute.KeyValue, more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(plus(attrs, more...)...))
}

// published measures one call of a publisher. errs says which messages failed,
// and the call counts as failed when one did.
func (i *instruments) published(ctx context.Context, e *endpoint, took time.Duration, ok int, failed map[string]int) {
	if ok > 0 {
		i.sent.Int64Counter.Add(ctx, int64(ok), e.publishAdd...)
	}
	errorType := ""
	for typ, n := range failed {
		i.sent.Int64Counter.Add(ctx, int64(n), with(e.publishAttrs, keyErrorType.String(typ)))
		errorType = max(errorType, typ)
	}
	if errorType == "" {
		i.publishDuration.Float64Histogram.Record(ctx, took.Seconds(), e.publishRecord...)
		return
	}
	i.publishDuration.Float64Histogram.Record(ctx, took.Seconds(),
		with(e.publishAttrs, keyOperationType.String(typeSend), keyErrorType.String(errorType)))
}

// arrived measures the arrival of one delivery.
func (i *instruments) arrived(ctx context.Context, e *endpoint, m map[string]string, now time.Time) {
	i.consumed.Int64Counter.Add(ctx, 1, e.consumeAdd...)
	i.inFlight.Add(ctx, 1, e.groupAdd...)
	if m[wire.ReplayCount] != "" || !i.queueTime.Enabled(ctx) {
		return
	}
	if occurred, ok := occurredAt(m[wire.OccurredAt]); ok {
		// Two machines' clocks differ; less than nothing is nothing.
		i.queueTime.Record(ctx, max(now.Sub(occurred), 0).Seconds(), e.groupRecord...)
	}
}

// left measures the end of one delivery.
func (i *instruments) left(ctx context.Context, e *endpoint, took time.Duration, errorType string) {
	i.inFlight.Add(ctx, -1, e.groupAdd...)
	if errorType == "" {
		i.processDuration.Float64Histogram.Record(ctx, took.Seconds(), e.consumeRecord...)
		return
	}
	i.processDuration.Float64Histogram.Record(ctx, took.Seconds(), with(e.consumeAttrs, keyErrorType.String(errorType)))
}

// handled measures one attempt of a handler.
func (i *instruments) handled(ctx context.Context, v *handlerView, took time.Duration, errorType string) {
	if errorType == "" {
		i.handleDuration.Record(ctx, took.Seconds(), v.record...)
		return
	}
	i.handleDuration.Record(ctx, took.Seconds(), with(v.attrs, keyErrorType.String(errorType)))
}

// occurredAt reads the header, with any fraction and in any zone.
func occurredAt(s string) (time.Time, bool) {
	if s == "" || len(s) > len(time.RFC3339Nano) {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339, s)
	return at, err == nil
}
