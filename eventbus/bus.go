package eventbus

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus/internal/direct"
	"github.com/leat-go/leat/middleware"
	"github.com/leat-go/leat/middleware/tracing"
	"github.com/leat-go/leat/router"
)

// Bus carries typed domain events over a Watermill Publisher and Subscriber.
// Open one with [New], or with a backend's Open; the zero value is not usable.
// All its methods may be called from many goroutines and from handlers, except
// that Run and Shutdown block until handlers are done and so must not be called
// by one.
type Bus struct {
	cfg      Config
	groupAny any // the group, boxed once
	here     any // in memory: the *middleware.Delivery of every event
	registry *Registry
	log      *slog.Logger
	tracer   *tracing.Tracer
	direct   bool // in memory: Publish calls the handlers
	wire     bool // in memory: somebody looks at messages, so spell them
	owned    bool // the transport is the bus's own and may call it

	table   atomic.Pointer[table]
	tableMu sync.Mutex

	chain   message.HandlerFunc
	store   dlq.Store
	letters *dlq.Queue
	counts  counters

	gate       gate
	background chan struct{}
	kill       context.Context //nolint:containedctx // it lives as long as the bus, and ends at the deadline of a shutdown
	killNow    context.CancelCauseFunc
	killed     *joint

	life      life
	sub       router.Drainer
	unobserve func() error // ends the asking for metrics
}

// New opens a bus on the config's Publisher and Subscriber. It does no I/O,
// and starts nothing: [Bus.Run] or [Bus.Mount] begins to consume. The error
// joins every problem of the config.
func New(cfg Config) (*Bus, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	b := &Bus{cfg: cfg.withDefaults()}
	b.registry, b.log, b.groupAny = cfg.Registry, b.cfg.Logger, b.cfg.Group
	b.table.Store(newTable())
	b.kill, b.killNow = context.WithCancelCause(context.Background())
	b.killed = &joint{ctx: b.kill}
	b.background = make(chan struct{}, b.cfg.MaxBackground)
	b.life.done, b.life.consumes, b.life.drainTurn = make(chan struct{}), make(chan struct{}), make(chan struct{}, 1)
	b.tracer = tracing.New(tracing.Config{
		TracerProvider: b.cfg.TracerProvider, MeterProvider: b.cfg.MeterProvider, Propagator: b.cfg.Propagator,
		System: b.cfg.System, Topic: b.cfg.Topic, Group: b.cfg.Group, Disabled: b.cfg.DisableTracing,
	})
	_, b.direct = b.cfg.Publisher.(direct.Transport)
	if b.direct {
		b.here = &middleware.Delivery{
			System: b.cfg.System, Topic: b.cfg.Topic, Group: b.cfg.Group, Partition: dlq.NoPosition, Offset: dlq.NoPosition,
		}
	}
	if sub := b.cfg.Subscriber; sub != nil && !b.direct {
		switch sub := sub.(type) {
		case direct.Own:
			b.sub, b.owned = sub.Drainer, true
			if sub.TellTo != nil {
				sub.TellTo(func(l dlq.Letter) { b.tellBuried(context.Background(), l) })
			}
		case router.SubscriptionDrainer:
			b.sub = &given{SubscriptionDrainer: sub}
		case router.Drainer:
			b.sub = sub
		default:
			b.sub = router.Decorate(sub, router.DrainConfig{
				Concurrency: b.cfg.Concurrency, Key: b.cfg.Key, DrainTimeout: b.cfg.DrainTimeout, Logger: b.log,
			})
		}
	}
	if err := b.openLetters(); err != nil {
		return nil, err
	}
	b.wire = len(b.cfg.Middleware)+len(b.cfg.HandlerMiddleware) > 0 || b.cfg.Retry.OnRetry != nil
	b.buildChain()
	b.counts.connected.Store(time.Now().UnixNano())
	b.observe()
	return b, nil
}

func (b *Bus) closed() bool { return b.gate.is(shut) }

// Registry returns the registry that the bus was opened with.
func (b *Bus) Registry() *Registry { return b.registry }

// Topic returns what the bus publishes and subscribes to.
func (b *Bus) Topic() string { return b.cfg.Topic }

// Group returns the consumer group.
func (b *Bus) Group() string { return b.cfg.Group }

// DeadLetters returns the verbs on the letters of this bus: list, count, get,
// replay, delete, purge. Where letters cannot be listed they return an error
// that wraps dlq.ErrUnavailable.
func (b *Bus) DeadLetters() *dlq.Queue { return b.letters }

// subscriptions returns all handlers, sorted by name and type.
func (b *Bus) subscriptions() []*subscription {
	t := b.table.Load()
	all := slices.Clone(t.wildcards)
	for _, subs := range t.routes {
		all = append(all, subs...)
	}
	slices.SortFunc(all, func(x, y *subscription) int {
		if c := strings.Compare(x.name, y.name); c != 0 {
			return c
		}
		return strings.Compare(x.typeName(), y.typeName())
	})
	return all
}

func (s *subscription) typeName() string {
	if s.et == nil {
		return ""
	}
	return s.et.name
}
