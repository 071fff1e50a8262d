package dlq_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/dlq/dlqtest"
)

// everything but Bury, on a store that cannot be read now.
func readsFail(t *testing.T, s *dlq.Topic) error {
	t.Helper()
	var first error
	check := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, dlq.ErrUnavailable) {
			t.Errorf("%s: %v, want %v", what, err, dlq.ErrUnavailable)
		}
		first = err
	}
	n := 0
	for l, err := range s.List(t.Context(), dlq.Query{}) {
		if n++; err == nil {
			t.Errorf("list yields letter %q", l.ID)
		}
		check("list", err)
	}
	if n != 1 {
		t.Errorf("list yields %d times, want one error", n)
	}
	_, err := s.Count(t.Context())
	check("count", err)
	_, err = s.Get(t.Context(), "1")
	check("get", err)
	_, err = s.Delete(t.Context(), "1")
	check("delete", err)
	_, err = s.Purge(t.Context())
	check("purge", err)
	return first
}

func TestTopic_WithoutSubscribeOnlyBuries(t *testing.T) {
	t.Parallel()
	g := newLog()
	s, err := dlq.NewTopic(dlq.TopicConfig{Publisher: g, Topic: "d"})
	if err != nil {
		t.Fatal(err)
	}
	mustBury(t, s, full())
	_ = readsFail(t, s)
	if n := len(g.published("d")); n != 1 {
		t.Errorf("%d messages in the topic, want the letter alone", n)
	}
}

func TestTopic_BrokerAway(t *testing.T) {
	t.Parallel()
	g := newLog()
	s := newTopic(t, g)
	mustBury(t, s, full())
	g.fail = func(string, *message.Message) error { return errBroker }
	if _, err := s.Bury(t.Context(), full()); !errors.Is(err, errBroker) {
		t.Errorf("bury: %v, want %v", err, errBroker)
	}
	if err := s.Remove(t.Context(), "1"); !errors.Is(err, errBroker) {
		t.Errorf("remove: %v, want %v", err, errBroker)
	}
	if err := readsFail(t, s); !errors.Is(err, errBroker) {
		t.Errorf("read: %v, want it to wrap %v", err, errBroker)
	}
}

type noSubscriber struct{ message.Subscriber }

func (noSubscriber) Subscribe(context.Context, string) (<-chan *message.Message, error) {
	return nil, errBroker
}

type deadSubscriber struct{ message.Subscriber }

func (deadSubscriber) Subscribe(context.Context, string) (<-chan *message.Message, error) {
	out := make(chan *message.Message)
	close(out)
	return out, nil
}

func TestTopic_SubscriberFails(t *testing.T) {
	t.Parallel()
	for name, subscribe := range map[string]func(context.Context) (message.Subscriber, error){
		"cannot be made":      func(context.Context) (message.Subscriber, error) { return nil, errBroker },
		"cannot subscribe":    func(context.Context) (message.Subscriber, error) { return noSubscriber{}, nil },
		"ends before the end": func(context.Context) (message.Subscriber, error) { return deadSubscriber{}, nil },
	} {
		s, err := dlq.NewTopic(dlq.TopicConfig{Publisher: newLog(), Topic: "d", Subscribe: subscribe})
		if err != nil {
			t.Fatal(err)
		}
		if err := readsFail(t, s); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A subscription that sees only what is new, or a Pub/Sub without history, must
// not look like an empty queue.
func TestTopic_WithoutHistoryIsAnErrorAndNotEmpty(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gochannel.NewGoChannel(gochannel.Config{}, nil) // not persistent
		s, err := dlq.NewTopic(dlq.TopicConfig{
			Publisher: g, Topic: "d",
			Subscribe: func(context.Context) (message.Subscriber, error) { return g, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		mustBury(t, s, full())
		began := time.Now()
		_, err = s.Count(t.Context())
		if !errors.Is(err, dlq.ErrUnavailable) || !strings.Contains(err.Error(), "oldest message") {
			t.Errorf("count: %v, want an error that says what is wrong", err)
		}
		if took := time.Since(began); took != dlq.DefaultReadTimeout {
			t.Errorf("it took %v to see that, want %v", took, dlq.DefaultReadTimeout)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
}

// The context that Subscribe gets ends with the read, for those who make a
// subscriber for each.
func TestTopic_ContextOfSubscribeEndsWithTheRead(t *testing.T) {
	t.Parallel()
	g := newLog()
	var ctxs []context.Context
	s, err := dlq.NewTopic(dlq.TopicConfig{
		Publisher: g, Topic: "d",
		Subscribe: func(ctx context.Context) (message.Subscriber, error) {
			ctxs = append(ctxs, ctx)
			return g, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	mustBury(t, s, full(), full())
	for range s.List(t.Context(), dlq.Query{}) {
		if len(ctxs) != 1 || ctxs[0].Err() == nil {
			t.Error("the subscription is still open while letters are yielded: a slow reader would hold it")
		}
	}
}

// Letters of others have no id of ours; copies that a publisher's own retries
// made are one letter.
func TestTopic_ForeignLettersAndCopies(t *testing.T) {
	t.Parallel()
	g := newLog()
	s := newTopic(t, g)
	python := message.NewMessage("id-1", []byte("{}"))
	python.Metadata = message.Metadata{"original_message_id": "1-0", "retry_count": "3", "dlq_timestamp": "2026-01-02T03:04:05+00:00"}
	junk := message.NewMessage("", []byte{0xff})
	l := full()
	ours := l.Message
	if err := g.Publish("orders_dlq", python, junk, ours(), ours()); err != nil {
		t.Fatal(err)
	}
	var got []dlq.Letter
	for l, err := range s.List(t.Context(), dlq.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, l)
	}
	if len(got) != 3 || got[0].Source.ID != "1-0" || string(got[1].Payload) != "\xff" || got[2].ID != "letter-1" {
		t.Fatalf("letters: %+v", got)
	}
	if n, err := s.Delete(t.Context(), got[1].ID, got[0].ID); n != 2 || err != nil {
		t.Errorf("delete of letters without an id of ours = %d, %v, want 2", n, err)
	}
	want := full()
	for _, at := range []*time.Time{&want.FirstFailedAt, &want.LastFailedAt, &want.BuriedAt} {
		*at = at.Truncate(time.Microsecond)
	}
	if got, err := s.Get(t.Context(), "letter-1"); err != nil || dlqtest.Diff(got, want) != "" {
		t.Errorf("get: %v\n%s", err, dlqtest.Diff(got, want))
	}
	if n, err := s.Count(t.Context()); n != 1 || err != nil {
		t.Errorf("count = %d, %v, want 1", n, err)
	}
}

// script is a Subscriber that hands out what it was given, at its own pace,
// followed by the marker of the read, and does not look at the context while it
// hands something over.
type script struct {
	message.Subscriber
	log    *log
	pace   time.Duration
	more   int // messages after the marker
	closed chan struct{}
}

func (s *script) Subscribe(_ context.Context, topic string) (<-chan *message.Message, error) {
	out := make(chan *message.Message)
	msgs := s.log.published(topic)
	for range s.more {
		msgs = append(msgs, message.NewMessage("later", nil))
	}
	go func() {
		defer close(s.closed)
		defer close(out)
		for _, m := range msgs {
			<-time.After(s.pace)
			c := m.Copy()
			out <- c
			<-c.Acked()
		}
	}()
	return out, nil
}

func scripted(t *testing.T, s *script) *dlq.Topic {
	t.Helper()
	s.log, s.closed = newLog(), make(chan struct{})
	topic, err := dlq.NewTopic(dlq.TopicConfig{
		Publisher: s.log, Topic: "d",
		Subscribe: func(context.Context) (message.Subscriber, error) { return s, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

// The time-out is for a read that gets nothing, not for one that takes long.
func TestTopic_SlowReadGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{pace: dlq.DefaultReadTimeout - time.Second}
		topic := scripted(t, s)
		mustBury(t, topic, full(), full(), full(), full())
		if n, err := topic.Count(t.Context()); n != 4 || err != nil {
			t.Errorf("count = %d, %v, want 4", n, err)
		}
		<-s.closed
	})
}

// A subscriber that is about to hand something over when the read ends gets rid
// of it and can close its channel.
func TestTopic_LeavesNoSubscriberBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{more: 3}
		topic := scripted(t, s)
		mustBury(t, topic, full())
		if n, err := topic.Count(t.Context()); n != 1 || err != nil {
			t.Errorf("count = %d, %v, want 1: what comes after the marker is not part of the read", n, err)
		}
		select {
		case <-s.closed:
		case <-time.After(time.Minute):
			t.Error("the subscriber is still there")
		}
	})
}
