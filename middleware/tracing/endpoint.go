package tracing

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// endpoint is everything about spans and metrics that is the same for all
// messages of one topic and group. It is built once, so that a message costs
// only what is its own.
type endpoint struct {
	key endpointKey

	publishName, consumeName string // span names up to the event type

	publishStart, consumeStart, handleStart []trace.SpanStartOption

	publishAttrs, consumeAttrs, groupAttrs []attribute.KeyValue // of metrics, for sets with more in them

	publishAdd    []metric.AddOption
	consumeAdd    []metric.AddOption
	publishRecord []metric.RecordOption
	consumeRecord []metric.RecordOption
	groupAdd      []metric.AddOption
	groupRecord   []metric.RecordOption
}

type endpointKey struct{ system, topic, group string }

func newEndpoint(k endpointKey) *endpoint {
	where := []attribute.KeyValue{keySystem.String(clean(k.system, maxValue))}
	if k.topic != "" {
		where = append(where, keyDestination.String(clean(k.topic, maxValue)))
	}
	grouped := where
	if k.group != "" {
		grouped = plus(where, keyGroup.String(clean(k.group, maxValue)))
	}
	publish := plus(where, keyOperationName.String(operationPublish))
	consume := plus(grouped, keyOperationName.String(operationConsume))

	start := func(kind trace.SpanKind, attrs []attribute.KeyValue, more ...attribute.KeyValue) []trace.SpanStartOption {
		return []trace.SpanStartOption{trace.WithSpanKind(kind), trace.WithAttributes(plus(attrs, more...)...)}
	}
	set := func(attrs []attribute.KeyValue) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(attrs...))
	}
	name := clean(k.system, maxName)
	return &endpoint{
		key:           k,
		publishName:   name + "." + operationPublish,
		consumeName:   name + "." + operationConsume,
		publishStart:  start(trace.SpanKindProducer, publish, keyOperationType.String(typeSend)),
		consumeStart:  start(trace.SpanKindConsumer, consume, keyOperationType.String(typeProcess)),
		handleStart:   start(trace.SpanKindInternal, grouped),
		publishAttrs:  publish,
		consumeAttrs:  consume,
		groupAttrs:    grouped,
		publishAdd:    []metric.AddOption{set(publish)},
		consumeAdd:    []metric.AddOption{set(consume)},
		publishRecord: []metric.RecordOption{set(plus(publish, keyOperationType.String(typeSend)))},
		consumeRecord: []metric.RecordOption{set(consume)},
		groupAdd:      []metric.AddOption{set(grouped)},
		groupRecord:   []metric.RecordOption{set(grouped)},
	}
}

// plus returns s with more behind it in a slice of its own: what is shared by
// all messages is never appended to.
func plus[T any](s []T, more ...T) []T { return slices.Concat(s, more) }

// publishSpanName and consumeSpanName are the names by the event's type. A
// message that is no event of ours has none; the conventions then name the
// destination.
func (e *endpoint) publishSpanName(eventType string) string {
	return e.spanName(e.publishName, eventType)
}

func (e *endpoint) consumeSpanName(eventType string) string {
	return e.spanName(e.consumeName, eventType)
}

func (e *endpoint) spanName(prefix, eventType string) string {
	if eventType == "" {
		eventType = e.key.topic
	}
	if eventType == "" {
		return prefix
	}
	return prefix + " " + clean(eventType, maxName)
}

// maxEndpoints bounds what is remembered. A program that invents topics as it
// goes pays for each message anew, and its metrics lose the topic: they would
// otherwise grow without end.
const maxEndpoints = 1000

// endpoints finds the endpoint of a message without a lock or an allocation.
type endpoints struct {
	fallback *endpoint

	mu    sync.Mutex // serialises writers
	known atomic.Pointer[map[endpointKey]*endpoint]
}

func (s *endpoints) get(k endpointKey) *endpoint {
	if k == s.fallback.key {
		return s.fallback
	}
	if m := s.known.Load(); m != nil {
		if e := (*m)[k]; e != nil {
			return e
		}
	}
	return s.add(k)
}

func (s *endpoints) add(k endpointKey) *endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := map[endpointKey]*endpoint{}
	if m := s.known.Load(); m != nil {
		if e := (*m)[k]; e != nil {
			return e
		}
		if len(*m) >= maxEndpoints {
			return newEndpoint(k).unmeasured(s.fallback)
		}
		next = maps.Clone(*m)
	}
	e := newEndpoint(k)
	next[k] = e
	s.known.Store(&next)
	return e
}

// unmeasured gives e the metric attributes of another endpoint.
func (e *endpoint) unmeasured(other *endpoint) *endpoint {
	e.publishAttrs, e.consumeAttrs, e.groupAttrs = other.publishAttrs, other.consumeAttrs, other.groupAttrs
	e.publishAdd, e.consumeAdd = other.publishAdd, other.consumeAdd
	e.publishRecord, e.consumeRecord = other.publishRecord, other.consumeRecord
	e.groupAdd, e.groupRecord = other.groupAdd, other.groupRecord
	return e
}
