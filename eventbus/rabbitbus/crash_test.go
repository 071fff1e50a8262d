package rabbitbus_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/leat-go/leat/eventbus/rabbitbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/internal/offspring"
)

// The test binary is its own helper when these are set.
const (
	helperURL   = "LEAT_RABBITBUS_HELPER_URL"
	helperTopic = "LEAT_RABBITBUS_HELPER_TOPIC"
	helperKind  = "LEAT_RABBITBUS_HELPER_KIND"
)

// help consumes and tells, until SIGTERM.
func help() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	client, err := rabbitbus.Connect(ctx, rabbitbus.ClientConfig{URL: os.Getenv(helperURL)})
	if ctx.Err() != nil { // terminated while it connected: it had nothing in hand
		return nil
	}
	if err != nil {
		return err
	}
	defer client.Close()
	sub, err := rabbitbus.NewSubscriber(rabbitbus.SubscriberConfig{
		Client: client, ConsumerGroup: "g", Concurrency: 8, PrefetchCount: 50,
		Topology: rabbitbus.TopologyConfig{QueueType: rabbitbus.QueueType(os.Getenv(helperKind))},
	})
	if err != nil {
		return err
	}
	out, err := sub.Subscribe(context.WithoutCancel(ctx), os.Getenv(helperTopic))
	if err != nil {
		return err
	}
	var handlers sync.WaitGroup
	handlers.Go(func() {
		for m := range out {
			handlers.Go(func() {
				fmt.Fprintln(os.Stdout, "start", m.UUID)
				<-time.After(2 * time.Millisecond)
				fmt.Fprintln(os.Stdout, "finish", m.UUID)
				m.Ack()
			})
		}
	})
	<-ctx.Done()
	_, err = sub.Drain(context.Background())
	handlers.Wait()
	return err
}

// life is one helper process.
type life struct {
	cmd  *exec.Cmd
	read chan struct{}

	mu                sync.Mutex
	started, finished map[string]int
	order             []string // of finishing
}

func begin(t *testing.T, url, topic string, kind rabbitbus.QueueType) *life {
	t.Helper()
	cmd, err := offspring.Command()
	if err != nil {
		t.Fatal(err)
	}
	l := &life{cmd: cmd, read: make(chan struct{}), started: map[string]int{}, finished: map[string]int{}}
	l.cmd.Env = append(os.Environ(), helperURL+"="+url, helperTopic+"="+topic, helperKind+"="+string(kind))
	l.cmd.Stderr = os.Stderr
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go l.listen(out)
	return l
}

func (l *life) listen(out io.Reader) {
	defer close(l.read)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		act, id, _ := strings.Cut(lines.Text(), " ")
		l.mu.Lock()
		if act == "start" {
			l.started[id]++
		} else {
			l.finished[id]++
			l.order = append(l.order, id)
		}
		l.mu.Unlock()
	}
}

func (l *life) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.finished)
}

func (l *life) end(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := l.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	<-l.read
	if err := l.cmd.Wait(); err != nil && sig == syscall.SIGTERM {
		t.Errorf("the helper ended with %v", err)
	}
}

func TestCrash_KilledLosesNothingAndTerminatedRepeatsNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, topology rabbitbus.TopologyConfig) {
		t.Helper()
		url := brokers.RabbitMQ(t)
		for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			t.Run(sig.String(), func(t *testing.T) {
				t.Parallel()
				topic := name(t, url, "crash")
				client := connect(t, url)
				if err := newSubscriber(t, rabbitbus.SubscriberConfig{Client: client, Topology: topology}).SubscribeInitialize(topic); err != nil {
					t.Fatal(err)
				}
				const total, each = 2500, 50 // some 35 lives: with both kinds, more than 50 for each signal
				msgs := batch(total, "")
				for i, m := range msgs {
					m.Metadata["aggregate_id"] = fmt.Sprint(i % 40)
				}
				publish(t, newPublisher(t, rabbitbus.PublisherConfig{Client: client}), topic, msgs...)
				started, finished := map[string]int{}, map[string]int{}
				repeated, lives := 0, 0
				where := map[string][]string{} // in which life an event was finished, as which of it
				for round := 0; len(finished) < total; round++ {
					l := begin(t, url, topic, topology.QueueType)
					want := min(each, total-len(finished))
					if round > 2*total/each {
						t.Fatalf("%d of %d after %d lives", len(finished), total, round)
					}
					eventually(t, "a life handles some", func() bool { return l.count() >= want })
					l.end(t, sig)
					lives++
					for at, id := range l.order {
						where[id] = append(where[id], fmt.Sprintf("%d: %d of %d", round, at+1, len(l.order)))
					}
					for id, n := range l.finished {
						if finished[id] > 0 || n > 1 {
							repeated++
							if sig == syscall.SIGTERM {
								t.Logf("%s was finished in the lives %q", id, where[id])
							}
						}
						finished[id] += n
					}
					for id := range l.started {
						started[id]++
					}
				}
				for id := range started {
					if finished[id] == 0 {
						t.Errorf("%s was started and never finished", id)
					}
				}
				if n := ready(t, raw(t, url), topic+".g"); sig == syscall.SIGTERM && (n != 0 || repeated != 0) {
					t.Errorf("%d finished events came again, %d are left in the queue, want none", repeated, n)
				}
				if lives < 25 {
					t.Errorf("%d lives, want 25 for a proof", lives)
				}
				t.Logf("%d lives, %d finished, %d of them repeated", lives, len(finished), repeated)
			})
		}
	})
}
