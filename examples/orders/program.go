package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/aggregate"
	"github.com/leat-go/leat/middleware"
)

// pace is the first wait before a retry; the default, a second, is for real life.
const pace = 50 * time.Millisecond

// program is everything that is wired up in run.
type program struct {
	name     string // of the bus, where there are several
	opt      options
	console  *console
	consumer string // the name of this process in the group
	bus      eventbus.AnyBus
	group    group // nil: nobody else can be in it
	closeBus func() error
	takeover time.Duration // see backend
	begun    time.Time
	shop     *shop // nil in a worker
	handlers handlers
	tally    *tally // nil in a worker
	crew     crew
	awaited  int    // crashes that settle knew of
	replays  int    // of dead letters, where there are several buses
	input    *input // nil in the story
}

// open wires up what handles events: types, bus, handlers. Each success of a
// handler is recorded.
func (p *program) open(ctx context.Context, b backend, record func(event, handler string)) error {
	reg, err := newRegistry()
	if err != nil {
		return err
	}
	var logger *slog.Logger
	if p.opt.log {
		logger = slog.New(slog.NewTextHandler(p.console.err, nil))
		if p.name != "" {
			logger = logger.With("bus", p.name)
		}
	}
	around := []message.HandlerMiddleware{
		middleware.Idempotency{Store: middleware.NewMemSeen(middleware.MemSeenConfig{})}.Middleware,
		middleware.Named("Tally", recording(record)),
	}
	if p.opt.work > 0 {
		around = append(around, middleware.Named("Work", working(p.opt.work)))
	}
	p.begun, p.consumer = time.Now(), fmt.Sprintf("orders-%d-%s", os.Getpid(), rand.Text()[:6])
	o, err := b.open(ctx, setup{
		options: p.opt, consumer: p.consumer, registry: reg, logger: logger, around: around,
		retry: middleware.Retry{BaseDelay: pace, Jitter: middleware.NoJitter, OnRetry: p.onRetry},
	})
	if err != nil {
		return err
	}
	p.bus, p.group, p.closeBus, p.takeover = o.bus, o.group, o.close, b.takeover
	say := func(string, eventbus.Event, string, ...any) {}
	if p.opt.story() {
		say = p.console.did
	}
	if err := p.handlers.subscribe(p.bus, say); err != nil {
		return errors.Join(err, p.shutDown(ctx))
	}
	return nil
}

// openShop wires up what makes events: the aggregates.
func (p *program) openShop() error {
	p.tally = newTally(p.bus.Registry(), 1+p.opt.workers)
	p.tally.learn(p.bus.HandlerStats())
	var err error
	p.shop, err = newShop(counting{p.bus, p.tally})
	return err
}

// newShop keeps the orders in memory.
func newShop(publisher aggregate.Publisher) (*shop, error) {
	orders, err := aggregate.NewRepository(aggregate.Config[*Order]{
		Type: orderType, New: func() *Order { return &Order{} },
		Store: aggregate.NewMemStore(), Publisher: publisher,
	})
	return &shop{orders: orders}, err
}

// shutDown is for a program that could not start.
func (p *program) shutDown(ctx context.Context) error {
	_, err := p.bus.Shutdown(context.WithoutCancel(ctx))
	return errors.Join(err, p.closeBus())
}

// working makes a handler take that long.
func working(d time.Duration) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			select {
			case <-time.After(d):
				return next(msg)
			case <-msg.Context().Done():
				return nil, context.Cause(msg.Context())
			}
		}
	}
}

// onRetry tells of each failed attempt in the story.
func (p *program) onRetry(msg *message.Message, info middleware.RetryInfo) {
	if p.opt.story() {
		p.console.print("     %-10s attempt %d failed: %v; again in %v\n", middleware.HandlerName(msg.Context()), info.Attempt, info.Err, info.Delay.Round(time.Millisecond))
	}
}

// act is the story or the input.
func (p *program) act(stdin io.Reader) func(context.Context) error {
	if p.opt.input != "" {
		return func(ctx context.Context) error { return p.read(ctx, stdin) }
	}
	return story{p}.run
}

// work is what there is to do. Interrupted, it finishes what has begun.
func (p *program) work(ctx, interrupt context.Context, act, settle func(context.Context) error) int {
	err := act(ctx)
	if err == nil {
		return 0
	}
	code := 1
	if interrupt.Err() != nil {
		code = 130
		p.console.tell("Interrupted: no new command is begun, what was published is still handled. Ctrl-C again ends at once.")
	} else {
		p.console.tell("Stopped: %v", err)
	}
	if err := settle(context.WithoutCancel(ctx)); err != nil {
		p.console.tell("%v", err)
	}
	return code
}

// indent puts two spaces before each line, and ends with a newline.
func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ") + "\n"
}
