// Orders shows leat at work, end to end: aggregates are loaded and saved, their
// events published, and handled by named handlers; one handler fails and it
// alone is tried again; one event becomes a dead letter, is listed and
// replayed. It runs in memory or on a broker, on a story of its own or on a
// file of commands.
//
//	go run ./examples/orders
//	go run ./examples/orders -help
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/aggregate"
	"github.com/leat-go/leat/middleware"
)

//go:generate go run ./gen testdata/orders.jsonl

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	redis.SetLogger(quietRedis{})
	info, err := os.Stderr.Stat()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, &console{
		out: os.Stdout, err: os.Stderr, tty: err == nil && info.Mode()&os.ModeCharDevice != 0,
	}))
}

// program is everything that is wired up in run.
type program struct {
	opt      options
	console  *console
	bus      orderBus
	shop     *shop
	handlers *handlers
	tally    *tally
}

// run is the program; it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, c *console) int {
	opt, backend, err := parse(args, c.err)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(c.err, "These flags cannot work:\n%s(-help tells about them all)\n", indent(err.Error()))
		return 2
	}
	p := &program{opt: opt, console: c, handlers: &handlers{}}
	closeBus, err := p.open(ctx, backend)
	if err != nil {
		fmt.Fprintln(c.err, "cannot start:", err)
		return 1
	}
	c.print("Orders over %s: topic %q, group %q.\n\n", backend.title, opt.topic, opt.group)

	// The bus outlives ctx: Ctrl-C ends the input, Shutdown drains the bus.
	interrupt := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	consumed := make(chan error, 1)
	go func() {
		err := p.bus.Run(context.WithoutCancel(ctx))
		if err != nil {
			cancel(fmt.Errorf("the bus does not consume: %w", err))
		}
		consumed <- err
	}()
	code := p.work(ctx, interrupt, stdin)

	report, err := p.bus.Shutdown(context.WithoutCancel(ctx))
	if err = errors.Join(err, <-consumed, closeBus()); err != nil {
		fmt.Fprintln(c.err, "shutdown:", err)
		code = max(code, 1)
	}
	c.print("\nStatistics\n\n")
	statistics(c.out, p.bus.Stats(), p.bus.HandlerStats())
	return max(code, verdict(c.out, c.err, p.tally, report))
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

// indent puts two spaces before each line, and ends with a newline.
func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ") + "\n"
}
