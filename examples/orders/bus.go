package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/middleware"
)

// deadAfter is how long a process may give no sign of life before the others
// of its group take over what it had begun: short, to see it happen. The
// default, a minute, is for real life, where processes are also suspended.
const deadAfter = 5 * time.Second

// setup is what every bus is opened with: nothing in it knows which one.
type setup struct {
	options
	consumer string // this process within the group
	registry *eventbus.Registry
	retry    middleware.Retry
	around   []message.HandlerMiddleware // around each attempt of each handler
	logger   *slog.Logger                // nil: silence
}

// backend is one value of the flag -bus; each has a file of its own.
type backend struct {
	name  string
	title string                  // for the first line of the output
	uses  []string                // flags that only some have
	check func(o options) []error // of those flags; nil: nothing to check
	open  func(ctx context.Context, s setup) (opened, error)
	each  []backend // not nil: it is these, and has no open of its own

	// takeover is how long it takes until the others of the group get what a
	// crashed process had begun; 0: no time worth mentioning.
	takeover time.Duration
}

// opened is a bus and what belongs to it.
type opened struct {
	bus   eventbus.AnyBus
	group group        // nil: this process is the whole group
	close func() error // closes the connections, after Shutdown
}

// group is what the broker knows about the processes that share the events.
type group interface {
	// unsettled returns how many events the group has not acknowledged, read
	// or not; -1 if the broker cannot tell.
	unsettled(ctx context.Context) (int64, error)
	// active names the consumers that have asked for events within that time.
	active(ctx context.Context, within time.Duration) ([]string, error)
}

func backends() []backend {
	return []backend{memory(), leatRedis(), watermillRedis(), leatRabbitMQ(), leatKafka(), everyBus()}
}

func names() []string {
	var all []string
	for _, b := range backends() {
		all = append(all, b.name)
	}
	return all
}
