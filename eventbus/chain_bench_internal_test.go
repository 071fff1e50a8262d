package eventbus

import (
	"context"
	"reflect"
	"strconv"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus/internal/direct"
)

type benched struct {
	Base
	N int `json:"n"`
}

// What tracing without an SDK and the statistics cost together: the whole path
// of an event in memory, with and without those steps. `make bench` prints the
// ratio; it is to be at most 1.03.
func BenchmarkTracingAndStatistics(b *testing.B) {
	for _, c := range []struct {
		name string
		drop []string
	}{{"without", []string{"Trace", "Stats"}}, {"leat", nil}} {
		b.Run(c.name, func(b *testing.B) {
			reg := NewRegistry()
			if err := Register[benched](reg, "Benched"); err != nil {
				b.Fatal(err)
			}
			bus, err := New(Config{Publisher: direct.Transport{}, Registry: reg, Topic: "t", DeadLetters: dlq.NewMemStore(dlq.MemConfig{})})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := Subscribe(bus, "h", func(context.Context, benched) error { return nil }); err != nil {
				b.Fatal(err)
			}
			without := func(steps []step) []step {
				var kept []step
			next:
				for _, s := range steps {
					for _, d := range c.drop {
						if s.name == d {
							continue next
						}
					}
					kept = append(kept, s)
				}
				return kept
			}
			bus.chain = link(bus.dispatch, without(bus.messageSteps()))
			for _, s := range bus.subscriptions() {
				s.chain = link(s.end, without(s.steps()))
			}
			ctx, e := b.Context(), &benched{Base: NewBase("a")}
			b.ReportAllocs()
			for b.Loop() {
				if err := bus.Publish(ctx, e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Each step of the default chains alone: nanoseconds and allocations of its
// own, around a function that does nothing.
func BenchmarkStep(b *testing.B) {
	reg := NewRegistry()
	if err := Register[benched](reg, "Benched"); err != nil {
		b.Fatal(err)
	}
	bus, err := New(Config{Publisher: direct.Transport{}, Registry: reg, Topic: "t", DeadLetters: dlq.NewMemStore(dlq.MemConfig{}), HandlerTimeout: 1 << 40})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := Subscribe(bus, "h", func(context.Context, benched) error { return nil }); err != nil {
		b.Fatal(err)
	}
	nothing := func(*message.Message) ([]*message.Message, error) { return nil, nil }
	one := func(where string, steps []step) {
		for _, s := range steps {
			b.Run(where+"/"+s.name, func(b *testing.B) {
				sub := bus.subscriptions()[0]
				msg := message.NewMessage("1", nil)
				d := &delivery{Context: b.Context(), bus: bus}
				ctx := &attempts{Context: d, d: d, sub: sub, event: &benched{}}
				msg.SetContext(ctx)
				h := s.mw(nothing)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := h(msg); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
	one("message", bus.messageSteps())
	one("handler", bus.subscriptions()[0].steps())
}

// The path of an event when a thousand other types, each with its handler, are
// registered: dispatch is one map access, so the two are to be the same.
func BenchmarkOtherTypes(b *testing.B) {
	for _, others := range []int{0, 1000} {
		b.Run(strconv.Itoa(others), func(b *testing.B) {
			reg := NewRegistry()
			if err := Register[benched](reg, "Benched"); err != nil {
				b.Fatal(err)
			}
			bus, err := New(Config{Publisher: direct.Transport{}, Registry: reg, Topic: "t", DeadLetters: dlq.NewMemStore(dlq.MemConfig{})})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := Subscribe(bus, "h", func(context.Context, benched) error { return nil }); err != nil {
				b.Fatal(err)
			}
			state := reg.state.Load()
			var subs []*subscription
			for i := range others { // stand-ins: a program would have to write a thousand types
				et := &eventType{name: "Other" + strconv.Itoa(i), version: 1, goType: reflect.ArrayOf(i, reflect.TypeFor[byte]())}
				state.byName[et.name], state.byType[et.goType] = et, et
				sub := &subscription{bus: bus, name: "h", nameAny: "h", et: et, call: func(context.Context, Event) error { return nil }}
				if err := sub.build(); err != nil {
					b.Fatal(err)
				}
				subs = append(subs, sub)
			}
			if err := bus.change(func(t *table) error { return t.add(subs) }); err != nil {
				b.Fatal(err)
			}
			if n := bus.SubscriberCount(); n != others+1 {
				b.Fatalf("%d handlers, want %d", n, others+1)
			}
			ctx, e := b.Context(), &benched{Base: NewBase("a")}
			b.ReportAllocs()
			for b.Loop() {
				if err := bus.Publish(ctx, e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
