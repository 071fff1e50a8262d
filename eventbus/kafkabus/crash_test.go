package kafkabus_test

import (
	"fmt"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/integration/brokers"
)

// A record that kills its process each time is found and buried, by nothing but
// what Kafka keeps with the offsets; its neighbours, other keys and other
// partitions, are all handled and none of them is buried.
func TestCrash_ARecordThatKillsIsBuried(t *testing.T) {
	t.Parallel()
	client := shared(t)
	topic, group := name("killer"), name("g")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 2}})
	for i := range 30 {
		publish(t, pub, topic, msg(fmt.Sprint("m", i), fmt.Sprint("k", i%6)))
		if i == 14 {
			publish(t, pub, topic, msg("killer", "k2"))
		}
	}
	finished := map[string]bool{}
	collect := func(l *life) {
		for id := range l.finished {
			finished[id] = true
		}
	}
	for range kafkabus.DefaultMaxDeliveries {
		l := begin(t, brokers.KafkaBrokers(t), topic, group, 0)
		select {
		case <-l.read:
		case <-time.After(patience):
			t.Fatal("the helper did not die")
		}
		collect(l)
	}
	publish(t, pub, topic, msg("last", "k2"))
	l := begin(t, brokers.KafkaBrokers(t), topic, group, 0)
	eventually(t, "what is behind the killer, and beside it, is handled", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		collect(l)
		return finished["last"] && len(finished) == 31
	})
	l.end(t, syscall.SIGTERM)
	collect(l)
	for i := range 30 {
		if id := fmt.Sprint("m", i); !finished[id] {
			t.Errorf("%s was never handled", id)
		}
	}
	store, err := kafkabus.NewStore(kafkabus.StoreConfig{Client: client, Topic: topic + ".dlq"})
	if err != nil {
		t.Fatal(err)
	}
	var buried []string
	for l, err := range store.List(t.Context(), dlq.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		buried = append(buried, l.MessageID)
		if l.Reason != dlq.ReasonDeliveryLimit || l.Attempts != kafkabus.DefaultMaxDeliveries || l.Source.Topic != topic {
			t.Errorf("letter: %+v", l)
		}
	}
	if len(buried) != 1 || buried[0] != "killer" {
		t.Errorf("buried: %v, want the killer alone", buried)
	}
}

// Lives that are killed lose nothing; lives that are terminated repeat nothing
// that they had finished. Two members at a time, one of them ends.
func TestCrash_KilledLosesNothingAndTerminatedRepeatsNothing(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			addr, topic, group := brokers.KafkaBrokers(t), name("lives"), name("g")
			const total = 1000
			msgs := batch(total)
			for i, m := range msgs {
				m.Metadata["aggregate_id"] = fmt.Sprint(i % 40)
			}
			publish(t, newPublisher(t, kafkabus.PublisherConfig{Client: shared(t), Topics: kafkabus.TopicConfig{Partitions: 4}}), topic, msgs...)
			finished := map[string]int{}
			lives := []*life{begin(t, addr, topic, group, 3*time.Millisecond), begin(t, addr, topic, group, 3*time.Millisecond)}
			ended := 0
			all := func() map[string]int {
				sum := map[string]int{}
				for id, n := range finished {
					sum[id] += n
				}
				for _, l := range lives {
					l.mu.Lock()
					for id, n := range l.finished {
						sum[id] += n
					}
					l.mu.Unlock()
				}
				return sum
			}
			for ; len(all()) < total; ended++ {
				if ended > 20 {
					t.Fatalf("%d of %d after %d ended lives", len(all()), total, ended)
				}
				want := min(len(all())+120, total)
				eventually(t, "the members handle some", func() bool { return len(all()) >= want })
				if want == total {
					break
				}
				victim := lives[ended%2]
				victim.end(t, sig)
				for id, n := range victim.finished {
					finished[id] += n
				}
				lives[ended%2] = begin(t, addr, topic, group, 3*time.Millisecond)
			}
			for _, l := range lives {
				l.end(t, syscall.SIGTERM)
			}
			repeated := 0
			for _, n := range all() {
				if n > 1 {
					repeated++
				}
			}
			if sig == syscall.SIGTERM && repeated > 0 {
				t.Errorf("%d finished events came again", repeated)
			}
			if at := committed(t, topic, group); at != total {
				t.Errorf("committed %d, want %d", at, total)
			}
			t.Logf("%d finished, %d lives ended by %v, %d repeated", len(all()), ended, sig, repeated)
		})
	}
}

// A member that is suspended for longer than the session time-out loses its
// partitions. When it goes on, it commits nothing, and the late results of its
// handlers harm nothing.
func TestCrash_ASuspendedMemberIsHarmless(t *testing.T) {
	t.Parallel()
	addr, topic, group := brokers.KafkaBrokers(t), name("zombie"), name("g")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: shared(t), Topics: kafkabus.TopicConfig{Partitions: 4}})
	const first = 200
	publish(t, pub, topic, spread(0, first)...)
	zombie := begin(t, addr, topic, group, 100*time.Millisecond)
	eventually(t, "it has work in hand", func() bool { begun, done := zombie.counts(); return done >= 8 && begun > done })
	zombie.signal(t, syscall.SIGSTOP)
	safe := committed(t, topic, group)
	other := begin(t, addr, topic, group, 0)
	eventually(t, "another member has done and committed all", func() bool { return committed(t, topic, group) == first })
	before := zombieDone(zombie)
	zombie.signal(t, syscall.SIGCONT)
	eventually(t, "the late handlers end", func() bool { return zombieDone(zombie) > before })

	// It comes back, and both work on: were anything of the zombie's committed,
	// offsets would have gone back, or something would be passed over.
	publish(t, pub, topic, spread(first, 2*first)...)
	eventually(t, "all is done and committed", func() bool {
		at := committed(t, topic, group)
		if at < first {
			t.Fatalf("the committed offsets went back to %d", at)
		}
		return at == 2*first
	})
	zombie.end(t, syscall.SIGTERM)
	other.end(t, syscall.SIGTERM)
	done := map[string]int{}
	for _, l := range []*life{zombie, other} {
		for id, n := range l.finished {
			done[id] += n
		}
	}
	repeated := 0
	for i := range 2 * first {
		switch n := done[fmt.Sprint("m", i)]; {
		case n == 0:
			t.Errorf("m%d was never finished", i)
		case n > 1 && i >= first:
			t.Errorf("m%d, published after all, was finished %d times", i, n)
		case n > 1:
			repeated++
		}
	}
	// What was not committed, what was in hand, and what it begins before the
	// group's answer comes.
	if most := before - int(safe) + 2*4; repeated > most {
		t.Errorf("%d events were finished twice, want at most %d", repeated, most)
	}
	t.Logf("%d repeated", repeated)
}

func zombieDone(l *life) int {
	_, done := l.counts()
	return done
}

// spread returns messages of many keys, numbered.
func spread(from, to int) (list []*message.Message) {
	for i := from; i < to; i++ {
		list = append(list, msg(fmt.Sprint("m", i), fmt.Sprint("k", i%40)))
	}
	return list
}

// A publisher is killed between write and confirm: zero or one copy of each
// event, never half a one, and in order.
func TestCrash_PublisherKilled(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "published", 1, nil)
	inspect, err := kafkabus.NewInspector(kafkabus.InspectorConfig{Client: shared(t), Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	written := func() int64 {
		info, err := inspect.TopicInfo(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return info.Partitions[0].EndOffset
	}
	for range 3 {
		before := written()
		l := begin(t, brokers.KafkaBrokers(t), topic, "", 0)
		eventually(t, "it publishes", func() bool { return written() > before+300 })
		l.end(t, syscall.SIGKILL)
	}
	last := -1
	for _, r := range consume(t, topic, int(written())) {
		uuid := ""
		for _, h := range r.Headers {
			if h.Key == "_watermill_message_uuid" {
				uuid = string(h.Value)
			}
		}
		n, err := strconv.Atoi(uuid)
		if err != nil || string(r.Value) != `{"n":"`+uuid+`"}` || n != last+1 && n != 0 {
			t.Fatalf("record %d is %q %s after number %d", r.Offset, uuid, r.Value, last)
		}
		last = n
	}
}

// Passing over tombstones is no beginning: the owner that does counts once, when
// it hands out the first record.
func TestFake_TombstonesAreNoStart(t *testing.T) {
	t.Parallel()
	cluster, client := fake(t)
	topic, group := name("tombstones"), name("g")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 1}})
	publish(t, pub, topic, msg("0", "k"))
	passed := kadm.OffsetsFromRecords(kgo.Record{Topic: topic, Offset: 0, LeaderEpoch: -1})
	if err := kadm.NewClient(client).CommitAllOffsets(t.Context(), group, passed); err != nil {
		t.Fatal(err)
	}
	produce(t, client, &kgo.Record{Topic: topic, Key: []byte("k")})
	sub := newSubscriber(t, withStore(t, client, group))
	out := subscribe(t, sub, topic)
	eventually(t, "the tombstone is passed", func() bool { return fakeCommitted(cluster, group, topic) == 2 })
	publish(t, pub, topic, msg("1", "k"))
	m := next(t, out)
	if said := cluster.GroupInfo(group).Commits[topic][0].Metadata; said != "leat1;s=1" {
		t.Errorf("the first owner says %q, want one start", said)
	}
	m.Ack()
}
