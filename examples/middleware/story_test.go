package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/integration/brokers"
	"github.com/leat-go/leat/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestStory_InMemory(t *testing.T) {
	t.Parallel()
	b, err := openMemory("orders")
	if err != nil {
		t.Fatal(err)
	}
	wantEffects(t, b, func() []string {
		stored, err := b.stored(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return stored
	})
}

func TestStory_OverRedis(t *testing.T) {
	t.Parallel()
	url := brokers.Redis(t)
	topic := "middleware-test-" + eventbus.NewID()
	b, err := openRedis(t.Context(), url, topic)
	if err != nil {
		t.Fatal(err)
	}
	wantEffects(t, b, func() []string { // with a client that has nothing to do with the program
		opts, err := redis.ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		client := redis.NewClient(opts)
		defer client.Close()
		entries, err := client.XRange(t.Context(), topic, "-", "+").Result()
		if err != nil {
			t.Fatal(err)
		}
		return payloads(entries)
	})
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(opts)
	defer client.Close()
	if n, err := client.Exists(context.Background(), topic, topic+".dlq").Result(); err != nil || n != 0 {
		t.Errorf("%d streams are left, %v", n, err)
	}
}

// wantEffects runs the story, and looks at what each middleware did.
func wantEffects(t *testing.T, b *broker, atRest func() []string) {
	t.Helper()
	var out bytes.Buffer
	var stored []string
	var letters []dlq.Letter
	look := b.clear
	b.clear = func(ctx context.Context) error { // the last moment at which everything is there
		if out.Len() > 0 {
			stored = atRest()
			for l, err := range b.letters.List(ctx, dlq.Query{}) {
				if err != nil {
					return err
				}
				letters = append(letters, l)
			}
		}
		return look(ctx)
	}
	begun := time.Now()
	if err := tell(t.Context(), b, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	took := time.Since(begun)

	// The limit: five of acme's, two at once, then one each 300 ms.
	if took < 3*300*time.Millisecond {
		t.Errorf("acme's five events took %v", took)
	}
	// The encryption: of nine payloads one can be read, that of the stranger.
	readable := slices.DeleteFunc(slices.Clone(stored), func(p string) bool { return !strings.Contains(p, "customer") })
	if len(stored) != 9 || len(readable) != 1 || !strings.Contains(readable[0], `"Di"`) {
		t.Errorf("%d payloads, of which can be read: %q", len(stored), readable)
	}
	// The letters: by both groups, with their reasons, as they were in the broker.
	for _, l := range letters {
		if !slices.Contains(stored, string(l.Payload)) {
			t.Errorf("the letter of %s is not what was in the broker: %q", l.Key, l.Payload)
		}
	}
	said := out.String()
	for want, times := range map[string]int{
		"o-8  for audit  permanent_error: schema of OrderPlaced: total_cents is missing\n": 1,
		"o-8  for shop   permanent_error: schema of OrderPlaced: total_cents is missing\n": 1,
		"o-9  for audit  permanent_error: encryption: it came in the clear\n":              1,
		"o-9  for shop   permanent_error: encryption: it came in the clear\n":              1,
		"> Encryption > Schema > dispatch\n":                                               1,
		"> router/middleware.IgnoreErrors > handler\n":                                     1,
		"> TenantLimit > handler\n":                                                        1,
		"  send-invoice  ":                                                                 7,
		"  newsletter    ":                                                                 7,
		"  audit         ":                                                                 7,
		"acme waited true, globex false.\n":                                                1,
		"nobody's name can be read: true.\n":                                               1,
		"newsletter was told \"unsubscribed\" 3 times; errors 0, retries 0, letters 0.\n":  1,
		"o-8 ": 2, // in its letters only
		"o-9 ": 2,
	} {
		if n := strings.Count(said, want); n != times {
			t.Errorf("%q is there %d times, want %d", want, n, times)
		}
	}
	if len(letters) != 4 {
		t.Errorf("%d letters, want 4", len(letters))
	}
	if t.Failed() {
		t.Log(said)
	}
}

func TestRun_TellsWhatCannotWork(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		`-bus: "pigeons" is neither memory nor redis`: {"-bus=pigeons"},
		"cannot start: redisbus: ":                    {"-bus=redis", "-redis=redis://me:hush@127.0.0.1:1"},
		"flag provided but not defined: -tpoic":       {"-tpoic=x"},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, &out, &errs); code != 2 || !strings.Contains(errs.String(), want) || strings.Contains(errs.String(), "hush") {
			t.Errorf("%v: code %d, %s", args, code, errs.String())
		}
	}
}
