package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/middleware"
	"github.com/leat-go/leat/router"
)

// service is everything that is open.
type service struct {
	set    settings
	log    *slog.Logger
	bus    eventbus.AnyBus
	router *router.Router
	http   *http.Server
	flush  func(context.Context) error // metrics

	stopping atomic.Bool
}

// Health is the router's, and with it the bus's: not ready from the moment that
// the drain begins. But a service that stops is live to its last moment.
func (s *service) Health() router.Health {
	if s.stopping.Load() {
		return router.Health{Live: true, Reason: "draining"}
	}
	return s.router.Health()
}

// open connects and wires up; nothing runs yet. What it opened is closed when it
// fails.
func open(ctx context.Context, set settings, log *slog.Logger) (_ *service, err error) {
	provider, scraped, err := newMetrics(set.instance)
	if err != nil {
		return nil, err
	}
	s := &service{set: set, log: log, flush: provider.Shutdown}
	// In memory: it forgets at a restart. One for the real world is a table of
	// your database, written in the handler's transaction.
	seen := middleware.Idempotency{Store: middleware.NewMemSeen(middleware.MemSeenConfig{})}
	s.bus, err = set.backend.open(ctx, parts{
		settings: set, around: []message.HandlerMiddleware{seen.Middleware}, metrics: provider, log: log,
	})
	if err != nil {
		return nil, errors.Join(err, s.flush(ctx))
	}
	defer func() {
		if err != nil {
			_, err2 := s.bus.Shutdown(context.WithoutCancel(ctx))
			err = errors.Join(err, err2, s.flush(ctx))
		}
	}()
	// Handlers first: an event that comes before its handler is there is skipped.
	if err := (&handlers{bus: s.bus, log: log, work: set.work, fail: set.fail}).subscribe(); err != nil {
		return nil, err
	}
	// Plain Watermill handlers and more buses go on the same router, and drain with it.
	if s.router, err = router.New(router.Config{DrainTimeout: set.stop, Logger: log}); err != nil {
		return nil, err
	}
	if err := s.router.Mount(s.bus); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("POST /orders", placeOrder(s.bus))
	mux.Handle("GET /live", router.LiveHandler(s))
	mux.Handle("GET /ready", router.ReadyHandler(s))
	mux.Handle("GET /metrics", scraped)
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	return s, nil
}

// run serves and handles until ctx ends, then stops in the order that loses
// nothing. It is called once.
func (s *service) run(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.set.addr)
	if err != nil {
		return errors.Join(err, s.close(context.WithoutCancel(ctx)))
	}
	served, handled := make(chan error, 1), make(chan error, 1)
	go func() { served <- s.http.Serve(listener) }()
	go func() { handled <- s.router.Run(ctx) }() // drains when ctx ends
	select {
	case <-s.router.Running():
		s.log.Info("ready", "addr", listener.Addr().String(), "bus", s.set.backend.name, "topic", s.set.topic, "group", s.set.group)
	case err := <-handled:
		handled <- err
	}
	var errs []error
	select {
	case <-ctx.Done():
	case err := <-handled: // it could not start
		handled <- err
	case err := <-served:
		errs = append(errs, err)
	}

	s.stopping.Store(true)
	// 1. Not ready from now on, and no new events: the router drains. It was told
	//    by ctx, or is told here.
	// 2. Meanwhile HTTP goes on, and publishes, until nobody sends here any more;
	//    then the requests in hand are finished.
	// 3. The bus is last: until now both could publish.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.set.stop)
	defer cancel()
	drained := make(chan error, 1)
	go func() {
		_, err := s.router.Shutdown(ctx)
		drained <- err
	}()
	s.log.Info("stopping", "at_most", s.set.stop.String())
	if len(errs) == 0 {
		pause(ctx, s.set.linger)
	}
	errs = append(errs, s.http.Shutdown(ctx), <-drained, <-handled)
	return errors.Join(append(errs, s.close(ctx))...)
}

// close shuts down the bus, which closes its connections, and tells the counts.
func (s *service) close(ctx context.Context) error {
	report, err := s.bus.Shutdown(ctx)
	stats := s.bus.Stats()
	s.log.Info("stopped", "published", stats.EventsPublished, "handled", stats.EventsProcessedSuccess,
		"buried", stats.MessagesSentToDLQ, "finished", report.Finished, "handed_back", report.HandedBack)
	return errors.Join(err, s.flush(ctx))
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
