package redisbus

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/leat-go/leat/integration/brokers"
)

// The reader's own connection waits BlockTime longer than the client, and without
// end where the client does.
func TestReadConn_WaitsLongerThanABlockingRead(t *testing.T) {
	opts, err := redis.ParseURL(brokers.Redis(t))
	if err != nil {
		t.Fatal(err)
	}
	const block, endless = time.Minute, 0
	for given, want := range map[time.Duration]time.Duration{0: 5*time.Second + block, time.Second: time.Second + block, -1: endless, -2: -1} {
		opts.ReadTimeout = given
		client := redis.NewClient(opts)
		t.Cleanup(func() { _ = client.Close() })
		r := &readConn{shared: client}
		if _, _, err := r.open(t.Context(), block); err != nil {
			t.Fatal(err)
		}
		if got := r.own.Options().ReadTimeout; got != want {
			t.Errorf("ReadTimeout %v: its own is %v, want %v", given, got, want)
		}
		r.close()
	}
}
