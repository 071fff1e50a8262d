// Package tracing makes OpenTelemetry spans and metrics of what is published
// and handled, and carries the trace from the one to the other through the
// broker. It uses the OpenTelemetry API only: the program installs an SDK, or
// does not, and then all of this costs some tens of nanoseconds a message and
// no allocation.
//
// Consume and Handle are plain [message.HandlerMiddleware]s and Publisher is a
// plain decorator, so a Watermill project that knows nothing of leat's buses can
// use them:
//
//	t := tracing.New(tracing.Config{System: "redis", Group: "billing"})
//	r.AddMiddleware(
//		t.Consume,
//		middleware.DeadLetter{Burier: letters, OnBuried: t.OnBuried}.Middleware,
//		middleware.Retry{OnRetry: t.OnRetry}.Middleware,
//		middleware.Recover{}.Middleware,
//		t.Handle,
//	)
//	publisher = t.Publisher(publisher)
//
// # Spans
//
//	redis.publish OrderPlaced          producer   one for each message, batches too
//	└─ redis.consume OrderPlaced       consumer   one for each delivery, through the broker
//	   ├─ handle send-invoice          internal   one for each handler and attempt
//	   ├─ handle send-invoice          internal   leat.attempt=2
//	   │  └─ redis.publish InvoiceSent producer   what the handler publishes
//	   └─ handle audit                 internal
//
// The name's first word is Config.System; a message without an event type is
// named by its topic. Attributes follow the messaging conventions, version
// 1.43.0, with the schema URL that says so; what those have no word for starts
// with "leat.". What comes from a message or an error is cut and made valid
// UTF-8 first.
//
// The publishing span's own context goes on the wire, under W3C's keys. A letter
// and its replay keep the context of the first publishing: their spans are
// linked to it, and the replay is handled in a trace of its own. A message that
// carries no context, or a broken one, starts a trace of its own.
//
// A span fails when the handler returns an error or panics. Handing a message
// back at shutdown, and discarding it, are not failures.
//
// # Metrics
//
//	messaging.client.operation.duration  s            one call of the publisher
//	messaging.client.sent.messages       {message}    published, confirmed or not
//	messaging.client.consumed.messages   {message}    delivered
//	messaging.process.duration           s            one delivery, retries included
//	leat.handler.duration                s            one attempt of one handler
//	leat.queue.duration                  s            from occurrence to arrival
//	leat.in_flight                       {message}    deliveries being handled
//	leat.retries                         {retry}      by handler; see OnRetry
//	leat.dead_letters                    {message}    by handler and reason; see OnBuried
//	leat.lag, leat.dead_letters.waiting, leat.lanes.busy,
//	leat.consumers, leat.reconnections, leat.rebalances   asked of the bus; see Observe
//
// Their attributes are the system, topic, group, operation, handler, reason and
// the kind of error: nothing that grows with the traffic. Of topics the first
// 1,000 are told apart, of handlers, reasons and kinds of errors the first 200;
// event types are left out, because on the consuming side anybody can invent
// them. Durations have the conventions' buckets, 5 ms to 10 s, and queue time
// some more up to an hour; a view of the SDK changes them (an example of this package does):
//
//	metric.NewView(
//		metric.Instrument{Name: "leat.handler.duration", Scope: instrumentation.Scope{Name: tracing.ScopeName}},
//		metric.Stream{Aggregation: metric.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 20}},
//	)
//
// # Without an SDK
//
// A trace context that a message carries reaches the handler's context, and one
// in the publisher's context reaches the messages that have none, so a service
// without an SDK does not break its neighbours' traces. Baggage travels with a
// trace context, not alone. An SDK that is installed globally after [New] is
// found; one that instruments the process from outside (eBPF) is not: give its
// provider to Config.
package tracing
