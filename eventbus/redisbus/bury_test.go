package redisbus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/middleware"
)

// store keeps letters, and fails as often as it is told.
type store struct {
	mu      sync.Mutex
	fail    int
	letters []dlq.Letter
}

func (s *store) Bury(_ context.Context, l dlq.Letter) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail > 0 {
		s.fail--
		return "", errors.New("the store is full")
	}
	s.letters = append(s.letters, l.Clone())
	return fmt.Sprint("letter-", len(s.letters)), nil
}

func (s *store) buried() []dlq.Letter {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.letters)
}

func TestRecovery_EntryThatKillsItsConsumersIsBuried(t *testing.T) {
	client := shared(t)
	stream := fill(t, client, 2)
	ids := die(t, client, stream, "dead", 2)
	deliveries(t, client, stream, "dead", 3, time.Hour, ids[0])
	deliveries(t, client, stream, "dead", 2, time.Hour, ids[1])
	letters := &store{fail: 2}
	var dead []dlq.Letter
	sub := newSubscriber(t, redisbus.SubscriberConfig{
		Client: client, MaxDeliveries: 3, DeadLetters: letters, OnDead: func(l dlq.Letter) { dead = append(dead, l) },
	})
	out := subscribe(t, sub, stream)
	m := next(t, out)
	if d := middleware.DeliveryFrom(m.Context()); m.UUID != "1" || d.Count != 3 {
		t.Errorf("%s came as delivery %d, want 1 as its third and last", m.UUID, d.Count)
	}
	m.Ack()
	eventually(t, "nothing is pending", func() bool { return pendingOf(t, client, stream, "g") == 0 })
	none(t, out, 20*time.Millisecond)
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}

	got := letters.buried()
	if len(got) != 1 {
		t.Fatalf("%d letters, want one after two failed tries", len(got))
	}
	l := got[0]
	if l.MessageID != "0" || l.Reason != dlq.ReasonDeliveryLimit || l.Attempts != 3 || l.Key != "key0" || l.Group != "g" ||
		l.Source != (dlq.Source{Topic: stream, Partition: -1, Offset: -1, ID: ids[0]}) || len(l.Handlers) != 0 || l.BuriedAt.IsZero() || len(l.Payload) == 0 {
		t.Errorf("letter %+v", l)
	}
	if len(dead) != 1 || dead[0].ID != "letter-1" || sub.Stats().Buried != 1 {
		t.Errorf("told of %v, counted %d, want the one letter with its id", dead, sub.Stats().Buried)
	}
}

func TestRecovery_WithoutDeadLettersNothingIsBuried(t *testing.T) {
	client := shared(t)
	stream := fill(t, client, 1)
	deliveries(t, client, stream, "dead", 99, time.Hour, die(t, client, stream, "dead", 1)...)
	m := next(t, subscribe(t, newSubscriber(t, redisbus.SubscriberConfig{Client: client}), stream))
	if d := middleware.DeliveryFrom(m.Context()); d.Count != 100 {
		t.Errorf("delivery %d, want 100", d.Count)
	}
	m.Ack()
}
