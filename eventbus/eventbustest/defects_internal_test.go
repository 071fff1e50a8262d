package eventbustest

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/propagation"

	"github.com/leat-go/leat/codec"
	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/middleware"
	"github.com/leat-go/leat/router"
)

// A bus that breaks a law is caught by the case of that law.
func TestRun_CatchesABusThatBreaksALaw(t *testing.T) {
	for _, d := range []struct {
		law    int // 0: a behaviour that no law names
		defect string
		caught string // by this case
		plant  plant
	}{
		{1, "publish confirms and drops", "ConfirmedIsHandled", plant{publisher: everyTenth(func(p message.Publisher, topic string, m *message.Message) error { return nil })}},
		{1, "publish confirms before the broker does", "PublishEndsWithItsContext", plant{publisher: fireAndForget}},
		{1, "publish doubles", "ConfirmedIsHandled", plant{publisher: everyTenth(func(p message.Publisher, topic string, m *message.Message) error {
			return p.Publish(topic, m, m.Copy())
		})}},
		{2, "acked before the handler ran", "DeadConsumerIsReplaced", plant{consumer: func(c *consumer) { c.earlyAck = true }}},
		{2, "acked although the burial failed", "ExhaustedLeavesOneLetter", plant{store: store(func(s *badStore) { s.bury = func(dlq.Letter) (string, error) { return "1", nil } })}},
		{3, "all handlers run again when one fails", "FailuresStayApart", plant{config: retryTheMessage}},
		{3, "a letter without the names of the handlers", "ExhaustedLeavesOneLetter", plant{store: store(func(s *badStore) { s.change = func(l *dlq.Letter) { l.Handlers = nil } })}},
		{3, "a replay runs all handlers", "ReplayRunsOnlyTheFailed", plant{store: store(func(s *badStore) { s.change = func(l *dlq.Letter) { l.Handlers = nil } })}},
		{3, "one handler after another", "SlowHandlerHoldsUpNoOther", plant{config: oneAtATime}},
		{4, "retries go through the topic", "RetriesStayInTheGroup", plant{config: retryThroughTheTopic}},
		{4, "a waiting key holds up all", "BackoffHoldsOnlyItsKey", plant{config: func(c *eventbus.Config) { c.Concurrency = 1 }}},
		{5, "a foreign entry ends the subscription", "ForeignEntryIsSurvived", plant{consumer: func(c *consumer) { c.endsOnForeign = true }}},
		{5, "a letter without the raw bytes", "UndecodableIsBuriedRaw", plant{store: store(func(s *badStore) { s.change = func(l *dlq.Letter) { l.Payload = nil } })}},
		{5, "unknown types are decoded", "UnknownTypeIsSkipped", plant{config: buryUnknown}},
		{6, "a failure becomes a nack", "FailureIsNoRedelivery", plant{config: nackOnError}},
		{7, "contexts end with the start of the drain", "RunningHandlerFinishes", plant{subscriber: func(s message.Subscriber) message.Subscriber { return &abrupt{Subscriber: s} }}},
		{7, "an idle shutdown dawdles", "IdleShutdownIsQuick", plant{config: func(c *eventbus.Config) {
			c.OnClose = func(context.Context) error { <-time.After(200 * time.Millisecond); return nil }
		}}},
		{7, "a goroutine stays", "NoGoroutineIsLeft", plant{config: leak(t)}},
		{8, "a restarted group begins at the end", "GroupGoesOnWhereItStopped", plant{consumer: func(c *consumer) { c.forgets = true }}},
		{8, "a slow handler is robbed", "SlowHandlerIsNotRobbed", plant{consumer: func(c *consumer) { c.robs = 20 * time.Millisecond }}},
		{8, "deliveries are not counted", "KillerIsBuried", plant{consumer: func(c *consumer) { c.uncounted = true }}},
		{9, "lanes by nothing", "OrderByKeyThroughLanes", plant{config: func(c *eventbus.Config) { c.Key = func(m *message.Message) string { return m.UUID } }}},
		{9, "the batch is published backwards", "OnePublishKeepsItsOrder", plant{publisher: backwards}},
		{10, "more at once than allowed", "ConcurrencyIsABound", plant{config: func(c *eventbus.Config) { c.Concurrency *= 2 }}},
		{10, "background without a bound", "BackgroundReturnsAtOnce", plant{config: func(c *eventbus.Config) { c.MaxBackground = 1000 }}},
		{11, "the given client is closed", "GivenThingsStayOpen", plant{bus: func(bus *eventbus.Bus, b *broker) Bus { return &closesGiven{bus, b} }}},
		{12, "the password is in an error", "SecretsShowNowhere", plant{leaks: true}},
		{12, "the password is in the log", "SecretsShowNowhere", plant{config: func(c *eventbus.Config) { c.Logger.Info("connected", "url", "amqp://user:"+secret+"@localhost") }}},
		{12, "payloads are in the log", "PayloadsAreNotLogged", plant{config: logPayloads}},

		{0, "handlers do not get the context of the middleware", "MiddlewareReachesHandlers", plant{config: func(c *eventbus.Config) {
			c.Middleware = append(c.Middleware, func(next message.HandlerFunc) message.HandlerFunc {
				return func(m *message.Message) ([]*message.Message, error) {
					m.SetContext(unmarked{m.Context()})
					return next(m)
				}
			})
		}}},
		{0, "metadata gets lost", "EveryFieldArrives", plant{config: func(c *eventbus.Config) { c.Codec = forgetful{} }}},
		{0, "counts are off", "CountsAreRight", plant{bus: func(bus *eventbus.Bus, _ *broker) Bus { return &miscounts{bus} }}},
		{0, "listing consumes", "LettersAreListedWhole", plant{store: store(func(s *badStore) { s.consumes = true })}},
		{0, "an unavailable queue looks empty", "DisabledLettersSaySo", plant{bus: func(bus *eventbus.Bus, _ *broker) Bus { return &pretends{bus} }}},
		{0, "the trace is cut", "TraceIsOneStory", plant{publisher: cutTrace}},
		{0, "the trace is cut", "TraceTree", plant{publisher: cutTrace}},
		{0, "the ambient span is on the wire, not the publishing one", "TraceTreeInAnotherContext", plant{publisher: ambientTrace}},
		{0, "two consumers both get it", "ConsumersShareAGroup", plant{consumer: func(c *consumer) { c.group = "" }}},
	} {
		t.Run(fmt.Sprintf("law %d, %s", d.law, d.defect), func(t *testing.T) {
			if d.caught != "NoGoroutineIsLeft" { // which looks at all of them
				t.Parallel()
			}
			h := reference(d.plant).withDefaults()
			h.Patience = time.Second
			c := caseNamed(t, d.caught)
			if d.law > 0 && !containsLaw(c, d.law) {
				t.Errorf("case %s does not say that it checks law %d: %v", c.Name, d.law, c.Laws)
			}
			failures := probe(t, h, c)
			if len(failures) == 0 {
				t.Fatalf("%s passes: the defect is not caught", c.Name)
			}
			t.Logf("caught: %s", failures[0])
		})
	}
}

func caseNamed(t *testing.T, name string) Case {
	t.Helper()
	for _, c := range Cases() {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("there is no case %s", name)
	return Case{}
}

func containsLaw(c Case, law int) bool {
	for _, l := range c.Laws {
		if l == law {
			return true
		}
	}
	return false
}

// everyTenth lets something else happen to each tenth message.
func everyTenth(do func(message.Publisher, string, *message.Message) error) func(message.Publisher) message.Publisher {
	return func(p message.Publisher) message.Publisher {
		n := make(chan int, 1)
		n <- 0
		return &publisherFunc{p, func(topic string, m *message.Message) error {
			i := <-n
			n <- i + 1
			if i%10 == 9 {
				return do(p, topic, m)
			}
			return p.Publish(topic, m)
		}}
	}
}

type publisherFunc struct {
	message.Publisher
	one func(topic string, m *message.Message) error
}

func (p *publisherFunc) Publish(topic string, msgs ...*message.Message) error {
	for _, m := range msgs {
		if err := p.one(topic, m); err != nil {
			return err
		}
	}
	return nil
}

func fireAndForget(p message.Publisher) message.Publisher {
	return &publisherFunc{p, func(topic string, m *message.Message) error {
		go func() { _ = p.Publish(topic, m) }() // the defect
		return nil
	}}
}

type batchFunc struct {
	message.Publisher
	batch func(topic string, msgs []*message.Message) []error
}

func (p *batchFunc) PublishBatch(_ context.Context, topic string, msgs []*message.Message) []error {
	return p.batch(topic, msgs)
}

func backwards(p message.Publisher) message.Publisher {
	return &batchFunc{p, func(topic string, msgs []*message.Message) []error {
		for i := len(msgs) - 1; i >= 0; i-- {
			if err := p.Publish(topic, msgs[i]); err != nil {
				return []error{err}
			}
		}
		return nil
	}}
}

func cutTrace(p message.Publisher) message.Publisher {
	return &publisherFunc{p, func(topic string, m *message.Message) error {
		delete(m.Metadata, "traceparent")
		return p.Publish(topic, m)
	}}
}

// ambientTrace sends what the publisher was called in.
func ambientTrace(p message.Publisher) message.Publisher {
	return &publisherFunc{p, func(topic string, m *message.Message) error {
		propagation.TraceContext{}.Inject(m.Context(), propagation.MapCarrier(m.Metadata))
		return p.Publish(topic, m)
	}}
}

func retryTheMessage(c *eventbus.Config) {
	c.Retry.MaxRetries = middleware.NoRetries
	c.Middleware = append(c.Middleware, func(next message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) (out []*message.Message, err error) {
			for range 3 {
				if out, err = next(m); err == nil {
					return out, nil
				}
			}
			return nil, err
		}
	})
}

func oneAtATime(c *eventbus.Config) {
	ended := make(chan struct{}) // a-slow
	c.HandlerMiddleware = append(c.HandlerMiddleware, func(next message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			if middleware.HandlerName(m.Context()) == "a-slow" {
				defer close(ended)
			} else {
				<-ended
			}
			return next(m)
		}
	})
}

func retryThroughTheTopic(c *eventbus.Config) {
	c.Retry.MaxRetries = middleware.NoRetries
	pub, topic := c.Publisher, c.Topic
	c.Middleware = append(c.Middleware, func(next message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			out, err := next(m)
			if err != nil && m.Metadata.Get("tried") == "" {
				again := m.Copy()
				again.Metadata.Set("tried", "once")
				return nil, pub.Publish(topic, again)
			}
			return out, err
		}
	})
}

func buryUnknown(c *eventbus.Config) {
	reg := c.Registry
	c.Middleware = append(c.Middleware, func(next message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			known := false
			for _, name := range reg.Names() {
				known = known || name == m.Metadata.Get("event_type")
			}
			if !known {
				return nil, &eventbus.UndecodableError{Err: errPlanned}
			}
			return next(m)
		}
	})
}

func nackOnError(c *eventbus.Config) {
	c.Middleware = append(c.Middleware, func(next message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			out, err := next(m)
			if err != nil {
				m.Nack()
			}
			return out, err
		}
	})
}

func logPayloads(c *eventbus.Config) {
	log := c.Logger
	c.Middleware = append(c.Middleware, func(next message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			log.Debug("received", slog.String("payload", string(m.Payload)))
			return next(m)
		}
	})
}

func leak(t *testing.T) func(*eventbus.Config) {
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	return func(c *eventbus.Config) {
		c.OnClose = func(context.Context) error {
			go func() { <-end }()
			return nil
		}
	}
}

// abrupt is a Drainer that ends everything at once, as stock adapters do.
type abrupt struct {
	message.Subscriber
	cancel context.CancelFunc
}

func (a *abrupt) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	ctx, a.cancel = context.WithCancel(ctx)
	return a.Subscriber.Subscribe(ctx, topic)
}

func (a *abrupt) Drain(context.Context) (router.Report, error) {
	a.cancel()
	return router.Report{}, nil
}

type closesGiven struct {
	*eventbus.Bus
	given *broker
}

func (c *closesGiven) Shutdown(ctx context.Context) (eventbus.Report, error) {
	report, err := c.Bus.Shutdown(ctx)
	_ = c.given.Close() // the defect
	return report, err
}

type miscounts struct{ *eventbus.Bus }

func (m *miscounts) WildcardSubscriberCount() int { return min(m.Bus.WildcardSubscriberCount(), 1) }

type pretends struct{ *eventbus.Bus }

func (p *pretends) DeadLetters() *dlq.Queue {
	q, _ := dlq.New(dlq.Config{Store: dlq.NewMemStore(dlq.MemConfig{}), Publisher: newBroker()})
	return q
}

// unmarked hides what the case's middleware put into the context.
type unmarked struct{ context.Context } //nolint:containedctx // it is one

func (u unmarked) Value(key any) any {
	if key == (markKey{}) {
		return nil
	}
	return u.Context.Value(key)
}

type forgetful struct{ codec.JSON }

func (f forgetful) Encode(h *codec.Header, event any) ([]byte, error) {
	less := *h
	less.Metadata = nil
	return f.JSON.Encode(&less, event)
}

// badStore is a dead letter store with a defect.
type badStore struct {
	dlq.Store
	bury     func(dlq.Letter) (string, error)
	change   func(*dlq.Letter)
	consumes bool
}

func store(set func(*badStore)) func(dlq.Store) dlq.Store {
	return func(inner dlq.Store) dlq.Store {
		s := &badStore{Store: inner}
		set(s)
		return s
	}
}

func (s *badStore) Bury(ctx context.Context, l dlq.Letter) (string, error) {
	if s.change != nil {
		s.change(&l)
	}
	if s.bury != nil {
		return s.bury(l)
	}
	return s.Store.Bury(ctx, l)
}

func (s *badStore) List(ctx context.Context, q dlq.Query) iter.Seq2[dlq.Letter, error] {
	if !s.consumes {
		return s.Store.List(ctx, q)
	}
	return func(yield func(dlq.Letter, error) bool) {
		for l, err := range s.Store.List(ctx, q) {
			if err == nil {
				_, err = s.Delete(ctx, l.ID)
			}
			if !yield(l, err) {
				return
			}
		}
	}
}
