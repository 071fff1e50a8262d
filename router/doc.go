// Package router runs Watermill handlers so that a shutdown neither loses nor
// repeats what could be finished: it drains.
//
// # What it is for
//
// A deploy stops a consumer in the middle of its work. Watermill's router then
// ends the context of every message at once, and the stock adapters drop the
// acknowledgements that come after it: messages that were handled to the end
// are delivered again, and with a poison queue healthy ones are buried. This
// package stops the intake instead, leaves the running handlers a live context
// until a deadline, waits until what they finished is acknowledged, and hands
// the rest back to the broker.
//
// [Decorate] does that to any Watermill subscriber, in any Watermill router.
// [Router] is a Watermill router that does it for all its handlers, and that
// also lets handlers come and go while it runs, closes nothing it was given,
// returns errors where Watermill panics, and can be asked for its health.
// Nothing here knows of domain events.
//
// # How a drain goes
//
//	stop handing out  ->  running handlers finish  ->  native acks are sent  ->  inner subscription ends  ->  channel closed
//	                      (live context, deadline)     (SettleTimeout)           (the rest is handed back)    (last)
//
// When the deadline passes, the contexts of the messages that are still being
// handled end with the cause [ErrDrainDeadline]; a second later the drain is
// over, whether the handlers have returned or not.
//
// # Order and concurrency
//
// A decorated subscriber hands out one message at a time. With
// DrainConfig.Concurrency it hands out several, but of one key (by default the
// metadata aggregate_id) one at a time and in order. A message that is nacked
// comes back when its adapter sees fit: behind others of its key. To keep the
// order over failures, retry inside the handler.
//
// # What can be lost or doubled
//
// Nothing is acknowledged that its handler did not finish, so nothing is lost
// that the Pub/Sub underneath keeps (gochannel keeps nothing that is not
// acked). A message is delivered again when its handler was not done at the
// deadline, and when the adapter needed longer than SettleTimeout for an
// acknowledgement without giving a sign.
//
// # What is closed
//
// Nothing that was given: subscribers, publishers and mounted buses stay their
// owners'. Close them after Run has returned.
//
// # In production
//
// DrainTimeout must be shorter than what the orchestrator allows: with
// Kubernetes' terminationGracePeriodSeconds of 30 use 25 seconds. Every handler
// should mind its context. Serve [Router.LiveHandler] and [Router.ReadyHandler].
package router
