// Middleware shows middleware of your own, each a plain Watermill
// message.HandlerMiddleware, in all the places where it can stand: around a
// handler of a bus (a limit by tenant), around a whole bus (a schema check that
// sends to the dead letters), around publisher and consumers together
// (encryption: what lies in the broker nobody can read), around a plain
// Watermill handler (the same three); and one of Watermill's own, unchanged.
//
//	go run ./examples/middleware
//	go run ./examples/middleware -bus=redis -redis=redis://localhost:6379
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program; it returns the exit code.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	fs := flag.NewFlagSet("middleware", flag.ContinueOnError)
	fs.SetOutput(errs)
	bus := fs.String("bus", "memory", "memory or redis")
	url := fs.String("redis", "redis://localhost:6379/0", "`URL` of Redis, for -bus=redis")
	topic := fs.String("topic", "middleware", "stream of the events, emptied before and after")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	var b *broker
	var err error
	switch *bus {
	case "memory":
		b, err = openMemory(*topic)
	case "redis":
		b, err = openRedis(ctx, *url, *topic)
	default:
		err = fmt.Errorf("-bus: %q is neither memory nor redis", *bus)
	}
	if err != nil {
		fmt.Fprintln(errs, "cannot start:", err)
		return 2
	}
	if err := tell(ctx, b, out); err != nil {
		fmt.Fprintln(errs, err)
		return 1
	}
	return 0
}
