package eventbus

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/middleware"
	"github.com/leat-go/leat/router"
)

// subscription is one handler on one type, or on all (et nil).
type subscription struct {
	bus     *Bus
	name    string
	nameAny any // name, boxed once
	et      *eventType
	call    func(context.Context, Event) error
	filter  Filter
	retry   *middleware.Retry
	timeout time.Duration
	user    []message.HandlerMiddleware

	chain message.HandlerFunc
	stats handlerStats
}

// Subscription is a handle on what a Subscribe verb added: one handler on one
// type, on all types, or a subscriber on all its types. It may be used from
// many goroutines.
type Subscription struct {
	bus  *Bus
	subs []*subscription
}

// Unsubscribe ends the delivery to the handler from the next event on; an event
// that is being handled is finished. It reports whether it removed anything:
// false for the second call, and after the bus was cleared. It never blocks,
// and may be called by the handler itself.
func (s *Subscription) Unsubscribe() bool {
	removed := 0
	_ = s.bus.change(func(t *table) error { // removing never fails
		for _, sub := range s.subs {
			removed += t.remove(func(other *subscription) bool { return other == sub })
		}
		return nil
	})
	return removed > 0
}

// AnyBus is a [*Bus] or a backend's bus, which embeds one: what a program that
// does not care which broker it runs on holds, and what [Subscribe] takes.
type AnyBus interface {
	// Publishing; [Bus.Publish] and its neighbours tell the rest.
	Publish(ctx context.Context, events ...Event) error
	PublishInBackground(ctx context.Context, events ...Event) error
	Check(events ...Event) error
	BackgroundTaskCount() int

	// Handlers: they come and go at any time. Typed ones: [Subscribe].
	SubscribeHandler(t Type, name string, h Handler, opts ...SubscribeOption) (*Subscription, error)
	SubscribeAll(s EventSubscriber, opts ...SubscribeOption) (*Subscription, error)
	SubscribeToAllEvents(name string, h Handler, opts ...SubscribeOption) (*Subscription, error)
	Unsubscribe(t Type, name string) bool
	UnsubscribeFromAllEvents(name string) bool
	ClearSubscribers()
	SubscriberCount() int
	SubscriberCountFor(t Type) int
	WildcardSubscriberCount() int

	// Consuming, its end, and what an orchestrator asks.
	Run(ctx context.Context) error
	Running() <-chan struct{}
	Mount(r *message.Router) error
	Drain(ctx context.Context) (router.Report, error)
	Shutdown(ctx context.Context) (Report, error)
	Draining() bool
	Health() router.Health
	LiveHandler() http.Handler
	ReadyHandler() http.Handler

	// What became of it, and what the bus is.
	DeadLetters() *dlq.Queue
	Stats() Stats
	ResetStats()
	HandlerStats() []HandlerStats
	Chain() string
	Registry() *Registry
	Topic() string
	Group() string

	core() *Bus
}

// Subscribe adds a typed handler for the events of type T:
//
//	eventbus.Subscribe(bus, "send-invoice", func(ctx context.Context, e OrderCreated) error { ... })
//
// The name is the unit of retry, dead letter, replay, metric and span; it must
// be valid (see [ErrInvalidName]) and new among the handlers of the type and of
// all events. The handler gets a copy of the event, and may run at the same
// time as itself for events of other keys. A subscription made while the bus
// runs counts from the next event on. It never blocks. The error is a
// [*SubscribeError], also for a bus that is nil: its methods panic, as those of
// any nil do.
func Subscribe[T any, P EventPtr[T]](bus AnyBus, name string, h func(ctx context.Context, e T) error, opts ...SubscribeOption) (*Subscription, error) {
	var call func(context.Context, Event) error
	if h != nil {
		call = func(ctx context.Context, e Event) error {
			return h(ctx, *e.(P))
		}
	}
	return coreOf(bus).add(name, []Type{TypeFor[T, P]()}, call, nil, opts)
}

// SubscribeHandler adds a handler object, or a plain function as [HandlerFunc],
// for the events of one type; otherwise it is as [Subscribe]. A handler that
// implements [Filter] is asked first.
func (b *Bus) SubscribeHandler(t Type, name string, h Handler, opts ...SubscribeOption) (*Subscription, error) {
	call, filter := unpack(h)
	return b.add(name, []Type{t}, call, filter, opts)
}

// SubscribeAll adds a subscriber for all the types that it declares, under its
// own name, in one step: all or none. Declaring no type is an error that wraps
// [ErrNoTypes]; a type declared twice counts once.
func (b *Bus) SubscribeAll(s EventSubscriber, opts ...SubscribeOption) (*Subscription, error) {
	call, filter := unpack(s)
	if call == nil {
		return b.add("", []Type{{}}, nil, nil, nil)
	}
	var types []Type
	seen := map[Type]bool{}
	for _, t := range s.SubscribedTo() {
		if !seen[t] {
			types = append(types, t)
		}
		seen[t] = true
	}
	if len(types) == 0 {
		return nil, &SubscribeError{Handler: s.Name(), Err: ErrNoTypes}
	}
	return b.add(s.Name(), types, call, filter, opts)
}

// SubscribeToAllEvents adds a wildcard handler, an object or a plain function as
// [HandlerFunc]: it gets the events of every type that the bus's registry knows,
// whether others handle them or not. Its name must be new among all handlers of
// the bus.
func (b *Bus) SubscribeToAllEvents(name string, h Handler, opts ...SubscribeOption) (*Subscription, error) {
	call, filter := unpack(h)
	return b.add(name, nil, call, filter, opts)
}

// Unsubscribe removes the handler of that name from the type. It reports
// whether there was one; an unknown type or name is no error.
func (b *Bus) Unsubscribe(t Type, name string) bool {
	et := b.registry.typed(t)
	return et != nil && b.removeSubscriptions(func(s *subscription) bool { return s.et == et && s.name == name }) > 0
}

// UnsubscribeFromAllEvents removes the wildcard handler of that name, and
// reports whether there was one.
func (b *Bus) UnsubscribeFromAllEvents(name string) bool {
	return b.removeSubscriptions(func(s *subscription) bool { return s.et == nil && s.name == name }) > 0
}

// ClearSubscribers removes every handler, wildcards too.
func (b *Bus) ClearSubscribers() {
	b.removeSubscriptions(func(*subscription) bool { return true })
}

// SubscriberCount returns how many handlers there are on all types together,
// wildcards not counted; a subscriber counts once for each of its types.
func (b *Bus) SubscriberCount() int { return b.table.Load().count(nil) }

// SubscriberCountFor returns how many handlers the type has, wildcards not
// counted; 0 for a type that is not registered.
func (b *Bus) SubscriberCountFor(t Type) int {
	et := b.registry.typed(t)
	if et == nil {
		return 0
	}
	return b.table.Load().count(et)
}

// WildcardSubscriberCount returns how many handlers get all events.
func (b *Bus) WildcardSubscriberCount() int { return len(b.table.Load().wildcards) }

func (b *Bus) core() *Bus { return b }

// coreOf returns nil when the bus is nil in any of Go's ways: a backend's bus
// that is nil, or a struct around one, cannot be asked for what it embeds.
func coreOf(bus AnyBus) (b *Bus) {
	defer func() { _ = recover() }() // core itself only returns: what panics is a nil on the way to it
	return bus.core()
}

// unpack returns a handler's function, nil when the handler is nil in any of
// Go's ways.
func unpack(h Handler) (func(context.Context, Event) error, Filter) {
	if h == nil {
		return nil, nil
	}
	if v := reflect.ValueOf(h); (v.Kind() == reflect.Pointer || v.Kind() == reflect.Func || v.Kind() == reflect.Map) && v.IsNil() {
		return nil, nil
	}
	filter, _ := h.(Filter)
	return h.Handle, filter
}

// add subscribes one handler to several types at once, or to all (types nil).
func (b *Bus) add(name string, types []Type, call func(context.Context, Event) error, filter Filter, opts []SubscribeOption) (*Subscription, error) {
	refuse := func(t string, err error) (*Subscription, error) {
		return nil, &SubscribeError{Handler: name, Type: t, Err: err}
	}
	first := ""
	if len(types) > 0 {
		first = types[0].String()
	}
	if b == nil || b.registry == nil {
		return refuse(first, fmt.Errorf("%w: subscribe to what New or a backend's Open returned, when its error is nil", ErrNilBus))
	}
	if call == nil {
		return refuse(first, ErrNilHandler)
	}
	if err := checkName("handler", name); err != nil {
		return refuse(first, err)
	}
	if b.closed() {
		return refuse(first, ErrClosed)
	}
	var ets []*eventType
	for _, t := range types {
		et := b.registry.typed(t)
		if et == nil {
			return refuse(t.String(), fmt.Errorf("%w: declare it with eventbus.Register on the bus's registry first", ErrUnregistered))
		}
		ets = append(ets, et)
	}
	if types == nil {
		ets = []*eventType{nil}
	}
	handle := &Subscription{bus: b}
	for _, et := range ets {
		sub := &subscription{bus: b, name: name, nameAny: name, et: et, call: call, filter: filter}
		for _, o := range opts {
			if o != nil {
				o.applySubscription(sub)
			}
		}
		if err := sub.build(); err != nil {
			return refuse(first, err)
		}
		handle.subs = append(handle.subs, sub)
	}
	if err := b.change(func(t *table) error { return t.add(handle.subs) }); err != nil {
		return refuse(first, err)
	}
	return handle, nil
}

func (b *Bus) removeSubscriptions(match func(*subscription) bool) (removed int) {
	_ = b.change(func(t *table) error { // removing never fails
		removed = t.remove(match)
		return nil
	})
	return removed
}

// change swaps the table for an altered copy, one change at a time.
func (b *Bus) change(alter func(*table) error) error {
	b.tableMu.Lock()
	defer b.tableMu.Unlock()
	next := b.table.Load().clone()
	if err := alter(next); err != nil {
		return err
	}
	b.table.Store(next)
	return nil
}
