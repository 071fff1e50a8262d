package redisbus_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/internal/offspring"
)

// A helper process of this test binary is a consumer that is killed for real.
const (
	envHelper = "LEAT_REDISBUS_HELPER" // URL of the server
	envRecord = "LEAT_REDISBUS_RECORD" // file that the handler appends to
	envName   = "LEAT_REDISBUS_NAME"   // of the consumer
	envKills  = "LEAT_TEST_KILLS"      // how many processes to kill; 50 when unset
)

const crashRecovery = 400 * time.Millisecond

// helper consumes until SIGTERM, then drains. Its handler appends the event's
// note to the record when it is done, in one write, which a SIGKILL cannot tear.
func helper() int {
	record, err := os.OpenFile(os.Getenv(envRecord), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := os.WriteFile(listening(os.Getpid()), nil, 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	reg := eventbus.NewRegistry()
	err = eventbus.Register[Placed](reg, "Placed", eventbus.AggregateType("Order"))
	if err == nil {
		var bus *redisbus.Bus
		bus, err = redisbus.Open(ctx, redisbus.Config{
			URL: os.Getenv(envHelper), StreamPrefix: "crash", ConsumerGroup: "g", ConsumerName: os.Getenv(envName),
			Concurrency: 8, PendingIdleTime: crashRecovery, Registry: reg,
		})
		if err == nil {
			_, err = eventbus.Subscribe(bus, "h", func(_ context.Context, e Placed) error {
				<-time.After(time.Duration(rand.IntN(3000)) * time.Microsecond)
				_, err := fmt.Fprintln(record, e.Note)
				return err
			})
			runErr := bus.Run(ctx)
			_, shutdownErr := bus.Shutdown(context.Background())
			err = errors.Join(err, runErr, shutdownErr)
		}
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// listening names the file that a helper makes when it listens for SIGTERM, which
// would end it before.
func listening(pid int) string {
	return filepath.Join(os.TempDir(), fmt.Sprint("leat-redisbus-helper-", pid))
}

func startHelper(t *testing.T, url, record, consumer string) *exec.Cmd {
	t.Helper()
	cmd, err := offspring.Command()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), envHelper+"="+url, envRecord+"="+record, envName+"="+consumer)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.Remove(listening(cmd.Process.Pid))
	})
	return cmd
}

// Two processes of one group; again and again one of them gets the signal at a
// random moment under load. What was confirmed is handled; what was finished is
// not repeated after a SIGTERM.
func TestCrash_SignalsAtRandomMoments(t *testing.T) {
	t.Parallel()
	kills := 50
	if v := os.Getenv(envKills); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatalf("%s: %v", envKills, err)
		}
		kills = n
	}
	if testing.Short() {
		kills = 5
	}
	for _, c := range []struct {
		name   string
		signal syscall.Signal
		names  string // of the consumers: the same again, or new ones
		kills  int
	}{
		{"SIGTERM", syscall.SIGTERM, "", kills},
		{"SIGKILL, new names", syscall.SIGKILL, "", kills / 2},
		{"SIGKILL, the same names", syscall.SIGKILL, "worker-", kills / 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly})
			bus := openBus(t, redisbus.Config{URL: server.URL(), StreamPrefix: "crash"})
			record := filepath.Join(t.TempDir(), "record")
			if err := os.WriteFile(record, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			start := func(i int) *exec.Cmd {
				consumer := ""
				if c.names != "" {
					consumer = c.names + strconv.Itoa(i)
				}
				return startHelper(t, server.URL(), record, consumer)
			}
			workers := []*exec.Cmd{start(0), start(1)}
			published := 0
			for kill := range c.kills {
				for range 20 + rand.IntN(60) {
					if err := bus.Publish(t.Context(), placed(strconv.Itoa(published))); err != nil {
						t.Fatal(err)
					}
					published++
				}
				<-time.After(time.Duration(rand.IntN(150)) * time.Millisecond)
				i := kill % 2
				if c.signal == syscall.SIGTERM {
					eventually(t, "the process listens for it", func() bool {
						_, err := os.Stat(listening(workers[i].Process.Pid))
						return err == nil
					})
				}
				if err := workers[i].Process.Signal(c.signal); err != nil {
					t.Fatal(err)
				}
				if err := workers[i].Wait(); err != nil && c.signal == syscall.SIGTERM {
					t.Errorf("after SIGTERM: %v", err)
				}
				workers[i] = start(i)
			}
			var done map[string]int
			eventually(t, fmt.Sprintf("all %d confirmed events are handled", published), func() bool {
				done = finished(t, record)
				return len(done) >= published
			})
			repeated := 0
			for id, n := range done {
				if i, err := strconv.Atoi(id); err != nil || i >= published {
					t.Errorf("%q was never published", id)
				}
				if n > 1 {
					repeated++
				}
			}
			if repeated > 0 && c.signal == syscall.SIGTERM {
				t.Errorf("%d events that were finished were handled again after SIGTERM", repeated)
			}
			if n, err := bus.DeadLetters().Count(t.Context()); n != 0 || err != nil {
				t.Errorf("%d letters, %v, want none", n, err)
			}
			t.Logf("%d events, %d processes ended, %d events repeated", published, c.kills, repeated)
		})
	}
}

// finished counts the lines of the record.
func finished(t *testing.T, record string) map[string]int {
	t.Helper()
	f, err := os.Open(record)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	done := map[string]int{}
	for s := bufio.NewScanner(f); s.Scan(); {
		done[strings.TrimSpace(s.Text())]++
	}
	return done
}

// A publisher is killed between write and confirm: zero or one copy of each
// event, never half a one, and in order.
func TestCrash_PublisherKilled(t *testing.T) {
	server := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly})
	client := connect(t, server.URL())
	for range 5 {
		cmd, err := offspring.Command()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Env = append(os.Environ(), envHelper+"="+server.URL(), envName+"=publisher")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		before := client.XLen(t.Context(), "published").Val()
		eventually(t, "it publishes", func() bool { return client.XLen(t.Context(), "published").Val() > before+1000 })
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
	}
	last := -1
	for _, e := range client.XRange(t.Context(), "published", "-", "+").Val() {
		uuid, _ := e.Values["_watermill_message_uuid"].(string)
		n, err := strconv.Atoi(uuid)
		if err != nil || e.Values["payload"] != `{"n":"`+uuid+`"}` || n != last+1 && n != 0 {
			t.Fatalf("entry %v after number %d", e.Values, last)
		}
		last = n
	}
}

// publishForEver is the helper of TestCrash_PublisherKilled.
func publishForEver() int {
	client, err := redisbus.OpenClient(context.Background(), redisbus.ClientConfig{URL: os.Getenv(envHelper)})
	if err != nil {
		return 1
	}
	pub, err := redisbus.NewPublisher(redisbus.PublisherConfig{Client: client})
	if err != nil {
		return 1
	}
	for n := 0; ; n += 3 {
		if err := pub.Publish("published", msg(strconv.Itoa(n), "k"), msg(strconv.Itoa(n+1), "k"), msg(strconv.Itoa(n+2), "k")); err != nil {
			return 1
		}
	}
}
