package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/leat-go/leat/eventbus"
)

// say prints a line about what a handler did; quiet in long runs.
type say func(handler string, e eventbus.Event, format string, args ...any)

// mail writes to customers: two typed functions under one name.
type mail struct {
	say  say
	mu   sync.Mutex
	sent int
}

func (m *mail) created(_ context.Context, e OrderCreated) error {
	m.count()
	m.say("mail", &e, "confirmation sent to %s", e.Customer)
	return nil
}

func (m *mail) shipped(_ context.Context, e OrderShipped) error {
	m.count()
	m.say("mail", &e, "tracking number %s sent", e.Tracking)
	return nil
}

func (m *mail) count() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sent++
}

// ledger books payments through a bank that can be away.
type ledger struct {
	say      say
	mu       sync.Mutex
	outages  int // how many calls the bank will not answer
	payments int
	cents    int64
}

func (l *ledger) paid(_ context.Context, e OrderPaid) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.outages > 0 {
		l.outages--
		return errors.New("the bank does not answer")
	}
	l.payments++
	l.cents += e.AmountCents
	l.say("ledger", &e, "booked %s", money(e.AmountCents))
	return nil
}

// fail makes the bank leave the next n calls unanswered.
func (l *ledger) fail(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outages = n
}

// unknownSKU is the article that the warehouse has never heard of, until
// somebody tells it.
const unknownSKU = "moon-dust"

// warehouse is an object that declares which events it wants.
type warehouse struct {
	say      say
	mu       sync.Mutex
	mended   bool
	reserved int
	shipped  int
}

// Name is the handler's name.
func (w *warehouse) Name() string { return "warehouse" }

// SubscribedTo lists the event types.
func (w *warehouse) SubscribedTo() []eventbus.Type {
	return []eventbus.Type{eventbus.TypeFor[ItemAdded](), eventbus.TypeFor[OrderShipped]()}
}

// Handle keeps the stock.
func (w *warehouse) Handle(_ context.Context, e eventbus.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := e.(type) {
	case *ItemAdded:
		if e.SKU == unknownSKU && !w.mended {
			return fmt.Errorf("no article %q in the catalogue", e.SKU)
		}
		w.reserved += e.Quantity
		w.say("warehouse", e, "reserved %d x %s", e.Quantity, e.SKU)
	case *OrderShipped:
		w.shipped++
		w.say("warehouse", e, "parcel handed over")
	}
	return nil
}

// mend puts the unknown article into the catalogue.
func (w *warehouse) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mended = true
}

// audit gets every event.
type audit struct {
	say    say
	mu     sync.Mutex
	events map[string]int
}

func (a *audit) Handle(_ context.Context, e eventbus.Event) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events[e.EventBase().EventType]++
	a.say("audit", e, "noted")
	return nil
}

// handlers are all that the program subscribes.
type handlers struct {
	mail      mail
	ledger    ledger
	warehouse warehouse
	audit     audit
}

// subscribe shows the four ways: typed functions, an object with its own list
// of types, and a handler of everything.
func (h *handlers) subscribe(bus eventbus.AnyBus, s say) error {
	h.mail.say, h.ledger.say, h.warehouse.say, h.audit.say = s, s, s, s
	h.audit.events = map[string]int{}
	_, e1 := eventbus.Subscribe(bus, "mail", h.mail.created)
	_, e2 := eventbus.Subscribe(bus, "mail", h.mail.shipped)
	_, e3 := eventbus.Subscribe(bus, "ledger", h.ledger.paid)
	_, e4 := bus.SubscribeAll(&h.warehouse)
	_, e5 := bus.SubscribeToAllEvents("audit", &h.audit)
	return errors.Join(e1, e2, e3, e4, e5)
}

// outcome is what the handlers of one process, or of several, have made of the
// events.
type outcome struct {
	Letters  int            `json:"letters"`
	Payments int            `json:"payments"`
	Cents    int64          `json:"cents"`
	Reserved int            `json:"reserved"`
	Shipped  int            `json:"shipped"`
	Noted    map[string]int `json:"noted"`
}

func (h *handlers) outcome() outcome {
	for _, mu := range [...]*sync.Mutex{&h.mail.mu, &h.ledger.mu, &h.warehouse.mu, &h.audit.mu} {
		mu.Lock()
		defer mu.Unlock()
	}
	return outcome{h.mail.sent, h.ledger.payments, h.ledger.cents, h.warehouse.reserved, h.warehouse.shipped, maps.Clone(h.audit.events)}
}

func (o *outcome) add(p outcome) {
	o.Letters += p.Letters
	o.Payments += p.Payments
	o.Cents += p.Cents
	o.Reserved += p.Reserved
	o.Shipped += p.Shipped
	for typ, n := range p.Noted {
		o.Noted[typ] += n
	}
}
