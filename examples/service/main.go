// Service is leat in a microservice: orders come in over HTTP, leave as events,
// and are handled by named handlers, in this process and in its replicas; with
// health, metrics, structured logs, configuration from the environment, and a
// SIGTERM that loses nothing and repeats nothing.
//
//	go run ./examples/service
//	curl -i -d '{"customer":"Ada","total_cents":1250}' localhost:8080/orders
//	curl localhost:8080/ready; curl localhost:8080/live; curl localhost:8080/metrics
//
// In memory it needs no server. On a broker it is the same program:
//
//	SERVICE_BUS=redis SERVICE_URL=redis://localhost:6379 go run ./examples/service
//
// What to copy: [service.run], the order in which things start and stop; [newSettings],
// which tells every mistake at once; one file a backend, of which you keep one.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Environ(), os.Stdout, os.Stderr))
}

// run is the program; it returns the exit code.
func run(ctx context.Context, environ []string, out, errs io.Writer) int {
	set, err := newSettings(environ)
	if err != nil {
		fmt.Fprintf(errs, "The environment cannot work:\n%v\n\n%s", err, usage)
		return 2
	}
	log := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: set.logLevel}))
	s, err := open(ctx, set, log)
	if err != nil {
		log.Error("cannot start", "error", err)
		return 1
	}
	if err := s.run(ctx); err != nil {
		log.Error("ended with an error", "error", err)
		return 1
	}
	return 0
}
