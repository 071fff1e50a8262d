// Package eventbus carries typed domain events over Watermill: one [Bus] for
// every broker, opened on any Publisher and Subscriber, ours or stock.
//
// # The nouns
//
// An [Event] is a fact about an aggregate: a struct that embeds [Base]. A
// [Registry] gives each type its name on the wire. A [Bus] publishes events and
// runs handlers on them. A handler is a function with a name; the name is the
// unit of retry, dead letter, replay, metric and span.
//
// # What happens to an event
//
// Publish checks it, encodes it and returns when the broker has confirmed it.
// On the other side the message passes the message chain (recover, trace, dead
// letter, the user's middleware), the dispatch finds the handlers by the wire
// name, decodes once, and runs them at the same time, each in its own chain:
// retry, time-out, span, the user's middleware. [Bus.Chain] prints both.
//
// When a handler fails, it alone is run again, in place, with backoff. When it
// gives up, a letter that names it is stored, and only then is the message
// acknowledged. Replaying the letter runs that handler only. An error that is
// made with Permanent, RetryAfter or Discard of package middleware steers this.
// A message that is no event, or cannot be decoded, becomes a letter with its
// raw bytes; an event that no handler here wants is skipped, undecoded, and
// counted. Failed attempts and letters are logged, to Config.Logger: without one
// a bus is silent.
//
// # What is promised
//
// At least once: an event is acknowledged after its effect, so a crash between
// the two repeats it; middleware.Idempotency filters that. Events of one key
// (the aggregate id) are handled one at a time and in order, also across
// retries; different keys in parallel, up to Concurrency. What a Watermill
// Pub/Sub of somebody else cannot do, a bus on it cannot promise: see package
// eventbustest, which shows the difference.
//
// # Middleware of your own
//
// Config.Middleware sees each message once, before it is decoded: what it needs
// to know stands in the metadata, as event_id, event_type, event_version,
// aggregate_id, aggregate_type, aggregate_version and occurred_at, and, where
// the event has them, correlation_id, causation_id, tenant_id and actor_id. The
// message's UUID is the event's id. Config.HandlerMiddleware and
// [WithMiddleware] run inside retry, around each attempt of a handler, and can
// ask more of the message's context: [EventFrom], middleware.HandlerName,
// middleware.Attempt.
//
// # On a router of Watermill's
//
// [Bus.Mount] puts the bus beside other handlers of a stock router. That router,
// when it closes, closes the Subscriber of each plain handler at once, and
// stock adapters often close their client with it. A Subscriber that the bus
// uses too is then gone while the bus drains, and its last acknowledgements with
// it. Give plain handlers a Subscriber of their own, on a client of its own, or
// this one through router.Decorate. And drain first: only then is there a report.
//
//	report, err := bus.Drain(ctx)
//	err = errors.Join(err, yourRouter.Close())
//	_, err2 := bus.Shutdown(ctx)
//
// A router.Router of leat's needs none of this but [Bus.Shutdown].
//
// # When it blocks
//
// [Bus.Publish] until the outcome of each event is known or its context ends,
// [Bus.PublishInBackground] only at its bound. [Bus.Run] until its context ends
// and the drain is over; [Bus.Shutdown] until the drain is over, within its
// context or DrainTimeout. The verbs on letters as long as their store needs, or
// their context lasts. Subscribing, counting and all that looks at the bus never.
//
// # What can be lost or doubled
//
// Lost: what the broker confirmed and lost itself; what goes to a group whose
// DisableDLQ is set and whose handlers gave up on it; an event of a type that a
// process of the group does not know, since that one skips and acknowledges it.
// Doubled: what was in flight at a crash, what a shutdown handed back, what was
// published again after an unknown outcome. All of it has the same event id.
//
// # What is closed by whom
//
// [Bus.Shutdown] drains. It closes what a backend's Open opened, and never a
// Publisher, Subscriber, store or router that it was given.
package eventbus
