// Existing-watermill brings leat into a service that runs on stock Watermill: its
// stock publisher and subscribers, its own router, its cqrs component stay as
// they are. leat joins on the same topic, in both directions, on the service's
// own router; then it takes over one of the service's handlers; then the owner
// closes the router in the middle of the traffic. At the end every event is
// accounted for.
//
//	go run ./examples/existing-watermill -url=redis://localhost:6379
//	go run ./examples/existing-watermill -bus=rabbitmq -url=amqp://guest:guest@localhost:5672/
//	go run ./examples/existing-watermill -bus=kafka -url=localhost:9092
//
// It needs a broker; `eval "$(make -s brokers ONLY=redis,rabbit,kafka)"` starts all three.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/eventbus"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	redis.SetLogger(quiet{})
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program; it returns the exit code.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	fs := flag.NewFlagSet("existing-watermill", flag.ContinueOnError)
	fs.SetOutput(errs)
	bus := fs.String("bus", "redis", "redis, rabbitmq or kafka")
	url := fs.String("url", "", "address of the broker; empty for the usual one on this machine")
	orders := fs.Int("orders", 300, "how many orders are placed")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	b := backends()[*bus]
	if b == nil {
		fmt.Fprintf(errs, "-bus: %q is none of redis, rabbitmq, kafka\n", *bus)
		return 2
	}
	broker, err := b(ctx, *url, "existing-"+eventbus.NewID()) // a topic of this run's own
	if err != nil {
		fmt.Fprintf(errs, "This needs %s, as `eval \"$(make -s brokers ONLY=redis,rabbit,kafka)\"` starts one: %v\n", *bus, err)
		return 2
	}
	s := &story{broker: broker, books: newBooks(), out: out, orders: *orders}
	if err := s.tell(ctx); err != nil {
		fmt.Fprintln(errs, err)
		return 1
	}
	return 0
}

// quiet is go-redis' own log, which it would print amid the output.
type quiet struct{}

// Printf prints nothing.
func (quiet) Printf(context.Context, string, ...any) {}
