package eventbus

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/codec"
	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus/internal/direct"
	"github.com/leat-go/leat/middleware"
	"github.com/leat-go/leat/router"
)

// caller is a transport that takes the offer to call the bus itself, or does not.
type caller struct {
	takes bool

	mu     sync.Mutex
	handle func(*message.Message) error
	out    chan *message.Message
}

func (c *caller) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.takes {
		c.handle = direct.Take(ctx)
	}
	c.out = make(chan *message.Message)
	return c.out, nil
}

func (c *caller) send(m *message.Message) error {
	c.mu.Lock()
	handle, out := c.handle, c.out
	c.mu.Unlock()
	if handle != nil {
		return handle(m)
	}
	out <- m
	select {
	case <-m.Acked():
		return nil
	case <-m.Nacked():
		return errors.New("nacked")
	}
}

func (c *caller) Drain(context.Context) (router.Report, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out != nil {
		close(c.out)
		c.out = nil
	}
	return router.Report{}, nil
}

func (c *caller) Publish(string, ...*message.Message) error { return nil }
func (c *caller) Close() error                              { return nil }
func (c *caller) offered() bool                             { c.mu.Lock(); defer c.mu.Unlock(); return c.handle != nil }
func runCaller(t *testing.T, sub router.Drainer, mw ...message.HandlerMiddleware) (handled <-chan benched) {
	t.Helper()
	reg := NewRegistry()
	if err := Register[benched](reg, "Benched"); err != nil {
		t.Fatal(err)
	}
	bus, err := New(Config{Publisher: &caller{}, Subscriber: sub, Registry: reg, Topic: "orders", Group: "billing", DisableDLQ: true, Middleware: mw})
	if err != nil {
		t.Fatal(err)
	}
	events := make(chan benched, 1)
	if _, err := Subscribe(bus, "h", func(_ context.Context, e benched) error { events <- e; return nil }); err != nil {
		t.Fatal(err)
	}
	var ran sync.WaitGroup
	ran.Go(func() {
		if err := bus.Run(context.Background()); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() {
		if _, err := bus.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		ran.Wait()
	})
	<-bus.Running()
	return events
}

func wireMessage(t *testing.T) *message.Message {
	t.Helper()
	e := benched{Base: NewBase("a")}
	e.EventType = "Benched"
	payload, err := (codec.JSON{}).Encode((*codec.Header)(&e.Base), &e)
	if err != nil {
		t.Fatal(err)
	}
	m := message.NewMessage(e.EventID, payload)
	m.Metadata.Set("event_type", "Benched")
	return m
}

// Handlers find the same in their context whether the transport calls the bus,
// or the router stands between: the router's names, and what the transport says.
func TestCalled_ContextsAreThoseOfARouter(t *testing.T) {
	type names struct{ handler, topic, subscriber, id string }
	seen := make(map[bool]names)
	for _, own := range []bool{false, true} {
		transport := &caller{takes: true}
		var sub router.Drainer = transport
		if own {
			sub = direct.Own{Drainer: transport}
		}
		var got names
		handled := runCaller(t, sub, func(next message.HandlerFunc) message.HandlerFunc {
			return func(m *message.Message) ([]*message.Message, error) {
				ctx := m.Context()
				got = names{message.HandlerNameFromCtx(ctx), message.SubscribeTopicFromCtx(ctx), message.SubscriberNameFromCtx(ctx), middleware.DeliveryFrom(ctx).ID}
				return next(m)
			}
		})
		m := wireMessage(t)
		m.SetContext(middleware.WithDelivery(t.Context(), &middleware.Delivery{ID: "7-0"}))
		if err := transport.send(m); err != nil {
			t.Fatal(err)
		}
		if e := <-handled; e.EventID != m.UUID {
			t.Errorf("own %v: handled %q, want %q", own, e.EventID, m.UUID)
		}
		if transport.offered() != own {
			t.Errorf("own %v: was offered to call: %v", own, transport.offered())
		}
		seen[own] = got
	}
	seen[true] = names{seen[true].handler, seen[true].topic, seen[false].subscriber, seen[true].id} // its type's name
	if seen[true] != seen[false] || seen[true].handler != "leat.orders.billing" {
		t.Errorf("called: %+v, through the router: %+v", seen[true], seen[false])
	}
}

// A transport that does not take the offer is served by the router.
func TestCalled_OfferThatIsNotTaken(t *testing.T) {
	transport := &caller{}
	handled := runCaller(t, direct.Own{Drainer: transport})
	m := wireMessage(t)
	if err := transport.send(m); err != nil {
		t.Fatal(err)
	}
	if e := <-handled; e.EventID != m.UUID {
		t.Errorf("handled %q, want %q", e.EventID, m.UUID)
	}
}

// OnBuried is told of what the bus's own transport buried, too.
func TestOwn_OnBuriedIsToldOfTheTransportsLetters(t *testing.T) {
	var tell func(dlq.Letter)
	var told []dlq.Letter
	_, err := New(Config{
		Publisher: &caller{}, Registry: NewRegistry(), Topic: "orders", DeadLetters: dlq.NewMemStore(dlq.MemConfig{}),
		Subscriber: direct.Own{Drainer: &caller{}, TellTo: func(f func(dlq.Letter)) { tell = f }},
		OnBuried:   func(_ context.Context, l dlq.Letter) { told = append(told, l) },
	})
	if err != nil {
		t.Fatal(err)
	}
	tell(dlq.Letter{ID: "7-0"})
	if len(told) != 1 || told[0].ID != "7-0" {
		t.Errorf("told of %+v, want the letter 7-0", told)
	}
}
