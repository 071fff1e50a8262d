package kafkabus_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/integration/brokers"
)

const waitingLetters = "leat.dead_letters.waiting"

// asked counts a client's requests by their kind.
type asked struct{ listOffsets, fetch atomic.Int64 }

func (a *asked) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	switch key {
	case 1:
		a.fetch.Add(1)
	case 2:
		a.listOffsets.Add(1)
	}
}

// watched opens a bus whose metrics are collected, and the letters as another
// process has them.
func watched(t testing.TB, opts ...kgo.Opt) (*metric.ManualReader, *kafkabus.Store) {
	t.Helper()
	prefix, reader := name("waiting"), metric.NewManualReader()
	topics := kafkabus.TopicConfig{Partitions: 3}
	openBus(t, kafkabus.Config{
		Client: shared(t, opts...), TopicPrefix: prefix, Topics: topics, MeterProvider: metric.NewMeterProvider(metric.WithReader(reader)),
	})
	store, err := kafkabus.NewStore(kafkabus.StoreConfig{Client: shared(t), Topic: prefix + ".stream.dlq", Topics: topics})
	if err != nil {
		t.Fatal(err)
	}
	return reader, store
}

func bury(t testing.TB, store *kafkabus.Store, n int, payload string) (ids []string) {
	t.Helper()
	for i := range n {
		m := msg(fmt.Sprint(i), fmt.Sprint("key-", i))
		m.Payload = []byte(`"` + payload + `"`)
		id, err := store.Bury(t.Context(), dlq.NewLetter(m))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

func wantWaiting(t testing.TB, reader *metric.ManualReader, want int64) {
	t.Helper()
	eventually(t, fmt.Sprint(want, " letters are told to wait"), func() bool {
		n, told := gauge(t, reader, waitingLetters)
		return told && n == want
	})
}

func TestMetrics_LettersThatWait(t *testing.T) {
	t.Parallel()
	requests := &asked{}
	reader, store := watched(t, kgo.WithHooks(requests))
	wantWaiting(t, reader, 0)
	ids := bury(t, store, 9, "")
	wantWaiting(t, reader, 9)
	if n, err := store.Delete(t.Context(), ids[0], ids[7]); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	wantWaiting(t, reader, 7)
	if err := store.Remove(t.Context(), ids[0]); err != nil { // a second time
		t.Fatal(err)
	}
	if err := store.Remove(t.Context(), ids[3]); err != nil {
		t.Fatal(err)
	}
	wantWaiting(t, reader, 6)

	// Nothing came, so nothing is read, however often it is asked.
	looks, reads := requests.listOffsets.Load(), requests.fetch.Load()
	eventually(t, "it is asked twice more", func() bool {
		gauge(t, reader, waitingLetters)
		return requests.listOffsets.Load() >= looks+12 // first and last ones, for lag and letters
	})
	wantWaiting(t, reader, 6)
	if n := requests.fetch.Load() - reads; n != 0 {
		t.Errorf("%d requests for records that were read before", n)
	}
	if n, err := store.Purge(t.Context()); n != 6 || err != nil {
		t.Fatal(n, err)
	}
	wantWaiting(t, reader, 0)
	bury(t, store, 2, "")
	wantWaiting(t, reader, 2)
}

// A transaction ends with what is no record: nothing more comes to be read.
func TestMetrics_LettersThatWaitBeforeAnEndWithoutARecord(t *testing.T) {
	t.Parallel()
	prefix, reader := name("waiting"), metric.NewManualReader()
	openBus(t, kafkabus.Config{Client: shared(t), TopicPrefix: prefix, MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers.KafkaBrokers(t)), kgo.TransactionalID(prefix))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: prefix + ".stream.dlq", Value: []byte("{}")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := client.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	wantWaiting(t, reader, 1)
}

// No collection reads a large topic at once: the number is not told until all
// was read, and from then on always.
func TestMetrics_LettersThatWaitAreReadABitAtATime(t *testing.T) {
	t.Parallel()
	reader, store := watched(t)
	large := strings.Repeat("x", 900_000)
	bury(t, store, 12, large)
	if n, told := gauge(t, reader, waitingLetters); told {
		t.Errorf("the first collection tells %d, and has read all for it", n)
	}
	wantWaiting(t, reader, 12)
	bury(t, store, 12, large)
	for last := int64(12); last < 24; {
		n, told := gauge(t, reader, waitingLetters)
		if !told || n < last || n > 24 {
			t.Fatalf("%d letters wait, told %v, after %d were", n, told, last)
		}
		last = n
		<-time.After(50 * time.Millisecond)
	}
}
