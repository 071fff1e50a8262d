package router_test

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/router"
)

// endless delivers new messages with metadata like an event's, as fast as they
// are taken: what is measured is the way from a subscriber to a handler.
type endless struct{}

func (endless) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		for {
			m := message.NewMessage("7f1c3e0a-0000-7000-8000-000000000000", nil)
			for _, key := range []string{"event_id", "event_type", "aggregate_id", "occurred_at", "traceparent"} {
				m.Metadata[key] = "a value of usual length, say this"
			}
			select {
			case out <- m:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

func (endless) Close() error { return nil }

// BenchmarkRouter compares, in one run, a bare stock router with what this
// package puts on top. The handler does nothing.
func BenchmarkRouter(b *testing.B) {
	stock := func(b *testing.B, sub message.Subscriber, logger watermill.LoggerAdapter) {
		b.Helper()
		wm, err := message.NewRouter(message.RouterConfig{}, logger)
		if err != nil {
			b.Fatal(err)
		}
		var once sync.Once
		handled, left := make(chan struct{}), b.N
		var mu sync.Mutex
		wm.AddConsumerHandler("h", "t", sub, func(*message.Message) error {
			mu.Lock()
			defer mu.Unlock()
			if left--; left <= 0 {
				once.Do(func() { close(handled) })
			}
			return nil
		})
		ran := make(chan error, 1)
		b.ReportAllocs()
		b.ResetTimer()
		go func() { ran <- wm.Run(context.Background()) }()
		<-handled
		b.StopTimer()
		if err := wm.Close(); err != nil {
			b.Error(err)
		}
		<-ran
	}
	b.Run("stock", func(b *testing.B) { stock(b, endless{}, watermill.NopLogger{}) })
	b.Run("decorated/1", func(b *testing.B) {
		stock(b, router.Decorate(endless{}, router.DrainConfig{}), watermill.NopLogger{})
	})
	b.Run("decorated/16", func(b *testing.B) {
		stock(b, router.Decorate(endless{}, router.DrainConfig{Concurrency: 16, Key: func(*message.Message) string { return "" }}), watermill.NopLogger{})
	})
	info := slog.New(slog.NewTextHandler(io.Discard, nil))
	b.Run("slog/watermill", func(b *testing.B) { stock(b, endless{}, watermill.NewSlogLogger(info)) })
	b.Run("slog/leat", func(b *testing.B) { stock(b, endless{}, router.NewLogger(info)) })
}

// BenchmarkGoChannel is the same with Watermill's own Pub/Sub in front.
func BenchmarkGoChannel(b *testing.B) {
	through := func(b *testing.B, wrap func(message.Subscriber) message.Subscriber) {
		b.Helper()
		ps := newGoChannel(b)
		wm, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
		if err != nil {
			b.Fatal(err)
		}
		var wg sync.WaitGroup
		wm.AddConsumerHandler("h", "t", wrap(ps), func(*message.Message) error { wg.Done(); return nil })
		ran := make(chan error, 1)
		go func() { ran <- wm.Run(context.Background()) }()
		<-wm.Running()
		b.ReportAllocs()
		for b.Loop() {
			wg.Add(1)
			if err := ps.Publish("t", message.NewMessage("1", nil)); err != nil {
				b.Fatal(err)
			}
			wg.Wait()
		}
		if err := wm.Close(); err != nil {
			b.Error(err)
		}
		<-ran
	}
	b.Run("stock", func(b *testing.B) { through(b, func(s message.Subscriber) message.Subscriber { return s }) })
	b.Run("decorated", func(b *testing.B) {
		through(b, func(s message.Subscriber) message.Subscriber { return router.Decorate(s, router.DrainConfig{}) })
	})
}
