// Orders shows leat at work, end to end: aggregates are loaded and saved, their
// events published, and handled by named handlers; one handler fails and it
// alone is tried again; one event becomes a dead letter, is listed and
// replayed. It runs in memory, on a broker or on all at once, on a story of its own or on a
// file of commands, in one process or in several that share the events.
//
//	go run ./examples/orders
//	go run ./examples/orders -help
//	go run ./examples/orders -bus=redis -workers=2 -input=examples/orders/testdata/orders.jsonl
//
// Several processes by hand, in two terminals, on one Redis and in one group;
// Ctrl-C or Ctrl-D ends the worker:
//
//	go run ./examples/orders -bus=redis -worker
//	go run ./examples/orders -bus=redis -input=examples/orders/testdata/orders.jsonl
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9"
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
	if backend.each != nil {
		return runFleet(ctx, opt, backend, stdin, c)
	}
	p := &program{opt: opt, console: c}
	if opt.worker {
		return p.serve(ctx, backend, stdin)
	}
	record := func(event, handler string) { p.tally.handled(0, event, handler) }
	if err := p.open(ctx, backend, record); err != nil {
		fmt.Fprintln(c.err, "cannot start:", err)
		return 1
	}
	c.print("Orders over %s: topic %q, group %q.\n\n", backend.title, opt.topic, opt.group)
	err = p.openShop()
	if err == nil {
		err = p.hire(ctx)
	}
	if err != nil {
		p.crew.stop()
		fmt.Fprintln(c.err, "cannot start:", errors.Join(err, p.shutDown(ctx)))
		return 1
	}

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
	code := p.work(ctx, interrupt, p.act(stdin), p.settle)
	others := p.dismiss(context.WithoutCancel(ctx))

	drained, err := p.bus.Shutdown(context.WithoutCancel(ctx))
	if err = errors.Join(err, <-consumed, p.closeBus()); err != nil {
		fmt.Fprintln(c.err, "shutdown:", err)
		code = max(code, 1)
	}
	return max(code, p.report(drained, others))
}
