package kafkabus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/kafkabus"
)

// told is what an operator reads: a log at level info.
type told struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (o *told) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.out.Write(p)
}

func (o *told) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(o, nil)) }

// lines are the levels and messages from a line on. What the group does in
// consequence of a longer outage is left out: its line tells whose the work is.
func (o *told) lines(t testing.TB, from int) (said []string) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for text := range strings.Lines(o.out.String()) {
		var line struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v in line %q", err, text)
		}
		if !strings.HasPrefix(line.Msg, "partitions ") {
			said = append(said, line.Level+" "+line.Msg)
		}
	}
	return said[min(from, len(said)):]
}

// A thousand events leave no line. An outage leaves two, however long it lasts
// and however often the client tries, and counts as one reconnection.
func TestLog_OneLineWhenTheBrokerIsLostAndOneWhenItIsBack(t *testing.T) {
	t.Parallel()
	client, p := throughProxy(t)
	reader, log := metric.NewManualReader(), &told{}
	bus := openBus(t, kafkabus.Config{
		Client: client, ConsumerGroup: name("g"), Concurrency: 4,
		Logger: log.logger(), SessionTimeout: 6 * time.Second, HeartbeatInterval: 300 * time.Millisecond, MeterProvider: metric.NewMeterProvider(metric.WithReader(reader)),
	})
	var handled atomic.Int64
	if _, err := eventbus.Subscribe(bus, "count", func(context.Context, Placed) error { handled.Add(1); return nil }); err != nil {
		t.Fatal(err)
	}
	run(t, bus)
	<-bus.Running()
	pass := func(n int) {
		t.Helper()
		batch := make([]eventbus.Event, n)
		for i := range batch {
			batch[i] = placed(fmt.Sprint(i))
		}
		want := handled.Load() + int64(n)
		if err := bus.Publish(t.Context(), batch...); err != nil {
			t.Fatal(err)
		}
		eventually(t, fmt.Sprint(n, " events are handled, and that is committed"), func() bool {
			lag, err := bus.Lag(t.Context())
			return err == nil && lag == 0 && handled.Load() == want
		})
	}

	pass(1000)
	began := log.lines(t, 0)
	want := []string{"INFO bus consumes", "INFO router running"}
	if slices.Sort(began); !slices.Equal(began, want) {
		t.Errorf("after a thousand events the log is %q, want %q", began, want)
	}

	for outage, fault := range []func() error{func() error { p.Cut(); return nil }, p.Refuse, p.Refuse} {
		if err := fault(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the loss is told", func() bool { return len(log.lines(t, len(began))) > 2*outage })
		<-time.After(700 * time.Millisecond) // long enough for many failed attempts
		if err := p.Accept(); err != nil {
			t.Fatal(err)
		}
		pass(10)
		eventually(t, "the return is told", func() bool { return len(log.lines(t, len(began))) > 2*outage+1 })
		if n, _ := gauge(t, reader, "leat.reconnections"); n != int64(outage)+1 {
			t.Errorf("%d reconnections are told, want %d", n, outage+1)
		}
	}
	if _, err := bus.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	const lost, again = "WARN the connection to the broker failed, trying again", "INFO the connection to the broker works again"
	want = []string{lost, again, lost, again, lost, again, "INFO drain started", "INFO drain ended", "INFO bus shut down"}
	if got := log.lines(t, len(began)); !slices.Equal(got, want) {
		t.Errorf("after three outages the log goes on %q, want %q", got, want)
	}
}
