// Package membus is the in-memory event bus: for tests, for development, and
// for programs of one process.
//
// # Smallest program
//
//	reg := eventbus.NewRegistry()
//	err := eventbus.Register[OrderCreated](reg, "OrderCreated", eventbus.AggregateType("Order"))
//	bus, err := membus.New(membus.Config{Registry: reg})
//	_, err = eventbus.Subscribe(bus, "mail", func(ctx context.Context, e OrderCreated) error { ... })
//	err = bus.Publish(ctx, &OrderCreated{Base: eventbus.NewBase("order-1")})
//
// # What happens when
//
// Publish calls the handlers and returns when all have run, their retries
// included. The events of one Publish are handled one after another, in order;
// the handlers of one event run at the same time. An event published by a
// handler, with the handler's context, is handled at once, inside. Nothing of
// what handlers return reaches the publisher: a handler that gives up leaves a
// letter, exactly as on a broker.
//
// Run only waits here. A program that calls it, after subscribing, moves to a
// broker by changing the line that opens the bus; without it a bus on a broker
// handles nothing.
//
// # Order
//
// There is no stream, so there is no order between two Publish calls that
// overlap in time, even for one key: each is as far as its own goroutine is.
// Publish the events of one aggregate from one goroutine, or under its lock,
// where that matters. (A lock per key in here would deadlock the handler that
// publishes an event of its own key.)
//
// # What can be lost
//
// Everything, when the process ends: letters too, unless DeadLetters is a
// store elsewhere. An event whose handling is cut short by the publisher's
// context, or by the deadline of a shutdown, is told to its publisher as
// unknown; nobody else has it.
//
// # What Close closes
//
// Shutdown waits for the publishes under way, background ones too. There is
// nothing else to close.
package membus
