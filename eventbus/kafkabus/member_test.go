package kafkabus_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus/kafkabus"
	"github.com/leat-go/leat/internal/offspring"
)

// The test binary is its own helper when these are set: a member of a group
// that can be killed, terminated and suspended.
const (
	helperBrokers = "LEAT_KAFKABUS_HELPER_BROKERS"
	helperTopic   = "LEAT_KAFKABUS_HELPER_TOPIC"
	helperGroup   = "LEAT_KAFKABUS_HELPER_GROUP"
	helperWork    = "LEAT_KAFKABUS_HELPER_WORK" // how long a handler takes
)

// help consumes and tells, until SIGTERM. It dies of messages that are called
// killer.
func help() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	_, _ = fmt.Fprintln(os.Stdout, "ready") // for signals
	client, err := kafkabus.OpenClient(ctx, kafkabus.ClientConfig{BootstrapServers: os.Getenv(helperBrokers)})
	if ctx.Err() != nil { // terminated while it connected: it had nothing in hand
		return nil
	}
	if err != nil {
		return err
	}
	defer client.Close()
	topic := os.Getenv(helperTopic)
	if os.Getenv(helperGroup) == "" {
		return publishForEver(client, topic)
	}
	store, err := kafkabus.NewStore(kafkabus.StoreConfig{Client: client, Topic: topic + ".dlq"})
	if err != nil {
		return err
	}
	work, err := time.ParseDuration(os.Getenv(helperWork))
	if err != nil {
		return err
	}
	sub, err := kafkabus.NewSubscriber(kafkabus.SubscriberConfig{
		Client: client, ConsumerGroup: os.Getenv(helperGroup), Concurrency: 4, DeadLetters: store,
		SessionTimeout: shortSession, HeartbeatInterval: shortSession / 5,
	})
	if err != nil {
		return err
	}
	out, err := sub.Subscribe(context.WithoutCancel(ctx), topic)
	if err != nil {
		return err
	}
	var handlers sync.WaitGroup
	handlers.Go(func() {
		for m := range out {
			handlers.Go(func() {
				_, _ = fmt.Fprintln(os.Stdout, "start", m.UUID)
				if strings.HasPrefix(m.UUID, "killer") {
					_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
					select {}
				}
				<-time.After(work)
				_, _ = fmt.Fprintln(os.Stdout, "finish", m.UUID)
				m.Ack()
			})
		}
	})
	<-ctx.Done()
	_, err = sub.Drain(context.Background())
	handlers.Wait()
	return err
}

// publishForEver publishes numbers, three a call, until it is killed.
func publishForEver(client *kgo.Client, topic string) error {
	pub, err := kafkabus.NewPublisher(kafkabus.PublisherConfig{Client: client})
	for n := 0; err == nil; n += 3 {
		err = pub.Publish(topic, msg(strconv.Itoa(n), "k"), msg(strconv.Itoa(n+1), "k"), msg(strconv.Itoa(n+2), "k"))
	}
	return err
}

// life is one helper process.
type life struct {
	cmd   *exec.Cmd
	ready chan struct{} // closed: it can be signalled
	read  chan struct{} // closed: all that it said was read

	mu                sync.Mutex
	started, finished map[string]int
}

func begin(t *testing.T, addr, topic, group string, work time.Duration) *life {
	t.Helper()
	cmd, err := offspring.Command()
	if err != nil {
		t.Fatal(err)
	}
	l := &life{cmd: cmd, ready: make(chan struct{}), read: make(chan struct{}), started: map[string]int{}, finished: map[string]int{}}
	l.cmd.Env = append(os.Environ(), helperBrokers+"="+addr, helperTopic+"="+topic, helperGroup+"="+group, helperWork+"="+work.String())
	l.cmd.Stderr = os.Stderr
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go l.listen(out)
	t.Cleanup(func() {
		_ = l.cmd.Process.Kill() // it may have ended
		<-l.read
		_ = l.cmd.Wait()
	})
	select {
	case <-l.ready:
	case <-l.read:
		t.Fatal("the helper ended at once")
	case <-time.After(patience):
		t.Fatal("the helper does not begin")
	}
	return l
}

func (l *life) listen(out io.Reader) {
	defer close(l.read)
	for said := bufio.NewScanner(out); said.Scan(); {
		act, id, _ := strings.Cut(said.Text(), " ")
		l.mu.Lock()
		switch act {
		case "ready":
			close(l.ready)
		case "start":
			l.started[id]++
		case "finish":
			l.finished[id]++
		}
		l.mu.Unlock()
	}
}

// counts returns how many messages it has begun and finished.
func (l *life) counts() (begun, done int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.started), len(l.finished)
}

func (l *life) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := l.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// end ends the process by a signal and waits for it.
func (l *life) end(t *testing.T, sig os.Signal) {
	t.Helper()
	l.signal(t, sig)
	<-l.read
	if err := l.cmd.Wait(); err != nil && sig == syscall.SIGTERM {
		t.Errorf("the helper ended with %v", err)
	}
}
