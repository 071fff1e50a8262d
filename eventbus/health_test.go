package eventbus_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/membus"
	"github.com/leat-go/leat/router"
)

var (
	ready    = router.Health{Live: true, Ready: true}
	idle     = router.Health{Live: true, Reason: "not running yet"}
	starting = router.Health{Live: true, Reason: "starting"}
	draining = router.Health{Live: true, Reason: "draining"}
	closed   = router.Health{Reason: "closed"}
)

type healthy interface {
	router.Reporter
	LiveHandler() http.Handler
	ReadyHandler() http.Handler
}

// wantHealth asks the three ways there are.
func wantHealth(t *testing.T, when string, of healthy, want router.Health) {
	t.Helper()
	if got := of.Health(); got != want {
		t.Errorf("%s: %+v, want %+v", when, got, want)
	}
	for _, probe := range []struct {
		name string
		h    http.Handler
		good bool
	}{{"live", of.LiveHandler(), want.Live}, {"ready", of.ReadyHandler(), want.Ready}} {
		rec := httptest.NewRecorder()
		probe.h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
		var got router.Health
		if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || got != want || (rec.Code == http.StatusOK) != probe.good {
			t.Errorf("%s, %s: HTTP %d, %s (%v)", when, probe.name, rec.Code, rec.Body, err)
		}
	}
}

// atWork opens a bus whose handler has an event and waits.
func atWork(t *testing.T) (bus *eventbus.Bus, began chan string, release func()) {
	t.Helper()
	bus = over(t, pubsub(t))
	began, gate := make(chan string, 1), make(chan struct{})
	if _, err := eventbus.Subscribe(bus, "h", func(_ context.Context, e OrderCreated) error {
		began <- e.AggregateID
		<-gate
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return bus, began, func() { close(gate) }
}

func TestHealth_OverTheLifeOfABus(t *testing.T) {
	bus, began, release := atWork(t)
	wantHealth(t, "before Run", bus, idle)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ran := make(chan error, 1)
	go func() { ran <- bus.Run(ctx) }()
	receive(t, bus.Running())
	wantHealth(t, "running", bus, ready)
	if err := bus.Publish(t.Context(), created("1")); err != nil {
		t.Fatal(err)
	}
	receive(t, began)
	stop()
	awaitHealth(t, bus, draining)
	wantHealth(t, "while the handler finishes", bus, draining)
	release()
	if err := receive(t, ran); err != nil {
		t.Fatal(err)
	}
	wantHealth(t, "drained", bus, draining) // it can still publish
	if _, err := bus.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantHealth(t, "shut down", bus, closed)
}

func awaitHealth(t *testing.T, of router.Reporter, want router.Health) {
	t.Helper()
	late := time.After(10 * time.Second)
	for of.Health() != want {
		select {
		case <-late:
			t.Fatalf("%+v, want %+v", of.Health(), want)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestHealth_WithoutASubscription(t *testing.T) {
	memory, err := membus.New(membus.Config{Registry: shop(t)})
	if err != nil {
		t.Fatal(err)
	}
	for name, bus := range map[string]*eventbus.Bus{"in memory": memory, "publishing only": open(t, &scripted{})} {
		wantHealth(t, name, bus, ready)
		if _, err := bus.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantHealth(t, name+", drained", bus, draining)
		if _, err := bus.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantHealth(t, name+", shut down", bus, closed)
	}
}

func TestHealth_TheSubscriptionEndsByItself(t *testing.T) {
	lost := router.Health{Reason: "the subscription of group billing to orders ended"}
	alter := func(sub message.Subscriber) func(*eventbus.Config) {
		return func(c *eventbus.Config) { c.Subscriber, c.Topic, c.Group = sub, "orders", "billing" }
	}
	t.Run("of Run", func(t *testing.T) {
		sub := &leaving{make(chan *message.Message)}
		bus := open(t, &scripted{}, alter(sub))
		ran := make(chan error, 1)
		go func() { ran <- bus.Run(context.Background()) }()
		receive(t, bus.Running())
		close(sub.out)
		if err := receive(t, ran); !errors.Is(err, eventbus.ErrSubscriptionEnded) {
			t.Errorf("err = %v", err)
		}
		wantHealth(t, "after Run", bus, lost)
	})
	t.Run("on a router of leat's", func(t *testing.T) {
		sub := &leaving{make(chan *message.Message)}
		bus := open(t, &scripted{}, alter(sub))
		r, err := router.New(router.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Mount(bus); err != nil {
			t.Fatal(err)
		}
		wantHealth(t, "before Run", r, idle)
		ran := make(chan error, 1)
		go func() { ran <- r.Run(context.Background()) }()
		receive(t, r.Running())
		wantHealth(t, "running", r, ready)
		wantHealth(t, "the mounted bus", bus, ready)
		close(sub.out)
		awaitHealth(t, r, lost) // the router goes on; the bus is what an orchestrator must hear of
		wantHealth(t, "the router", r, lost)
		if _, err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := receive(t, ran); err != nil {
			t.Error(err)
		}
	})
}

func TestHealth_ConsumingCouldNotStart(t *testing.T) {
	bus := open(t, &scripted{}, func(c *eventbus.Config) { c.Subscriber = refusing{} })
	if err := bus.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no access") {
		t.Fatalf("err = %v", err)
	}
	wantHealth(t, "after Run", bus, router.Health{Reason: "consuming could not start"})
}

type refusing struct{}

func (refusing) Subscribe(context.Context, string) (<-chan *message.Message, error) {
	return nil, errors.New("no access")
}

func (refusing) Close() error { return nil }

func TestHealth_OnAStockRouter(t *testing.T) {
	bus, began, release := atWork(t)
	r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Mount(r); err != nil {
		t.Fatal(err)
	}
	wantHealth(t, "before the router runs", bus, starting)
	ran := make(chan error, 1)
	go func() { ran <- r.Run(context.Background()) }()
	receive(t, r.Running())
	wantHealth(t, "running", bus, ready)
	if err := bus.Publish(t.Context(), created("1")); err != nil {
		t.Fatal(err)
	}
	receive(t, began)
	closing := make(chan error, 1)
	go func() { closing <- r.Close() }()
	awaitHealth(t, bus, draining) // its owner closes the router: nobody told the bus
	release()
	if err := errors.Join(receive(t, closing), receive(t, ran)); err != nil {
		t.Error(err)
	}
	if report, err := bus.Shutdown(t.Context()); err != nil || report.Finished != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}
