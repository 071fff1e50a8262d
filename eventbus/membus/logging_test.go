package membus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/membus"
	"github.com/leat-go/leat/middleware"
)

// logTo has the bus write its log to out.
func logTo(out *bytes.Buffer) func(*membus.Config) {
	return func(c *membus.Config) { c.Logger = slog.New(slog.NewJSONHandler(out, nil)) }
}

// lines are the objects of the log.
func lines(t *testing.T, out *bytes.Buffer) (all []map[string]any) {
	t.Helper()
	for text := range strings.Lines(out.String()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v in line %q", err, text)
		}
		all = append(all, line)
	}
	return all
}

func TestLogging_LinesOfAnEventSayTopicHandlerAndType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		bus := open(t, logTo(&out), func(c *membus.Config) { c.Name, c.Retry.MaxRetries = "shop", 1 })
		on(t, bus, "invoice", func(context.Context, OrderCreated) error { panic("on fire") })
		e := created("1")
		if err := bus.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, line := range lines(t, &out) {
			told = append(told, line["msg"].(string))
			if handler := line["handler"]; handler == nil || line["topic"] != "shop" || line["event_type"] != "OrderCreated" || line["event_id"] != e.EventID || handler == "" {
				t.Errorf("line %v, want topic, handler, event id and type", line)
			}
		}
		want := []string{"handler panicked", "attempt failed, will retry", "handler panicked", "message buried in dead letter queue"}
		if !slices.Equal(told, want) {
			t.Errorf("the lines are %q, want %q", told, want)
		}
	})
}

// A bus tells where it is as on a broker: the group may be one that nobody chose.
func TestLogging_TheStartSaysTopicAndGroup(t *testing.T) {
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	for name, start := range map[string]func(bus *eventbus.Bus) error{
		"Run": func(bus *eventbus.Bus) error { return bus.Run(stopped) },
		"Mount": func(bus *eventbus.Bus) error {
			r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
			return errors.Join(err, bus.Mount(r))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := start(open(t, logTo(&out))); err != nil {
				t.Fatal(err)
			}
			said := lines(t, &out)
			if len(said) != 1 || said[0]["msg"] != "bus consumes" || said[0]["topic"] != "events" || said[0]["group"] != eventbus.DefaultGroup {
				t.Errorf("it said %v, want one line with topic and group", said)
			}
		})
	}
}

func TestDelivery_TellsTheBus(t *testing.T) {
	var got *middleware.Delivery
	bus := open(t, func(c *membus.Config) { c.Name, c.Group = "shop", "billing" })
	on(t, bus, "h", func(ctx context.Context, _ OrderCreated) error { got = middleware.DeliveryFrom(ctx); return nil })
	if err := bus.Publish(t.Context(), created("1")); err != nil {
		t.Fatal(err)
	}
	if got == nil || got.System != "memory" || got.Topic != "shop" || got.Group != "billing" || got.Partition >= 0 || got.Offset >= 0 || got.ID != "" {
		t.Errorf("the handler's delivery is %+v", got)
	}
}
