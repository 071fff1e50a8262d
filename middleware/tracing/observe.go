package tracing

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/metric"
)

// Observed is what a bus is asked when metrics are collected. Each function is
// called once per collection, from the collector's goroutine, and must end with
// its context; a nil one is a metric that is not there. A function that
// returns an error leaves its metric out of this collection, and the error goes
// to OpenTelemetry's error handler: so it must hold no secret.
type Observed struct {
	// Topic and Group name what is observed. Empty means the Tracer's.
	Topic, Group string

	// Lag is the number of messages that the group has not been given yet. A
	// negative one is not known, and left out.
	Lag func(context.Context) (int64, error)

	// DeadLetters is the number of letters that wait in the dead letter queue;
	// a negative one is not known.
	DeadLetters func(context.Context) (int64, error)

	// LanesBusy is the number of keys that are being handled at this moment.
	LanesBusy func() int64

	// Consumers is how many consumers of the group run here at this moment. A
	// negative number is left out: of a process that only publishes nobody expects
	// one.
	Consumers func() int64

	// Reconnections counts, from the start of the process, the connections
	// that were made again after a loss.
	Reconnections func() int64

	// Rebalances counts, from the start of the process, the changes of what
	// this consumer of the group was assigned.
	Rebalances func() int64
}

// Observe asks o at every collection of metrics, until stop is called: a bus
// calls it when it shuts down. stop may be called more than once. The error is
// the meter provider's; nothing is observed then, and stop may still be called.
//
// Without an SDK nothing is ever asked.
func (t *Tracer) Observe(o Observed) (stop func() error, err error) {
	key := t.endpoints.fallback.key
	key.topic, key.group = or(o.Topic, key.topic), or(o.Group, key.group)
	where := with(t.endpoints.get(key).groupAttrs)

	var b observation
	b.where = where
	m := t.instruments.meter
	if o.Lag != nil {
		b.ask(m, metricLag, "{message}", "Number of messages that the consumer group has not been given yet.", o.Lag)
	}
	if o.DeadLetters != nil {
		b.ask(m, metricWaiting, "{message}", "Number of letters that wait in the dead letter queue.", o.DeadLetters)
	}
	if o.LanesBusy != nil {
		b.sum(m, metricLanesBusy, "{lane}", "Number of keys that are being handled.", o.LanesBusy)
	}
	if o.Consumers != nil {
		b.sum(m, metricConsumers, "{consumer}", "Number of consumers that run.", o.Consumers)
	}
	if o.Reconnections != nil {
		b.count(m, metricReconnections, "{reconnection}", "Number of connections made again after a loss.", o.Reconnections)
	}
	if o.Rebalances != nil {
		b.count(m, metricRebalances, "{rebalance}", "Number of changes of what this consumer was assigned.", o.Rebalances)
	}
	if b.err != nil || len(b.instruments) == 0 {
		return func() error { return nil }, b.err
	}
	r, err := m.RegisterCallback(b.observe, b.instruments...)
	if err != nil {
		return func() error { return nil }, err
	}
	return r.Unregister, nil
}

// observation is one callback over several instruments.
type observation struct {
	where       metric.MeasurementOption
	instruments []metric.Observable
	asks        []func(context.Context, metric.Observer) error
	err         error
}

func (b *observation) ask(m metric.Meter, name, unit, what string, f func(context.Context) (int64, error)) {
	g, err := m.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(what))
	if err != nil {
		b.err = errors.Join(b.err, err)
		return
	}
	b.instruments = append(b.instruments, g)
	b.asks = append(b.asks, func(ctx context.Context, o metric.Observer) error {
		n, err := f(ctx)
		if err == nil && n >= 0 {
			o.ObserveInt64(g, n, b.where)
		}
		return err
	})
}

// sum is for what is added up over several observed things with the same
// attributes: two consumers of a group in one process.
func (b *observation) sum(m metric.Meter, name, unit, what string, f func() int64) {
	c, err := m.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(what))
	if err != nil {
		b.err = errors.Join(b.err, err)
		return
	}
	b.instruments = append(b.instruments, c)
	b.asks = append(b.asks, func(_ context.Context, o metric.Observer) error {
		if n := f(); n >= 0 {
			o.ObserveInt64(c, n, b.where)
		}
		return nil
	})
}

func (b *observation) count(m metric.Meter, name, unit, what string, f func() int64) {
	c, err := m.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(what))
	if err != nil {
		b.err = errors.Join(b.err, err)
		return
	}
	b.instruments = append(b.instruments, c)
	b.asks = append(b.asks, func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(c, f(), b.where)
		return nil
	})
}

// observe asks everything, also what comes after something that failed.
func (b *observation) observe(ctx context.Context, o metric.Observer) error {
	var errs []error
	for _, ask := range b.asks {
		errs = append(errs, ask(ctx, o))
	}
	return errors.Join(errs...)
}
