package redisbus_test

import (
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/integration/brokers"
)

// The whole bus, letters and their replay included, with the rights that the
// package documents and no others.
func TestBus_WithFewRights(t *testing.T) {
	server := brokers.StartRedis(t, brokers.RedisOptions{Fsync: brokers.NoAppendOnly})
	admin := connect(t, server.URL())
	for user, rights := range map[string][]any{
		"few":       {"+@stream", "+ping"},
		"unblocker": {"+@stream", "+ping", "+client|id", "+client|unblock"},
		"remover":   {"+@stream", "+ping", "+eval"},
	} {
		t.Run(user, func(t *testing.T) {
			set := []any{"acl", "setuser", user, "on", ">s3cret", "~" + user + ":stream", "~" + user + ":stream_dlq"}
			if err := admin.Do(t.Context(), append(set, rights...)...).Err(); err != nil {
				t.Fatal(err)
			}
			u := url.URL{Scheme: "redis", Host: server.Addr(), User: url.UserPassword(user, "s3cret")}
			b := watchLetters(t, redisbus.Config{URL: u.String(), StreamPrefix: user, ConsumerGroup: "g"})
			b.fail("one")
			b.replay("one")
			eventually(t, "all is acknowledged", func() bool {
				info, err := b.bus.StreamInfo(t.Context())
				return err == nil && info.PendingMessages == 0 && info.Stream.Length == 2
			})
			admin.XGroupCreateConsumer(t.Context(), user+":stream", "g", "dead")
			removed, err := b.bus.RemoveDeadConsumers(t.Context(), 0)
			var refused *redisbus.RefusedError
			switch {
			case user == "remover" && (err != nil || len(removed) == 0):
				t.Errorf("removed %v, %v", removed, err)
			case user != "remover" && (!errors.As(err, &refused) || refused.Code != "NOPERM"):
				t.Errorf("without +eval: %v, want NOPERM", err)
			}
			began := time.Now()
			if _, err := b.bus.Shutdown(t.Context()); err != nil {
				t.Errorf("shutdown: %v", err)
			}
			if took := time.Since(began); took > redisbus.DefaultBlockTime/2 {
				t.Errorf("shutdown of an idle bus took %v", took)
			}
		})
	}
	u := url.URL{Scheme: "redis", Host: server.Addr(), User: url.UserPassword("few", "s3cret")}
	other := openBus(t, redisbus.Config{URL: u.String(), StreamPrefix: "other"})
	var refused *redisbus.RefusedError
	if err := other.Publish(t.Context(), placed("1")); !errors.As(err, &refused) || refused.Code != "NOPERM" {
		t.Errorf("publish to another's stream: %v, want NOPERM", err)
	}
}
