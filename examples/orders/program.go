package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
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
	opt      options
	console  *console
	bus      orderBus
	shop     *shop
	handlers *handlers
	tally    *tally
	input    *input // nil in the story
}

// open wires the program up: events, bus, handlers, aggregates.
func (p *program) open(ctx context.Context, b backend) (func() error, error) {
	reg, err := newRegistry()
	if err != nil {
		return nil, err
	}
	var logger *slog.Logger
	if p.opt.log {
		logger = slog.New(slog.NewTextHandler(p.console.err, nil))
	}
	p.tally = newTally(reg)
	bus, closeBus, err := b.open(ctx, setup{
		options: p.opt, registry: reg, logger: logger,
		retry: middleware.Retry{BaseDelay: pace, Jitter: middleware.NoJitter, OnRetry: p.onRetry},
		around: []message.HandlerMiddleware{
			middleware.Idempotency{Store: middleware.NewMemSeen(middleware.MemSeenConfig{})}.Middleware,
			middleware.Named("Tally", p.tally.Middleware),
		},
	})
	if err != nil {
		return nil, err
	}
	p.bus = bus
	say := p.console.did
	if p.opt.input != "" {
		say = func(string, eventbus.Event, string, ...any) {}
	}
	if err := p.handlers.subscribe(bus, say); err != nil {
		return nil, errors.Join(err, closeBus())
	}
	p.tally.learn(bus.HandlerStats())
	orders, err := aggregate.NewRepository(aggregate.Config[*Order]{
		Type: orderType, New: func() *Order { return &Order{} },
		Store: aggregate.NewMemStore(), Publisher: counting{bus, p.tally},
	})
	p.shop = &shop{orders: orders}
	return closeBus, err
}

// onRetry tells of each failed attempt in the story.
func (p *program) onRetry(msg *message.Message, info middleware.RetryInfo) {
	if p.opt.input == "" {
		p.console.print("     %-10s attempt %d failed: %v; again in %v\n", middleware.HandlerName(msg.Context()), info.Attempt, info.Err, info.Delay.Round(time.Millisecond))
	}
}

// work is the story or the input. Interrupted, it finishes what has begun.
func (p *program) work(ctx, interrupt context.Context, stdin io.Reader) int {
	act := story{p}.run
	if p.opt.input != "" {
		act = func(ctx context.Context) error { return p.read(ctx, stdin) }
	}
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
	if err := p.settle(context.WithoutCancel(ctx)); err != nil {
		p.console.tell("%v", err)
	}
	return code
}

// settle waits until what was published has been handled.
func (p *program) settle(ctx context.Context) error {
	return p.tally.wait(ctx, p.opt.patience, p.bus.DeadLetters(), func() int64 { return p.bus.Stats().MessagesSentToDLQ })
}

// indent puts two spaces before each line, and ends with a newline.
func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ") + "\n"
}
