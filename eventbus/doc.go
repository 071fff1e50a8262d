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
// acknowledged. Replaying the letter runs that handler only. A message that is
// no event, or cannot be decoded, becomes a letter with its raw bytes; an event
// that no handler here wants is skipped, undecoded, and counted.
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
// # What is closed by whom
//
// [Bus.Shutdown] drains. It closes what a backend's Open opened, and never a
// Publisher, Subscriber, store or router that it was given.
package eventbus
