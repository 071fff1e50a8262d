package kafkabus_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/integration/brokers"
)

// The variables of the process that is killed.
const (
	envVictim = "LEAT_TEST_KAFKA_VICTIM" // topic and group
)

// TestVictim is no test: it is the process that the tests below kill. It
// handles messages and dies of those that are called killer.
func TestVictim(t *testing.T) {
	topic, group, ok := strings.Cut(os.Getenv(envVictim), " ")
	if !ok {
		t.Skip("it is run by other tests")
	}
	client := shared(t)
	store, err := kafkabus.NewStore(kafkabus.StoreConfig{Client: client, Topic: topic + ".dlq"})
	if err != nil {
		t.Fatal(err)
	}
	sub := newSubscriber(t, kafkabus.SubscriberConfig{
		Client: client, ConsumerGroup: group, Concurrency: 4, DeadLetters: store,
		SessionTimeout: 1500 * time.Millisecond, HeartbeatInterval: 300 * time.Millisecond,
	})
	out := subscribe(t, sub, topic)
	for m := range out {
		_, _ = fmt.Fprintln(os.Stdout, "handling", m.UUID)
		if strings.HasPrefix(m.UUID, "killer") {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		m.Ack()
		_, _ = fmt.Fprintln(os.Stdout, "handled", m.UUID)
		if m.UUID == "last" {
			break
		}
	}
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
}

// victim runs one until it dies or ends, and returns what it said.
func victim(t *testing.T, topic, group string) (said string, killed bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestVictim$", "-test.v") //nolint:gosec // this very binary
	cmd.Env = append(os.Environ(), envVictim+"="+topic+" "+group)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("the victim neither died nor ended:\n%s", out)
	}
	return string(out), err != nil && cmd.ProcessState.ExitCode() == -1
}

// A record that kills its process each time is found and buried, by nothing but
// what Kafka keeps with the offsets; its neighbours, other keys and other
// partitions, are all handled and none of them is buried.
func TestCrash_ARecordThatKillsIsBuried(t *testing.T) {
	t.Parallel()
	brokers.KafkaBrokers(t)
	client := shared(t)
	topic, group := name("killer"), name("g")
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: kafkabus.TopicConfig{Partitions: 2}})
	for i := range 30 {
		publish(t, pub, topic, msg(fmt.Sprint("m", i), fmt.Sprint("k", i%6)))
		if i == 14 {
			publish(t, pub, topic, msg("killer", "k2"))
		}
	}
	handled := map[string]bool{}
	kills := 0
	for {
		said, killed := victim(t, topic, group)
		for line := range strings.Lines(said) {
			if id, ok := strings.CutPrefix(strings.TrimSpace(line), "handled "); ok {
				handled[id] = true
			}
		}
		if killed {
			if kills++; kills > 2*kafkabus.DefaultMaxDeliveries {
				t.Fatalf("%d processes were killed and the record is not buried:\n%s", kills, said)
			}
			if kills == kafkabus.DefaultMaxDeliveries {
				publish(t, pub, topic, msg("last", "k2"))
			}
			continue
		}
		break
	}
	if kills != kafkabus.DefaultMaxDeliveries {
		t.Errorf("%d processes were killed, want %d", kills, kafkabus.DefaultMaxDeliveries)
	}
	for i := range 30 {
		if id := fmt.Sprint("m", i); !handled[id] {
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
