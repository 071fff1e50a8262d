package rabbitbus

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/integration/brokers"
)

// manyLetters returns a store with n letters whose listings have room for only
// some of them, and their ids.
func manyLetters(t *testing.T, topology TopologyConfig, n, room int) (*Store, []string) {
	t.Helper()
	client, err := Connect(context.WithoutCancel(t.Context()), ClientConfig{URL: brokers.RabbitMQ(t)})
	if err != nil {
		t.Fatal(err)
	}
	pub, err := NewPublisher(PublisherConfig{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	exchange := "leat-test.room." + eventbus.NewID()
	s, err := NewStore(StoreConfig{Client: client, Publisher: pub, Exchange: exchange, ConsumerGroup: "g", Topology: topology})
	if err != nil {
		t.Fatal(err)
	}
	s.bytes = room
	t.Cleanup(func() {
		_ = client.do(context.Background(), func(ch *amqp.Channel) error {
			_, _ = ch.QueueDelete(s.queue, false, false, false)
			return ch.ExchangeDelete(DeadExchangeName(exchange), false, false)
		})
		_, _ = pub.Close(), client.Close()
	})
	var ids []string
	for i := range n {
		m := message.NewMessage(fmt.Sprint(i), []byte("payload"))
		m.Metadata["event_type"] = []string{"Even", "Odd"}[i%2]
		id, err := s.Bury(t.Context(), dlq.NewLetter(m))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return s, ids
}

// A listing with room for some letters only looks again for the others, and
// yields the same: those that were there when it began, each once, in order.
func TestList_LooksAgainForWhatItHasNoRoomFor(t *testing.T) {
	t.Parallel()
	for _, kind := range []QueueType{QueueQuorum, QueueClassic} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s, ids := manyLetters(t, TopologyConfig{QueueType: kind}, 40, 6000) // some ten letters
			reversed := slices.Clone(ids)
			slices.Reverse(reversed)
			var odd []string
			for i := 1; i < len(ids); i += 2 {
				odd = append(odd, ids[i])
			}
			for what, c := range map[string]struct {
				q    dlq.Query
				want []string
			}{
				"oldest first": {dlq.Query{}, ids},
				"newest first": {dlq.Query{NewestFirst: true}, reversed},
				"filtered":     {dlq.Query{Filter: dlq.Filter{EventType: "Odd"}}, odd},
				"limited":      {dlq.Query{Limit: 17}, ids[:17]},
				"a page":       {dlq.Query{After: ids[9], Limit: 12}, ids[10:22]},
				"a page back":  {dlq.Query{After: ids[30], Limit: 12, NewestFirst: true}, reversed[10:22]},
			} {
				l := listing{s: s, q: c.q, letters: map[string]dlq.Letter{}}
				if err := l.begin(t.Context()); err != nil || len(l.letters) == 0 || len(l.letters) > 15 {
					t.Errorf("%s: %d letters in memory, %v, want some", what, len(l.letters), err)
				}
				if got := listed(t, s.List(t.Context(), c.q)); !slices.Equal(got, c.want) {
					t.Errorf("%s: %d letters %v, want %d %v", what, len(got), got, len(c.want), c.want)
				}
			}
			// Letters that go and come meanwhile: the former may be missing, the
			// latter are.
			var got []string
			for l, err := range s.List(t.Context(), dlq.Query{}) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, l.ID)
				if len(got)%2 == 1 {
					continue
				}
				if err := s.Remove(t.Context(), l.ID); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Bury(t.Context(), l); err != nil {
					t.Fatal(err)
				}
			}
			if !slices.Equal(got, ids) {
				t.Errorf("while letters come and go: %v, want %v", got, ids)
			}
			if left := listed(t, s.List(t.Context(), dlq.Query{})); len(left) != 40 || left[0] != ids[0] || left[1] != ids[2] {
				t.Errorf("afterwards: %v", left)
			}
		})
	}
}

func listed(t *testing.T, letters iter.Seq2[dlq.Letter, error]) (ids []string) {
	t.Helper()
	for l, err := range letters {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, l.ID)
	}
	return ids
}
