package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/leat-go/leat/eventbus"
)

// patience is how long the story waits for what must come.
const patience = time.Minute

// story is one run.
type story struct {
	broker *broker
	books  *books
	out    io.Writer
	orders int

	joined atomic.Bool
	events atomic.Pointer[service] // the service that takes orders now
}

// tell runs the story. It removes what it left in the broker, and closes it.
func (s *story) tell(ctx context.Context) (err error) {
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = errors.Join(err, s.broker.remove(end), s.broker.close())
	}()
	ctx, cancel := context.WithTimeout(ctx, 3*patience)
	defer cancel()

	// The service, as it has always run. Its customers never pause.
	svc, err := startService(ctx, s.broker, s.books, true)
	if err != nil {
		return err
	}
	s.events.Store(svc)
	traffic := make(chan error, 1)
	go func() { traffic <- s.traffic(ctx) }()
	err = s.await(ctx, "the service bills", func() bool { return len(s.books.of("billing, stock")) >= s.orders/10 })
	if err != nil {
		return errors.Join(err, svc.router.Close())
	}
	s.say("The service runs on stock Watermill: %s, its own router, cqrs.", s.broker.name)

	// 1. leat joins on the service's own router.
	shipping, err := openShipping(s.broker, s.books)
	if err != nil {
		return err
	}
	if err := errors.Join(shipping.Mount(svc.router), svc.router.RunHandlers(ctx)); err != nil {
		return err
	}
	s.joined.Store(true)
	s.say("leat has joined: a bus mounted on the service's router, ready: %v.", shipping.Health().Ready)
	err = s.await(ctx, "parcels and mail", func() bool { return len(s.books.of("mail")) >= s.orders/10 })
	if err != nil {
		return err
	}
	s.say("Both directions: leat ships what the service's cqrs bus published, its cqrs handler mails what leat published.")

	// 2. leat takes over billing.
	if err := svc.stopBilling(); err != nil {
		return err
	}
	billing, err := openBilling(s.broker, s.books)
	if err != nil {
		return err
	}
	billed := make(chan error, 1)
	go func() { billed <- billing.Run(context.WithoutCancel(ctx)) }()
	err = s.await(ctx, "leat bills", func() bool { return len(s.books.of("billing, leat")) >= s.orders/10 })
	if err != nil {
		return err
	}
	s.say("leat has taken over billing: the stock handler has stopped, the group goes on.")

	// 3. The owner closes the router, in the middle of the traffic. That drains the
	//    bus; its Shutdown tells what was in hand, and closes nothing of others'.
	if err := svc.router.Close(); err != nil {
		return err
	}
	report, err := shipping.Shutdown(ctx)
	if err := errors.Join(err, <-svc.ended); err != nil {
		return err
	}
	s.say("The owner has closed its router: %d events in hand were finished, %d handed back.", report.Finished, report.HandedBack)

	// 4. The next release of the service goes on where this one stopped.
	if svc, err = startService(ctx, s.broker, s.books, false); err != nil {
		return err
	}
	s.events.Store(svc)
	if shipping, err = openShipping(s.broker, s.books); err != nil {
		return err
	}
	if err := errors.Join(shipping.Mount(svc.router), svc.router.RunHandlers(ctx), <-traffic); err != nil {
		return err
	}
	err = s.await(ctx, "everything is done", func() bool {
		shipped := s.books.expected(s.broker.history)
		return s.books.missing(s.books.placed, "billing, stock", "billing, leat") == 0 && s.books.missing(shipped, "ship") == 0 && s.books.missing(shipped, "mail") == 0
	})
	err2 := svc.router.Close()
	_, err3 := shipping.Shutdown(ctx)
	_, err4 := billing.Shutdown(ctx)
	if err := errors.Join(err, err2, err3, err4, <-svc.ended, <-billed); err != nil {
		return err
	}
	return s.account(ctx, shipping)
}

// traffic places orders through the service's cqrs bus.
func (s *story) traffic(ctx context.Context) error {
	for i := range s.orders {
		order, joined := fmt.Sprintf("o-%04d", i), s.joined.Load()
		if err := s.events.Load().events.Publish(ctx, PlacedOrder{OrderID: order, Cents: 100}); err != nil {
			return err
		}
		s.books.place(order, joined)
		toil(1)
	}
	return nil
}

// account tells what became of every order, and fails when one is missing.
func (s *story) account(ctx context.Context, bus *eventbus.Bus) error {
	expected := s.books.expected(s.broker.history)
	letters, err := bus.DeadLetters().Count(ctx)
	if err != nil {
		return err
	}
	stock, leat := s.books.of("billing, stock"), s.books.of("billing, leat")
	unbilled := s.books.missing(s.books.placed, "billing, stock", "billing, leat")
	s.say("%d orders placed: %d billed by the stock handler, %d by leat, %d by both, %d by nobody.", s.orders, len(stock), len(leat), overlap(stock, leat), unbilled)
	unshipped, unmailed, double := s.books.missing(expected, "ship"), s.books.missing(expected, "mail"), twice(s.books.of("ship"))
	s.say("%d of them leat could know of: %d not shipped, %d shipped twice, %d without mail; %d letters.", len(expected), unshipped, double, unmailed, letters)
	if unbilled+unshipped+unmailed+double+int(letters) > 0 {
		return errors.New("not every order is accounted for")
	}
	return nil
}

func overlap(a, b map[string]int) (n int) {
	for order := range a {
		if b[order] > 0 {
			n++
		}
	}
	return n
}

func twice(done map[string]int) (n int) {
	for _, times := range done {
		if times > 1 {
			n++
		}
	}
	return n
}

func (s *story) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// await asks until the answer is yes.
func (s *story) await(ctx context.Context, what string, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for !ok() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, context.Cause(ctx))
		}
	}
	return nil
}
