package kafkabus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/integration/brokers"
)

// addDisk gives a broker a second disk, of a size that a test can fill.
func addDisk(t testing.TB, broker *brokers.Instance) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=32m"); err != nil {
		t.Skipf("a small disk needs the right to mount one: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	meta, err := os.ReadFile(filepath.Join(broker.Folder(), "data", "meta.properties"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(meta)) {
		if !strings.HasPrefix(line, "directory.id=") {
			lines = append(lines, line)
		}
	}
	lines = append(lines, "directory.id=bGVhdC1zbWFsbC1kaXNrMQ\n")
	if err := os.WriteFile(filepath.Join(dir, "meta.properties"), []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(filepath.Join(broker.Folder(), "server.properties"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString("log.dirs=data," + dir + "\n"); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := broker.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// fillDisk leaves no room on it.
func fillDisk(t testing.TB, dir string) (filler string) {
	t.Helper()
	file, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = file.Write(make([]byte, 64<<10))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Name()
}

// One of a broker's two disks is full. Publishing to its partition ends at its
// deadline, unknown; the other partition is published to and consumed. When the
// disk has room, and the broker was restarted, as Kafka wants it, all goes on
// unaided, with nothing that was confirmed lost.
func TestFaults_DiskFull(t *testing.T) {
	t.Parallel()
	broker := brokers.StartKafka(t, brokers.KafkaOptions{Config: []string{"log.index.size.max.bytes=65536"}})
	topic, group, three := name("full"), name("g"), kafkabus.TopicConfig{Partitions: 3}
	commitAnything(t, connect(t, kafkabus.ClientConfig{BootstrapServers: broker.URL()}), group)
	dir := addDisk(t, broker) // the groups' offsets stay on the first one
	client := connect(t, kafkabus.ClientConfig{BootstrapServers: broker.URL(), Compression: kafkabus.Uncompressed})
	pub := newPublisher(t, kafkabus.PublisherConfig{Client: client, Topics: three})
	for i := range 20 {
		key := fmt.Sprint("k", i)
		publish(t, pub, topic, msg(key, key))
	}
	seen := ackAll(subscribe(t, newSubscriber(t, kafkabus.SubscriberConfig{Client: client, ConsumerGroup: group}), topic))
	eventually(t, "it works", func() bool { return seen.count() == 20 })
	full := partitionsOn(t, client, topic, dir)
	good, bad := seen.from(func(p int32) bool { return !full[p] }), seen.from(func(p int32) bool { return full[p] })
	if good == "" || bad == "" {
		t.Fatalf("on the small disk are %v; want some, and not all", full)
	}

	filler := fillDisk(t, dir)
	large := func(id, key string) *message.Message {
		m := msg(id, key)
		m.Payload = bytes.Repeat([]byte(id), 100_000)
		return m
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	errs := pub.PublishBatch(ctx, topic, []*message.Message{large("fits", good), large("not", bad)})
	if len(errs) != 2 || errs[0] != nil || !errors.Is(errs[1], kafkabus.ErrUnknown) || !errors.Is(errs[1], context.DeadlineExceeded) {
		t.Errorf("outcomes: %v; want the second one's alone: unknown, deadline exceeded", errs)
	}
	eventually(t, "the other partition is consumed", func() bool { return seen.has("fits") })

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := broker.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{good, bad} {
		publishAgain(t, pub, topic, key)
		eventually(t, "it comes", func() bool { return seen.has("after " + key) })
	}
	nothingLeft(t, client, topic, group)
}

// commitAnything makes the broker's topic of offsets.
func commitAnything(t testing.TB, client *kgo.Client, group string) {
	t.Helper()
	var offsets kadm.Offsets
	topic := name("any")
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	offsets.AddOffset(topic, 0, 0, -1)
	eventually(t, "it is committed", func() bool { return admin.CommitAllOffsets(t.Context(), group, offsets) == nil })
}

// partitionsOn returns those of a topic that are in a folder.
func partitionsOn(t testing.TB, client *kgo.Client, topic, dir string) map[int32]bool {
	t.Helper()
	all, err := kadm.NewClient(client).DescribeAllLogDirs(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	found := map[int32]bool{}
	for _, dirs := range all {
		for partition := range dirs[dir].Topics[topic] {
			found[partition] = true
		}
	}
	return found
}
