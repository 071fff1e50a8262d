package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/eventbus"
)

// patience is how long the story waits for what must come.
const patience = 30 * time.Second

// tell runs the story. It closes the broker.
func tell(ctx context.Context, b *broker, out io.Writer) (err error) {
	defer func() { err = errors.Join(err, b.clear(context.WithoutCancel(ctx)), b.close()) }()
	if err := b.clear(ctx); err != nil {
		return err
	}
	s, err := newShop(b, out)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- s.router.Run(context.WithoutCancel(ctx)) }()
	select {
	case <-s.router.Running():
		err = s.act(ctx)
	case err = <-ended:
		ended <- nil
	}
	_, err2 := s.router.Shutdown(context.WithoutCancel(ctx))
	_, err3 := s.bus.Shutdown(context.WithoutCancel(ctx))
	return errors.Join(err, err2, err3, <-ended)
}

// act publishes, waits and prints.
func (s *shop) act(ctx context.Context) error {
	s.print("Over %s:\n\n%s\n", s.title, s.bus.Chain())
	var orders []eventbus.Event
	for i := range 7 {
		e := &OrderPlaced{Base: eventbus.NewBase(fmt.Sprintf("o-%d", i+1)), Customer: []string{"Ada", "Bob"}[i%2], TotalCents: int64(i+1) * 100}
		e.TenantID = []string{"acme", "globex"}[i/5] // five and two
		orders = append(orders, e)
	}
	s.print("Seven orders, five of them of acme, which may have two at once and then one each 300 ms:\n\n")
	if err := s.bus.Publish(ctx, orders...); err != nil {
		return err
	}
	// A producer that has forgotten a field, and one that knows no key.
	forgetful := foreign("o-8", `{"customer":"Cy"}`)
	if err := s.encrypted(s.encryption).Publish(s.topic, forgetful); err != nil {
		return err
	}
	if err := s.publisher.Publish(s.topic, foreign("o-9", `{"customer":"Di","total_cents":1}`)); err != nil {
		return err
	}
	var letters []string
	err := await(ctx, func() (bool, error) {
		var err error
		letters, err = s.all(ctx)
		return len(letters) == 4 && s.count("send-invoice") == 7 && s.count("newsletter") == 7 && s.count("audit") == 7, err
	})
	if err != nil {
		return err
	}
	stored, err := s.stored(ctx)
	if err != nil {
		return err
	}
	secret := slices.IndexFunc(stored, func(p string) bool { return strings.Contains(p, "Ada") || strings.Contains(p, "Bob") }) < 0
	slices.Sort(letters)
	s.print("\nacme waited %v, globex %v.\n", s.longest("acme") > 0, s.longest("globex") > 0)
	s.print("In the broker: %d payloads; the first begins with %.8x; nobody's name can be read: %v.\n", len(stored), stored[0], secret)
	news := s.news()
	s.print("newsletter was told \"unsubscribed\" %d times; errors %d, retries %d, letters %d.\n\n", s.count("unsubscribed"), news.Errors, news.Retries, news.DeadLetters)
	s.print("Dead letters, encrypted as they came:\n\n  %s\n", strings.Join(letters, "\n  "))
	return nil
}

// foreign is an event of a producer that does not use leat.
func foreign(order, payload string) *message.Message {
	msg := message.NewMessage(eventbus.NewID(), []byte(payload))
	msg.Metadata = message.Metadata{
		eventbus.KeyEventType: "OrderPlaced", eventbus.KeyAggregateID: order, eventbus.KeyTenantID: "acme",
		eventbus.KeyOccurredAt: time.Now().UTC().Format(time.RFC3339),
	}
	return msg
}

func (s *shop) print(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, format, args...)
}

// count returns how many events a handler is through with.
func (s *shop) count(handler string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.did[handler]
}

// longest returns how long an event of the tenant had to wait at most.
func (s *shop) longest(tenant string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waits[tenant]
}

// news is what the statistics tell of newsletter.
func (s *shop) news() eventbus.HandlerStats {
	all := s.bus.HandlerStats()
	return all[slices.IndexFunc(all, func(h eventbus.HandlerStats) bool { return h.Handler == "newsletter" })]
}

// await asks until the answer is yes.
func await(ctx context.Context, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if yes, err := ok(); yes || err != nil {
			return err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("not everything came: %w", ctx.Err())
		}
	}
}
