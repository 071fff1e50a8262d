package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	stock "github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/middleware"
	"github.com/leat-go/leat/router"
)

// concurrency is how many orders are worked on at once: one tenant that waits
// must not be all of them.
const concurrency = 8

// OrderPlaced says that a customer of a tenant has ordered.
type OrderPlaced struct {
	eventbus.Base
	Customer   string `json:"customer"`
	TotalCents int64  `json:"total_cents"`
}

// errNoNews is what the mail service says of somebody who wants no mail.
var errNoNews = errors.New("unsubscribed")

// shop is what is wired up.
type shop struct {
	*broker
	bus        *eventbus.Bus
	router     *router.Router
	encryption *Encryption

	mu    sync.Mutex // of what follows
	out   io.Writer
	did   map[string]int           // how often, by handler
	waits map[string]time.Duration // the longest, by tenant
}

func newShop(b *broker, out io.Writer) (*shop, error) {
	s := &shop{broker: b, out: out, did: map[string]int{}, waits: map[string]time.Duration{}}
	reg := eventbus.NewRegistry()
	if err := eventbus.Register[OrderPlaced](reg, "OrderPlaced", eventbus.AggregateType("Order")); err != nil {
		return nil, err
	}
	// In real life keys come from where you keep secrets.
	key := sha256.Sum256([]byte("an example"))
	var err error
	if s.encryption, err = NewEncryption("2026-11", map[string][]byte{"2026-11": key[:]}); err != nil {
		return nil, err
	}
	schema := Schema{"OrderPlaced": {"customer": text, "total_cents": number}}
	limit := &TenantLimit{Every: 300 * time.Millisecond, Burst: 2, OnWait: s.waited}

	// On a bus: outermost first, so the schema sees what was encrypted.
	s.bus, err = eventbus.New(eventbus.Config{
		Publisher: b.encrypted(s.encryption), Subscriber: b.events, DeadLetters: b.letters,
		Registry: reg, Topic: b.topic, Group: "shop", System: b.system, Concurrency: concurrency,
		Middleware: []message.HandlerMiddleware{
			middleware.Named("Encryption", s.encryption.Middleware), // the name is for Bus.Chain
			middleware.Named("Schema", schema.Middleware),
		},
	})
	if err != nil {
		return nil, err
	}
	// On a handler: the limit is for what send-invoice calls, and no other's matter.
	_, err1 := eventbus.Subscribe(s.bus, "send-invoice", func(_ context.Context, e OrderPlaced) error {
		s.done("send-invoice", "%s of %s: an invoice over %d cents", e.AggregateID, e.TenantID, e.TotalCents)
		return nil
	}, eventbus.WithMiddleware(middleware.Named("TenantLimit", limit.Middleware)))
	// One of Watermill's own: neither a retry nor a letter for those who want no mail.
	_, err2 := eventbus.Subscribe(s.bus, "newsletter", func(_ context.Context, e OrderPlaced) error {
		s.done("newsletter", "%s asks about %s", e.AggregateID, e.Customer)
		if e.Customer == "Bob" {
			s.note("unsubscribed")
			return errNoNews
		}
		return nil
	}, eventbus.WithMiddleware(stock.NewIgnoreErrors([]error{errNoNews}).Middleware))

	// On a plain Watermill handler, without any bus: the same ones, and leat's dead
	// letters. It would be the same on a *message.Router of Watermill's.
	var err3 error
	if s.router, err3 = router.New(router.Config{}); err3 != nil {
		return nil, err3
	}
	_, err4 := s.router.AddConsumerHandler("audit", b.topic, b.plain, func(msg *message.Message) error {
		s.done("audit", "message %s: %d bytes of JSON", msg.Metadata[eventbus.KeyAggregateID], len(msg.Payload))
		return nil
	}, router.WithMiddleware(
		middleware.DeadLetter{Burier: b.letters, Group: "audit"}.Middleware,
		s.encryption.Middleware,
		schema.Middleware,
		(&TenantLimit{Every: time.Millisecond, Burst: 10}).Middleware,
	))
	return s, errors.Join(err1, err2, err4, s.router.Mount(s.bus))
}

// done notes and prints what a handler did.
func (s *shop) done(handler, format string, args ...any) {
	s.print("  %-13s %s\n", handler, fmt.Sprintf(format, args...))
	s.note(handler)
}

func (s *shop) note(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.did[what]++
}

func (s *shop) waited(tenant string, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits[tenant] = max(s.waits[tenant], d)
}

// all are the letters, as lines.
func (s *shop) all(ctx context.Context) (lines []string, err error) {
	for l, err := range s.bus.DeadLetters().List(ctx, dlq.Query{}) {
		if err != nil {
			return nil, err
		}
		lines = append(lines, fmt.Sprintf("%-4s for %-6s %s: %s", cmp.Or(l.Key, "?"), l.Group, l.Reason, l.ErrorMessage))
	}
	return lines, nil
}
